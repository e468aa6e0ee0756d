"""Every page of the application in a real browser: free of serious faults for people with aids, light, named.

The list of pages comes from the routes of the application, so that a new page is looked at from its first
day. ``pytest -m screens`` keeps a picture of each below ``build/screens``.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from moments import NOON
from screens import picture, screen
from web_bench import bench, people, plate, receive, run_file, tube_code, upload

from lis.clock import FixedClock
from lis.web.app import ROUTERS

pytestmark = pytest.mark.browser

CONTROLS = [{"well": well, "control": kind} for well, kind in (("A12", "NTC"), ("D12", "EC"), ("H12", "PC"))]
"""Of a plate made by hand."""

WIRE = 100_000
"""Bytes that a page may weigh on the wire with its styles and scripts, charts aside."""

NO_PAGES = {
    "/api/v1/docs": "Swagger UI, as its makers ship it",
    "/pooling/advice": "a part that the pooling page fetches",
    "/plates/{plate_id}/map": "a part that other pages fetch",
    "/labels/{kind}.css": "a style sheet",
    "/twin/{name}": "the programs of live charts",
}
"""Addresses that answer no page of ours."""


DOCS = Path(__file__).resolve().parents[2] / "docs"
UNSHOWN = {
    "search-q",
    "nowhere",
    "admin-users-retest",
    "labels-code",
    "capacity-simulations-none",
    "collection",
}
"""Pages without a picture of their own in docs/bench.md."""


def addresses() -> list[str]:
    """The address of every page, as the application declares it."""
    found = [
        route.path
        for router in ROUTERS
        for route in router.routes
        if not getattr(route, "include_in_schema", True)
        and "GET" in route.methods
        and route.path not in NO_PAGES
    ]
    return sorted(set(found))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path):
    """A laboratory with something on every page, and what stands for the names in their addresses."""
    folder = tmp_path_factory.mktemp("screens")
    target = folder / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", folder, FixedClock(NOON)) as found:
        bo, cai = found.person("bo"), found.person("cai")
        singles = receive(cai, *range(1, 11))
        receive(cai, 20, kind="mixed", places=5, rack="R2")
        lots = {"kit": "DA2211-07", "extraction": "EX-0931", "control": "QC-12"}
        for kind, number in lots.items():
            expires = "2022-12-30" if kind == "control" else "2023-06-30"
            cai.ok("/api/v1/lots", {"kind": kind, "number": number, "expires": expires})
        made = plate(cai, lot=lots["kit"], extraction_lot=lots["extraction"], control_lot=lots["control"])
        truth = {singles[0]: 22.0, singles[1]: 24.0, singles[2]: 25.0}
        upload(cai, run_file(found, made, truth, no_ic={singles[5]}), "SYNTHETIC.txt")
        upload(cai, b"junk", "junk.bin")
        for who in (bo, cai):
            who.ok("/api/v1/reviews", {"tube": singles[0], "verdict": "accept"})
        (number,) = cai.ok("/api/v1/reports/release", {"tubes": [singles[0]]})["tubes"][singles[0]]
        many = {"pools": [{"members": receive(cai, *range(n, n + 3), rack=f"R{n}")} for n in (90, 94)]}
        worklist = cai.ok("/api/v1/pools", many | {"confirm": True})["worklist"]
        cai.ok("/api/v1/receipts", {"barcode": tube_code(77)})
        cai.ok(f"/api/v1/tubes/{receive(cai, 50, rack='R5')[0]}/hold", {"reason": "漏液"})
        cai.ok("/api/v1/tubes", {"barcode": tube_code(61), "persons": people(1, "R"), "sealed": True})
        receive(cai, *range(110, 116), rack="R6")
        cai.ok("/api/v1/labels", {"codes": [singles[0]]})
        found.at = {
            "barcode": singles[0],
            "plate_id": made["plate_id"],
            "report_id": number,
            "number": worklist,
            "name": "retest",
            "simulation": "none",
        }
        planned = [
            {"well": f"A{n}", "tube": code}
            for n, code in enumerate(receive(cai, *range(130, 134), rack="R7"), 1)
        ]
        begun = cai.ok("/api/v1/plates", {"wells": [*planned, *CONTROLS]})["plate_id"]
        seal = cai.get(f"/api/v1/reports/{number}").json()["seal"]
        found.instead = {
            "/plates/{plate_id}/wells": f"/plates/{begun}/wells",
            "/verify/{report_id}": f"/verify/{number}?seal={seal[:16]}",
        }
        found.cases = singles
        yield found


def concrete(served: Any, address: str) -> str:
    """An address with something real for every name in it; some show more with something of their own."""
    if address in served.instead:
        return served.instead[address]
    names = re.findall(r"\{(\w+)(?::\w+)?\}", address)
    missing = [name for name in names if name not in served.at]
    assert not missing, (
        f"{address}: say in the fixture what stands for {missing}, so that this page is looked at"
    )
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda named: served.at[named[1]], address)


def page_for(served: Any, address: str) -> tuple[str, str] | None:
    """Where the page opens and for whom (a manager, else an administrator); None if it is no page."""
    for name in ("cai", "root"):
        answer = served.person(name).get(concrete(served, address), headers={"Accept": "text/html"})
        if not answer.headers["content-type"].startswith("text/html") or "<html" not in answer.text:
            return None
        if answer.status_code not in {401, 403}:
            return concrete(served, address), name
    raise AssertionError(f"{address} opens for nobody")


@pytest.fixture(scope="module")
def pages(served) -> list[tuple[str, str]]:
    """Every page with who opens it; pages with another state of their own besides."""
    found = [one for address in addresses() if (one := page_for(served, address))]
    others = [f"/labels?code={served.at['barcode']}", "/search?q=0000", f"/collection?tube={tube_code(61)}"]
    others += [f"/worklists/{name}" for name in ("recollect", "hold", "plate")]
    others += ["/rack?act=store", "/plating?template=384-quadrants"]
    others += [f"/tubes/{served.cases[2]}", "/nowhere"]
    assert len(found) > 20
    return [*found, *((one, "cai") for one in others)]


NOWHERE = """(folder) => {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(folder, "/srv/lis");
}"""
"""Takes the folder of this test out of what a page shows: a picture names no machine."""

AXE = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")


SHELL = [[".top"], [".side"]]
"""Header and navigation, alike on every page: looked at on the first page only."""


def faults(page: Any, *, contrast: bool, shell: bool) -> list[str]:
    """What axe-core calls serious or critical on the page in sight."""
    found = page.evaluate(
        """([contrast, shell]) => axe.run({exclude: shell}, {
            resultTypes: ["violations"], elementRef: false, performanceTimer: false,
            runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
            rules: {"color-contrast": {enabled: contrast}},
        }).then((said) => said.violations)""",
        [contrast, [] if shell else SHELL],
    )
    return [
        f"{one['id']} ({one['impact']}): {node['html'][:160]}"
        for one in found
        if one["impact"] in {"serious", "critical"}
        for node in one["nodes"][:3]
    ]


def settle(page: Any) -> None:
    """Wait for what a page fetches after itself: curves, advice."""
    for wanted, there in {
        "svg.curves": ".curves polyline",
        "#advice": "#advice table, #advice .empty",
        "#verdict": "#verdict.good, #verdict.bad, #verdict .good, #verdict .bad",
    }.items():
        if page.query_selector(wanted):
            page.wait_for_selector(there, state="attached")


def name_of(path: str) -> str:
    """What the picture of a page is called: the words of its address without the numbers in it."""
    path = path.partition("?seal=")[0]
    words = [part for part in re.split(r"[^A-Za-z0-9]+", path) if part and not re.search(r"\d", part)]
    return "-".join(words) or "home"


def test_the_page_of_the_bench_shows_every_screen(pages):
    """docs/bench.md has a picture of every page in both languages, and every picture it shows is there."""
    text = (DOCS / "bench.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\(img/bench/([a-z-]+)\.png\)", text))
    there = {path.stem for path in (DOCS / "img" / "bench").glob("*.png")}
    assert shown == there
    names = {name_of(path) for path, _ in pages} - UNSHOWN
    assert {f"{name}-{language}" for name in names for language in ("zh", "en")} <= shown


@pytest.mark.screens
@pytest.mark.parametrize("language", ["en", "zh"])
def test_no_page_has_a_serious_fault_for_people_with_aids(browser, served, pages, language: str):
    """axe-core finds nothing serious or critical on any page in either language; colours are those of one; a picture of each is kept."""
    found: dict[str, list[str]] = {}
    for who in sorted({who for _, who in pages}):
        with screen(browser, served, served.person(who), language) as page:
            for path in [path for path, own in pages if own == who]:
                page.goto(served.url + path, wait_until="domcontentloaded")
                settle(page)
                page.evaluate(NOWHERE, str(served.lab.settings.data))
                picture(page, f"{name_of(path)}-{language}", whole=False)
                page.evaluate(AXE)
                if wrong := faults(page, contrast=language == "en", shell=path == "/"):
                    found[path] = wrong
    assert not found, "\n".join(f"{path}\n  " + "\n  ".join(wrong) for path, wrong in found.items())


def test_every_page_has_one_title_of_its_own_and_landmarks(served, pages):
    """Each page names itself once at the top, in the window and in the landmark that holds its content."""
    for path, who in pages:
        text = served.person(who).get(path, headers={"Accept": "text/html"}).text
        assert len(re.findall(r"<h1[ >]", text)) == 1, path
        assert len(re.findall(r"<main[ >]", text)) == 1, path
        assert re.search(r"<title>[^<]+</title>", text), path


class Prose(HTMLParser):
    """What a page says in prose: no scripts, no codes, nothing that people or files wrote."""

    QUOTED = frozenset({"script", "style", "textarea", "pre", "code", "option", "kbd", "title"})
    VOID = frozenset({"meta", "link", "input", "br", "img", "line", "path", "rect", "circle", "use"})

    def __init__(self) -> None:
        super().__init__()
        self.inside: list[bool] = []
        self.said: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        """An element begins; what is inside a quotation is not ours."""
        if tag not in self.VOID:
            own = dict(attrs)
            quoted = (
                tag in self.QUOTED or "code" in (own.get("class") or "").split() or own.get("lang") == "en"
            )
            self.inside.append(quoted or any(self.inside[-1:]))

    def handle_startendtag(self, tag, attrs) -> None:
        """An empty element says nothing."""

    def handle_endtag(self, tag) -> None:
        """An element ends."""
        if tag not in self.VOID and self.inside:
            self.inside.pop()

    def handle_data(self, data) -> None:
        """Words."""
        if not any(self.inside[-1:]):
            self.said.append(data)


def test_no_chinese_page_speaks_english_and_no_english_page_chinese(served, pages):
    """No prose of the other language is left over; names of people and places, codes and files stay as they are."""
    english = re.compile(r"(?:\b[A-Za-z][a-z']+[ ,]+){3}[a-z]+")
    left: dict[str, list[str]] = {}
    for language, found in (("zh", english), ("en", re.compile(r"[\u4e00-\u9fff]{5,}"))):
        for path, who in pages:
            heard = Prose()
            person = served.person(who)
            heard.feed(
                person.get(
                    path,
                    headers={"Accept": "text/html", "Cookie": f"lis={person.token}; lis_language={language}"},
                ).text
            )
            if strange := [one for text in heard.said for one in found.findall(text)]:
                left[f"{language} {path}"] = strange[:4]
    assert not left


def test_no_page_weighs_more_than_a_slow_line_carries(served, pages):
    """A page with its styles and scripts stays under 100 KB as it is sent; what charts fetch later is not counted."""
    sizes: dict[str, int] = {}
    heavy = {}
    for path, who in pages:
        person = served.person(who)
        answer = person.get(path, headers={"Accept": "text/html"})
        total, seen = answer.num_bytes_downloaded, set()
        wanted = re.findall(r'(?:src|href)="(/[^"]+\.(?:js|css|svg))', answer.text)
        while wanted:
            one = wanted.pop()
            if one in seen or "plotly" in one:
                continue
            seen.add(one)
            if one not in sizes:
                sizes[one] = person.get(one).num_bytes_downloaded
            total += sizes[one]
            if one.endswith(".js"):
                imported = re.findall(r'import[^"]*"\./([^"]+)"', person.get(one).text)
                wanted += [f"/static/{name}" for name in imported]
        if total > WIRE:
            heavy[path] = total
    assert not heavy


def test_a_screen_reader_hears_the_review_desk_in_order(browser, served):
    """The tree that aids read: landmarks, one heading a case, named buttons, the curve's words as a status."""
    with screen(browser, served, served.person("bo")) as page:
        page.goto(f"{served.url}/review")
        page.wait_for_selector("article:not([hidden]) .curves polyline.own")
        tree = page.locator("body").aria_snapshot()
    for part in (
        'navigation "Steps at the bench"',
        "main:",
        'heading "Review',
        'navigation "Queue, least time left first"',
        "article",
        "[level=2]",
        'button "Accept',
        'button "Log scale"',
        'group "Plate map"',
        'img "Amplification curves"',
    ):
        assert part in tree, part
    assert re.search(r"status: ['\"]?[A-H]\d+ \d{12} \w+: instrument Cq", tree), tree[-1500:]
    assert tree.index('heading "Review') < tree.index("article")


def test_what_happened_is_said_in_a_live_region(browser, served):
    """A refusal comes into the region that screen readers announce at once, in the language of the page."""
    with screen(browser, served, served.person("cai"), "zh") as page:
        page.goto(f"{served.url}/review?at={served.cases[2]}")
        served.person("bo").ok(
            "/api/v1/reviews", {"tube": served.cases[2], "verdict": "recollect", "reason": "漏液"}
        )
        page.keyboard.press("a")  # decided by somebody else meanwhile
        banner = page.locator("#banner.bad")
        banner.wait_for()
        assert (banner.get_attribute("role"), banner.get_attribute("aria-live")) == ("status", "assertive")
        assert served.cases[2] in banner.inner_text()
