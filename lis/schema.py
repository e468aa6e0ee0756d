"""All tables, on SQLite and PostgreSQL alike, and the triggers that keep evidence as it was written.

Times are fixed-width ISO 8601 text in UTC (:func:`lis.clock.to_text`): the same bytes on both
databases, sortable, and exactly what the log's hash covers. ``event``, ``reading``, ``file`` content
and ``report`` are append-only; UPDATE and DELETE are refused by triggers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from lis.clock import from_text, to_text
from lis.events import COLUMNS, NUMBERS, TIMES, TubeKind
from lis.tube import TubeState

Serial = BigInteger().with_variant(Integer, "sqlite")
"""A city writes more than 2^31 events within a year."""

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class Moment(TypeDecorator[datetime]):
    """A timezone-aware moment, stored as the text of :func:`lis.clock.to_text`."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | str | None, dialect: Dialect) -> str | None:
        """Python to database."""
        del dialect
        return to_text(value) if isinstance(value, datetime) else value

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        """Database to Python."""
        del dialect
        return None if value is None else from_text(value)


def _event_column(name: str) -> Column[Any]:
    if name in TIMES:
        return Column(name, Moment)
    return Column(name, Integer if name in NUMBERS else Text)


SHARES: Final = ("p025", "p10", "p50", "p90", "p975")
"""Quantiles that are kept of a forecast: the median, and the bands of 80 and 95 %."""


MEASURES: Final = (
    *("mape", "mape_left", "bias", "cover80", "cover95"),
    *("half_error", "cleared_error"),
)
"""What is kept of how good a forecast was; see `sim.score.Score`."""


def _one_of(column: str, values: list[str]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


event = Table(
    "event",
    metadata,
    Column("event_id", Serial, primary_key=True, autoincrement=False),
    Column("tube_id", String(40), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    *(_event_column(name) for name in COLUMNS),
    Column("hash", String(64), nullable=False),
    UniqueConstraint("tube_id", "seq"),
)
"""The log: one row a fact, each linked to the row before it by its hash."""

Index(
    "ix_event_worklist",
    event.c.worklist,
    sqlite_where=event.c.worklist.is_not(None),
    postgresql_where=event.c.worklist.is_not(None),
)

chain = Table(
    "chain",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1", name="single"), primary_key=True),
    Column("event_id", Serial, nullable=False),
    Column("hash", String(64), nullable=False),
    Column("at", Moment, nullable=False),
)
"""The head of the log: its last row's number, hash and time. Locking it makes writers take turns."""

tube = Table(
    "tube",
    metadata,
    Column("tube_id", String(40), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("state", String(32), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("capacity", Integer, nullable=False),
    Column("persons", Integer, nullable=False),
    Column("tier", String(32), nullable=False),
    Column("site", Text, nullable=False),
    Column("sampled_at", Moment),
    Column("received_at", Moment),
    Column("promised_at", Moment),
    Column("due_at", Moment),
    Column("rack", Text, nullable=False),
    Column("position", Text, nullable=False),
    Column("hold_number", Integer, nullable=False),
    Column("pool_id", String(40), nullable=False),
    Column("plate_id", String(40), nullable=False),
    Column("well", String(4), nullable=False),
    Column("assay", Text, nullable=False),
    Column("test", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("rule", Text, nullable=False),
    Column("result", String(16), nullable=False),
    Column("tests", Integer, nullable=False),
    Column("signatures", Integer, nullable=False),
    Column("open_recalls", Integer, nullable=False),
    Column("open_aliquots", Integer, nullable=False),
    Column("stored_at", Moment),
    Column("updated_at", Moment, nullable=False),
    _one_of("kind", [kind.value for kind in TubeKind]),
    _one_of("state", [state.value for state in TubeState]),
    Index("ix_tube_state_due", "state", "due_at", "tier", "promised_at", "kind", "site", "sampled_at"),
    Index("ix_tube_rack", "rack", "position"),
)
"""Where every tube stands: the fold of the log, written only by the ledger."""

Index("ix_tube_worklist", tube.c.state, tube.c.priority.desc(), tube.c.due_at, tube.c.tube_id)

person = Table(
    "person",
    metadata,
    Column("person_id", String(40), primary_key=True),
    Column("name", Text, nullable=False),
    Column("document_type", String(24), nullable=False),
    Column("document_sealed", LargeBinary, nullable=False),
    Column("document_masked", String(40), nullable=False),
    Column("document_hash", String(64), nullable=False, unique=True),
    Column("phone_sealed", LargeBinary, nullable=False),
    Column("phone_masked", String(24), nullable=False),
    Column("created_at", Moment, nullable=False),
    Index("ix_person_name", "name"),
)

tube_person = Table(
    "tube_person",
    metadata,
    Column("tube_id", String(40), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("person_id", ForeignKey("person.person_id"), nullable=False),
    UniqueConstraint("tube_id", "person_id"),
    Index("ix_tube_person_person_id", "person_id"),
)
"""Who is in which tube: follows from the log like the tubes, and is compared with it like them."""

pool_member = Table(
    "pool_member",
    metadata,
    Column("pool_id", String(40), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("tube_id", String(40), nullable=False),
    UniqueConstraint("pool_id", "tube_id"),
    Index("ix_pool_member_tube_id", "tube_id"),
)

recall = Table(
    "recall",
    metadata,
    Column("tube_id", String(40), primary_key=True),
    Column("person_id", String(40), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("due_at", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("other_tube", String(40), nullable=False, default=""),
    Column("result", String(16), nullable=False, default=""),
    Index("ix_recall_open", "closed_at", "due_at"),
    Index("ix_recall_person_id", "person_id", "closed_at"),
)
"""One re-collection task per person of a tube that only a new specimen can answer."""

plate = Table(
    "plate",
    metadata,
    Column("plate_id", String(40), primary_key=True),
    Column("size", Integer, nullable=False),
    Column("template", String(40), nullable=False),
    Column("assay", Text, nullable=False),
    Column("assay_version", Text, nullable=False),
    Column("lot", Text, nullable=False, default=""),
    Column("state", String(16), nullable=False),
    Column("instrument", String(80), nullable=False, default=""),
    Column("created_at", Moment, nullable=False),
    Column("created_by", String(80), nullable=False),
    Column("started_at", Moment),
    Column("closed_at", Moment),
    Column("reason", Text, nullable=False, default=""),
    _one_of("state", ["planned", "loaded", "running", "read", "failed", "void"]),
    Index("ix_plate_state", "state", "created_at"),
)

plate_well = Table(
    "plate_well",
    metadata,
    Column("plate_id", ForeignKey("plate.plate_id"), primary_key=True),
    Column("well", String(4), primary_key=True),
    Column("tube_id", String(40)),
    Column("control", String(8)),
    Column("batch", String(48), nullable=False),
    Column("test", String(16), nullable=False, default=""),
    Column("targets", Text, nullable=False, default=""),
    CheckConstraint("(tube_id IS NULL) <> (control IS NULL)", name="tube_or_control"),
    UniqueConstraint("plate_id", "tube_id", "targets"),
    Index("ix_plate_well_tube_id", "tube_id"),
)
"""What was pipetted where. ``batch`` is the extraction batch: a scope of its own beside the run.
``targets`` (comma-separated) is empty where one well tests all targets of the assay; kits with one
target per well give a tube one row per target."""

file = Table(
    "file",
    metadata,
    Column("file_id", String(64), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("device", String(80), nullable=False),
    Column("run", Text, nullable=False),
    Column("plate_id", String(40), nullable=False),
    Column("name", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("produced_at", Text, nullable=False, default=""),
    UniqueConstraint("device", "run", "sha256"),
    Index("ix_file_run", "device", "run"),
)
"""The inbox: every byte an instrument ever sent, kept as it came. Append-only. ``size`` and ``sha256`` are of
what came; ``content`` is that in one frame of Zstandard (:mod:`lis.packing`)."""

file_status = Table(
    "file_status",
    metadata,
    Column("file_id", ForeignKey("file.file_id"), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("code", String(40), nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    Column("plate_id", String(40), nullable=False, default=""),
    Column("run_id", String(64), nullable=False, default=""),
    Column("decided_at", Moment),
    Column("decided_by", String(80), nullable=False, default=""),
    _one_of("state", ["waiting", "read", "quarantined", "dismissed"]),
    Index("ix_file_status_state", "state"),
)
"""What became of a file; a quarantined one waits for a person and is never dropped."""

run = Table(
    "run",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("plate_id", ForeignKey("plate.plate_id"), nullable=False),
    Column("file_id", ForeignKey("file.file_id"), nullable=False),
    Column("device", String(80), nullable=False),
    Column("format", String(40), nullable=False),
    Column("instrument", Text, nullable=False),
    Column("serial", Text, nullable=False),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("read_at", Moment, nullable=False),
    Column("valid", Boolean, nullable=False),
    Column("failed_batches", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("lot", Text, nullable=False, default=""),
    Column("tested", Integer, nullable=False, default=0),
    Column("alone", Text, nullable=False, default=""),
    Column("inconclusive", Integer, nullable=False, default=0),
    Column("invalid", Integer, nullable=False, default=0),
    Column("quality", Text, nullable=False, default=""),
    Index("ix_run_plate_id", "plate_id"),
    Index("ix_run_read_at", "read_at"),
)
"""A file that was taken over. ``tested`` specimens, of which so many ended ``inconclusive`` or ``invalid``;
``alone`` is target:count of single targets; ``quality`` names the control charts that reject the run."""

live_read = Table(
    "live_read",
    metadata,
    Column("device", String(80), primary_key=True),
    Column("run", String(256), primary_key=True),
    Column("dye", String(64), primary_key=True),
    Column("cycle", Integer, primary_key=True, autoincrement=False),
    Column("plate_id", String(40), nullable=False),
    Column("wells", Integer, nullable=False),
    Column("fluorescence", LargeBinary, nullable=False),
    Column("received_at", Moment, nullable=False),
    Index("ix_live_read_plate_id", "plate_id", "received_at"),
)
"""What a running plate has measured so far, cycle by cycle: for eyes and planning, never a result."""

quality_point = Table(
    "quality_point",
    metadata,
    Column("run_id", ForeignKey("run.run_id"), primary_key=True),
    Column("level", String(8), primary_key=True),
    Column("target", String(80), primary_key=True),
    Column("instrument", String(80), nullable=False),
    Column("assay", Text, nullable=False),
    Column("lot", Text, nullable=False),
    Column("at", Moment, nullable=False),
    Column("value", Float),
    Column("valid", Boolean, nullable=False),
    Column("broken", Text, nullable=False),
    Index("ix_quality_point_series", "instrument", "assay", "lot", "at"),
)
"""One control of one run: the median Cq of its wells, NULL where none came up. ``broken`` (comma-separated)
are the Westgard rules that this point broke when it was read, by the values then in force. Append-only."""

quality_target = Table(
    "quality_target",
    metadata,
    Column("instrument", String(80), primary_key=True),
    Column("assay", String(80), primary_key=True),
    Column("lot", String(80), primary_key=True),
    Column("level", String(8), primary_key=True),
    Column("target", String(80), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("mean", Float, nullable=False),
    Column("sd", Float, nullable=False),
    Column("runs", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("set_at", Moment, nullable=False),
    Column("set_by", String(80), nullable=False),
)
"""What a control should measure, as a named person set it; the newest version is in force. Append-only."""

reading = Table(
    "reading",
    metadata,
    Column("run_id", String(64), primary_key=True),
    Column("well", String(4), primary_key=True),
    Column("target", String(80), primary_key=True),
    Column("dye", String(24), primary_key=True),
    Column("tube_id", String(40)),
    Column("control", String(8)),
    Column("sample", Text, nullable=False),
    Column("cq", Float),
    Column("raw_cq", Text, nullable=False),
    Column("curve", String(12), nullable=False),
    Column("call", Text, nullable=False),
    Column("flags", Text, nullable=False),
    ForeignKeyConstraint(["run_id"], ["run.run_id"], info={"only": "sqlite"}).ddl_if(dialect="sqlite"),
)
"""What the cycler said of one target in one well of one run. Append-only. A reading without its run is
refused: on PostgreSQL by a trigger (:func:`guards`). Those of a tube are found by the plate map: an index of
their own would be one more entry for each of the 1,152 readings of a plate of 384 wells."""

report = Table(
    "report",
    metadata,
    Column("report_id", String(24), primary_key=True),
    Column("version", Integer, nullable=False),
    Column("amends", String(24), nullable=False, default=""),
    Column("tube_id", String(40), nullable=False),
    Column("person_id", String(40), nullable=False),
    Column("result", String(16), nullable=False),
    Column("mode", String(16), nullable=False),
    Column("places", Integer, nullable=False),
    Column("tests", Integer, nullable=False),
    Column("assay", Text, nullable=False),
    Column("assay_version", Text, nullable=False),
    Column("pool_policy", Text, nullable=False, default=""),
    Column("pool_policy_version", Text, nullable=False, default=""),
    Column("sampled_at", Moment),
    Column("received_at", Moment),
    Column("issued_at", Moment, nullable=False),
    Column("due_at", Moment),
    Column("signed_by", Text, nullable=False),
    Column("signed_names", Text, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("seal", String(64), nullable=False),
    Index("ix_report_person_id", "person_id"),
    Index("ix_report_tube_id", "tube_id"),
    Index("ix_report_issued_at", "issued_at"),
)
"""Issued reports, never changed: an amendment is a new row that names the one it corrects. ``due_at`` is
what was promised; ``signed_by`` are accounts, ``signed_names`` (a line each) the names they bore then;
``pool_policy`` is the jurisdiction's on tests of several persons, and empty on those of one."""

amendment = Table(
    "amendment",
    metadata,
    Column("tube_id", String(40), primary_key=True),
    Column("amends", String(24), primary_key=True),
    Column("result", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("signers", Text, nullable=False),
    Column("opened_at", Moment, nullable=False),
    Column("closed_at", Moment),
    Column("outcome", String(24), nullable=False),
    Index("ix_amendment_open", "closed_at", "opened_at"),
)
"""The last proposal to correct a report. ``signers`` (comma-separated) are the accounts that asked for
it; ``outcome`` is empty while it is open, then ``withdrawn`` or the number of the new report."""

rulebook = Table(
    "rulebook",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("name", String(80), primary_key=True),
    Column("version", String(40), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("content", Text, nullable=False),
    Column("loaded_at", Moment, nullable=False),
)
"""Every rule file that ever spoke, as it was: old versions stay loadable."""

account = Table(
    "account",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("full_name", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("password", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("site", String(40), nullable=False, default=""),
    Column("badge", String(64), unique=True),
    Column("pin", Text, nullable=False, default=""),
    Column("must_change", Boolean, nullable=False, default=False),
    _one_of(
        "role",
        ["technician", "reviewer", "manager", "quality", "administrator", "collection", "instrument"],
    ),
)
"""``password`` and ``pin`` (empty: none) are argon2id hashes, ``badge`` is a keyed hash; ``must_change``: the
password was set by somebody else. Who works at a collection ``site`` sees that site alone."""

ticket = Table(
    "ticket",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("account", ForeignKey("account.name"), nullable=False),
    Column("purpose", String(16), nullable=False),
    Column("csrf", String(64), nullable=False, default=""),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("method", String(16), nullable=False, default="password"),
    Column("proved_at", Moment),
    Column("locked_at", Moment),
    Column("station", String(64), nullable=False, default=""),
    Column("address", String(64), nullable=False, default=""),
    Index("ix_ticket_account", "account"),
)
"""Sign-ins and access tokens; only the digest of the secret is stored. ``proved_at`` is when its holder last
gave a password or PIN; while ``locked_at`` is set it opens nothing."""

station = Table(
    "station",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", Text, nullable=False, default=""),
    Column("created_at", Moment, nullable=False),
    Column("opened_at", Moment),
    Column("opened_by", String(80), nullable=False, default=""),
    Column("enrolled_at", Moment),
    Column("enrolled_by", String(80), nullable=False, default=""),
    Column("revoked_at", Moment),
)
"""Browsers at which somebody signed in with a password (``opened_at``), and those that are enrolled for good:
only there a badge with a PIN opens anything. Known by the digest of a secret in a cookie."""

attempt = Table(
    "attempt",
    metadata,
    Column("what", String(16), primary_key=True),
    Column("subject", String(128), primary_key=True),
    Column("count", Integer, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("until", Moment, nullable=False),
    Index("ix_attempt_last_at", "last_at"),
)
"""Wrong passwords and PINs, by name and by address; nobody may try again before ``until``."""

admin_act = Table(
    "admin_act",
    metadata,
    Column("act_id", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("area", String(16), nullable=False),
    Column("subject", String(80), nullable=False),
    Column("act", String(24), nullable=False),
    Column("detail", Text, nullable=False, default=""),
    Column("hash", String(64), nullable=False),
    _one_of("area", ["account", "station", "site", "backup", "rules"]),
    Index("ix_admin_act_subject", "area", "subject", "act_id"),
)
"""Who changed what about accounts, stations, sites, rules and copies, and when: numbered and linked
as ``device_act`` is. Append-only."""

disclosure = Table(
    "disclosure",
    metadata,
    Column("disclosure_id", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("act", String(16), nullable=False),
    Column("person_id", String(40), nullable=False, default=""),
    Column("subject", String(80), nullable=False),
    Column("reason", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    _one_of("act", ["unmask", "contact", "search", "report"]),
    Index("ix_disclosure_person_id", "person_id"),
    Index("ix_disclosure_actor", "actor", "disclosure_id"),
)
"""Who saw whose personal data in clear, when and why, numbered and linked as ``device_act`` is; exports are
in ``export_act``. Append-only."""

collection_site = Table(
    "collection_site",
    metadata,
    Column("code", String(40), primary_key=True),
    Column("name_zh", Text, nullable=False),
    Column("name_en", Text, nullable=False),
    Column("contact", Text, nullable=False, default=""),
    Column("active", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
)
"""Where swabs are taken; tubes name their site by its code."""

rule_draft = Table(
    "rule_draft",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("assay", String(80), nullable=False),
    Column("version", String(40), nullable=False),
    Column("content", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("proposed_at", Moment, nullable=False),
    Column("proposed_by", String(80), nullable=False),
    Column("closed_at", Moment),
    Column("closed_by", String(80), nullable=False, default=""),
    Column("outcome", String(16), nullable=False, default=""),
    _one_of("outcome", ["", "activated", "withdrawn"]),
)
"""Rules that somebody proposed to put in force; a second person activates or withdraws them."""

device = Table(
    "device",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("kind", String(40), nullable=False),
    Column("serial", Text, nullable=False, default=""),
    Column("public_key", String(40), unique=True),
    Column("key_until", Moment),
    Column("enrolled_at", Moment, nullable=False),
    Column("enrolled_by", String(80), nullable=False),
    Column("revoked_at", Moment),
    Column("last_seen_at", Moment),
    Column("agent", String(64), nullable=False, default=""),
)
"""What sends files by itself. A device without a key waits for its agent to enrol; ``key_until`` ends a
key, ``agent`` is the version its agent said last."""

enrolment = Table(
    "enrolment",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("device", ForeignKey("device.name"), nullable=False),
    Column("issued_at", Moment, nullable=False),
    Column("issued_by", String(80), nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("cancelled_at", Moment),
    Column("used_at", Moment),
    Column("public_key", String(40), nullable=False, default=""),
    Index("ix_enrolment_device", "device"),
)
"""One-time codes; only the SHA-256 of the public key that a code's secret makes is stored. A used one
says with which key."""

device_act = Table(
    "device_act",
    metadata,
    Column("act_id", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("device", String(80), nullable=False),
    Column("act", String(16), nullable=False),
    Column("public_key", String(40), nullable=False, default=""),
    Column("detail", Text, nullable=False),
    Column("hash", String(64), nullable=False),
    _one_of("act", ["added", "code", "cancelled", "enrolled", "revoked", "expiry", "serial"]),
    Index("ix_device_act_device", "device", "act_id"),
    Index("ix_device_act_public_key", "public_key"),
)
"""Who did what to a device, and when: numbered from 1, each row linked to the row before it by its hash.
Append-only."""

act_chain = Table(
    "act_chain",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("number", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
    _one_of("name", ["device_act", "admin_act", "disclosure"]),
)
"""The end of each chain of acts, so that a deleted last row is missed."""

print_job = Table(
    "print_job",
    metadata,
    Column("job_id", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("printer", String(80), nullable=False),
    Column("kind", String(8), nullable=False),
    Column("code", String(40), nullable=False),
    Column("copies", Integer, nullable=False),
    Column("content", Text, nullable=False),
    Column("state", String(8), nullable=False),
    Column("tries", Integer, nullable=False),
    Column("sent_at", Moment),
    Column("trouble", Text, nullable=False, default=""),
    _one_of("state", ["waiting", "printed"]),
    Index("ix_print_job_state", "state", "job_id"),
)
"""One label for one printer, kept before it is sent; ``content`` is the ZPL, empty where a browser prints."""

label_act = Table(
    "label_act",
    metadata,
    Column("act_id", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("code", String(40), nullable=False),
    Column("job_id", ForeignKey("print_job.job_id"), nullable=False),
    Column("printer", String(80), nullable=False),
    Column("act", String(8), nullable=False),
    Column("copies", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    _one_of("act", ["first", "again"]),
    Index("ix_label_act_code", "code", "act_id"),
)
"""Every printing of a label of a tube, pool or plate; ``reason`` says why again. Append-only."""

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", String(120), primary_key=True),
    Column("account", String(80), primary_key=True),
    Column("request", String(64), nullable=False),
    Column("status", Integer, nullable=False),
    Column("reply", Text, nullable=False),
    Column("at", Moment, nullable=False),
)

alarm = Table(
    "alarm",
    metadata,
    Column("alarm_id", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("code", String(40), nullable=False),
    Column("subject", String(80), nullable=False),
    Column("sentence", Text, nullable=False),
    Column("cleared_at", Moment),
    Column("cleared_by", String(80), nullable=False, default=""),
    Index("ix_alarm_open", "cleared_at", "at"),
)

counter = Table(
    "counter",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", Integer, nullable=False),
)
"""Serial numbers that must never repeat: hold tray, pools, plates, reports."""

forecast = Table(
    "forecast",
    metadata,
    Column("forecast_id", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("made_by", String(80), nullable=False),
    Column("replications", Integer, nullable=False),
    Column("seed", Integer, nullable=False),
    Column("backlog", Integer, nullable=False),
    Column("breaches", Float, nullable=False),
    *(Column(f"{what}_{share}", Moment, nullable=False) for what in ("half", "cleared") for share in SHARES),
    Column("by_reference", Text, nullable=False),
    Index("ix_forecast_at", "at"),
)
"""A forecast of all tubes without a report at ``at``, and when half and all of them are reported.
``by_reference`` (comma-separated) are the parameters that the laboratory's own past said too little of."""

forecast_tube = Table(
    "forecast_tube",
    metadata,
    Column("forecast_id", ForeignKey("forecast.forecast_id"), primary_key=True),
    Column("tube_id", String(40), primary_key=True),
    Column("due", Moment),
    *(Column(share, Moment, nullable=False) for share in SHARES),
    Column("risk", Float, nullable=False),
    Index("ix_forecast_tube_tube_id", "tube_id", "forecast_id"),
)
"""When one tube was foreseen to be reported, and its risk of missing ``due``. Append-only."""

forecast_advice = Table(
    "forecast_advice",
    metadata,
    Column("forecast_id", ForeignKey("forecast.forecast_id"), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("code", String(24), nullable=False),
    Column("step", String(40), nullable=False),
    Column("fewer_late", Float, nullable=False),
    Column("low", Float, nullable=False),
    Column("high", Float, nullable=False),
    Column("sooner", Float, nullable=False),
)
"""What would have helped, the most helpful first; ``sooner`` in minutes. Append-only."""

forecast_score = Table(
    "forecast_score",
    metadata,
    Column("forecast_id", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("made_at", Moment, nullable=False),
    Column("tubes", Integer, nullable=False),
    Column("reported", Integer, nullable=False),
    *(Column(name, Float) for name in MEASURES),
    Index("ix_forecast_score_at", "at"),
)
"""What became of forecasts that were deleted since. Append-only; a measure that cannot be told is NULL."""

duty_act = Table(
    "duty_act",
    metadata,
    Column("act_id", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("act", String(16), nullable=False),
    Column("role", String(16), nullable=False, default=""),
    Column("shift", String(40), nullable=False, default=""),
    Column("people", Integer, nullable=False, default=0),
    Column("instrument", String(80), nullable=False, default=""),
    Column("since", Moment),
    Column("until", Moment),
    Column("ends", Integer),
    Column("first_day", String(10), nullable=False, default=""),
    Column("reason", Text, nullable=False, default=""),
    _one_of("act", ["planned", "absent", "back", "out", "in"]),
    Index("ix_duty_act_ends", "ends"),
)
"""What was said of who is on and what is out of service: a plan from ``first_day`` on, people absent, an
instrument out; ``back`` and ``in`` end the act numbered ``ends``. Append-only."""

duty_shift = Table(
    "duty_shift",
    metadata,
    Column("act_id", ForeignKey("duty_act.act_id"), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("role", String(16), nullable=False),
    Column("name", String(40), nullable=False),
    Column("starts", Integer, nullable=False),
    Column("ends", Integer, nullable=False),
    Column("people", Integer, nullable=False),
    Column("days", String(7), nullable=False),
    Column("spell", Integer, nullable=False),
    Column("rest", Integer, nullable=False),
)
"""One shift of a plan: minutes of the local day; ``days`` has a 1 for every day of the week, Monday first."""

duty_break = Table(
    "duty_break",
    metadata,
    Column("act_id", ForeignKey("duty_act.act_id"), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("starts", Integer, primary_key=True, autoincrement=False),
    Column("ends", Integer, nullable=False),
)
"""A break of a shift, in minutes after its start. Append-only."""

duty_exception = Table(
    "duty_exception",
    metadata,
    Column("act_id", ForeignKey("duty_act.act_id"), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("day", String(10), nullable=False),
    Column("role", String(16), nullable=False),
    Column("shift", String(40), nullable=False),
    Column("people", Integer, nullable=False),
)
"""Another number of people for one shift on one day. Append-only."""

duty_machine = Table(
    "duty_machine",
    metadata,
    Column("act_id", ForeignKey("duty_act.act_id"), primary_key=True),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("name", String(40), nullable=False),
    Column("kind", String(16), nullable=False),
)
"""A machine that plates are prepared with, as a plan names it. Append-only."""

# -- lists that were taken out, reagent lots, corrective actions ------------------------------------

export_act = Table(
    "export_act",
    metadata,
    Column("act_id", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("act", String(16), nullable=False),
    Column("what", String(40), nullable=False),
    Column("form", String(8), nullable=False),
    Column("filters", Text, nullable=False),
    Column("row_count", Integer, nullable=False),
    Column("persons", Boolean, nullable=False),
    _one_of("act", ["export", "person-search", "wall-opened", "wall-ended"]),
    Index("ix_export_act_at", "at"),
)
"""Who took which list out (``form`` csv or xlsx), how many rows, whether persons could be read in it; who
looked for a person; who opened a wall. Append-only."""

lot = Table(
    "lot",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("number", String(80), primary_key=True),
    Column("assay", Text, nullable=False),
    Column("received_at", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Column("opened_at", Moment),
    Column("opened_by", String(80), nullable=False, default=""),
    Column("finished_at", Moment),
    _one_of("kind", ["kit", "extraction", "control"]),
)
"""The reagent register: what ``lot_act`` says of each lot now. ``expires_at`` is the first moment at which
it must not be used; ``assay`` is empty where a lot serves every assay."""

lot_act = Table(
    "lot_act",
    metadata,
    Column("act_id", Integer, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("number", String(80), nullable=False),
    Column("act", String(16), nullable=False),
    Column("plate_id", String(40), nullable=False, default=""),
    Column("detail", Text, nullable=False),
    _one_of("act", ["received", "opened", "finished", "used", "overridden"]),
    Index("ix_lot_act_lot", "kind", "number", "act_id"),
    Index("ix_lot_act_plate_id", "plate_id"),
)
"""Who did what with a lot; ``used`` and ``overridden`` name the plate. Append-only."""

corrective_note = Table(
    "corrective_note",
    metadata,
    Column("action_id", Integer, primary_key=True, autoincrement=False),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Moment, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("act", String(16), nullable=False),
    Column("about", String(16), nullable=False),
    Column("subject", String(200), nullable=False),
    Column("detail", Text, nullable=False),
    _one_of("act", ["opened", "noted", "effect", "closed", "reopened"]),
    _one_of("about", ["point", "run", "plate", "alarm", "lot"]),
    Index("ix_corrective_note_subject", "about", "subject"),
)
"""What was done about a chart point, run, plate, alarm or lot, note by note; a second person closes it.
Append-only."""

EVIDENCE: Final = (
    *("event", "file", "reading", "report", "rulebook"),
    *("quality_point", "quality_target", "device_act", "label_act"),
    *("admin_act", "disclosure"),
    *("forecast_score", "duty_act", "duty_shift", "duty_break", "duty_exception", "duty_machine"),
    *("export_act", "lot_act", "corrective_note"),
)
"""Tables whose rows are never changed and never deleted."""

PASSING: Final = ("forecast", "forecast_tube", "forecast_advice")
"""Tables whose rows are never changed; they are deleted after some days, when only their score is kept."""


_ASKED_ONCE: Final = (
    (
        "CREATE FUNCTION refuse_stray_reading() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN "
        "IF EXISTS (SELECT FROM (SELECT DISTINCT run_id FROM fresh) AS named "
        "WHERE NOT EXISTS (SELECT FROM run WHERE run.run_id = named.run_id)) THEN "
        "RAISE foreign_key_violation USING MESSAGE = 'reading of a run that is not there'; "
        "END IF; RETURN NULL; END$$"
    ),
    (
        "CREATE TRIGGER reading_of_a_run AFTER INSERT ON reading REFERENCING NEW TABLE AS fresh "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_stray_reading()"
    ),
    (
        "CREATE TRIGGER run_no_delete BEFORE DELETE OR TRUNCATE ON run "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    ),
)
"""PostgreSQL asks row by row whether a referenced row is there: 1,152 times for the readings of a plate of
384 wells, all of one run, which takes as long as writing them. Here it asks once a statement; a run stays."""


def guards(dialect: str) -> list[str]:
    """The DDL that makes evidence refuse UPDATE and DELETE, and what passes UPDATE, on ``dialect``."""
    if dialect == "sqlite":
        acts = [(name, verb) for name in EVIDENCE for verb in ("UPDATE", "DELETE")]
        return [
            f"CREATE TRIGGER {name}_no_{verb.lower()} BEFORE {verb} ON {name} "
            f"BEGIN SELECT RAISE(ABORT, '{name} is append-only'); END"
            for name, verb in [*acts, *((name, "UPDATE") for name in PASSING)]
        ]
    refuse = (
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END$$"
    )
    # A run file is packed before it comes here; packing it again takes longer than keeping it.
    plain = "ALTER TABLE file ALTER COLUMN content SET STORAGE EXTERNAL"
    acts = [(name, "UPDATE OR DELETE OR TRUNCATE") for name in EVIDENCE]
    return [plain, refuse, *_ASKED_ONCE] + [
        f"CREATE TRIGGER {name}_no_change BEFORE {verbs} ON {name} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for name, verbs in [*acts, *((name, "UPDATE") for name in PASSING)]
    ]
