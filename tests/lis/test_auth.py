"""Accounts, sign-ins and tokens: opaque, short-lived, revocable; one table says who may do what."""

from __future__ import annotations

from datetime import timedelta

import pytest

from lis import auth, queries
from lis.auth import PERMISSIONS, Identity, Role, passwords
from lis.db import Database
from lis.errors import Forbidden, LisError, NotSignedIn

GOOD = "a long enough secret"

IN_FORCE = passwords._hasher
"""What hashes when no test makes it cheap."""
pytestmark = pytest.mark.usefixtures("quick_hashes")


def refused(database: Database, code: str, act, *values: object, **named: object) -> None:
    """The act is refused with this code."""
    with pytest.raises(LisError) as error, database.write("admin") as unit:
        act(unit, *values, **named)
    assert error.value.code == code


def account(database: Database, name: str = "rosa", role: str = "reviewer") -> None:
    """An account with the good password."""
    with database.write("admin") as unit:
        auth.create_account(unit, name, "", role, GOOD)


def identify(database: Database, secret: str, later: timedelta = timedelta()) -> Identity:
    """Who holds a secret, some time later."""
    with database.read() as conn:
        return auth.identify(conn, secret, database.clock.now() + later)


def test_an_account_needs_a_name_a_role_and_a_password_nobody_guesses(database: Database):
    """Bad names, roles, short, endless and common passwords and a taken name are refused."""
    account(database)
    refused(database, "ACCOUNT_TAKEN", auth.create_account, "rosa", "", "reviewer", GOOD)
    refused(database, "ACCOUNT_NAME", auth.create_account, "rosa <b>", "", "reviewer", GOOD)
    refused(database, "ROLE", auth.create_account, "ruth", "", "queen", GOOD)
    for password, code in (("short", ""), ("x" * 129, ""), ("Password1", "_COMMON"), ("Ruth-ruth", "_NAME")):
        refused(database, f"PASSWORD{code}", auth.create_account, "ruth", "", "reviewer", password)
    with database.read() as conn:
        row = queries.account_row(conn, "rosa")
        assert row is not None
        assert [one["name"] for one in queries.accounts(conn)] == ["rosa"]
    assert GOOD not in row["password"]
    assert auth.verify(row["password"], GOOD)
    assert not auth.verify(row["password"], GOOD + "x")


def test_a_stolen_hash_costs_whoever_guesses():
    """What is stored outside of tests is argon2id at the price that RFC 9106 asks of it, salted anew each time."""
    one, two = (IN_FORCE().hash(GOOD) for _ in range(2))
    assert one.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert one != two


def test_a_sign_in_ends_and_can_be_revoked(database: Database):
    """A secret opens the door until it expires or is closed; only its digest is stored."""
    account(database)
    with database.write("rosa") as unit:
        ticket = auth.open_session(unit, "rosa", minutes=60)
    who = identify(database, ticket.secret)
    assert (who.name, who.role, who.full_name) == ("rosa", Role.REVIEWER, "rosa")
    assert who.csrf
    for secret, later in (("", timedelta()), ("other", timedelta()), (ticket.secret, timedelta(minutes=61))):
        with pytest.raises(NotSignedIn):
            identify(database, secret, later)
    with database.read() as conn:
        assert queries.ticket_row(conn, ticket.secret) is None
    with database.write("rosa") as unit:
        auth.close_session(unit, ticket.secret)
    with pytest.raises(NotSignedIn):
        identify(database, ticket.secret)


def test_a_token_lasts_for_days_and_a_closed_account_for_nothing(database: Database):
    """An instrument's token lives on its own time; unknown and closed accounts get none and lose theirs."""
    account(database, "qs5-1", "instrument")
    with database.write("admin") as unit:
        token = auth.open_token(unit, "qs5-1", days=30)
    assert identify(database, token.secret, timedelta(days=29)).purpose == "token"
    refused(database, "SIGN_IN", auth.open_token, "nobody", days=1)
    with database.write("admin") as unit:
        queries.update_row(unit.conn, "account", {"name": "qs5-1"}, active=False)
    refused(database, "SIGN_IN", auth.open_token, "qs5-1", days=1)
    with pytest.raises(NotSignedIn):
        identify(database, token.secret)


@pytest.mark.parametrize("role", Role)
def test_a_role_may_do_what_the_table_says_and_nothing_else(role: Role):
    """Every action is allowed or forbidden by the table, and a refusal names who may."""
    who = Identity("x", "X", role)
    for action, roles in PERMISSIONS.items():
        if role in roles:
            who.must(action)
        else:
            with pytest.raises(Forbidden, match=min(roles)):
                who.must(action)


def test_no_single_role_can_do_everything():
    """Administrators give no results away, instruments only upload, technicians do not sign."""
    may = {role: {action for action, roles in PERMISSIONS.items() if role in roles} for role in Role}
    assert may[Role.INSTRUMENT] == {"signed-in", "upload"}
    assert may[Role.COLLECTION] == {"signed-in", "register", "call", "undo"}
    assert not may[Role.QUALITY] & {"review", "release", "amend", "register", "plate", "person", "accounts"}
    assert not may[Role.ADMINISTRATOR] & {"review", "release", "amend", "register", "plate"}
    assert not may[Role.TECHNICIAN] & {"review", "release", "amend", "accounts", "person"}
    assert all(PERMISSIONS.values())
