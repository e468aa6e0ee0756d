"""Queues of the simulator: nothing is lost, nobody is overtaken, everybody carries the time they came."""

import numpy as np
import simpy
from hypothesis import given
from hypothesis import strategies as st

from sim.engine import Items, Lots, Station
from sim.ranks import Ranks, index_of
from sim.servers import NEVER, Always, Rostered
from sim.service import Service, Times


@given(
    least=st.integers(1, 4),
    more=st.integers(0, 4),
    acts=st.lists(st.one_of(st.integers(1, 7), st.just("take"), st.just("flush")), max_size=40),
)
def test_items_come_out_in_the_order_in_which_they_came(least, more, acts):
    """Parcels of any size are split and joined into batches; a batch starts full enough, or after the flush."""
    queue, most = Items(least, least + more), least + more
    waiting: list[tuple[int, float]] = []
    came, flushed = 0, False
    for minute, act in enumerate(acts):
        now = float(minute)
        if act == "flush":
            queue.flush()
            flushed = True
        elif act == "take":
            may = len(waiting) >= least or (flushed and bool(waiting))
            assert queue.ready(now) == (now if may else NEVER)
            if may:
                ids, times = queue.take(now)
                assert list(zip(ids.tolist(), times.tolist(), strict=True)) == waiting[:most]
                waiting = waiting[most:]
        else:
            queue.put(np.arange(came, came + act), now)
            waiting += [(n, now) for n in range(came, came + act)]
            came += act
        assert len(queue) == len(waiting)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=30), st.integers(1, 5), st.integers(0, 5))
def test_a_foreseen_queue_starts_when_the_last_of_a_batch_is_there(times, least, more):
    """Known arrivals start their batches exactly at the arrival that fills them; the rest starts with the last."""
    times = np.sort(np.array(times))
    queue, taken = Items(least, least + more), 0
    queue.foresee(np.arange(times.size), times)
    while (start := queue.ready(0.0)) != NEVER:
        assert start == times[min(taken + least, times.size) - 1]
        ids, moments = queue.take(start)
        assert ids.tolist() == list(range(taken, taken + ids.size))
        assert moments.tolist() == times[taken : taken + ids.size].tolist()
        assert min(least, times.size - taken) <= ids.size <= least + more
        taken += ids.size
    assert taken == times.size


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=30),
    st.integers(1, 3),
    st.floats(0, 60),
)
def test_lots_go_by_priority_then_by_arrival_and_none_waits_beyond_its_patience(lots, least, patience):
    """A run starts with enough lots, or when the first has waited its time, or when no more will come."""
    queue = Lots(least, 5, patience)
    for minute, key in enumerate(lots):
        queue.put(minute, float(minute), (key,))
    now = float(len(lots))
    assert queue.ready(now) == (now if len(lots) >= least else 0.0 + patience)
    queue.flush()
    assert queue.ready(now) == now
    out = []
    while len(queue):
        taken, _ = queue.take(now)
        assert 1 <= len(taken) <= 5
        out += taken
    assert out == sorted(range(len(lots)), key=lambda lot: (lots[lot], lot))
    assert queue.ready(now) == NEVER


class Opens(Lots):
    """Lots that may start from one moment on."""

    __slots__ = ("opens",)

    def ready(self, now):
        """Not before the moment."""
        return max(self.opens, now) if len(self) else NEVER


def test_an_alarm_that_rings_a_digit_early_is_set_again():
    """Where now + (then - now) falls short of then by the last digit, what waits for then still starts."""
    rng = np.random.default_rng(1)
    pairs = (
        (float(a), float(b))
        for a, b in zip(rng.uniform(0, 300, 9999), rng.uniform(300, 900, 9999), strict=True)
    )
    now, then = next((a, b) for a, b in pairs if a + (b - a) < b)
    env = simpy.Environment(initial_time=now)
    queue = Opens()
    queue.opens = then
    done = []
    times = Times("x", Service("fixed", mean=1.0), np.random.default_rng(1))
    station = Station(env, "x", queue, Always(1), times, done.append)
    queue.put("lot", now)
    station.poke()
    env.run()
    assert done == [["lot"]]


@given(st.permutations(range(40)), st.lists(st.integers(-12, 12), max_size=40))
def test_marks_give_the_smallest_numbers_that_wait(order, acts):
    """Added in any order and taken from the head in any portion, the smallest come first and none is lost."""
    ranks, waiting, left = Ranks(40), [], list(order)
    for act in acts:
        if act > 0 and left:
            came, left = left[:act], left[act:]
            ranks.add(np.array(came))
            waiting = sorted([*waiting, *came])
        elif act < 0:
            found = ranks.least(-act)
            assert found.tolist() == waiting[:-act]
            taken = found[: found.size // 2 + 1]
            ranks.drop(taken, index_of(taken))
            waiting = waiting[taken.size :]
        assert len(ranks) == len(waiting)
    assert ranks.least(40).tolist() == waiting


def on_duty(windows, now, minutes, ending):
    """Whether a server with these windows takes work of so many minutes, looked up window by window."""
    for begin, end in windows:
        if begin <= now < end:
            return now + minutes <= end or ending == "overrun"
    return False


spans = st.lists(st.integers(1, 9), max_size=6).map(
    lambda gaps: list(zip(np.cumsum(gaps)[::2].tolist(), np.cumsum(gaps)[1::2].tolist(), strict=False))
)


@given(
    st.lists(spans, min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 8)), max_size=30),
    st.sampled_from(["overrun", "fits"]),
)
def test_the_first_idle_server_on_duty_takes_the_work(windows, acts, ending):
    """As a search through all servers finds it; and nobody comes on before the moment that is told."""
    servers, idle, busy, now = Rostered(windows, ending), list(range(len(windows))), [], 0
    for wait, minutes in acts:
        now += wait
        for back in [server for server, end in busy if end <= now]:
            servers.give(back)
            idle.append(back)
        busy = [(server, end) for server, end in busy if end > now]
        fit = [server for server in sorted(idle) if on_duty(windows[server], now, minutes, ending)]
        found = servers.take(now, minutes)
        assert found == ((fit[0], now + minutes) if fit else None)
        if found is None:
            begins = [begin for server in idle for begin, _ in windows[server] if begin > now]
            assert servers.next_on(now) == min(begins, default=NEVER)
        else:
            idle.remove(found[0])
            busy.append(found)
        assert servers.free == len(idle)
