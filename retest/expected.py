"""What each control well must show: read from the assay file, judged in `retest.controls`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from retest.checked import Section

_STATES = ("absent", "detected", "any")


@dataclass(frozen=True, slots=True)
class Expectation:
    """What one target of a control must show.

    Attributes:
        state: ``absent`` (no Cq at all), ``detected`` (inside the detected band) or ``any``.
        least: a detected Cq (cycles) below this fails: contamination or a wrong dilution.
        most: a detected Cq (cycles) above this fails: the reaction has lost sensitivity.
        tolerate_from: for ``absent``, a Cq (cycles) at or after this is tolerated.
    """

    state: str
    least: float = 0.0
    most: float = math.inf
    tolerate_from: float = math.inf


@dataclass(frozen=True, slots=True)
class ControlRule:
    """One kind of control: where it counts, how many are needed, what it must show."""

    kind: str
    aliases: tuple[str, ...]
    scope: str  # "run": every well of the run; "extraction": the wells of its extraction batch
    min: int  # how many per run, or per extraction batch
    expect: Mapping[str, Expectation]


def read_control(section: Section, names: tuple[str, ...]) -> ControlRule:
    """Read one ``[[control]]``; every target of the assay must have an expectation."""
    expect = section.table("expect")
    found = {name: _expectation(expect, name) for name in names}
    expect.close()
    control = ControlRule(
        kind=section.text("kind"),
        aliases=section.texts("aliases"),
        scope=section.choice("scope", ("run", "extraction")),
        min=section.whole("min", 0),
        expect=found,
    )
    section.close()
    return control


def _expectation(section: Section, name: str) -> Expectation:
    if not isinstance(section.raw(name), Mapping):
        return Expectation(section.choice(name, _STATES))
    inner = section.table(name)
    state = inner.choice("state", _STATES)
    limits = {"least": 0.0, "most": math.inf} if state == "detected" else {}
    limits |= {"tolerate_from": math.inf} if state == "absent" else {}
    given = {key: inner.number(key) if inner.has(key) else default for key, default in limits.items()}
    inner.close()
    expectation = Expectation(state, **given)
    if expectation.least > expectation.most:
        sentence = f"'least' {expectation.least:g} is above 'most' {expectation.most:g}. Exchange them."
        raise inner.refuse("least", "band-empty", sentence)
    return expectation
