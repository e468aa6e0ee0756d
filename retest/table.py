"""The decision table of an assay: ordered rows, first match wins, proved by enumeration."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from retest.checked import RulesError, Section
from retest.words import ABSENT, BORDERLINE_KINDS, DETECTED, GREY, KIND_OF_BUILT_IN, NOT_DETECTED, Call

States = tuple[str, ...]
Key = tuple[States, str]
_COUNTS = ("detected", "grey", "signal")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table. A condition that is empty always holds."""

    id: str
    call: Call
    kind: str
    ic: str
    counts: tuple[tuple[str, int, int], ...]  # (detected | grey | signal, least, most)
    only: frozenset[str]  # every target with a signal is one of these
    needs: frozenset[str]  # each of these is detected

    def matches(self, names: Sequence[str], states: States, ic: str) -> bool:
        """Whether the row speaks about these target states."""
        if self.ic not in ("any", ic):
            return False
        detected = {name for name, state in zip(names, states, strict=True) if state == DETECTED}
        grey = {name for name, state in zip(names, states, strict=True) if state == GREY}
        found = {"detected": len(detected), "grey": len(grey), "signal": len(detected) + len(grey)}
        if any(not least <= found[what] <= most for what, least, most in self.counts):
            return False
        return self.needs <= detected and (not self.only or detected | grey <= self.only)


def read_row(section: Section, names: Sequence[str]) -> Row:
    """Read one ``[[decision]]`` of an assay with these targets (internal controls left out)."""
    call = Call(section.choice("call", [call.value for call in Call]))
    kind = _kind(section, call)
    row = Row(
        id=_id(section),
        call=call,
        kind=kind,
        ic=section.choice("ic", ("any", DETECTED, NOT_DETECTED), "any"),
        counts=tuple(_count(section, what, len(names)) for what in _COUNTS if section.has(what)),
        only=_names(section, "only", names),
        needs=_names(section, "needs", names),
    )
    section.close()
    return row


def _id(section: Section) -> str:
    row_id = section.text("id")
    if row_id in {*KIND_OF_BUILT_IN, "borderline", "contradictory"}:
        raise section.refuse("id", "id-reserved", f"'{row_id}' is a built-in rule id. Choose another.")
    return row_id


def _kind(section: Section, call: Call) -> str:
    if call is not Call.borderline:
        return call.value
    return section.choice("kind", BORDERLINE_KINDS)


def _names(section: Section, key: str, names: Sequence[str]) -> frozenset[str]:
    wanted = section.texts(key)
    for name in wanted:
        if name not in names:
            raise section.refuse(
                key, "unknown-target", f"'{name}' is no target of this assay: {', '.join(names)}."
            )
    return frozenset(wanted)


def _count(section: Section, what: str, n: int) -> tuple[str, int, int]:
    """A number, ``"all"``, ``">=k"`` or ``"<=k"`` as (what, least, most)."""
    value = section.raw(what)
    least, most = -1, -1
    if value == "all":
        least = most = n
    elif isinstance(value, int) and not isinstance(value, bool):
        least = most = value
    elif isinstance(value, str) and value[:2] in (">=", "<=") and value[2:].strip().isdigit():
        k = int(value[2:])
        least, most = (k, n) if value.startswith(">=") else (0, k)
    if not 0 <= least <= most <= n:
        sentence = f'{value!r} is no count of {n} targets. Use a number, "all", ">=1" or "<=1".'
        raise section.refuse(what, "bad-count", sentence)
    return what, least, most


def enumerate_rows(
    rows: Sequence[Row], names: Sequence[str], greys: Sequence[bool], *, has_ic: bool, where: str
) -> Mapping[Key, Row]:
    """Try every combination of target states and internal control; each must meet exactly one row.

    Args:
        rows: the ordered rows, first match wins.
        names: target names without the internal controls.
        greys: for each target, whether it can be grey (or partly detected among replicates).
        has_ic: whether the assay has an internal control.
        where: the file, for an error.

    Raises:
        RulesError: ``table-gap`` (a combination no row speaks about), ``table-unreachable`` (a row that
            is never first), ``id-twice``.
    """
    _unique_ids(rows, where)
    axes = [(DETECTED, GREY, NOT_DETECTED) if grey else (DETECTED, NOT_DETECTED) for grey in greys]
    found: dict[Key, Row] = {}
    for states in product(*axes):
        for ic in (DETECTED, NOT_DETECTED) if has_ic else (ABSENT,):
            row = next((row for row in rows if row.matches(names, states, ic)), None)
            if row is None:
                raise RulesError("table-gap", f"{where}.decision", _gap(names, states, ic))
            found[states, ic] = row
    reached = {row.id for row in found.values()}
    for row in rows:
        if row.id not in reached:
            sentence = "no combination of readings ever meets this row first. Move it up or remove it."
            raise RulesError("table-unreachable", f"{where}.decision[{row.id}]", sentence)
    _no_silent_negative(found, names, where)
    return found


def _gap(names: Sequence[str], states: States, ic: str) -> str:
    said = ", ".join(f"{name} {state}" for name, state in zip(names, states, strict=True))
    return f"no row says what {said}, internal control {ic} means. Add a row for it."


def _unique_ids(rows: Sequence[Row], where: str) -> None:
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise RulesError(
                "id-twice", f"{where}.decision[{row.id}]", "this id is used twice. Rename one row."
            )
        seen.add(row.id)


def _no_silent_negative(found: Mapping[Key, Row], names: Sequence[str], where: str) -> None:
    """A negative with a target detected, or with a failed internal control, is a missed positive."""
    for (states, ic), row in found.items():
        if row.call is Call.negative and (ic == NOT_DETECTED or set(states) != {NOT_DETECTED}):
            said = _gap(names, states, ic).split(" means.")[0].removeprefix("no row says what ")
            sentence = (
                f"this row calls {said} negative. "
                "A negative needs every target not detected and a good control."
            )
            raise RulesError("table-unsafe", f"{where}.decision[{row.id}]", sentence)
