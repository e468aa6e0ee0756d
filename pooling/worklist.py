"""What to pipette into which well: for a liquid handler (CSV) and for a person with a pipette."""

from collections.abc import Sequence
from dataclasses import dataclass

from pooling.size import PoolDesignError

ROWS = "ABCDEFGH"
COLUMNS = 12
WELLS = tuple(f"{row}{column}" for column in range(1, COLUMNS + 1) for row in ROWS)
"""Wells of a 96-well plate in the order of an 8-channel head: A1, B1 .. H1, A2 .. H12."""

HEADER = (
    "step",
    "pool",
    "destination_plate",
    "destination_well",
    "source_tube",
    "source_rack",
    "source_well",
    "volume_ul",
)


@dataclass(frozen=True, slots=True)
class PoolToMake:
    """One pool of a worklist: barcode and members in the order they are pipetted."""

    pool: str
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Transfer:
    """One aliquot: from a tube in a rack to a well of the pool plate.

    `step` counts from 1; racks and plates count from 1; `volume_ul` is in microlitres.
    """

    step: int
    pool: str
    destination_plate: int
    destination_well: str
    source_tube: str
    source_rack: int
    source_well: str
    volume_ul: float


def worklist(
    pools: Sequence[PoolToMake], volume_ul: float, reserved: Sequence[str] = ()
) -> tuple[Transfer, ...]:
    """Every aliquot of these pools, in order: pools fill plates, tubes fill racks, both column by column.

    Tubes stand in the racks in the order of the list, so that a rack is loaded by scanning it. A well that
    is kept for a control is never given to a pool.

    Args:
        pools: the pools to make.
        volume_ul: aliquot of each member in microlitres.
        reserved: wells of every pool plate that stay free, such as `("H12",)`.

    Raises:
        PoolDesignError: `BAD_WORKLIST`: no volume, an unknown or no free well, a pool, a tube or a barcode
            twice, a pool without members.
    """
    free = _free(reserved)
    _check(pools, volume_ul)
    rows: list[Transfer] = []
    for place, one in enumerate(pools):
        plate, well = divmod(place, len(free))
        for tube in one.members:
            rack, slot = divmod(len(rows), len(WELLS))
            rows.append(
                Transfer(
                    len(rows) + 1, one.pool, plate + 1, free[well], tube, rack + 1, WELLS[slot], volume_ul
                )
            )
    return tuple(rows)


def _free(reserved: Sequence[str]) -> tuple[str, ...]:
    unknown = [well for well in reserved if well not in WELLS]
    free = tuple(well for well in WELLS if well not in reserved)
    if unknown or not free:
        raise PoolDesignError(
            "BAD_WORKLIST", f"Reserved wells lie in A1 to H12 and leave one free; not {list(reserved)}."
        )
    return free


def _check(pools: Sequence[PoolToMake], volume_ul: float) -> None:
    if not volume_ul > 0:
        raise PoolDesignError("BAD_WORKLIST", f"The aliquot is above 0 microlitres, not {volume_ul}.")
    seen: set[str] = set()
    for one in pools:
        if not one.members:
            raise PoolDesignError("BAD_WORKLIST", f"Pool {one.pool} has no members. Leave it out.")
        for code in (one.pool, *one.members):
            if not code.strip() or not code.isprintable():
                raise PoolDesignError("BAD_WORKLIST", f"{code!r} is not a barcode. Scan it again.")
            if code in seen:
                raise PoolDesignError(
                    "BAD_WORKLIST", f"{code} is on the worklist twice. A tube gives one aliquot to one pool."
                )
            seen.add(code)


def worklist_csv(rows: Sequence[Transfer]) -> str:
    """The worklist as CSV: header, one line per aliquot, CRLF, comma, full stop as decimal sign."""
    lines = [",".join(HEADER)]
    lines += [",".join(_cell(getattr(row, name)) for name in HEADER) for row in rows]
    return "".join(line + "\r\n" for line in lines)


def _cell(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return f'"{text.replace(chr(34), 2 * chr(34))}"' if set(text) & set(',"') else text


def by_hand(rows: Sequence[Transfer], language: str = "en") -> tuple[str, ...]:
    """The worklist as lines to print and tick off, in `en` or `zh`; one heading per pool.

    Raises:
        PoolDesignError: `BAD_LANGUAGE`.
    """
    if language not in {"en", "zh"}:
        raise PoolDesignError("BAD_LANGUAGE", f"The worklist is printed in en or zh, not in {language}.")
    members: dict[str, list[Transfer]] = {}
    for row in rows:
        members.setdefault(row.pool, []).append(row)
    lines: list[str] = []
    for pool, given in members.items():
        first, count = given[0], len(given)
        total = count * first.volume_ul
        lines.append(
            f"Pool {pool}, plate {first.destination_plate}, well {first.destination_well}: "
            f"{count} tubes, {total:g} µl"
            if language == "en"
            else f"混检管 {pool},第 {first.destination_plate} 板 {first.destination_well} 孔:"
            f"{count} 管,共 {total:g} µl"
        )
        lines += [_line(row, number, count, language) for number, row in enumerate(given, start=1)]
    return tuple(lines)


def _line(row: Transfer, number: int, count: int, language: str) -> str:
    if language == "zh":
        return (
            f"  [ ] {number}/{count} 从试管 {row.source_tube}(第 {row.source_rack} 架 {row.source_well})"
            f"吸取 {row.volume_ul:g} µl"
        )
    return (
        f"  [ ] {number}/{count} take {row.volume_ul:g} µl from tube {row.source_tube} "
        f"(rack {row.source_rack}, {row.source_well})"
    )
