"""The tube's law: every state meets every event."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lis import events as e
from lis.errors import IllegalMove
from lis.events import KINDS, TubeKind
from lis.tube import _CHANGES, KIND_RULES, NEXT_STEP, READS, TRANSITIONS, Tube, TubeState, diagram, evolve

AT = datetime(2022, 12, 21, 8, 0, tzinfo=UTC)
EXAMPLES = [
    e.Registered(TubeKind.SINGLE, 1, "voluntary", "site", AT, AT),
    e.PersonBound("p1", 1),
    e.Sealed(1, ""),
    e.Received("R1", "A1", AT),
    e.HeldUnknown(1, "R1", "A1"),
    e.HeldDamaged("leaks"),
    e.HoldCleared("fine"),
    e.Rejected("empty"),
    e.PoolFormed(5, "voluntary", AT),
    e.JoinedPool("L1", 1),
    e.AliquotConfirmed("T1", 1, "A1"),
    e.VolumeMeasured(900),
    e.Lost("not in its rack"),
    e.Found("in the next rack"),
    e.Withdrawn("asked for it"),
    e.HeldForPool("L1", "HELD_FOR_RERUN"),
    e.Plated("P1", "A1", "kit", "first"),
    e.RunStarted("P1", "cycler"),
    e.LoadingCorrected("P1", "other cycler", "wrong cycler was typed"),
    e.Called("run", "P1", "A1", "negative", "none", "kit", "1", "first", ""),
    e.Voided("run", "P1", "A1", "run", "NTC", "re-amplify", 40),
    e.RetestOrdered("re-extract", "grey", 40, AT),
    e.RecollectionOrdered("mixed-positive", 1),
    e.PersonRecalled("p1", "mixed-positive", AT),
    e.ContactTried("p1", "no-answer", ""),
    e.PersonRecollected("p1", "t2", "negative"),
    e.Concluded("negative", "negative"),
    e.Resolved("decoded"),
    e.Reviewed("accept", ""),
    e.Commented("beside a strong positive"),
    e.Released("negative", 1, "seal"),
    e.AmendmentProposed("R1", "positive", "typing error"),
    e.AmendmentWithdrawn("R1", "was right"),
    e.Amended("R2", "R1", "positive", "typing error", "seal"),
    e.Stored("freezer", "A1"),
    e.Discarded("old"),
    e.ReceiptWithdrawn(AT),
    e.PersonUnbound("p1", 1),
    e.AliquotWithdrawn("T1", 1, "A1"),
    e.WellConfirmed("P1", "A1"),
    e.WellWithdrawn("P1", "A1"),
    e.Fetched("retest"),
    e.RegistrationWithdrawn(),
    e.SealWithdrawn(),
]


def standing(state: TubeState, kind: TubeKind = TubeKind.SINGLE) -> Tube:
    """A tube that stands in ``state``, with one of one places taken where that is needed."""
    persons = 0 if state in {TubeState.ABSENT, TubeState.REGISTERED, TubeState.ON_HOLD_UNKNOWN} else 1
    return Tube("T1", kind=kind, state=state, capacity=1, persons=persons, seq=3)


def test_every_event_has_an_example_and_an_effect():
    """No event can be added without saying what it changes and without being walked by the tests below."""
    assert {type(example) for example in EXAMPLES} == set(KINDS.values()) == set(_CHANGES)


class Watched:
    """Hands on the fields of an event and remembers which were asked for."""

    def __init__(self, event: object) -> None:
        self.event, self.asked = event, set()

    def __getattr__(self, name: str) -> object:
        self.asked.add(name)
        return getattr(self.event, name)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_a_move_reads_the_fields_it_says_it_reads(event: object):
    """Nothing that changes a tube can be left out when the log is read back, and nothing else is fetched."""
    asked = set()
    for tube in (Tube("T1"), Tube("T1", capacity=2, open_aliquots=1), Tube("T1", persons=1, capacity=1)):
        watched = Watched(event)
        with contextlib.suppress(IllegalMove):
            _CHANGES[type(event)](tube, watched, AT)
        asked |= watched.asked
    assert asked == set(READS.get(type(event), ()))


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("state", TubeState)
def test_every_state_meets_every_event(state: TubeState, event: object):
    """A move in the table leads where the table says; any other raises a named error and changes nothing."""
    if isinstance(event, e.Sealed | e.RecollectionOrdered):
        tube = standing(state)._replace(persons=1)
    elif isinstance(event, e.AliquotConfirmed):
        tube = standing(state, TubeKind.POOL)._replace(open_aliquots=1)
    elif isinstance(event, e.AliquotWithdrawn):
        tube = standing(state, TubeKind.POOL)
    elif isinstance(event, e.Fetched):
        tube = standing(state)._replace(stored_at=AT)
    elif isinstance(event, e.PersonUnbound):
        tube = standing(state)._replace(persons=1)
    else:
        tube = standing(state)
    before = tuple(tube)
    target = TRANSITIONS.get((state, type(event)))
    if target is None:
        with pytest.raises(IllegalMove) as error:
            evolve(tube, event, AT)
        assert error.value.code == "ILLEGAL_MOVE"
        assert "T1" in error.value.sentence
        assert NEXT_STEP[state] in error.value.sentence
        assert tuple(tube) == before
    else:
        moved = evolve(tube, event, AT)
        assert (moved.state, moved.seq, moved.updated_at) == (target, 4, AT)
        assert tuple(tube) == before


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
@pytest.mark.parametrize("kind", [TubeKind.MIXED, TubeKind.POOL])
def test_events_of_persons_and_pools_are_kept_apart(kind: TubeKind, event: object):
    """An event that is not for a kind of tube is refused in every state that would otherwise allow it."""
    allowed = KIND_RULES.get(type(event))
    for state, named in TRANSITIONS:
        if named is type(event) and allowed is not None and kind not in allowed:
            with pytest.raises(IllegalMove) as error:
                evolve(standing(state, kind), event, AT)
            assert error.value.code == "WRONG_KIND"


@pytest.mark.parametrize("kind", [TubeKind.MIXED, TubeKind.POOL])
def test_a_mixed_tube_and_a_pool_can_never_be_pooled(kind: TubeKind):
    """Nesting a pool on a mixed tube is refused with the reason and what to do instead."""
    with pytest.raises(IllegalMove, match=r"must never be pooled again\. Plate it as it is"):
        evolve(standing(TubeState.RECEIVED, kind), e.JoinedPool("L1", 1), AT)


def test_a_full_tube_takes_nobody():
    """A person more than the tube has places is refused."""
    tube = Tube("T1", TubeKind.MIXED, TubeState.REGISTERED, capacity=5, persons=5)
    with pytest.raises(IllegalMove) as error:
        evolve(tube, e.PersonBound("p6", 6), AT)
    assert error.value.code == "TUBE_FULL"


def test_places_are_taken_in_order():
    """A place that is not the next free one is refused, so no place is lost or taken twice."""
    tube = Tube("T1", TubeKind.MIXED, TubeState.REGISTERED, capacity=5, persons=2)
    with pytest.raises(IllegalMove) as error:
        evolve(tube, e.PersonBound("p", 2), AT)
    assert error.value.code == "COUNT_MISMATCH"


@pytest.mark.parametrize("count", [0, 2, 4])
def test_sealing_counts_persons(count: int):
    """A seal that names another number of persons than are in the tube is refused, and so is an empty one."""
    tube = Tube("T1", TubeKind.MIXED, TubeState.REGISTERED, capacity=5, persons=3 if count else 0)
    with pytest.raises(IllegalMove) as error:
        evolve(tube, e.Sealed(count, "few came"), AT)
    assert error.value.code == "COUNT_MISMATCH"


def test_a_recall_is_for_every_person_of_the_tube():
    """A re-collection of fewer persons than the tube holds is refused."""
    tube = Tube("T1", TubeKind.MIXED, TubeState.RESULTED, capacity=10, persons=10)
    with pytest.raises(IllegalMove) as error:
        evolve(tube, e.RecollectionOrdered("mixed-positive", 9), AT)
    assert error.value.code == "COUNT_MISMATCH"


def test_a_recalled_tube_is_done_only_when_everybody_came():
    """The tube cannot be resolved while a person's new specimen is awaited, and is once all were reported."""
    tube = Tube("T1", TubeKind.MIXED, TubeState.AWAITING_RECOLLECTION, capacity=5, persons=2)
    for person in ("p1", "p2"):
        tube = evolve(tube, e.PersonRecalled(person, "mixed-positive", AT), AT)
    tube = evolve(tube, e.PersonRecollected("p1", "t2", "negative"), AT)
    with pytest.raises(IllegalMove) as error:
        evolve(tube, e.Resolved("all came"), AT)
    assert error.value.code == "RECALLS_OPEN"
    tube = evolve(tube, e.PersonRecollected("p2", "t3", "positive"), AT)
    assert evolve(tube, e.Resolved("all came"), AT).state is TubeState.RESOLVED


@given(st.lists(st.sampled_from(EXAMPLES), max_size=60))
def test_no_history_leads_outside_the_law(history: list):
    """Whatever is tried in whatever order, the tube only ever stands where the table allows."""
    tube = Tube("T1")
    for event in history:
        try:
            moved = evolve(tube, event, AT)
        except IllegalMove:
            continue
        assert TRANSITIONS[tube.state, type(event)] is moved.state
        assert moved.persons <= max(moved.capacity, 0)
        assert moved.seq == tube.seq + 1
        tube = moved


def test_every_state_can_be_reached_and_left():
    """There is no state nobody can get into, and none but the last that nobody gets out of."""
    sources = {state for state, _ in TRANSITIONS}
    targets = set(TRANSITIONS.values())
    assert targets == set(TubeState)
    back = {event for (_, event), target in TRANSITIONS.items() if target is TubeState.ABSENT}
    assert back == {e.RegistrationWithdrawn}  # a tube that is known is not forgotten in any other way
    assert set(TubeState) - sources == {TubeState.DISCARDED}
    assert set(NEXT_STEP) == set(TubeState)


def test_the_diagram_in_the_docs_is_the_table():
    """docs/states.md shows the transitions of this version."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "states.md").read_text(encoding="utf-8")
    assert diagram() in text
