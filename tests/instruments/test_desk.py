"""Turns and outlets: order within a device, no waiting between devices, bounded queues."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from instruments import wire
from instruments.desk import Desk, Job, Outlet


def job(device, number, length=1):
    """One job of a device."""
    message = wire.Message(wire.RUN_FILE, f"{device}/{number}".encode(), {}, b"x" * length)
    return Job(b"", device, message)


@given(st.lists(st.sampled_from("abc"), max_size=40), st.randoms(use_true_random=False))
def test_each_device_in_order_and_never_twice_at_once(arrivals, chance):
    """Whatever arrives and whoever works, a device's jobs come out in order, one at a time, all of them."""
    desk = Desk(room=50)
    for number, device in enumerate(arrivals):
        assert desk.put(job(device, number)) == "taken"
    busy, seen = [], []
    while len(seen) < len(arrivals):
        if busy and (not desk._turns or chance.random() < 0.5):
            desk.done(busy.pop(chance.randrange(len(busy))))
            continue
        taken = desk.take()
        assert taken.device not in {other.device for other in busy}
        busy.append(taken)
        seen.append(taken.message.message_id)
    for device in "abc":
        mine = [int(one.split(b"/")[1]) for one in seen if one.startswith(device.encode())]
        assert mine == [number for number, other in enumerate(arrivals) if other == device]


def test_a_repeat_of_what_is_being_worked_on_is_not_queued():
    """A resend of a job in hand or in the queue adds nothing; after its answer it is taken again."""
    desk = Desk(room=5)
    assert [desk.put(job("a", 1)) for _ in range(2)] == ["taken", "known"]
    taken = desk.take()
    assert desk.put(job("a", 1)) == "known"
    desk.done(taken)
    assert desk.put(job("a", 1)) == "taken"


def test_a_device_can_only_pile_up_so_much():
    """Room is bounded by number and by bytes, for each device on its own."""
    desk = Desk(room=3)
    assert [desk.put(job("a", number)) for number in range(4)] == ["taken"] * 3 + ["full"]
    big = 6 * 1024 * 1024
    assert [desk.put(job("b", number, big)) for number in range(3)] == ["taken", "taken", "full"]


def test_a_closed_desk_sends_the_workers_home():
    """Closing wakes a waiting worker and gives out nothing more."""
    desk = Desk(room=3)
    taken = []
    worker = threading.Thread(target=lambda: taken.append(desk.take()))
    worker.start()
    desk.close()
    worker.join(5)
    desk.put(job("a", 1))
    assert taken == [None]
    assert desk.take() is None


def test_a_slow_receiver_loses_the_oldest_and_is_told_how_many():
    """The giver never waits; what overflows is counted; what stays is delivered in order."""
    gate, first, seen = threading.Event(), threading.Event(), []

    def receive(item):
        first.set()
        gate.wait(5)
        seen.append(item)

    outlet = Outlet("test", receive, room=3)
    outlet.put(0)
    assert first.wait(5)
    for item in range(1, 8):
        outlet.put(item)
    gate.set()
    outlet.close(5)
    assert seen == [0, 5, 6, 7]
    assert outlet.dropped == 4


def test_a_failing_receiver_gets_the_next_item(caplog):
    """An exception in the receiver is logged and ends nothing."""
    seen = []

    def receive(item):
        seen.append(item)
        if item == 1:
            raise ValueError(item)

    outlet = Outlet("test", receive, room=3)
    outlet.put(1)
    outlet.put(2)
    outlet.close(5)
    assert seen == [1, 2]
    assert "receiver of int failed" in caplog.text
