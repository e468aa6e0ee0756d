"""What a key may send: nobody spends more than his allowance, floods are cut off, honest agents never are."""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

import pytest
import zmq
from hypothesis import event, given, settings
from hypothesis import strategies as st

from instruments import agent, wire
from instruments.agent import AgentConfig, Courier, Found, Outbox
from instruments.bridge import Limits
from instruments.flood import (
    BUSY_POINTS,
    BYTES_A_POINT,
    FORGIVEN_S,
    LONGEST_PENALTY_S,
    UNREADABLE_POINTS,
    Allowance,
    Penalties,
    hang_up,
)

LIMITS = Limits()
KEY = b"k"


def usual() -> Allowance:
    """The allowance of a bridge as it is delivered."""
    return Allowance(LIMITS.burst, LIMITS.a_second, LIMITS.patience)


# ---------------------------------------------------------------------------- allowance and penalties
@given(st.lists(st.tuples(st.sampled_from([b"a", b"b"]), st.floats(0.1, 5), st.floats(0, 3)), max_size=60))
def test_no_key_spends_more_than_its_allowance(acts):
    """Over any stretch a key gets no more than its burst and what came back since, whatever the others do."""
    allowance, now, spent, begun = Allowance(10, 2, 5), 0.0, {}, {}
    for key, cost, pause in acts:
        now += pause
        begun.setdefault(key, now)
        if allowance.takes(key, cost, now):
            spent[key] = spent.get(key, 0.0) + cost
        assert spent.get(key, 0.0) <= 10 + 2 * (now - begun[key]) + 1e-9


def test_an_allowance_comes_back_with_time_and_is_kept_for_a_thousand_keys():
    """After the burst nothing goes, a second later what a second is worth; strangers do not fill the memory."""
    allowance = Allowance(3, 1, 10, keys=2)
    assert [allowance.takes(b"a", 1, 0.0) for _ in range(4)] == [True, True, True, False]
    assert [allowance.takes(b"a", 1, 1.0) for _ in range(2)] == [True, False]
    for key in (b"b", b"c", b"d"):
        assert allowance.takes(key, 1, 1.0)
    assert len(allowance._accounts) == 2


def test_what_turned_out_dear_is_paid_for_and_never_below_nothing():
    """A charge takes from what is left and leaves no debt that a patient sender would have to work off."""
    allowance = Allowance(10, 1, 10)
    allowance.charge(KEY, 25, 0.0)
    assert not allowance.takes(KEY, 1, 0.0)
    assert allowance.takes(KEY, 1, 1.0)


def test_only_who_sends_on_floods_and_patience_comes_back():
    """Beyond the patience it is a flood; what was passed over long ago does not count any more."""
    allowance = Allowance(5, 1, 3)
    assert not allowance.floods(KEY)
    for _ in range(8):
        allowance.takes(KEY, 1, 0.0)
    assert not allowance.floods(KEY)
    assert not allowance.takes(KEY, 1, 0.0)
    assert allowance.floods(KEY)
    allowance.charge(KEY, 5, 4.0)
    assert not allowance.floods(KEY)


def test_penalties_grow_end_and_are_forgiven():
    """Ten seconds, then double, never over a quarter of an hour; after an hour of peace it begins anew."""
    penalties, now, seconds = Penalties(), 0.0, []
    assert not penalties.bars(KEY, now)
    for _ in range(9):
        seconds.append(penalties.impose(KEY, now))
        assert penalties.bars(KEY, now + seconds[-1] - 0.1)
        now += seconds[-1]
        assert not penalties.bars(KEY, now)
    assert seconds[:3] == [10.0, 20.0, 40.0]
    assert seconds[-1] == LONGEST_PENALTY_S
    assert penalties.impose(KEY, now + FORGIVEN_S) == 10.0


def test_penalties_are_kept_for_so_many_keys():
    """Enrolling many keys does not fill the memory."""
    penalties = Penalties(keys=2)
    for key in (b"a", b"b", b"c"):
        penalties.impose(key, 0.0)
    assert [penalties.bars(key, 1.0) for key in (b"a", b"b", b"c")] == [False, True, True]


# ---------------------------------------------------------------------------- the honest
SCALE = 100
"""Every byte of the files below stands for so many."""


def spooled(folder: Path, kinds: list[int], count: int) -> tuple[AgentConfig, Outbox]:
    """An agent as it is delivered, with ``count`` files that it could not send yet, of these sizes in turn."""
    keys = b"p" * 40
    part_bytes = wire.PART_BYTES // SCALE
    plan = AgentConfig(folder, Path(), "tcp://x:1", "qs5", keys, keys, keys, part_bytes=part_bytes)
    outbox = Outbox(":memory:", "qs5")
    for number in range(count):
        data = bytes(kinds[number % len(kinds)] // SCALE)
        parts = wire.parts_needed(len(data), part_bytes)
        head = wire.FileHead(
            "qs5", f"r{number}", f"r{number}.csv", f"{number:064x}", len(data), parts, "", ""
        )
        outbox.add(Found(head.name, "m", data, ""), head, part_bytes, 1e9)
    return plan, outbox


@settings(max_examples=8, deadline=None)
@given(
    kinds=st.lists(st.sampled_from([9_000, 200_000, 500_000, 2_000_000]), min_size=1, max_size=6),
    count=st.integers(300, 400),
    answer_s=st.sampled_from([0.0, 0.001, 0.02, 0.2]),
    lost=st.sampled_from([0.0, 0.01, 0.3]),
    breaks=st.sampled_from([0.0, 0.01, 0.3]),
    seed=st.integers(0, 99),
)
def test_an_agent_with_all_it_missed_is_never_cut_off(
    tmp_path_factory, kinds, count, answer_s, lost, breaks, seed
):
    """Hundreds of files after an outage, answers lost, links broken: all arrives, and nothing looks like a flood."""
    plan, outbox = spooled(tmp_path_factory.getbasetemp(), kinds, count)
    chance, now, tick, heard = random.Random(seed), 1e9, 0.0, 0.0
    courier, allowance = Courier(outbox, plan, chance), usual()
    held: dict[str, set[int]] = {}
    while outbox.counts()[agent.PENDING]:
        assert tick < 86_400
        answers = []
        for message in list(courier.outgoing(now + tick, tick)):
            if not allowance.takes(KEY, 1 + (400 + SCALE * len(message.body)) / BYTES_A_POINT, tick):
                event("passed over")
                assert not allowance.floods(KEY)
                continue
            head = wire.head_of(message)
            mine = held.setdefault(head.run, set())
            mine.add(message.header["part"])
            if chance.random() >= lost:
                missing = sorted(set(range(1, head.parts + 1)) - mine) or None
                answers.append(wire.ack(message.message_id, wire.STORED, "", missing))
        if chance.random() < breaks:
            courier.lost_link()
            tick += 0.1  # the soonest that ZeroMQ connects anew
        tick += answer_s if answers else 1.0
        heard = tick if answers else heard
        for answer in answers:
            courier.received(answer, now + tick)
        courier.expire(now + tick, tick, heard)
    outbox.close()
    assert held.keys() == {f"r{number}" for number in range(count)}


def test_the_largest_file_sent_all_at_once_stays_within_the_burst():
    """A client that waits for no answer, and finds its queue full after 32 parts, is not even passed over."""
    parts = wire.MAX_FILE_BYTES // wire.PART_BYTES
    points = parts * (1 + (wire.PART_BYTES + 1_000) / BYTES_A_POINT) + (parts - LIMITS.queue) * BUSY_POINTS
    assert points < LIMITS.burst


def test_rubbish_is_dear():
    """What no honest device sends costs so much that some forty of them end the burst."""
    allowance, looked_at = usual(), 0
    while allowance.takes(KEY, 1, 0.0):
        allowance.charge(KEY, UNREADABLE_POINTS, 0.0)
        looked_at += 1
    assert looked_at <= 40


# ---------------------------------------------------------------------------- hanging up
@pytest.fixture
def joined():
    """A ROUTER, a DEALER that has sent it one message, and that message's last frame."""
    context = zmq.Context()
    router, dealer = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
    router.linger = dealer.linger = 0
    port = router.bind_to_random_port("tcp://127.0.0.1")
    monitor = dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
    dealer.connect(f"tcp://127.0.0.1:{port}")
    dealer.send(b"x")
    yield router.recv_multipart(copy=False)[-1], port, monitor
    dealer.disable_monitor()
    monitor.close()
    context.destroy()


def test_the_connection_a_message_came_through_is_shut_down(joined):
    """The sender sees its connection lost."""
    frame, port, monitor = joined
    assert hang_up(frame, port, "127.0.0.1")
    assert monitor.poll(10_000)


def test_a_connection_that_is_not_the_senders_is_left_alone(joined):
    """Another port, another address, no socket at all, a number that is free: nothing is touched."""
    frame, port, monitor = joined
    other = socket.create_server(("127.0.0.1", 0))
    assert not hang_up(frame, port + 1, "127.0.0.1")
    assert not hang_up(frame, port, "10.0.0.1")
    assert not hang_up(frame, port, "127.0.0.1", lambda _fd: other.detach())
    with Path(__file__).open("rb") as file:
        number = os.dup(file.fileno())
        assert not hang_up(frame, port, "127.0.0.1", lambda _fd: number)
        os.close(number)
    assert not hang_up(zmq.Frame(b"not received"), port, "127.0.0.1")
    assert not monitor.poll(50)
