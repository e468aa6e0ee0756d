"""Scan stations in a real browser: from key to paint, server time a scan, twenty stations at once, weight of the pages.

Run: ``python tests/benchmarks/bench_stations.py [stations] [seconds] [ahead]``. With ``ahead`` it goes before
everything else that runs on the machine (Linux, as root): other programs then do not spoil the figures.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bench_plates import loop_ms
from bench_setting import ROOT, Line, note, percentile, show

sys.path.insert(0, str(ROOT / "tests"))

from playwright.sync_api import sync_playwright
from screens import BENCH, CHROMIUM, screen
from station_bench import Server, prepare, scan, settled, station_server
from web_bench import people, tube_code

from lis.db import Database, migrate

PAINT_MS = 60.0
CPU_MS = 8.0
MANY_MS = 150.0
WEIGHT_KB = 100.0
FIRST_MS = 1000.0
SCANS = 60
PAUSE_MS = 100
"""Between two scans: the next tube is taken into the hand."""
WATCH = """() => {
  window.taken = []; let pressed = 0, seen = () => {};
  window.next = () => new Promise((done) => { seen = done; });
  document.addEventListener("keydown", (event) => { if (event.key === "Enter") pressed = event.timeStamp; }, true);
  new MutationObserver(() => {
    const look = document.getElementById("result").className;
    if (!pressed || !["result received", "result repeat", "result refused"].includes(look)) return;
    const from = pressed; pressed = 0;
    requestAnimationFrame(() => { const channel = new MessageChannel();
      channel.port1.onmessage = () => { window.taken.push(performance.now() - from); seen(); }; channel.port2.postMessage(0); });
  }).observe(document.getElementById("result"), { attributes: true, subtree: true, childList: true });
}"""


def cpu_s(server: Server) -> float:
    """Processor time of the server so far, in seconds."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def painted(browser: Any, server: Server) -> list[Line]:
    """From the last key of a scan, as the browser stamps it, until the server's answer is painted.

    Both moments are taken inside the page. What is left of the harness: the keys come through the DevTools
    protocol, and browser, server and this program share the processor.
    """
    codes = prepare(server, range(1, SCANS + 1))
    with screen(browser, server, server.person("anna")) as page:
        page.goto(f"{server.url}/reception")
        page.evaluate(WATCH)
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable")
        before = _spent(devtools)
        for code in codes:
            page.evaluate("() => { window.waited = window.next(); }")
            scan(page, code)
            page.evaluate(
                "() => window.waited"
            )  # asked once: a question at every picture would slow the page
            page.wait_for_timeout(PAUSE_MS)
        settled(page, SCANS)
        after = _spent(devtools)
        taken = sorted(page.evaluate("window.taken"))
    told = f"{len(taken)} of {SCANS} scans seen"
    return [
        Line("scan to painted answer, p50", percentile(taken, 0.5), PAINT_MS, "ms", told),
        Line("scan to painted answer, p95", percentile(taken, 0.95), PAINT_MS, "ms", told),
        *(
            note(f"page, {what} a scan", (after[name] - before[name]) / SCANS * factor, unit)
            for name, what, factor, unit in WORK
        ),
    ]


WORK = (
    ("ScriptDuration", "scripts", 1000, "ms"),
    ("LayoutDuration", "layout", 1000, "ms"),
    ("RecalcStyleDuration", "styles", 1000, "ms"),
    ("LayoutCount", "layouts", 1, ""),
)
"""What the browser counts of its own work on a page."""


def _spent(devtools: Any) -> dict[str, float]:
    return {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}


def processor(server: Server) -> Line:
    """Processor time of the server a scan."""
    codes = prepare(server, range(1001, 1201))
    anna = server.person("anna")
    anna.ok("/api/v1/receipts", {"barcode": codes[0]})
    before = cpu_s(server)
    for number, code in enumerate(codes[1:]):
        answer = anna.post("/api/v1/receipts", {"barcode": code}, Idempotency_Key=f"bench-{number}")
        assert answer.json()["counts"] == {"received": 1}
    return Line(
        "server processor time a scan", 1000 * (cpu_s(server) - before) / 199, CPU_MS, "ms", "199 scans"
    )


def together(server: Server, stations: int, seconds: int) -> list[Line]:
    """Many stations that scan once a second each: how long an answer takes."""
    anna = server.person("anna")
    series = [[tube_code(20_000 + 1000 * n + k) for k in range(seconds)] for n in range(stations)]
    for n, codes in enumerate(series):
        persons = people(len(codes), f"S{n}")
        anna.ok(
            "/api/v1/tubes",
            [{"barcode": c, "persons": [p], "sealed": True} for c, p in zip(codes, persons, strict=True)],
        )
    spent: list[float] = []
    wrong: list[str] = []

    def station(n: int) -> None:
        begin = time.monotonic() + n / stations
        for k, code in enumerate(series[n]):
            time.sleep(max(begin + k - time.monotonic(), 0))  # the pace of a technician is what is measured
            start = time.perf_counter()
            answer = anna.post(
                "/api/v1/receipts", {"barcode": code, "rack": f"S{n}"}, Idempotency_Key=f"many-{code}"
            )
            spent.append(1000 * (time.perf_counter() - start))
            if answer.json().get("counts") != {"received": 1}:
                wrong.append(answer.text)

    before, threads = cpu_s(server), [threading.Thread(target=station, args=(n,)) for n in range(stations)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not wrong, wrong[0]
    share = 100 * (cpu_s(server) - before) / seconds
    return [
        Line(f"{stations} stations at 1 scan/s, p99", percentile(sorted(spent), 0.99), MANY_MS, "ms",
             f"p50 {percentile(sorted(spent), 0.5):.1f} ms, {len(spent)} scans"),
        note("server processor meanwhile", share, "% of a core"),
    ]  # fmt: skip


def pages(browser: Any, server: Server) -> list[Line]:
    """Weight on the wire and first paint of every station, in a browser that knows nothing yet."""
    anna = server.person("anna")
    codes = prepare(server, range(90_001, 90_021))
    anna.ok(
        "/api/v1/receipts",
        [{"barcode": code, "rack": "W", "position": f"A{n}"} for n, code in enumerate(codes)],
    )
    plate = anna.ok("/api/v1/plates", {})["plate_id"]
    more = prepare(server, range(90_101, 90_111))
    anna.ok(
        "/api/v1/receipts",
        [{"barcode": code, "rack": "V", "position": f"A{n}"} for n, code in enumerate(more)],
    )
    sheet = anna.ok("/api/v1/pools", {"pools": [{"members": more}], "confirm": True})["worklist"]
    lines = []
    for name in (
        "collection",
        "reception",
        f"pooling/worklists/{sheet}",
        f"plates/{plate}/wells",
        "storage",
        "rack",
    ):
        with screen(browser, server, anna, "zh", viewport=BENCH) as page:
            page.goto(f"{server.url}/{name}", wait_until="networkidle")
            weight, paint = page.evaluate(
                """() => [performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation"))
                  .reduce((sum, one) => sum + one.transferSize, 0), performance.getEntriesByName("first-contentful-paint")[0].startTime]"""
            )
        lines.append(Line(f"/{name}: on the wire", weight / 1024, WEIGHT_KB, "KB", ""))
        lines.append(Line(f"/{name}: first paint", paint, FIRST_MS, "ms", ""))
    return lines


def main() -> None:
    """Measure everything on one server."""
    stations = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    seconds = int(sys.argv[2]) if len(sys.argv) > 2 else 30
    speed = loop_ms()
    if "ahead" in sys.argv:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    with tempfile.TemporaryDirectory(prefix="nat-lis-bench-") as folder:
        template = Path(folder) / "template.db"
        database = Database(f"sqlite:///{template}")
        migrate(database)
        database.close()
        data = Path(folder) / "data"
        data.mkdir()
        with station_server(data, template) as server, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            lines = [*painted(browser, server), processor(server), *pages(browser, server)]
            browser.close()
            begun = note("a fixed loop, before", speed, "ms", "16.5 on a fast day")
            ended = note("a fixed loop, after", loop_ms(), "ms")
            show("scan stations, sqlite", [begun, *lines, *together(server, stations, seconds), ended])


if __name__ == "__main__":
    main()
