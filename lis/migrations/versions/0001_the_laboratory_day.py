"""the laboratory day."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from lis.schema import guards

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "account",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("site", sa.String(length=40), nullable=False),
        sa.Column("badge", sa.String(length=64), nullable=True),
        sa.Column("pin", sa.Text(), nullable=False),
        sa.Column("must_change", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "role IN ('technician', 'reviewer', 'manager', 'quality', 'administrator', 'collection', 'instrument')",
            name=op.f("ck_account_role_known"),
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_account")),
        sa.UniqueConstraint("badge", name=op.f("uq_account_badge")),
    )
    op.create_table(
        "alarm",
        sa.Column("alarm_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("sentence", sa.Text(), nullable=False),
        sa.Column("cleared_at", sa.String(length=27), nullable=True),
        sa.Column("cleared_by", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("alarm_id", name=op.f("pk_alarm")),
    )
    with op.batch_alter_table("alarm", schema=None) as batch_op:
        batch_op.create_index("ix_alarm_open", ["cleared_at", "at"], unique=False)

    op.create_table(
        "amendment",
        sa.Column("tube_id", sa.String(length=40), nullable=False),
        sa.Column("amends", sa.String(length=24), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("signers", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.String(length=27), nullable=False),
        sa.Column("closed_at", sa.String(length=27), nullable=True),
        sa.Column("outcome", sa.String(length=24), nullable=False),
        sa.PrimaryKeyConstraint("tube_id", "amends", name=op.f("pk_amendment")),
    )
    with op.batch_alter_table("amendment", schema=None) as batch_op:
        batch_op.create_index("ix_amendment_open", ["closed_at", "opened_at"], unique=False)

    op.create_table(
        "chain",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("event_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_chain_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chain")),
    )
    op.create_table(
        "counter",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counter")),
    )
    op.create_table(
        "device",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("public_key", sa.String(length=40), nullable=True),
        sa.Column("key_until", sa.String(length=27), nullable=True),
        sa.Column("enrolled_at", sa.String(length=27), nullable=False),
        sa.Column("enrolled_by", sa.String(length=80), nullable=False),
        sa.Column("revoked_at", sa.String(length=27), nullable=True),
        sa.Column("last_seen_at", sa.String(length=27), nullable=True),
        sa.Column("agent", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_device")),
        sa.UniqueConstraint("public_key", name=op.f("uq_device_public_key")),
    )
    op.create_table(
        "act_chain",
        sa.Column("name", sa.String(length=16), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "name IN ('device_act', 'admin_act', 'disclosure')", name=op.f("ck_act_chain_name_known")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_act_chain")),
    )
    op.create_table(
        "device_act",
        sa.Column("act_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("device", sa.String(length=80), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("public_key", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "act IN ('added', 'code', 'cancelled', 'enrolled', 'revoked', 'expiry', 'serial')",
            name=op.f("ck_device_act_act_known"),
        ),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_device_act")),
    )
    with op.batch_alter_table("device_act", schema=None) as batch_op:
        batch_op.create_index("ix_device_act_device", ["device", "act_id"], unique=False)
        batch_op.create_index("ix_device_act_public_key", ["public_key"], unique=False)

    op.create_table(
        "enrolment",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=80), nullable=False),
        sa.Column("issued_at", sa.String(length=27), nullable=False),
        sa.Column("issued_by", sa.String(length=80), nullable=False),
        sa.Column("expires_at", sa.String(length=27), nullable=False),
        sa.Column("cancelled_at", sa.String(length=27), nullable=True),
        sa.Column("used_at", sa.String(length=27), nullable=True),
        sa.Column("public_key", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["device.name"], name=op.f("fk_enrolment_device_device")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_enrolment")),
    )
    with op.batch_alter_table("enrolment", schema=None) as batch_op:
        batch_op.create_index("ix_enrolment_device", ["device"], unique=False)

    op.create_table(
        "event",
        sa.Column(
            "event_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=False,
            nullable=False,
        ),
        sa.Column("tube_id", sa.String(length=40), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("tube_kind", sa.Text(), nullable=True),
        sa.Column("capacity", sa.Integer(), nullable=True),
        sa.Column("tier", sa.Text(), nullable=True),
        sa.Column("site", sa.Text(), nullable=True),
        sa.Column("sampled_at", sa.String(length=27), nullable=True),
        sa.Column("due_at", sa.String(length=27), nullable=True),
        sa.Column("person_id", sa.Text(), nullable=True),
        sa.Column("place", sa.Integer(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("rack", sa.Text(), nullable=True),
        sa.Column("position", sa.Text(), nullable=True),
        sa.Column("hold_number", sa.Integer(), nullable=True),
        sa.Column("worklist", sa.Text(), nullable=True),
        sa.Column("well", sa.Text(), nullable=True),
        sa.Column("to_confirm", sa.Integer(), nullable=True),
        sa.Column("assay", sa.Text(), nullable=True),
        sa.Column("assay_version", sa.Text(), nullable=True),
        sa.Column("pool_rules", sa.Text(), nullable=True),
        sa.Column("pool_rules_version", sa.Text(), nullable=True),
        sa.Column("pool_policy", sa.Text(), nullable=True),
        sa.Column("pool_policy_version", sa.Text(), nullable=True),
        sa.Column("pool_id", sa.Text(), nullable=True),
        sa.Column("other_tube", sa.Text(), nullable=True),
        sa.Column("volume_ul", sa.Integer(), nullable=True),
        sa.Column("plate_id", sa.Text(), nullable=True),
        sa.Column("test", sa.Text(), nullable=True),
        sa.Column("instrument", sa.Text(), nullable=True),
        sa.Column("run_id", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("rule", sa.Text(), nullable=True),
        sa.Column("curve", sa.Text(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("result", sa.Text(), nullable=True),
        sa.Column("verdict", sa.Text(), nullable=True),
        sa.Column("seal", sa.Text(), nullable=True),
        sa.Column("amends", sa.Text(), nullable=True),
        sa.Column("report_id", sa.Text(), nullable=True),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event")),
        sa.UniqueConstraint("tube_id", "seq", name=op.f("uq_event_tube_id_seq")),
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index(
            "ix_event_worklist",
            ["worklist"],
            unique=False,
            sqlite_where=sa.text("worklist IS NOT NULL"),
            postgresql_where=sa.text("worklist IS NOT NULL"),
        )

    op.create_table(
        "file",
        sa.Column("file_id", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=80), nullable=False),
        sa.Column("run", sa.Text(), nullable=False),
        sa.Column("plate_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.Column("produced_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_file")),
        sa.UniqueConstraint("device", "run", "sha256", name=op.f("uq_file_device_run_sha256")),
    )
    with op.batch_alter_table("file", schema=None) as batch_op:
        batch_op.create_index("ix_file_run", ["device", "run"], unique=False)

    op.create_table(
        "forecast",
        sa.Column("forecast_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("made_at", sa.String(length=27), nullable=False),
        sa.Column("made_by", sa.String(length=80), nullable=False),
        sa.Column("replications", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("backlog", sa.Integer(), nullable=False),
        sa.Column("breaches", sa.Float(), nullable=False),
        sa.Column("half_p025", sa.String(length=27), nullable=False),
        sa.Column("half_p10", sa.String(length=27), nullable=False),
        sa.Column("half_p50", sa.String(length=27), nullable=False),
        sa.Column("half_p90", sa.String(length=27), nullable=False),
        sa.Column("half_p975", sa.String(length=27), nullable=False),
        sa.Column("cleared_p025", sa.String(length=27), nullable=False),
        sa.Column("cleared_p10", sa.String(length=27), nullable=False),
        sa.Column("cleared_p50", sa.String(length=27), nullable=False),
        sa.Column("cleared_p90", sa.String(length=27), nullable=False),
        sa.Column("cleared_p975", sa.String(length=27), nullable=False),
        sa.Column("by_reference", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("forecast_id", name=op.f("pk_forecast")),
    )
    with op.batch_alter_table("forecast", schema=None) as batch_op:
        batch_op.create_index("ix_forecast_at", ["at"], unique=False)

    op.create_table(
        "forecast_tube",
        sa.Column("forecast_id", sa.Integer(), nullable=False),
        sa.Column("tube_id", sa.String(length=40), nullable=False),
        sa.Column("due", sa.String(length=27), nullable=True),
        sa.Column("p025", sa.String(length=27), nullable=False),
        sa.Column("p10", sa.String(length=27), nullable=False),
        sa.Column("p50", sa.String(length=27), nullable=False),
        sa.Column("p90", sa.String(length=27), nullable=False),
        sa.Column("p975", sa.String(length=27), nullable=False),
        sa.Column("risk", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["forecast_id"], ["forecast.forecast_id"], name=op.f("fk_forecast_tube_forecast_id")
        ),
        sa.PrimaryKeyConstraint("forecast_id", "tube_id", name=op.f("pk_forecast_tube")),
    )
    with op.batch_alter_table("forecast_tube", schema=None) as batch_op:
        batch_op.create_index("ix_forecast_tube_tube_id", ["tube_id", "forecast_id"], unique=False)

    op.create_table(
        "forecast_advice",
        sa.Column("forecast_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("code", sa.String(length=24), nullable=False),
        sa.Column("step", sa.String(length=40), nullable=False),
        sa.Column("fewer_late", sa.Float(), nullable=False),
        sa.Column("low", sa.Float(), nullable=False),
        sa.Column("high", sa.Float(), nullable=False),
        sa.Column("sooner", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(
            ["forecast_id"], ["forecast.forecast_id"], name=op.f("fk_forecast_advice_forecast_id")
        ),
        sa.PrimaryKeyConstraint("forecast_id", "place", name=op.f("pk_forecast_advice")),
    )
    op.create_table(
        "forecast_score",
        sa.Column("forecast_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("made_at", sa.String(length=27), nullable=False),
        sa.Column("tubes", sa.Integer(), nullable=False),
        sa.Column("reported", sa.Integer(), nullable=False),
        sa.Column("mape", sa.Float(), nullable=True),
        sa.Column("mape_left", sa.Float(), nullable=True),
        sa.Column("bias", sa.Float(), nullable=True),
        sa.Column("cover80", sa.Float(), nullable=True),
        sa.Column("cover95", sa.Float(), nullable=True),
        sa.Column("half_error", sa.Float(), nullable=True),
        sa.Column("cleared_error", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("forecast_id", name=op.f("pk_forecast_score")),
    )
    with op.batch_alter_table("forecast_score", schema=None) as batch_op:
        batch_op.create_index("ix_forecast_score_at", ["at"], unique=False)

    op.create_table(
        "duty_act",
        sa.Column("act_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("shift", sa.String(length=40), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("instrument", sa.String(length=80), nullable=False),
        sa.Column("since", sa.String(length=27), nullable=True),
        sa.Column("until", sa.String(length=27), nullable=True),
        sa.Column("ends", sa.Integer(), nullable=True),
        sa.Column("first_day", sa.String(length=10), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "act IN ('planned', 'absent', 'back', 'out', 'in')", name=op.f("ck_duty_act_act_known")
        ),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_duty_act")),
    )
    with op.batch_alter_table("duty_act", schema=None) as batch_op:
        batch_op.create_index("ix_duty_act_ends", ["ends"], unique=False)

    op.create_table(
        "duty_shift",
        sa.Column("act_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("starts", sa.Integer(), nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.Column("days", sa.String(length=7), nullable=False),
        sa.Column("spell", sa.Integer(), nullable=False),
        sa.Column("rest", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["act_id"], ["duty_act.act_id"], name=op.f("fk_duty_shift_act_id")),
        sa.PrimaryKeyConstraint("act_id", "place", name=op.f("pk_duty_shift")),
    )
    op.create_table(
        "duty_break",
        sa.Column("act_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("starts", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ends", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["act_id"], ["duty_act.act_id"], name=op.f("fk_duty_break_act_id")),
        sa.PrimaryKeyConstraint("act_id", "place", "starts", name=op.f("pk_duty_break")),
    )
    op.create_table(
        "duty_exception",
        sa.Column("act_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("shift", sa.String(length=40), nullable=False),
        sa.Column("people", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["act_id"], ["duty_act.act_id"], name=op.f("fk_duty_exception_act_id")),
        sa.PrimaryKeyConstraint("act_id", "place", name=op.f("pk_duty_exception")),
    )
    op.create_table(
        "duty_machine",
        sa.Column("act_id", sa.Integer(), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["act_id"], ["duty_act.act_id"], name=op.f("fk_duty_machine_act_id")),
        sa.PrimaryKeyConstraint("act_id", "place", name=op.f("pk_duty_machine")),
    )
    op.create_table(
        "idempotency",
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("request", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("reply", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("key", "account", name=op.f("pk_idempotency")),
    )
    op.create_table(
        "person",
        sa.Column("person_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("document_type", sa.String(length=24), nullable=False),
        sa.Column("document_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("document_masked", sa.String(length=40), nullable=False),
        sa.Column("document_hash", sa.String(length=64), nullable=False),
        sa.Column("phone_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("phone_masked", sa.String(length=24), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("person_id", name=op.f("pk_person")),
        sa.UniqueConstraint("document_hash", name=op.f("uq_person_document_hash")),
    )
    with op.batch_alter_table("person", schema=None) as batch_op:
        batch_op.create_index("ix_person_name", ["name"], unique=False)

    op.create_table(
        "plate",
        sa.Column("plate_id", sa.String(length=40), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("template", sa.String(length=40), nullable=False),
        sa.Column("assay", sa.Text(), nullable=False),
        sa.Column("assay_version", sa.Text(), nullable=False),
        sa.Column("lot", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("instrument", sa.String(length=80), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("started_at", sa.String(length=27), nullable=True),
        sa.Column("closed_at", sa.String(length=27), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "state IN ('planned', 'loaded', 'running', 'read', 'failed', 'void')",
            name=op.f("ck_plate_state_known"),
        ),
        sa.PrimaryKeyConstraint("plate_id", name=op.f("pk_plate")),
    )
    with op.batch_alter_table("plate", schema=None) as batch_op:
        batch_op.create_index("ix_plate_state", ["state", "created_at"], unique=False)

    op.create_table(
        "pool_member",
        sa.Column("pool_id", sa.String(length=40), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tube_id", sa.String(length=40), nullable=False),
        sa.PrimaryKeyConstraint("pool_id", "place", name=op.f("pk_pool_member")),
        sa.UniqueConstraint("pool_id", "tube_id", name=op.f("uq_pool_member_pool_id_tube_id")),
    )
    with op.batch_alter_table("pool_member", schema=None) as batch_op:
        batch_op.create_index("ix_pool_member_tube_id", ["tube_id"], unique=False)

    op.create_table(
        "recall",
        sa.Column("tube_id", sa.String(length=40), nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("opened_at", sa.String(length=27), nullable=False),
        sa.Column("due_at", sa.String(length=27), nullable=False),
        sa.Column("closed_at", sa.String(length=27), nullable=True),
        sa.Column("other_tube", sa.String(length=40), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("tube_id", "person_id", name=op.f("pk_recall")),
    )
    with op.batch_alter_table("recall", schema=None) as batch_op:
        batch_op.create_index("ix_recall_open", ["closed_at", "due_at"], unique=False)
        batch_op.create_index("ix_recall_person_id", ["person_id", "closed_at"], unique=False)

    op.create_table(
        "report",
        sa.Column("report_id", sa.String(length=24), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("amends", sa.String(length=24), nullable=False),
        sa.Column("tube_id", sa.String(length=40), nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=16), nullable=False),
        sa.Column("places", sa.Integer(), nullable=False),
        sa.Column("tests", sa.Integer(), nullable=False),
        sa.Column("assay", sa.Text(), nullable=False),
        sa.Column("assay_version", sa.Text(), nullable=False),
        sa.Column("pool_policy", sa.Text(), nullable=False),
        sa.Column("pool_policy_version", sa.Text(), nullable=False),
        sa.Column("sampled_at", sa.String(length=27), nullable=True),
        sa.Column("received_at", sa.String(length=27), nullable=True),
        sa.Column("issued_at", sa.String(length=27), nullable=False),
        sa.Column("due_at", sa.String(length=27), nullable=True),
        sa.Column("signed_by", sa.Text(), nullable=False),
        sa.Column("signed_names", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seal", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("report_id", name=op.f("pk_report")),
    )
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.create_index("ix_report_issued_at", ["issued_at"], unique=False)
        batch_op.create_index("ix_report_person_id", ["person_id"], unique=False)
        batch_op.create_index("ix_report_tube_id", ["tube_id"], unique=False)

    op.create_table(
        "rulebook",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("loaded_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", "version", name=op.f("pk_rulebook")),
    )
    op.create_table(
        "tube",
        sa.Column("tube_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=32), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("persons", sa.Integer(), nullable=False),
        sa.Column("tier", sa.String(length=32), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("sampled_at", sa.String(length=27), nullable=True),
        sa.Column("received_at", sa.String(length=27), nullable=True),
        sa.Column("promised_at", sa.String(length=27), nullable=True),
        sa.Column("due_at", sa.String(length=27), nullable=True),
        sa.Column("rack", sa.Text(), nullable=False),
        sa.Column("position", sa.Text(), nullable=False),
        sa.Column("hold_number", sa.Integer(), nullable=False),
        sa.Column("pool_id", sa.String(length=40), nullable=False),
        sa.Column("plate_id", sa.String(length=40), nullable=False),
        sa.Column("well", sa.String(length=4), nullable=False),
        sa.Column("assay", sa.Text(), nullable=False),
        sa.Column("test", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("result", sa.String(length=16), nullable=False),
        sa.Column("tests", sa.Integer(), nullable=False),
        sa.Column("signatures", sa.Integer(), nullable=False),
        sa.Column("open_recalls", sa.Integer(), nullable=False),
        sa.Column("open_aliquots", sa.Integer(), nullable=False),
        sa.Column("stored_at", sa.String(length=27), nullable=True),
        sa.Column("updated_at", sa.String(length=27), nullable=False),
        sa.CheckConstraint("kind IN ('single', 'mixed', 'pool', 'unknown')", name=op.f("ck_tube_kind_known")),
        sa.CheckConstraint(
            "state IN ('absent', 'registered', 'sealed', 'received', 'on_hold_unknown', 'on_hold_damaged', 'rejected', 'pooled', 'plated', 'running', 'resulted', 'awaiting_retest', 'awaiting_recollection', 'in_review', 'released', 'resolved', 'stored', 'discarded')",
            name=op.f("ck_tube_state_known"),
        ),
        sa.PrimaryKeyConstraint("tube_id", name=op.f("pk_tube")),
    )
    with op.batch_alter_table("tube", schema=None) as batch_op:
        batch_op.create_index("ix_tube_rack", ["rack", "position"], unique=False)
        batch_op.create_index(
            "ix_tube_state_due",
            ["state", "due_at", "tier", "promised_at", "kind", "site", "sampled_at"],
            unique=False,
        )
        batch_op.create_index(
            "ix_tube_worklist", ["state", sa.text("priority DESC"), "due_at", "tube_id"], unique=False
        )

    op.create_table(
        "file_status",
        sa.Column("file_id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("plate_id", sa.String(length=40), nullable=False),
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("decided_at", sa.String(length=27), nullable=True),
        sa.Column("decided_by", sa.String(length=80), nullable=False),
        sa.CheckConstraint(
            "state IN ('waiting', 'read', 'quarantined', 'dismissed')",
            name=op.f("ck_file_status_state_known"),
        ),
        sa.ForeignKeyConstraint(["file_id"], ["file.file_id"], name=op.f("fk_file_status_file_id")),
        sa.PrimaryKeyConstraint("file_id", name=op.f("pk_file_status")),
    )
    with op.batch_alter_table("file_status", schema=None) as batch_op:
        batch_op.create_index("ix_file_status_state", ["state"], unique=False)

    op.create_table(
        "plate_well",
        sa.Column("plate_id", sa.String(length=40), nullable=False),
        sa.Column("well", sa.String(length=4), nullable=False),
        sa.Column("tube_id", sa.String(length=40), nullable=True),
        sa.Column("control", sa.String(length=8), nullable=True),
        sa.Column("batch", sa.String(length=48), nullable=False),
        sa.Column("test", sa.String(length=16), nullable=False),
        sa.Column("targets", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "(tube_id IS NULL) <> (control IS NULL)", name=op.f("ck_plate_well_tube_or_control")
        ),
        sa.ForeignKeyConstraint(["plate_id"], ["plate.plate_id"], name=op.f("fk_plate_well_plate_id")),
        sa.PrimaryKeyConstraint("plate_id", "well", name=op.f("pk_plate_well")),
        sa.UniqueConstraint(
            "plate_id", "tube_id", "targets", name=op.f("uq_plate_well_plate_id_tube_id_targets")
        ),
    )
    with op.batch_alter_table("plate_well", schema=None) as batch_op:
        batch_op.create_index("ix_plate_well_tube_id", ["tube_id"], unique=False)

    op.create_table(
        "run",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("plate_id", sa.String(length=40), nullable=False),
        sa.Column("file_id", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=80), nullable=False),
        sa.Column("format", sa.String(length=40), nullable=False),
        sa.Column("instrument", sa.Text(), nullable=False),
        sa.Column("serial", sa.Text(), nullable=False),
        sa.Column("started_at", sa.String(length=27), nullable=True),
        sa.Column("ended_at", sa.String(length=27), nullable=True),
        sa.Column("read_at", sa.String(length=27), nullable=False),
        sa.Column("valid", sa.Boolean(), nullable=False),
        sa.Column("failed_batches", sa.Text(), nullable=False),
        sa.Column("verdict", sa.Text(), nullable=False),
        sa.Column("lot", sa.Text(), nullable=False),
        sa.Column("tested", sa.Integer(), nullable=False),
        sa.Column("alone", sa.Text(), nullable=False),
        sa.Column("inconclusive", sa.Integer(), nullable=False),
        sa.Column("invalid", sa.Integer(), nullable=False),
        sa.Column("quality", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["file_id"], ["file.file_id"], name=op.f("fk_run_file_id")),
        sa.ForeignKeyConstraint(["plate_id"], ["plate.plate_id"], name=op.f("fk_run_plate_id")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_run")),
    )
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.create_index("ix_run_plate_id", ["plate_id"], unique=False)
        batch_op.create_index("ix_run_read_at", ["read_at"], unique=False)

    op.create_table(
        "ticket",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("account", sa.String(length=80), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("expires_at", sa.String(length=27), nullable=False),
        sa.Column("method", sa.String(length=16), nullable=False),
        sa.Column("proved_at", sa.String(length=27), nullable=True),
        sa.Column("locked_at", sa.String(length=27), nullable=True),
        sa.Column("station", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["account"], ["account.name"], name=op.f("fk_ticket_account")),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_ticket")),
    )
    with op.batch_alter_table("ticket", schema=None) as batch_op:
        batch_op.create_index("ix_ticket_account", ["account"], unique=False)

    op.create_table(
        "station",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.Column("opened_at", sa.String(length=27), nullable=True),
        sa.Column("opened_by", sa.String(length=80), nullable=False),
        sa.Column("enrolled_at", sa.String(length=27), nullable=True),
        sa.Column("enrolled_by", sa.String(length=80), nullable=False),
        sa.Column("revoked_at", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_station")),
    )
    op.create_table(
        "attempt",
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=128), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("last_at", sa.String(length=27), nullable=False),
        sa.Column("until", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("what", "subject", name=op.f("pk_attempt")),
    )
    with op.batch_alter_table("attempt", schema=None) as batch_op:
        batch_op.create_index("ix_attempt_last_at", ["last_at"], unique=False)

    op.create_table(
        "admin_act",
        sa.Column("act_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("area", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("act", sa.String(length=24), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "area IN ('account', 'station', 'site', 'backup', 'rules')", name=op.f("ck_admin_act_area_known")
        ),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_admin_act")),
    )
    with op.batch_alter_table("admin_act", schema=None) as batch_op:
        batch_op.create_index("ix_admin_act_subject", ["area", "subject", "act_id"], unique=False)

    op.create_table(
        "disclosure",
        sa.Column("disclosure_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.CheckConstraint(
            "act IN ('unmask', 'contact', 'search', 'report')", name=op.f("ck_disclosure_act_known")
        ),
        sa.PrimaryKeyConstraint("disclosure_id", name=op.f("pk_disclosure")),
    )
    with op.batch_alter_table("disclosure", schema=None) as batch_op:
        batch_op.create_index("ix_disclosure_actor", ["actor", "disclosure_id"], unique=False)
        batch_op.create_index("ix_disclosure_person_id", ["person_id"], unique=False)

    op.create_table(
        "collection_site",
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("name_zh", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("contact", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_collection_site")),
    )
    op.create_table(
        "rule_draft",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("assay", sa.String(length=80), nullable=False),
        sa.Column("version", sa.String(length=40), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("proposed_at", sa.String(length=27), nullable=False),
        sa.Column("proposed_by", sa.String(length=80), nullable=False),
        sa.Column("closed_at", sa.String(length=27), nullable=True),
        sa.Column("closed_by", sa.String(length=80), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('', 'activated', 'withdrawn')", name=op.f("ck_rule_draft_outcome_known")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_rule_draft")),
    )
    op.create_table(
        "tube_person",
        sa.Column("tube_id", sa.String(length=40), nullable=False),
        sa.Column("place", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("person_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["person_id"], ["person.person_id"], name=op.f("fk_tube_person_person_id")),
        sa.PrimaryKeyConstraint("tube_id", "place", name=op.f("pk_tube_person")),
        sa.UniqueConstraint("tube_id", "person_id", name=op.f("uq_tube_person_tube_id_person_id")),
    )
    with op.batch_alter_table("tube_person", schema=None) as batch_op:
        batch_op.create_index("ix_tube_person_person_id", ["person_id"], unique=False)

    op.create_table(
        "quality_target",
        sa.Column("instrument", sa.String(length=80), nullable=False),
        sa.Column("assay", sa.String(length=80), nullable=False),
        sa.Column("lot", sa.String(length=80), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("target", sa.String(length=80), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("mean", sa.Float(), nullable=False),
        sa.Column("sd", sa.Float(), nullable=False),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_at", sa.String(length=27), nullable=False),
        sa.Column("set_by", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint(
            "instrument",
            "assay",
            "lot",
            "level",
            "target",
            "version",
            name=op.f("pk_quality_target"),
        ),
    )
    op.create_table(
        "live_read",
        sa.Column("device", sa.String(length=80), nullable=False),
        sa.Column("run", sa.String(length=256), nullable=False),
        sa.Column("dye", sa.String(length=64), nullable=False),
        sa.Column("cycle", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("plate_id", sa.String(length=40), nullable=False),
        sa.Column("wells", sa.Integer(), nullable=False),
        sa.Column("fluorescence", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("device", "run", "dye", "cycle", name=op.f("pk_live_read")),
    )
    with op.batch_alter_table("live_read", schema=None) as batch_op:
        batch_op.create_index("ix_live_read_plate_id", ["plate_id", "received_at"], unique=False)

    op.create_table(
        "quality_point",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("target", sa.String(length=80), nullable=False),
        sa.Column("instrument", sa.String(length=80), nullable=False),
        sa.Column("assay", sa.Text(), nullable=False),
        sa.Column("lot", sa.Text(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("value", sa.Float(), nullable=True),
        sa.Column("valid", sa.Boolean(), nullable=False),
        sa.Column("broken", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_quality_point_run_id")),
        sa.PrimaryKeyConstraint("run_id", "level", "target", name=op.f("pk_quality_point")),
    )
    with op.batch_alter_table("quality_point", schema=None) as batch_op:
        batch_op.create_index("ix_quality_point_series", ["instrument", "assay", "lot", "at"], unique=False)

    op.create_table(
        "reading",
        sa.Column("run_id", sa.String(length=64), nullable=False),
        sa.Column("well", sa.String(length=4), nullable=False),
        sa.Column("target", sa.String(length=80), nullable=False),
        sa.Column("dye", sa.String(length=24), nullable=False),
        sa.Column("tube_id", sa.String(length=40), nullable=True),
        sa.Column("control", sa.String(length=8), nullable=True),
        sa.Column("sample", sa.Text(), nullable=False),
        sa.Column("cq", sa.Float(), nullable=True),
        sa.Column("raw_cq", sa.Text(), nullable=False),
        sa.Column("curve", sa.String(length=12), nullable=False),
        sa.Column("call", sa.Text(), nullable=False),
        sa.Column("flags", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.run_id"], name=op.f("fk_reading_run_id")).ddl_if(
            dialect="sqlite"
        ),
        sa.PrimaryKeyConstraint("run_id", "well", "target", "dye", name=op.f("pk_reading")),
    )
    op.create_table(
        "print_job",
        sa.Column("job_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("printer", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("copies", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("sent_at", sa.String(length=27), nullable=True),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.CheckConstraint("state IN ('waiting', 'printed')", name=op.f("ck_print_job_state_known")),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_print_job")),
    )
    with op.batch_alter_table("print_job", schema=None) as batch_op:
        batch_op.create_index("ix_print_job_state", ["state", "job_id"], unique=False)

    op.create_table(
        "label_act",
        sa.Column("act_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("printer", sa.String(length=80), nullable=False),
        sa.Column("act", sa.String(length=8), nullable=False),
        sa.Column("copies", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.CheckConstraint("act IN ('first', 'again')", name=op.f("ck_label_act_act_known")),
        sa.ForeignKeyConstraint(["job_id"], ["print_job.job_id"], name=op.f("fk_label_act_job_id_print_job")),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_label_act")),
    )
    with op.batch_alter_table("label_act", schema=None) as batch_op:
        batch_op.create_index("ix_label_act_code", ["code", "act_id"], unique=False)
    # lists that were taken out, reagent lots, corrective actions
    op.create_table(
        "export_act",
        sa.Column("act_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("what", sa.String(length=40), nullable=False),
        sa.Column("form", sa.String(length=8), nullable=False),
        sa.Column("filters", sa.Text(), nullable=False),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("persons", sa.Boolean(), nullable=False),
        sa.CheckConstraint(
            "act IN ('export', 'person-search', 'wall-opened', 'wall-ended')",
            name=op.f("ck_export_act_act_known"),
        ),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_export_act")),
    )
    with op.batch_alter_table("export_act", schema=None) as batch_op:
        batch_op.create_index("ix_export_act_at", ["at"], unique=False)

    op.create_table(
        "lot",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("number", sa.String(length=80), nullable=False),
        sa.Column("assay", sa.Text(), nullable=False),
        sa.Column("received_at", sa.String(length=27), nullable=False),
        sa.Column("expires_at", sa.String(length=27), nullable=False),
        sa.Column("opened_at", sa.String(length=27), nullable=True),
        sa.Column("opened_by", sa.String(length=80), nullable=False),
        sa.Column("finished_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint("kind IN ('kit', 'extraction', 'control')", name=op.f("ck_lot_kind_known")),
        sa.PrimaryKeyConstraint("kind", "number", name=op.f("pk_lot")),
    )
    op.create_table(
        "lot_act",
        sa.Column("act_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("number", sa.String(length=80), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("plate_id", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "act IN ('received', 'opened', 'finished', 'used', 'overridden')",
            name=op.f("ck_lot_act_act_known"),
        ),
        sa.PrimaryKeyConstraint("act_id", name=op.f("pk_lot_act")),
    )
    with op.batch_alter_table("lot_act", schema=None) as batch_op:
        batch_op.create_index("ix_lot_act_lot", ["kind", "number", "act_id"], unique=False)
        batch_op.create_index("ix_lot_act_plate_id", ["plate_id"], unique=False)

    op.create_table(
        "corrective_note",
        sa.Column("action_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("act", sa.String(length=16), nullable=False),
        sa.Column("about", sa.String(length=16), nullable=False),
        sa.Column("subject", sa.String(length=200), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "act IN ('opened', 'noted', 'effect', 'closed', 'reopened')",
            name=op.f("ck_corrective_note_act_known"),
        ),
        sa.CheckConstraint(
            "about IN ('point', 'run', 'plate', 'alarm', 'lot')",
            name=op.f("ck_corrective_note_about_known"),
        ),
        sa.PrimaryKeyConstraint("action_id", "seq", name=op.f("pk_corrective_note")),
    )
    with op.batch_alter_table("corrective_note", schema=None) as batch_op:
        batch_op.create_index("ix_corrective_note_subject", ["about", "subject"], unique=False)

    for statement in guards(op.get_bind().dialect.name):
        op.execute(sa.text(statement))


def downgrade() -> None:
    """Take back."""
    with op.batch_alter_table("label_act", schema=None) as batch_op:
        batch_op.drop_index("ix_label_act_code")

    op.drop_table("label_act")
    with op.batch_alter_table("print_job", schema=None) as batch_op:
        batch_op.drop_index("ix_print_job_state")

    op.drop_table("print_job")
    for name in ("corrective_note", "lot_act", "lot", "export_act"):
        op.drop_table(name)
    with op.batch_alter_table("quality_point", schema=None) as batch_op:
        batch_op.drop_index("ix_quality_point_series")

    op.drop_table("quality_point")
    with op.batch_alter_table("live_read", schema=None) as batch_op:
        batch_op.drop_index("ix_live_read_plate_id")

    op.drop_table("live_read")
    op.drop_table("quality_target")
    op.drop_table("reading")
    with op.batch_alter_table("tube_person", schema=None) as batch_op:
        batch_op.drop_index("ix_tube_person_person_id")

    op.drop_table("tube_person")
    for name in ("rule_draft", "collection_site", "disclosure", "admin_act", "attempt", "station"):
        op.drop_table(name)
    op.drop_table("ticket")
    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.drop_index("ix_run_read_at")
        batch_op.drop_index("ix_run_plate_id")

    op.drop_table("run")
    with op.batch_alter_table("plate_well", schema=None) as batch_op:
        batch_op.drop_index("ix_plate_well_tube_id")

    op.drop_table("plate_well")
    with op.batch_alter_table("file_status", schema=None) as batch_op:
        batch_op.drop_index("ix_file_status_state")

    op.drop_table("file_status")
    with op.batch_alter_table("tube", schema=None) as batch_op:
        batch_op.drop_index("ix_tube_worklist")
        batch_op.drop_index("ix_tube_state_due")
        batch_op.drop_index("ix_tube_rack")

    op.drop_table("tube")
    op.drop_table("rulebook")
    with op.batch_alter_table("report", schema=None) as batch_op:
        batch_op.drop_index("ix_report_tube_id")
        batch_op.drop_index("ix_report_person_id")
        batch_op.drop_index("ix_report_issued_at")

    op.drop_table("report")
    with op.batch_alter_table("recall", schema=None) as batch_op:
        batch_op.drop_index("ix_recall_person_id")
        batch_op.drop_index("ix_recall_open")

    op.drop_table("recall")
    with op.batch_alter_table("pool_member", schema=None) as batch_op:
        batch_op.drop_index("ix_pool_member_tube_id")

    op.drop_table("pool_member")
    with op.batch_alter_table("plate", schema=None) as batch_op:
        batch_op.drop_index("ix_plate_state")

    op.drop_table("plate")
    with op.batch_alter_table("person", schema=None) as batch_op:
        batch_op.drop_index("ix_person_name")

    op.drop_table("person")
    op.drop_table("duty_machine")
    op.drop_table("duty_exception")
    op.drop_table("duty_break")
    op.drop_table("duty_shift")
    with op.batch_alter_table("duty_act", schema=None) as batch_op:
        batch_op.drop_index("ix_duty_act_ends")

    op.drop_table("duty_act")
    with op.batch_alter_table("forecast_score", schema=None) as batch_op:
        batch_op.drop_index("ix_forecast_score_at")

    op.drop_table("forecast_score")
    op.drop_table("forecast_advice")
    with op.batch_alter_table("forecast_tube", schema=None) as batch_op:
        batch_op.drop_index("ix_forecast_tube_tube_id")

    op.drop_table("forecast_tube")
    with op.batch_alter_table("forecast", schema=None) as batch_op:
        batch_op.drop_index("ix_forecast_at")

    op.drop_table("forecast")
    op.drop_table("idempotency")
    with op.batch_alter_table("file", schema=None) as batch_op:
        batch_op.drop_index("ix_file_run")

    op.drop_table("file")
    op.drop_table("event")
    with op.batch_alter_table("enrolment", schema=None) as batch_op:
        batch_op.drop_index("ix_enrolment_device")

    op.drop_table("enrolment")
    with op.batch_alter_table("device_act", schema=None) as batch_op:
        batch_op.drop_index("ix_device_act_public_key")
        batch_op.drop_index("ix_device_act_device")

    op.drop_table("device_act")
    op.drop_table("act_chain")
    op.drop_table("device")
    op.drop_table("counter")
    op.drop_table("chain")
    with op.batch_alter_table("amendment", schema=None) as batch_op:
        batch_op.drop_index("ix_amendment_open")

    op.drop_table("amendment")
    with op.batch_alter_table("alarm", schema=None) as batch_op:
        batch_op.drop_index("ix_alarm_open")

    op.drop_table("alarm")
    op.drop_table("account")
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION refuse_change()")
        op.execute("DROP FUNCTION IF EXISTS refuse_stray_reading()")
