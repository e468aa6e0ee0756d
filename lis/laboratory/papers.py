"""What is printed: gathered from the laboratory into the views that printing draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lis import ledger, queries
from lis.errors import NotFound
from lis.events import TubeKind
from lis.services import pools
from pooling import policy_from_toml

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection

    from lis import printing
    from lis.laboratory import Laboratory
    from lis.tube import Tube


def report_view(lab: Laboratory, report_id: str) -> printing.ReportView:
    """Everything a printed report says.

    Raises:
        NotFound: no such report.
    """
    from lis import printing

    with lab.database.read() as conn:
        row = queries.report_row(conn, report_id)
        if row is None:
            raise NotFound("REPORT_UNKNOWN", f"Report {report_id} does not exist. Check the number.")
        person = queries.people(conn, [row["person_id"]])[row["person_id"]]
        original = queries.report_row(conn, row["amends"]) if row["amends"] else None
        readings = queries.readings_of_tube(conn, row["tube_id"])
        statement = _pool_statement(conn, row)
    return printing.ReportView(
        report_id=row["report_id"],
        version=row["version"],
        amends=row["amends"],
        reason=row["reason"],
        original_result=original["result"] if original else None,
        laboratory=lab.settings.laboratory,
        laboratory_zh=lab.settings.laboratory_zh,
        person_name=person["name"],
        document_type=person["document_type"],
        document_masked=person["document_masked"],
        tube_id=row["tube_id"],
        mode=row["mode"],
        places=row["places"],
        result=row["result"],
        assay=row["assay"],
        assay_version=row["assay_version"],
        pool_statement=statement,
        targets=_targets(row, readings),
        sampled_at=row["sampled_at"],
        received_at=row["received_at"],
        issued_at=row["issued_at"],
        signed_by=tuple(name for name in row["signed_by"].split(", ") if name),
        signed_names=tuple(name for name in row["signed_names"].split("\n") if name),
        timezone=lab.settings.timezone,
        verify_url=f"{lab.settings.public_url}/verify/{row['report_id']}?seal={row['seal'][:16]}",
        seal=row["seal"],
    )


def _pool_statement(conn: Connection, row: Mapping[str, Any]) -> tuple[str, str]:
    """What the policy that held when the report was issued wants on it: Chinese, English."""
    name, version = row["pool_policy"], row["pool_policy_version"]
    if not name:
        return "", ""
    policy = policy_from_toml(queries.rule_text(conn, "pool-policy", name, version) or "", name)
    return policy.statement_zh, policy.statement


def _targets(
    row: Mapping[str, Any], readings: Sequence[Mapping[str, Any]]
) -> tuple[tuple[str, float | None], ...]:
    """Cq values of the last valid run, for results that rest on a signal in the person's own tube."""
    valid = [reading for reading in readings if reading["valid"]]
    if row["result"] == "negative" or row["mode"] != TubeKind.SINGLE.value or not valid:
        return ()
    last = valid[-1]["run_id"]
    return tuple((reading["target"], reading["cq"]) for reading in valid if reading["run_id"] == last)


def pool_sheet_pdf(lab: Laboratory, made: pools.Sheet, language: str) -> bytes:
    """A pipetting worklist to tick off by hand.

    Raises:
        Invalid: ``LANGUAGE``.
    """
    from lis import printing

    blocks: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for step in made.steps:
        one = step.transfer
        stands = f"{step.rack} {step.position}".strip()
        blocks.setdefault((one.pool, one.destination_well), []).append((one.source_tube, stands))
    view = printing.PoolSheetView(
        worklist=made.worklist,
        laboratory=lab.settings.laboratory_zh or lab.settings.laboratory,
        made_at=made.made_at,
        volume_ul=made.steps[0].transfer.volume_ul,
        pools=tuple(printing.PoolBlock(pool, well, tuple(own)) for (pool, well), own in blocks.items()),
        timezone=lab.settings.timezone,
    )
    return printing.as_pool_sheet(view, language)  # type: ignore[arg-type]  # as_pool_sheet checks it


def plate_sheet_pdf(lab: Laboratory, plate_id: str, language: str) -> bytes:
    """The work sheet of a plate.

    Raises:
        NotFound: ``PLATE_UNKNOWN``. Invalid: ``LANGUAGE``.
    """
    from lis import printing

    with lab.database.read() as conn:
        row = queries.plate_row(conn, plate_id)
        if row is None:
            raise NotFound("PLATE_UNKNOWN", f"Plate {plate_id[:40]} is not known here. Check the code.")
        wells = queries.wells(conn, plate_id)
        tubes = ledger.tubes(conn, [well["tube_id"] for well in wells if well["tube_id"]])
    batches: dict[str, list[str]] = {}
    for well in wells:
        if well["batch"]:
            batches.setdefault(well["batch"], []).append(well["well"])
    view = printing.PlateView(
        plate_id=plate_id,
        assay=f"{row['assay']} v{row['assay_version']}",
        template=row["template"],
        created_at=row["created_at"],
        size=row["size"],
        wells=tuple(_on_sheet(well, tubes) for well in wells),
        extraction_batches=tuple((name, tuple(own)) for name, own in sorted(batches.items())),
        timezone=lab.settings.timezone,
    )
    return printing.as_worksheet(view, language)  # type: ignore[arg-type]  # as_worksheet checks it


def _on_sheet(well: Mapping[str, Any], tubes: Mapping[str, Tube]) -> printing.WellText:
    """A well as the work sheet shows it."""
    if well["control"]:
        return well["well"], well["control"], "control"
    match tubes[well["tube_id"]].kind:
        case TubeKind.MIXED:
            return well["well"], well["tube_id"], "mixed"
        case TubeKind.POOL:
            return well["well"], well["tube_id"], "pool"
        case _:
            return well["well"], well["tube_id"], "tube"
