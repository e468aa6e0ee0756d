"""A plate while it runs: kept cycle by cycle, shown, planned with, and never taken for a result. All synthetic."""

from __future__ import annotations

import threading
from datetime import timedelta

import httpx
import numpy as np
import pytest
from bench import Bench
from web_bench import NO_TLS

from instruments.bridge import Reads
from instruments.model import well_index
from instruments.virtual import VirtualRun, VirtualWell, live_lines
from lis import auth, laboratory, queries
from lis.errors import Refused
from lis.reception import Reception
from lis.services import results
from lis.services.capacity import Order
from lis.web.live import News, _drawn, span_of
from lis.web.serving import serving
from scheduler import Expected

CYCLER = "synthetic cycler"
DYES = ("FAM", "HEX", "ROX")


def lines_of(bench: Bench, plate: str, signals=None, cycles: int = 40, seed: int = 3):
    """Cycle by cycle (dye, values) of a plate as the virtual cycler measures it."""
    dyes = dict(zip((t.name for t in bench.assay_of(plate).targets), DYES, strict=False))
    wells: dict[str, VirtualWell] = {}
    for well, sample, control, target, cq in bench.contents(plate, signals or {}):
        before = wells[well].targets if well in wells else {}
        task = {"NTC": "ntc", "PC": "positive_control"}.get(control, "unknown")
        wells[well] = VirtualWell(well, sample, task, {**before, target: (dyes[target], cq)})
    now = bench.clock.now()
    run = VirtualRun(
        plate, CYCLER, "SYN1", "QuantStudio 5", now, now, 96, tuple(wells.values()), cycles=cycles
    )
    for lines in live_lines(run, np.random.default_rng(seed)):
        yield [
            (dye, tuple(float(one or "nan") for one in values))
            for _, dye, *values in (line.strip().split(",") for line in lines)
        ]


def show(bench: Bench, plate: str, upto: int, signals=None, *, named: str = "") -> int:
    """Let the cycler measure so many cycles, two minutes each; how many readings were new."""
    new = 0
    for cycle, dyes in zip(range(1, upto + 1), lines_of(bench, plate, signals), strict=False):
        bench.clock.advance(timedelta(minutes=2))
        with bench.lab.database.write("bridge") as unit:
            for dye, values in dyes:
                new += results.keep_reads(unit, CYCLER, "run-1", named, (cycle, dye, values)) == plate
    return new


def foresee(bench: Bench, plate: str):
    """What the plate makes likely now."""
    with bench.lab.database.write("anna") as unit:
        return results.foresee(unit, bench.lab.rules, plate)


def know_dyes(bench: Bench, seed: int = 1) -> None:
    """Let a plate be read before, so that the laboratory knows which dye is which target."""
    plate = bench.plate(bench.singles(1))
    rows = dict(zip((f"DYE{n}" for n in range(3)), DYES, strict=True))
    text = bench.drawn(plate, seed=seed).decode()
    for before, after in rows.items():
        text = text.replace(before, after)
    done = bench.deliver(text.encode(), name="run.txt", plate=plate)
    assert done.ingested.state == "read", done.ingested


def test_a_running_plate_tells_what_will_come_back(bench: Bench):
    """A positive pool and grey tubes are foreseen with the wells they will want and when; nothing is decided by it."""
    know_dyes(bench)
    grey, clear, *rest = bench.singles(4)
    assay = bench.lab.rules.assay(bench.lab.rules.default_assay)
    virus = [target.name for target in assay.targets if not target.is_control]
    plate = bench.plate([grey, clear, *rest])
    signals = {clear: dict.fromkeys(virus, 20.0), grey: {virus[0]: 24.0}}
    before = [bench.count(table) for table in ("event", "reading", "run")]
    began = bench.clock.now()
    assert show(bench, plate, 32, signals) == 96
    found = foresee(bench, plate)
    assert (found.cycle, found.failing) == (32, ())
    assert found.ends_at == began + timedelta(minutes=2 * found.cycles)
    assert sum(found.nexts.values()) + found.open == 4
    assert found.nexts.get("retest", 0) >= 1
    assert [one.count for one in found.expected] == [found.nexts["retest"]]
    with bench.lab.database.read() as conn:
        wells = {row["tube_id"]: row["well"] for row in queries.wells(conn, plate)}
    assert found.outlook[wells[clear]][virus[0]] == "rising"
    assert found.outlook[wells[rest[0]]][virus[0]] == "quiet"
    with bench.lab.database.write("anna") as unit:
        ahead = laboratory.foreseen(unit, bench.lab.rules)
    assert [one.plate_id for one in ahead] == [plate]
    assert (found.tubes[grey], found.tubes[rest[0]]) == ("retest", "conclude")
    number = laboratory.foretold(bench.lab, Order(replications=20), "anna")
    with bench.lab.database.read() as conn:
        shown = {row["tube_id"]: row for row in queries.forecast_tubes(conn, number)}
    # a retest needs a plate of its own: minutes of preparation and another run beyond the end of this one
    assert shown[grey]["p10"] > max(shown[code]["p90"] for code in rest)
    assert all(shown[code]["p50"] == shown[rest[0]]["p50"] for code in rest)
    assert [bench.count(table) for table in ("event", "reading", "run")] == before
    assert bench.check().ok


def test_a_rising_negative_control_foretells_the_whole_plate(embedded: Bench):
    """When something rises in the NTC, wells are foreseen for every tube of the plate."""
    know_dyes(embedded)
    codes = embedded.singles(3)
    plate = embedded.plate(codes)
    virus = [target.name for target in embedded.assay_of(plate).targets if not target.is_control]
    show(embedded, plate, 30, {"NTC": dict.fromkeys(virus, 20.0)})
    found = foresee(embedded, plate)
    assert len(found.failing) == 1
    assert [one.count for one in found.expected] == [3]


def test_before_cycle_25_and_without_known_dyes_nothing_is_foretold(embedded: Bench):
    """Curves are shown from the first cycle on; an outlook needs 25 cycles and the dye of every target."""
    plate = embedded.plate(embedded.singles(2))
    assert foresee(embedded, plate) is None
    show(embedded, plate, 30)
    found = foresee(embedded, plate)
    assert (found.outlook, found.nexts, found.open, found.expected) == ({}, {}, 2, ())
    assert found.cycle == 30
    know_dyes(embedded)
    assert foresee(embedded, plate).outlook


def test_readings_are_kept_once_and_only_of_the_plate_in_the_cycler(embedded: Bench):
    """A reading sent again changes nothing; one of no loaded plate, or of another one, is refused by name."""
    with embedded.lab.database.write("bridge") as unit, pytest.raises(Refused) as caught:
        results.keep_reads(unit, CYCLER, "run-1", "", (1, "FAM", (1.0,) * 96))
    assert caught.value.code == "NO_PLATE_RUNNING"
    plate = embedded.plate(embedded.singles(1))
    assert show(embedded, plate, 2, named=plate) == 6
    assert show(embedded, plate, 2, named=plate) == 0
    with embedded.lab.database.write("bridge") as unit, pytest.raises(Refused, match="no such plate"):
        results.keep_reads(unit, CYCLER, "run-1", "P99999999", (3, "FAM", (1.0,) * 96))
    other = embedded.plate(embedded.singles(1))
    with embedded.lab.database.write("bridge") as unit:
        with pytest.raises(Refused):  # two plates in one cycler, and nobody says which
            results.keep_reads(unit, CYCLER, "run-2", "", (1, "FAM", (1.0,) * 96))
        assert results.keep_reads(unit, CYCLER, "run-2", other, (1, "FAM", (1.0,) * 96)) == other


def test_live_readings_are_forgotten_after_a_week(embedded: Bench):
    """The first cycle of a later run clears away what is older than a week; the run files are the record."""
    plate = embedded.plate(embedded.singles(1))
    show(embedded, plate, 1)
    embedded.clock.advance(timedelta(days=8))
    with embedded.lab.database.write("bridge") as unit:
        results.keep_reads(unit, CYCLER, "run-2", plate, (1, "FAM", (1.0,) * 96))
    with embedded.lab.database.read() as conn:
        assert [(row["run"], row["cycle"]) for row in queries.live_frames(conn, plate)] == [("run-2", 1)]


def test_a_gap_is_drawn_as_a_gap(embedded: Bench):
    """A cycle that never came, and a well that is not read, are not a number; the other values stay right."""
    plate = embedded.plate(embedded.singles(1))
    with embedded.lab.database.write("bridge") as unit:
        for cycle in (1, 3):
            values = tuple(float("nan") if well == 5 else 10.0 * cycle + well for well in range(96))
            results.keep_reads(unit, CYCLER, "run-1", "", (cycle, "FAM", values))
        live = results.live_curves(unit, plate)
    assert live.cycle == 3
    stack = live.curves["FAM"]
    assert stack[0].tolist()[::2] == [10.0, 30.0]
    assert np.isnan(stack[0][1])
    assert np.isnan(stack[well_index("A6", 96)]).all()


@pytest.mark.parametrize("background", [True, False], ids=["raw", "background taken off"])
def test_noise_never_fills_the_scale_of_live_curves(embedded: Bench, background: bool):
    """From the second cycle on a flat well stays within a tenth of the height, and at cycle 30 a rising one fills it."""
    codes = embedded.singles(3)
    plate = embedded.plate(codes)
    virus = [target.name for target in embedded.assay_of(plate).targets if not target.is_control]
    show(embedded, plate, 30, {codes[0]: dict.fromkeys(virus, 22.0)})
    with embedded.lab.database.write("bridge") as unit:
        stack = results.live_curves(unit, plate).curves["FAM"]
        wells = {row["tube_id"]: well_index(row["well"], 96) for row in queries.wells(unit.conn, plate)}
    if not background:
        stack = stack - np.mean(stack[:, 2:8], axis=1, keepdims=True)
    rising, flat = (wells[code] for code in codes[:2])
    for cycle in (2, 3, 5, 10, 30):
        own = _drawn(stack[:, :cycle])
        height = max(span_of(stack[:, :cycle]), *(max(one) for one in own if one is not None))
        assert np.ptp(own[flat]) < height / 10, cycle
        if cycle < 11:
            assert np.ptp(own[rising]) < height / 10, cycle
    assert np.ptp(own[rising]) > 0.6 * height
    nothing = np.full((96, 4), np.nan)
    assert span_of(nothing) == 0.0


def test_the_screen_hears_of_every_cycle_and_of_the_file(embedded: Bench):
    """From the bridge over the news to the API: one cycle is told and shown, for signed-in eyes only."""
    news = News()
    plate = embedded.plate(embedded.singles(2))
    with embedded.lab.database.write("test") as unit:
        auth.create_account(unit, "anna", "Anna", "technician", "a bench of tubes")
        token = auth.open_token(unit, "anna", days=1).secret
    link = Reception(embedded.lab, "tcp://127.0.0.1:*", news.of_file, on_live=news.of_reads)
    known = {"verify": NO_TLS, "timeout": 30, "headers": {"Authorization": f"Bearer {token}"}}
    with serving(embedded.lab, "127.0.0.1", 0, news) as url, httpx.Client(base_url=url, **known) as http:
        assert httpx.get(f"{url}/api/v1/live", verify=NO_TLS).status_code == 401
        assert http.get(f"/api/v1/plates/{plate}/live").json()["code"] == "NOT_LIVE"
        heard: list[str] = []
        listening, told = threading.Event(), threading.Event()

        def listen() -> None:
            with httpx.stream("GET", f"{url}/api/v1/live", **known) as stream:
                for line in stream.iter_lines():
                    heard.append(line)
                    listening.set()
                    if len([one for one in heard if one.startswith("event:")]) == 2:
                        told.set()

        thread = threading.Thread(target=listen)
        thread.start()
        assert listening.wait(30)
        for dye, values in next(iter(lines_of(embedded, plate))):
            link._show(Reads(CYCLER, "run-1", 1, dye, values))
            link._show(Reads(CYCLER, "run-1", 1, dye, values))  # sent again: told once
            link._show(Reads("another cycler", "run-1", 1, dye, values))  # of no plate: told never
            break
        news.of_file(laboratory.handle(embedded.lab, _delivery(embedded, plate)).ingested)
        assert told.wait(30)
        shown = http.get(f"/api/v1/plates/{plate}/live").json()
        assert (shown["cycle"], shown["size"], shown["planning_only"]) == (1, 96, True)
        assert len(shown["curves"]["FAM"]) == 96
        assert news.listeners == 1
    thread.join(30)  # a server that stops lets go of its listeners
    assert not thread.is_alive()
    events = [one for one in heard if one.startswith(("event:", "data:"))]
    assert events[:2] == ["event: reads", f'data: {{"plate": "{plate}", "cycle": 1}}']
    assert events[2] == "event: file"
    assert '"state": "read"' in events[3]


def _delivery(bench: Bench, plate: str):
    from lis.services.inbox import Delivery

    return Delivery("cycler-1", "run-1", "run.csv", bench.table(plate), plate)


def test_a_slow_screen_is_told_to_ask_for_everything():
    """More news than a screen takes are not kept for it: it hears that it should ask anew, and then the rest."""
    import asyncio

    news = News()

    async def late() -> list[str]:
        stream = news.listen(beat=30, most=30)
        first = await anext(stream)
        for cycle in range(150):
            news.tell("reads", plate="P1", cycle=cycle)
        await asyncio.sleep(0)
        found = [first, await anext(stream)]
        news.close()
        found += [one async for one in stream]
        return found

    found = asyncio.run(late())
    assert found[1].startswith("event: everything")
    assert len(found) < 60
    assert "149" in found[-1]


def test_expected_jobs_travel_to_the_bench(embedded: Bench):
    """Plates, and the proposal of the next plate, are asked with the jobs foreseen from running ones."""
    from lis.services import plates
    from lis.services.plates import PlateOrder
    from scheduler import Plan, Wait

    embedded.singles(3)
    rules = embedded.lab.rules
    patient = PlateOrder(now_whatever=False)
    soon = Expected(rules.default_assay, 90, embedded.clock.now() + timedelta(minutes=4))
    cost = type(rules)(
        **{**{name: getattr(rules, name) for name in rules.__dataclass_fields__}, "plate_closing": "cost"}
    )
    embedded.clock.advance(timedelta(minutes=60))
    with embedded.lab.database.write("anna") as unit:
        assert isinstance(plates.propose(unit, cost, patient), Plan)
        soon = Expected(rules.default_assay, 90, unit.now + timedelta(minutes=4))
        assert isinstance(plates.propose(unit, cost, patient, [soon]), Wait)
