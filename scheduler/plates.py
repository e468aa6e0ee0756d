"""Plate templates: where controls stand and which wells share an extraction batch."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from scheduler.jobs import ScheduleError

CONTROLS = ("NTC", "PC", "EC")
SHAPES = {96: (8, 12), 384: (16, 24)}


def well_name(row: int, column: int) -> str:
    """A1 for row 0, column 0."""
    return f"{chr(ord('A') + row)}{column + 1}"


def well_place(well: str, size: int) -> tuple[int, int]:
    """Row and column (from 0) of a well written like A1.

    Raises:
        ScheduleError: `BAD_WELL` when a plate of this size has no such well.
    """
    rows, columns = SHAPES[size]
    row, number = ord(well[:1] or " ") - ord("A"), well[1:]
    if number.isdecimal() and 0 <= row < rows and 1 <= int(number) <= columns:
        place = row, int(number) - 1
        if well_name(*place) == well:
            return place
    raise ScheduleError("BAD_WELL", f"A {size}-well plate has no well {well!r}; write it like A1.")


@dataclass(frozen=True)
class PlateTemplate:
    """A plate with its controls.

    A 96-well plate is one extraction batch. A 384-well plate is four 96-well extraction batches stamped
    into its
    quadrants: batch 1 into A1, A3, C1 ..., batch 2 into A2 ..., batch 3 into B1 ..., batch 4 into B2 ...

    Attributes:
        id: name of the template.
        size: 96 or 384.
        controls: (kind, well) pairs; kinds are NTC, PC and EC. An NTC and a PC are required, in batch 1.
    """

    id: str
    size: int
    controls: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        if self.size not in SHAPES:
            raise ScheduleError(
                "BAD_TEMPLATE", f"Template {self.id}: plates have 96 or 384 wells, not {self.size}."
            )
        wells = [well for _, well in self.controls]
        if len(set(wells)) < len(wells):
            raise ScheduleError("BAD_TEMPLATE", f"Template {self.id}: two controls share a well.")
        unknown = sorted({kind for kind, _ in self.controls} - set(CONTROLS))
        if unknown:
            raise ScheduleError(
                "BAD_TEMPLATE", f"Template {self.id}: controls are {', '.join(CONTROLS)}, not {unknown}."
            )
        first = {kind for kind, well in self.controls if self.batch(well) == 1}
        if not {"NTC", "PC"} <= first:
            raise ScheduleError(
                "BAD_TEMPLATE",
                f"Template {self.id}: batch 1 needs an NTC and a PC; without both no run is valid.",
            )
        guarded = {self.batch(well) for kind, well in self.controls if kind == "EC"}
        if guarded and guarded != set(self.batches):
            raise ScheduleError(
                "BAD_TEMPLATE",
                f"Template {self.id}: every extraction batch needs its own EC or none has one.",
            )

    @property
    def batches(self) -> tuple[int, ...]:
        """Extraction batches, from 1."""
        return tuple(range(1, self.size // 96 + 1))

    def batch(self, well: str) -> int:
        """The extraction batch a well belongs to."""
        row, column = well_place(well, self.size)
        return 1 if self.size == 96 else 1 + 2 * (row % 2) + column % 2

    @cached_property
    def control_at(self) -> Mapping[str, str]:
        """Kind of control by well."""
        return {well: kind for kind, well in self.controls}

    def sample_wells(self, order: str) -> tuple[str, ...]:
        """Wells for tubes, batch after batch; in a batch down the columns (`column`) or along the rows."""
        return _sample_wells(self, order)


@lru_cache(maxsize=64)
def _sample_wells(template: PlateTemplate, order: str) -> tuple[str, ...]:
    rows, columns = SHAPES[template.size]
    free = [
        (row, column)
        for row in range(rows)
        for column in range(columns)
        if well_name(row, column) not in template.control_at
    ]

    def key(place: tuple[int, int]) -> tuple[int, int, int]:
        row, column = place
        line = (column, row) if order == "column" else (row, column)
        return (template.batch(well_name(row, column)), *line)

    return tuple(well_name(*place) for place in sorted(free, key=key))


def templates_from_toml(text: str) -> dict[str, PlateTemplate]:
    """Templates by id from the text of a TOML file, for example the shipped `scheduler/plates.toml`.

    Raises:
        ScheduleError: `BAD_TOML` or `BAD_TEMPLATE`.
    """
    try:
        facts = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScheduleError("BAD_TOML", f"The plate templates are not valid TOML: {error}.") from error
    templates = [_template(entry) for entry in facts.get("template", ())]
    if len({template.id for template in templates}) < len(templates):
        raise ScheduleError("BAD_TEMPLATE", "Two plate templates share an id.")
    return {template.id: template for template in templates}


def _template(entry: Mapping[str, Any]) -> PlateTemplate:
    wrong = sorted({"id", "size", "controls"} ^ set(entry))
    if wrong:
        raise ScheduleError(
            "BAD_TEMPLATE", f"Template {entry.get('id', '?')}: keys missing or unknown: {', '.join(wrong)}."
        )
    pairs = tuple((kind, well) for kind, wells in entry["controls"].items() for well in wells)
    return PlateTemplate(entry["id"], entry["size"], pairs)
