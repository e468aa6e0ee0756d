"""Devices, one-time codes and keys: what is taken, what is refused, and that every act is written down."""

from __future__ import annotations

from datetime import timedelta

import pytest
from bench import Bench

from lis import queries
from lis.errors import LisError
from lis.services import devices
from lis.services.devices import Request

CODE, OTHER = "c" * 40, "d" * 40
KEY, NEXT = "k" * 40, "n" * 40
DAY = timedelta(hours=24)


def act(bench: Bench, what, *values, actor: str = "admin"):
    """One act on a device."""
    with bench.lab.database.write(actor) as unit:
        return what(unit, *values)


def refused(bench: Bench, what, *values) -> str:
    """The code with which an act is refused; its sentence is one."""
    with pytest.raises(LisError) as error:
        act(bench, what, *values)
    assert error.value.sentence.endswith((".", "?"))
    return error.value.code


def owner(bench: Bench, key: str) -> str | None:
    """Whose key it is at this moment."""
    with bench.lab.database.read() as conn:
        return queries.device_of_key(conn, key, bench.clock.now())


def acts(bench: Bench, name: str = "") -> list[tuple[str, str]]:
    """Who did what, in order."""
    with bench.lab.database.read() as conn:
        return [(row["actor"], row["act"]) for row in reversed(queries.device_acts(conn, name))]


@pytest.fixture
def coded(bench: Bench) -> Bench:
    """A laboratory with a device qs5 that waits for its code, valid for a day, to be used."""
    act(bench, devices.add_device, "qs5", "cycler", "2725")
    act(bench, devices.issue_code, "qs5", CODE, DAY)
    return bench


def enrol(bench: Bench, code: str = CODE, key: str = KEY, instrument: str = "") -> str:
    """An agent's request, as the bridge commits it."""
    return act(
        bench, devices.enrol_by_code, Request(code, key, instrument, "1.1", "10.0.0.7"), actor="bridge"
    )


def test_a_code_is_good_for_one_key_and_every_act_is_written_down(coded: Bench):
    """Used, the code enrols its key; the same request again is answered alike; another key with it is refused."""
    assert owner(coded, KEY) is None
    assert enrol(coded) == enrol(coded, instrument="qs5") == "qs5"
    assert owner(coded, KEY) == "qs5"
    assert refused(coded, devices.enrol_by_code, Request(CODE, NEXT)) == "CODE_USED"
    assert owner(coded, NEXT) is None
    assert acts(coded) == [("admin", "added"), ("admin", "code"), ("bridge", "enrolled")]
    with coded.lab.database.read() as conn:
        row = queries.device_acts(conn, "qs5")[0]
        assert row["at"] == coded.clock.now()
        assert row["public_key"] == KEY
        assert "admin" in row["detail"]
        assert "10.0.0.7" in row["detail"]


def test_only_the_digest_of_a_code_is_stored(coded: Bench):
    """Neither the code's key nor anything it could be made from stands in the database."""
    with coded.lab.database.read() as conn:
        (row,) = queries.open_codes(conn, coded.clock.now())
        assert CODE not in {str(value) for value in row.values()}
        assert len(row["digest"]) == 64
        assert queries.enrolment_row(conn, devices.digest_of(CODE)) == row


def test_codes_end_by_time_by_hand_and_by_a_newer_one(coded: Bench):
    """Expired, cancelled, superseded and unknown codes are told apart; none of them enrols."""
    coded.clock.advance(DAY)
    assert refused(coded, devices.enrol_by_code, Request(CODE, KEY)) == "CODE_EXPIRED"
    act(coded, devices.issue_code, "qs5", OTHER, DAY)
    assert act(coded, devices.cancel_codes, "qs5") == 1
    assert act(coded, devices.cancel_codes, "qs5") == 0
    assert refused(coded, devices.enrol_by_code, Request(OTHER, KEY)) == "CODE_CANCELLED"
    act(coded, devices.issue_code, "qs5", "e" * 40, DAY)
    act(coded, devices.issue_code, "qs5", "f" * 40, DAY)
    assert refused(coded, devices.enrol_by_code, Request("e" * 40, KEY)) == "CODE_CANCELLED"
    assert refused(coded, devices.enrol_by_code, Request("x" * 40, KEY)) == "CODE_UNKNOWN"
    assert owner(coded, KEY) is None
    assert enrol(coded, "f" * 40) == "qs5"


def test_a_code_typed_at_the_wrong_pc_changes_nothing(coded: Bench):
    """An agent that believes to be another device is refused, and the code stays good for the right one."""
    assert refused(coded, devices.enrol_by_code, Request(CODE, KEY, "cfx-2")) == "CODE_OTHER_DEVICE"
    assert enrol(coded, instrument="qs5") == "qs5"


def test_a_rotated_key_works_until_the_new_one_is_enrolled(coded: Bench):
    """Between the new code and its use the old key is good; afterwards it is refused and can never come back."""
    enrol(coded)
    act(coded, devices.set_expiry, "qs5", coded.clock.now() + DAY)
    act(coded, devices.issue_code, "qs5", OTHER, DAY)
    assert owner(coded, KEY) == "qs5"
    assert enrol(coded, OTHER, NEXT) == "qs5"
    assert (owner(coded, KEY), owner(coded, NEXT)) == (None, "qs5")
    coded.clock.advance(2 * DAY)
    assert owner(coded, NEXT) == "qs5"  # the end of the old key was not inherited
    assert refused(coded, devices.enrol_by_code, Request(CODE, KEY)) == "CODE_USED"
    act(coded, devices.issue_code, "qs5", "e" * 40, DAY)
    assert refused(coded, devices.enrol_by_code, Request("e" * 40, KEY)) == "DEVICE_KNOWN"
    assert refused(coded, devices.enrol_device, "qs6", "cycler", KEY) == "DEVICE_KNOWN"


def test_a_revoked_device_is_refused_with_its_code_until_it_gets_a_new_one(coded: Bench):
    """Revocation ends key and open code at once; only a new code and another key let the device in again."""
    enrol(coded)
    act(coded, devices.issue_code, "qs5", OTHER, DAY)
    act(coded, devices.revoke_device, "qs5")
    assert owner(coded, KEY) is None
    assert refused(coded, devices.enrol_by_code, Request(OTHER, NEXT)) == "CODE_CANCELLED"
    assert refused(coded, devices.enrol_by_code, Request(CODE, KEY)) == "CODE_USED"
    assert refused(coded, devices.set_expiry, "qs5", None) == "DEVICE_NO_KEY"
    act(coded, devices.issue_code, "qs5", "e" * 40, DAY)
    assert enrol(coded, "e" * 40, NEXT) == "qs5"
    assert owner(coded, NEXT) == "qs5"
    assert [what for _, what in acts(coded)][-5:] == ["code", "cancelled", "revoked", "code", "enrolled"]


def test_a_key_ends_at_its_moment(coded: Bench):
    """Before it the key is good, from it on refused; a past moment is refused; the end can be taken back."""
    enrol(coded)
    act(coded, devices.set_expiry, "qs5", coded.clock.now() + DAY)
    coded.clock.advance(DAY - timedelta(seconds=1))
    assert owner(coded, KEY) == "qs5"
    coded.clock.advance(timedelta(seconds=1))
    assert owner(coded, KEY) is None
    assert refused(coded, devices.set_expiry, "qs5", coded.clock.now()) == "EXPIRY_PAST"
    act(coded, devices.set_expiry, "qs5", None)
    assert owner(coded, KEY) == "qs5"


def test_nothing_is_done_to_a_device_that_is_not_there(bench: Bench):
    """Unknown devices, bad names and endless codes are refused in words, and leave no trace."""
    for what, more in (
        (devices.revoke_device, ()),
        (devices.cancel_codes, ()),
        (devices.issue_code, (CODE, DAY)),
        (devices.set_expiry, (None,)),
        (devices.set_serial, ("1",)),
    ):
        assert refused(bench, what, "qs9", *more) == "DEVICE_UNKNOWN"
    assert refused(bench, devices.add_device, "a\nb", "cycler") == "DEVICE_NAME"
    act(bench, devices.add_device, "qs5", "cycler")
    assert refused(bench, devices.add_device, "qs5", "cycler") == "DEVICE_KNOWN"
    for valid in (timedelta(0), timedelta(days=32)):
        assert refused(bench, devices.issue_code, "qs5", CODE, valid) == "CODE_HOURS"
    assert refused(bench, devices.set_expiry, "qs5", None) == "DEVICE_NO_KEY"
    assert acts(bench) == [("admin", "added")]
