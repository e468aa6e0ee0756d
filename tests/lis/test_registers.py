"""Reagent lots, corrective actions and call-backs: each a fact that stays, each with its second pair of eyes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bench import Bench
from hypothesis import given, settings
from hypothesis import strategies as st

from lis import queries
from lis.errors import Conflict, Forbidden, Invalid, LisError, NotFound, Refused
from lis.services import actions, callbacks, lots
from lis.services.actions import fold
from lis.tube import TubeState

DAAN = "daan-2019-ncov"
POSITIVE = {"ORF1ab": 25.0, "N": 25.0}


def registered(
    bench: Bench, number: str = "L1", days: float = 100, kind: str = "kit", assay: str = DAAN
) -> None:
    """A lot that expires after so many days."""
    with bench.lab.database.write("rosa") as unit:
        lots.receive(unit, kind, number, assay, unit.now + timedelta(days=days), "box intact")


def used(
    bench: Bench, plate: str, actor: str = "anna", *, may: bool = False, reason: str = "", **named: str
) -> None:
    """Lots go onto a plate."""
    with bench.lab.database.write(actor) as unit:
        lots.use(unit, plate, named, reason=reason, may=may)


def acts(bench: Bench, plate: str) -> list[tuple[str, str, str]]:
    """What was written about the lots of a plate."""
    with bench.lab.database.read() as conn:
        return [(row["number"], row["act"], row["actor"]) for row in queries.lots_of_plate(conn, plate)]


def states(bench: Bench) -> dict[str, str]:
    """Lot -> how it stands."""
    with bench.lab.database.read() as conn:
        return {one.number: one.state for one in lots.register_of(conn, bench.clock.now())}


# -- lots -----------------------------------------------------------------------------------------


def test_a_good_lot_is_opened_by_its_first_use_and_counted(bench: Bench):
    """The plate remembers every lot that went onto it, also one that nobody registered."""
    registered(bench)
    plates = [bench.plate(bench.singles()) for _ in range(2)]
    for plate in plates:
        used(bench, plate, kit="L1", extraction="EX-9", control="")
    assert acts(bench, plates[0]) == [
        ("L1", "opened", "anna"),
        ("L1", "used", "anna"),
        ("EX-9", "used", "anna"),
    ]
    with bench.lab.database.read() as conn:
        [lot] = lots.register_of(conn, bench.clock.now())
    assert (lot.plates, lot.opened_by, lot.state) == (2, "anna", "good")


def test_a_lot_warns_before_it_ends_and_is_refused_from_that_moment(bench: Bench):
    """Two weeks before its end a lot says so; at its end it is refused, and a reason alone is not enough."""
    registered(bench, days=15)
    plate = bench.plate(bench.singles())
    assert states(bench) == {"L1": "good"}
    bench.clock.advance(timedelta(days=1))
    assert states(bench) == {"L1": "near"}
    bench.clock.advance(timedelta(days=14) - timedelta(seconds=1))
    used(bench, plate, kit="L1")
    bench.clock.advance(timedelta(seconds=1))
    assert states(bench) == {"L1": "expired"}
    with pytest.raises(Refused, match="expired") as refused:
        used(bench, plate, kit="L1")
    assert refused.value.code == "LOT_EXPIRED"
    with pytest.raises(Forbidden):
        used(bench, plate, kit="L1", reason="nothing else is here")
    used(bench, plate, "maya", kit="L1", reason="nothing else is here", may=True)
    assert acts(bench, plate)[-2:] == [("L1", "overridden", "maya"), ("L1", "used", "maya")]


def test_a_lot_of_another_assay_and_a_finished_one_are_refused(bench: Bench):
    """The wrong box, and the box that is empty, do not go onto a plate; one for every assay does."""
    registered(bench, "OTHER", assay="cdc-2019-ncov-n1n2rp")
    registered(bench, "EMPTY")
    registered(bench, "ALL", kind="extraction", assay="")
    with bench.lab.database.write("anna") as unit:
        lots.finish(unit, "kit", "EMPTY", "used up")
    plate = bench.plate(bench.singles())
    for number, code in (("OTHER", "LOT_OTHER_ASSAY"), ("EMPTY", "LOT_FINISHED")):
        with pytest.raises(Refused) as refused:
            used(bench, plate, kit=number)
        assert refused.value.code == code
    used(bench, plate, extraction="ALL")
    assert acts(bench, plate) == [("ALL", "opened", "anna"), ("ALL", "used", "anna")]


def test_the_register_takes_each_lot_once_and_each_step_once(bench: Bench):
    """A lot is received, opened and finished once; every refusal writes nothing."""
    registered(bench)
    expected = (
        (
            Refused,
            "LOT_KNOWN",
            lambda unit: lots.receive(unit, "kit", " L1 ", DAAN, unit.now + timedelta(days=9)),
        ),
        (Refused, "LOT_EXPIRED", lambda unit: lots.receive(unit, "kit", "L2", DAAN, unit.now)),
        (
            Invalid,
            "LOT_KIND",
            lambda unit: lots.receive(unit, "swab", "L2", "", unit.now + timedelta(days=9)),
        ),
        (
            Invalid,
            "LOT_NUMBER",
            lambda unit: lots.receive(unit, "kit", "  ", "", unit.now + timedelta(days=9)),
        ),
        (NotFound, "LOT_UNKNOWN", lambda unit: lots.open_lot(unit, "control", "L1")),
    )
    for kind, code, act in expected:
        with pytest.raises(kind) as refused, bench.lab.database.write("anna") as unit:
            act(unit)
        assert refused.value.code == code
    with bench.lab.database.write("anna") as unit:
        lots.open_lot(unit, "kit", "L1")
    with pytest.raises(Refused, match="opened already"), bench.lab.database.write("anna") as unit:
        lots.open_lot(unit, "kit", "L1")
    with bench.lab.database.write("anna") as unit:
        lots.finish(unit, "kit", "L1", "empty")
    for act in (lots.open_lot, lots.finish):
        with pytest.raises(Refused) as refused, bench.lab.database.write("anna") as unit:
            act(unit, "kit", "L1", "again")
        assert refused.value.code == "LOT_FINISHED"
    with bench.lab.database.read() as conn:
        assert [row["act"] for row in queries.lot_acts(conn, "kit", "L1")] == [
            "received",
            "opened",
            "finished",
        ]


# -- corrective actions ---------------------------------------------------------------------------


def begun(bench: Bench, actor: str = "anna") -> int:
    """A new action about an alarm."""
    with bench.lab.database.write(actor) as unit:
        return actions.open_action(unit, "alarm", "7", "PC late by 2 cycles: new vial")


def test_an_action_is_closed_by_somebody_who_did_not_write_in_it(bench: Bench):
    """What, effect, and the signature of a second person, in this order; all notes stay."""
    number = begun(bench)
    with pytest.raises(Refused) as refused, bench.lab.database.write("bo") as unit:
        actions.close(unit, number, "agreed")
    assert refused.value.code == "ACTION_EFFECT"
    with bench.lab.database.write("bo") as unit:
        actions.note(unit, number, "PC back at 25.0", effect=True)
    for actor in ("anna", "bo"):
        with pytest.raises(Refused) as refused, bench.lab.database.write(actor) as unit:
            actions.close(unit, number, "agreed")
        assert refused.value.code == "ACTION_SAME_PERSON"
    with bench.lab.database.read() as conn:
        assert queries.open_actions(conn) == 1
    with bench.lab.database.write("cai") as unit:
        closed = actions.close(unit, number, "three runs in control")
    assert not closed.open
    assert [note["actor"] for note in closed.notes] == ["anna", "bo", "cai"]
    with bench.lab.database.read() as conn:
        assert queries.open_actions(conn) == 0
        assert actions.actions(conn) == [closed]


def test_a_closed_action_takes_no_note_until_it_is_taken_up_again(bench: Bench):
    """Reopened, it needs a new effect and a new second person; whoever closed it before may be that person."""
    number = begun(bench)
    with bench.lab.database.write("anna") as unit:
        actions.note(unit, number, "better", effect=True)
    with bench.lab.database.write("bo") as unit:
        actions.close(unit, number, "agreed")
    with pytest.raises(Refused) as refused, bench.lab.database.write("anna") as unit:
        actions.note(unit, number, "one more thing")
    assert refused.value.code == "ACTION_CLOSED"
    with bench.lab.database.write("cai") as unit:
        again = actions.reopen(unit, number, "came back")
    assert (again.open, again.effect, again.writers) == (True, "", {"cai"})
    with pytest.raises(Refused, match="is open"), bench.lab.database.write("cai") as unit:
        actions.reopen(unit, number, "again")
    with bench.lab.database.write("cai") as unit:
        actions.note(unit, number, "pump replaced", effect=True)
    with bench.lab.database.write("bo") as unit:
        assert not actions.close(unit, number, "agreed").open


@pytest.mark.parametrize(
    ("about", "subject", "text", "code"),
    [("cat", "1", "x", "ACTION_ABOUT"), ("run", " ", "x", "ACTION_ABOUT"), ("run", "1", "  ", "ACTION_TEXT"),
     ("run", "1", "x" * 1001, "ACTION_TEXT")],
)  # fmt: skip
def test_an_action_says_what_it_is_about(embedded: Bench, about: str, subject: str, text: str, code: str):
    """An action without subject or words is refused and leaves nothing behind."""
    with pytest.raises(Invalid) as refused, embedded.lab.database.write("anna") as unit:
        actions.open_action(unit, about, subject, text)
    assert refused.value.code == code
    with embedded.lab.database.read() as conn:
        assert actions.actions(conn) == []
        with pytest.raises(NotFound):
            actions.known(conn, 1)


STEPS = st.lists(
    st.tuples(st.sampled_from(["noted", "effect", "closed", "reopened"]), st.sampled_from("abc")), max_size=12
)


@given(STEPS)
@settings(max_examples=60)
def test_no_row_of_acts_closes_an_action_with_the_hand_that_wrote_in_it(steps: list[tuple[str, str]]):
    """Whatever people try in whatever order, a closed action has an effect and a closer who wrote nothing since it was opened."""
    notes = [_note("opened", "a", 1)]
    for act, actor in steps:
        found = fold(notes)
        may = {
            "closed": found.open and found.effect and actor not in found.writers,
            "reopened": not found.open,
        }.get(act, found.open)
        if may:
            notes.append(_note(act, actor, len(notes) + 1))
    since = next(n for n in range(len(notes) - 1, -1, -1) if notes[n]["act"] in {"opened", "reopened"})
    found = fold(notes)
    if not found.open:
        written = notes[since:-1]
        assert notes[-1]["actor"] not in {note["actor"] for note in written}
        assert any(note["act"] == "effect" for note in written)


def _note(act: str, actor: str, seq: int) -> dict:
    return {
        "action_id": 1,
        "seq": seq,
        "about": "run",
        "subject": "r",
        "at": seq,
        "act": act,
        "actor": actor,
        "detail": act,
    }


# -- calling people back --------------------------------------------------------------------------


def test_every_try_to_reach_a_person_is_an_event_of_the_tube(bench: Bench):
    """Tries are kept in order with who and how; they move nothing; the log still reproduces every table."""
    code = bench.mixed(5)
    bench.cycle([code], {code: POSITIVE})
    with bench.lab.database.read() as conn:
        first, *_ = queries.open_recalls(conn)
    person = first["person_id"]
    for actor, outcome in (("bo", "no-answer"), ("cai", "comes")):
        with bench.lab.database.write(actor) as unit:
            callbacks.try_contact(unit, code, person, outcome, " 下午来 ")
    assert bench.tube(code).state is TubeState.AWAITING_RECOLLECTION
    with bench.lab.database.read() as conn:
        tries = queries.contact_tries(conn, [code])
    assert [(row["actor"], row["outcome"], row["reason"]) for row in tries[code, person]] == [
        ("bo", "no-answer", "下午来"),
        ("cai", "comes", "下午来"),
    ]
    assert bench.history(code)[-2:] == ["ContactTried", "ContactTried"]
    assert bench.check().ok
    for who, outcome, kind in ((person, "sings", Invalid), ("nobody", "comes", Conflict)):
        with pytest.raises(kind), bench.lab.database.write("bo") as unit:
            callbacks.try_contact(unit, code, who, outcome)
    [single] = bench.singles()
    with pytest.raises(LisError), bench.lab.database.write("bo") as unit:
        callbacks.try_contact(unit, single, person, "comes")
