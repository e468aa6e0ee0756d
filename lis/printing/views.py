"""The facts that a printed document shows, checked when they are put together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal, get_args
from zoneinfo import ZoneInfo

from lis.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterable

Mode = Literal["single", "mixed", "pool"]
Result = Literal["negative", "positive", "inconclusive", "invalid"]
WellKind = Literal["tube", "pool", "mixed", "control"]
WellText = tuple[str, str, WellKind]
Batch = tuple[str, tuple[str, ...]]

# rows, columns of the two plates in use
SHAPES = {96: (8, 12), 384: (16, 24)}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportView:
    """Everything that the report of one person shows.

    Attributes:
        report_id: number of this report.
        version: 1 for the first report, counted up by amendments.
        amends: number of the report that this one corrects, "" if none.
        reason: why the report was amended, "" if it was not.
        original_result: what the corrected report said, if it is to stay visible.
        laboratory: name in English.
        laboratory_zh: name in Chinese.
        person_name: as registered.
        document_type: code of the identity document (``resident_id``, ``passport``, ...).
        document_masked: its number with the middle hidden.
        tube_id: code on the tube.
        mode: ``single``; ``mixed`` at collection; ``pool`` for a single tube that was reported through a
            laboratory pool.
        places: persons in the mixed tube, or single tubes in the pool: the true number, not the nominal.
        result: outcome for this person.
        assay: name of the test.
        assay_version: version of the rules by which it was read.
        pool_statement: what the jurisdiction wants on every report of a pooled test, (Chinese, English);
            empty where it wants nothing.
        targets: (name, Cq in cycles, None if not detected); shown unless the result is negative or invalid.
        sampled_at: UTC, None if not recorded.
        received_at: UTC, None if not recorded.
        issued_at: UTC; also the creation date of the PDF.
        signed_by: accounts of those who signed the report.
        signed_names: their full names when they did, in the same order; empty: the accounts are printed.
        timezone: IANA name; printed times are in this zone and say so.
        verify_url: what the QR code says, "" for no code.
        seal: hexadecimal digest of the released facts.
    """

    report_id: str
    version: int
    laboratory: str
    laboratory_zh: str
    person_name: str
    document_type: str
    document_masked: str
    tube_id: str
    mode: Mode
    places: int
    result: Result
    assay: str
    assay_version: str
    issued_at: datetime
    amends: str = ""
    reason: str = ""
    original_result: Result | None = None
    pool_statement: tuple[str, str] = ("", "")
    targets: tuple[tuple[str, float | None], ...] = ()
    sampled_at: datetime | None = None
    received_at: datetime | None = None
    signed_by: tuple[str, ...] = ()
    signed_names: tuple[str, ...] = ()
    timezone: str = "Asia/Shanghai"
    verify_url: str = ""
    seal: str = ""

    def __post_init__(self) -> None:
        """Refuse facts that would print as a false statement.

        Raises:
            Invalid: ``REPORT_...``, saying which fact and what to do.
        """
        _check_words(self)
        _check_signers(self)
        _check_places(self)
        _check_amendment(self)
        check_times(self.timezone, (self.issued_at, self.sampled_at, self.received_at))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlateView:
    """Everything that the work sheet of one plate shows.

    Attributes:
        plate_id: code on the plate.
        assay: name of the test.
        template: name of the plate layout.
        created_at: UTC.
        size: 96 or 384 wells.
        wells: (well such as ``A1`` or ``A01``, code of the tube or name of the control, kind).
        extraction_batches: (name of the batch, its wells).
        timezone: IANA name; the printed time is in this zone and says so.
    """

    plate_id: str
    assay: str
    template: str
    created_at: datetime
    size: int
    wells: tuple[WellText, ...]
    extraction_batches: tuple[Batch, ...] = ()
    timezone: str = "Asia/Shanghai"

    def __post_init__(self) -> None:
        """Refuse a plate that cannot exist.

        Raises:
            Invalid: ``PLATE_...``, naming the well.
        """
        if self.size not in SHAPES:
            raise Invalid("PLATE_SIZE", f"A plate of {self.size} wells cannot be drawn. Use 96 or 384.")
        for _, text, kind in self.wells:
            if kind not in get_args(WellKind) or not text:
                raise Invalid("PLATE_WELL", f"Plate {self.plate_id} has a well {text!r} of kind {kind!r}.")
        self._check_once(well for well, _, _ in self.wells)
        self._check_once(well for _, batch in self.extraction_batches for well in batch)
        check_times(self.timezone, (self.created_at,))

    def _check_once(self, wells: Iterable[str]) -> None:
        seen: set[tuple[int, int]] = set()
        for well in wells:
            place = place_of(well, self.size)
            if place in seen:
                raise Invalid(
                    "PLATE_WELL_TWICE",
                    f"Plate {self.plate_id} names well {well} twice. Correct the plate before printing it.",
                    well=well,
                )
            seen.add(place)


@dataclass(frozen=True, slots=True)
class PoolBlock:
    """One pool of a pipetting sheet.

    Attributes:
        members: (code of the tube, where it stands) in the order of pipetting.
    """

    pool: str
    well: str
    members: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSheetView:
    """Everything that the pipetting sheet of one pool plate shows.

    Attributes:
        worklist: number of the worklist.
        laboratory: its name, in the language of the laboratory.
        made_at: UTC.
        volume_ul: aliquot of every tube, in microlitres.
        timezone: IANA name; the printed time is in this zone and says so.
    """

    worklist: str
    laboratory: str
    made_at: datetime
    volume_ul: float
    pools: tuple[PoolBlock, ...]
    timezone: str = "Asia/Shanghai"

    def __post_init__(self) -> None:
        """Refuse a sheet that would send a hand to a wrong well.

        Raises:
            Invalid: ``POOL_SHEET``, naming the well or tube.
        """
        wells = [one.well for one in self.pools]
        tubes = [tube for one in self.pools for tube, _ in one.members]
        for named in (wells, tubes):
            for value in named:
                if not value or named.count(value) > 1:
                    raise Invalid(
                        "POOL_SHEET", f"Worklist {self.worklist} names {value!r} twice, or not at all."
                    )
        check_times(self.timezone, (self.made_at,))


def place_of(well: str, size: int) -> tuple[int, int]:
    """Row and column of ``well`` from zero: ``B1`` and ``B01`` are (1, 0).

    Raises:
        Invalid: ``PLATE_WELL`` if there is no such well on a plate of ``size`` wells.
    """
    rows, columns = SHAPES[size]
    found = re.fullmatch(r"([A-P])0?([1-9][0-9]?)", well)
    if found:
        row, column = ord(found[1]) - ord("A"), int(found[2]) - 1
        if row < rows and column < columns:
            return row, column
    raise Invalid(
        "PLATE_WELL", f"A plate of {size} wells has no well {well!r}. Wells run from A1.", well=well
    )


def check_times(timezone: str, moments: tuple[datetime | None, ...]) -> None:
    """Refuse an unknown zone, and times without a zone.

    Raises:
        Invalid: ``PRINT_ZONE`` or ``PRINT_TIME``.
    """
    try:
        ZoneInfo(timezone)
    except (KeyError, ValueError, OSError) as error:
        raise Invalid("PRINT_ZONE", f"Unknown time zone {timezone!r}. Use one like Asia/Shanghai.") from error
    if any(moment is not None and moment.tzinfo is None for moment in moments):
        raise Invalid("PRINT_TIME", "A time without a zone cannot be printed. Give every time in UTC.")


def local_text(moment: datetime, timezone: str) -> str:
    """``moment`` in ``timezone``, naming its offset: ``2022-12-21 16:05 (UTC+08:00)``."""
    local = moment.astimezone(ZoneInfo(timezone))
    offset = local.utcoffset() or timedelta(0)
    sign = "-" if offset < timedelta(0) else "+"
    hours, minutes = divmod(int(abs(offset).total_seconds()) // 60, 60)
    return f"{local:%Y-%m-%d %H:%M} (UTC{sign}{hours:02d}:{minutes:02d})"


def _check_words(view: ReportView) -> None:
    known = {"mode": get_args(Mode), "result": get_args(Result)}
    for field, allowed in known.items():
        if getattr(view, field) not in allowed:
            raise Invalid(
                f"REPORT_{field.upper()}",
                f"Report {view.report_id}: {field} {getattr(view, field)!r} is none of {', '.join(allowed)}.",
            )
    if view.original_result is not None and view.original_result not in get_args(Result):
        raise Invalid("REPORT_RESULT", f"Unknown original result {view.original_result!r}.")
    for field in ("report_id", "person_name", "tube_id"):
        if not getattr(view, field).strip():
            raise Invalid(f"REPORT_{field.upper()}", f"Report {view.report_id!r} has an empty {field}.")


def _check_signers(view: ReportView) -> None:
    if view.signed_names and len(view.signed_names) != len(view.signed_by):
        raise Invalid(
            "REPORT_SIGNERS",
            f"Report {view.report_id}: {len(view.signed_by)} signatures, but {len(view.signed_names)} names. "
            "Give a name for every signature.",
        )


def _check_places(view: ReportView) -> None:
    if view.places < 1 or (view.mode == "single" and view.places != 1):
        raise Invalid(
            "REPORT_PLACES",
            f"Report {view.report_id}: mode {view.mode} cannot have {view.places} places. Give the true n.",
        )
    if view.mode != "single" and view.result == "positive":
        # A pooled signal belongs to all of its persons; only a single tube makes one of them positive.
        raise Invalid(
            "REPORT_POOLED_POSITIVE",
            f"Report {view.report_id}: tube {view.tube_id} was tested pooled, so nobody is positive by it. "
            "Test single specimens, then report those.",
        )


def _check_amendment(view: ReportView) -> None:
    if view.version < 1:
        raise Invalid("REPORT_VERSION", f"Report {view.report_id}: version {view.version} is below 1.")
    if bool(view.amends) != bool(view.reason.strip()) or (view.version > 1 and not view.amends):
        raise Invalid(
            "REPORT_AMENDMENT",
            f"Report {view.report_id} v{view.version}: an amended report says what it corrects and why.",
        )
    if view.original_result is not None and not view.amends:
        raise Invalid("REPORT_AMENDMENT", f"{view.report_id} has an original result but corrects no report.")
