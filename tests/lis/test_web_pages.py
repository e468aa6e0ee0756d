"""The pages: every one in both languages, nothing from other hosts, every word accounted for."""

from __future__ import annotations

import ast
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from moments import NOON
from web_bench import PASSWORD, bench, people, plate, receive, run_file, tube_code, upload

from lis import events
from lis.auth import Role
from lis.clock import FixedClock
from lis.config import Settings
from lis.tube import TubeState
from lis.web import catalogues
from lis.web.catalogues import LANGUAGES, ONLY_CHINESE, catalogue
from lis.web.words import error_zh, reason_text, say, wordings
from retest import REASONS

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "lis" / "web"
CJK = re.compile(r"[\u4e00-\u9fff]")


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory, sqlite_template: Path):
    """A laboratory with something on every page, and the addresses of its pages."""
    folder = tmp_path_factory.mktemp("pages")
    target = folder / "lis.db"
    target.write_bytes(sqlite_template.read_bytes())
    with bench(f"sqlite:///{target}", folder, FixedClock(NOON)) as found:
        bo, cai = found.person("bo"), found.person("cai")
        singles = receive(cai, *range(1, 15))
        (mixed,) = receive(cai, 20, kind="mixed", places=5, rack="R2")
        made = plate(cai)
        truth = {singles[0]: 22.0, singles[1]: 24.0, singles[2]: 25.0, mixed: 27.0}
        answer = upload(cai, run_file(found, made, truth, no_ic={singles[5]}), "SYNTHETIC.txt")
        assert answer.json()["state"] == "read", answer.text
        upload(cai, b"junk", "junk.bin")
        for who in (bo, cai):
            who.ok("/api/v1/reviews", {"tube": singles[0], "verdict": "accept"})
            who.ok("/api/v1/reviews", {"tube": singles[1], "verdict": "accept"})
        (number,) = cai.ok("/api/v1/reports/release", {"tubes": [singles[0]]})["tubes"][singles[0]]
        asked = {"result": "inconclusive", "reason": "换管"}
        bo.ok(f"/api/v1/reports/{number}/amend", asked)
        later = cai.ok(f"/api/v1/reports/{number}/amend", asked)["report_id"]
        (other,) = cai.ok("/api/v1/reports/release", {"tubes": [singles[1]]})["tubes"][singles[1]]
        bo.ok(f"/api/v1/reports/{other}/amend", {"result": "negative", "reason": "换管"})
        members = receive(cai, *range(30, 35), rack="R3")
        pool = cai.ok("/api/v1/pools", {"members": members})["barcode"]
        receive(cai, *range(40, 46), rack="R4")
        failed = plate(cai)
        upload(cai, run_file(found, failed, {}, broken_control=True), "failed.txt")
        cai.ok("/api/v1/receipts", {"barcode": tube_code(77)})
        cai.ok(f"/api/v1/tubes/{receive(cai, 50, rack='R5')[0]}/hold", {"reason": "漏液"})
        cai.ok(
            "/api/v1/tubes",
            {"barcode": tube_code(60), "kind": "mixed", "places": 5, "persons": people(2, "Q")},
        )
        cai.ok("/api/v1/tubes", {"barcode": tube_code(61), "persons": people(1, "R"), "sealed": True})
        doubted = receive(cai, *range(80, 84), rack="R6")
        unclear = cai.ok("/api/v1/pools", {"members": doubted})["barcode"]
        lost = cai.ok(f"/api/v1/tubes/{doubted[0]}/lost", {"reason": "R6"})["barcode"]
        again = plate(cai)
        upload(cai, run_file(found, again, {unclear: 24.0}), "unclear.txt")
        many = {
            "pools": [{"members": receive(cai, *range(n, n + 3), rack=f"R{n}")} for n in (90, 94)],
            "confirm": True,
        }
        worklist = cai.ok("/api/v1/pools", many)["worklist"]
        planned = cai.ok("/api/v1/plates", {})["plate_id"]
        paths = ["/", "/collection", f"/collection?tube={tube_code(60)}", f"/collection?tube={tube_code(61)}"]
        paths += [
            f"/pooling/worklists/{worklist}",
            "/pooling/worklists/PW999999",
            "/pooling?by=site-tier",
            "/pooling/advice",
        ]
        paths += [f"/tubes/{one}" for one in (unclear, lost, doubted[1])]
        paths += ["/reception", "/pooling", "/plating", "/instruments", "/review", "/reports", "/alarms"]
        paths += ["/quality", "/quality?instrument=QuantStudio", "/wall", "/picklist", "/lots", "/actions"]
        paths += ["/storage", "/rack", "/rack?act=store", f"/plates/{planned}/wells"]
        paths += [f"/worklists/{name}" for name in ("late", "qc", "retest?tier=fever&age=2")]
        paths += [f"/plates/{one}" for one in (made["plate_id"], failed["plate_id"], planned)]
        paths += [f"/reports/{one}" for one in (number, later, other)]
        paths += [
            f"/tubes/{one}"
            for one in (singles[0], singles[1], mixed, pool, members[0], tube_code(60), tube_code(77))
        ]
        paths += [
            f"/worklists/{name}" for name in ("receive", "plate", "retest", "recollect", "review", "release")
        ]
        paths += ["/worklists/hold", "/worklists/quarantine", "/search?q=0000", "/search", "/search?q=R99"]
        paths += [
            "/tubes/1",
            f"/tubes/{tube_code(99)}",
            "/nowhere",
            "/verify/R1?seal=0000000000000000",
            "/sign-in",
        ]
        yield found, paths, cai


class Shown(HTMLParser):
    """The texts a person sees on a page (with placeholders), leaving out codes and what people typed."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self._open: list[bool] = []

    def handle_starttag(self, tag, attrs):
        """Remember whether this element holds a code or text in another language."""
        named = dict(attrs)
        hidden = (
            "code" in (named.get("class") or "").split()
            or tag in {"script", "style", "kbd"}
            or "lang" in named
        )
        if tag not in {"meta", "link", "input", "br", "img", "hr", "path", "circle", "rect"}:
            self._open.append((hidden and tag != "html") or (bool(self._open) and self._open[-1]))
        self.addresses += [named[name] for name in ("src", "href", "action") if named.get(name)]
        self.inline += [name for name in named if name.startswith("on") or name == "style"]
        if tag == "script" and "src" not in named and named.get("type") != "application/json":
            self.inline.append("script")
        self.texts += [named[name] for name in ("placeholder", "aria-label") if named.get(name)]

    def handle_endtag(self, tag):
        """Leave the element."""
        if self._open and tag not in {"path", "circle", "rect"}:
            self._open.pop()

    def handle_data(self, data):
        """Keep what is shown."""
        if data.strip() and not (self._open and self._open[-1]):
            self.texts.append(data.strip())


def shown(text: str) -> Shown:
    """A parsed page."""
    found = Shown()
    found.feed(text)
    return found


CODES = re.compile(
    r"nat-lis|[A-Z]{1,3}\d[\w.-]*|Asia/Shanghai|North gate|PDF|Cq|ORF1ab|\bNTC\b|\bPC\b|\bEC\b|\bIC\b|\bN\b|\bP\b|\bX\b|"
    r"\bB\b|\bL\b|\bCt\b|\b(?:anna|bo|cai|Cai)\b|qs5-1|daan-2019-ncov|96-\w+(?:-\w+)?|384-\w+|\bv1\b|\bS\b|RNA|"
    r"NOAMP|INCONCLUSIVE|CSV|lis device|zh|[A-Z_]{4,}"
)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_page_opens_in_both_languages(day, language):
    """No page fails; Chinese pages show no English but codes, English pages no Chinese but names."""
    _found, paths, cai = day
    cai.http.cookies.set("lis_language", language)
    for path in paths:
        answer = cai.get(path, headers={"Accept": "text/html"})
        assert answer.status_code in {200, 404, 422}, (path, answer.text[:300])
        assert answer.headers["content-type"].startswith("text/html"), path
        page = shown(answer.text)
        assert ('lang="zh-CN"' in answer.text) == (language == "zh")
        if language == "zh":
            left = [word for text in page.texts for word in re.findall(r"[A-Za-z]{2,}", CODES.sub("", text))]
            assert not left, (path, left)
        else:
            left = [
                text
                for text in page.texts
                if CJK.search(text) and not re.search(r"王[小*]|北河|北门|中文|换管|漏液", text)
            ]
            assert not left, (path, left)


def test_no_page_asks_another_host_or_runs_inline_script(day):
    """Every address on every page is on this server; nothing is inline, so the policy can forbid it."""
    _found, paths, cai = day
    assets = set()
    for path in paths:
        page = shown(cai.get(path, headers={"Accept": "text/html"}).text)
        assert page.inline == [], path
        for address in page.addresses:
            assert address.startswith(("/", "?")), (path, address)
            assert not address.startswith("//"), (path, address)
            if address.startswith("/static/"):
                assets.add(address)
    assert assets
    for asset in assets:
        text = cai.get(asset)
        assert text.status_code == 200, asset
        assert "http://" not in text.text.replace("http://www.w3.org/2000/svg", ""), asset
        assert "https://" not in text.text, asset


def test_links_of_the_pages_lead_somewhere(day):
    """Every fourth link of all pages, in alphabetical order, opens; a tube that is only named may be unknown."""
    _found, paths, cai = day
    links = set()
    for path in paths:
        links |= set(
            re.findall(r'<a [^>]*href="(/[^"#]*)', cai.get(path, headers={"Accept": "text/html"}).text)
        )
    for link in sorted(links)[::4]:
        answer = cai.get(link.replace("&amp;", "&"), headers={"Accept": "text/html"}, follow_redirects=True)
        assert answer.status_code == 200 or "/tubes/" in link, (link, answer.status_code)


def test_nobody_sees_a_full_name_on_a_tube_or_report_page(day):
    """Pages mask names and all but four digits of documents for everybody, technician and manager alike."""
    found, paths, cai = day
    report = next(path for path in paths if path.startswith("/reports/"))
    for person in (found.person("anna"), cai):
        for path in (f"/tubes/{tube_code(1)}", report):
            text = person.get(path, headers={"Accept": "text/html"}).text
            assert "王**" in text, path
            assert "王小" not in text, path


def test_what_people_typed_is_escaped(day):
    """A reason with markup is shown as text."""
    _found, _paths, cai = day
    cai.ok(f"/api/v1/tubes/{receive(cai, 500, rack='R9')[0]}/hold", {"reason": "<script>alert(1)</script>"})
    text = cai.get("/worklists/hold", headers={"Accept": "text/html"}).text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert" in text


def test_pages_send_strangers_to_the_door_and_back(day):
    """Without a sign-in every page leads to the sign-in, which leads back, but never to another host."""
    found, _paths, _cai = day
    client = found.client(Accept="text/html")
    answer = client.get("/review")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=/review")
    wrong = client.post("/sign-in", data={"name": "bo", "password": "wrong", "next": "/review"})
    assert wrong.status_code == 401
    assert "用户名或密码错误" in wrong.text
    for target, leads in (
        ("/review", "/review"),
        ("//evil.example", "/"),
        ("https://evil.example/", "/"),
        ("/\\evil", "/"),
    ):
        answer = client.post("/sign-in", data={"name": "bo", "password": PASSWORD, "next": target})
        assert (answer.status_code, answer.headers["location"]) == (303, leads)
    page = client.get("/").text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    assert client.post("/sign-out", data={"csrf": "wrong"}).status_code == 403
    assert client.post("/sign-out", data={"csrf": csrf}).headers["location"] == "/sign-in"
    assert client.get("/").status_code == 303


def test_the_language_is_remembered(day):
    """The switch sets the language for this browser; an unknown one changes nothing."""
    found, _paths, _cai = day
    client = found.client(Accept="text/html")
    assert "登录" in client.get("/sign-in").text
    client.post("/language", data={"language": "en", "next": "/sign-in"})
    assert "Password" in client.get("/sign-in").text
    client.post("/language", data={"language": "fr", "next": "/sign-in"})
    assert "Password" in client.get("/sign-in").text


# -- words ---------------------------------------------------------------------------------------


def test_every_word_exists_in_both_languages():
    """Catalogues hold the same names in the same order, all translated, with the same blanks; refusals bring English."""
    zh, en = (
        {message.id: message for message in catalogue(language) if message.id} for language in LANGUAGES
    )
    refusals = {name for name in zh if name.partition(".")[0] == ONLY_CHINESE}
    assert [name for name in zh if name not in refusals] == list(en)
    for name, message in [*zh.items(), *en.items()]:
        assert message.string.strip(), name
        assert not message.fuzzy, name
    blanks = [{name: set(re.findall(r"\{(\w+)\}", one[name].string)) for name in en} for one in (zh, en)]
    assert blanks[0] == blanks[1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_passes_the_checks_of_babel_and_is_in_its_normal_form(language):
    """Babel finds no error in a catalogue, and writing it again gives the same bytes: no old, double or stray entry."""
    found = catalogue(language)
    assert not list(found.check())
    assert (found.locale_identifier, found.charset) == (language, "utf-8")
    text = catalogues.file_of(language).read_bytes()
    forms = catalogues.normal_forms({one: catalogue(one) for one in LANGUAGES})
    assert forms[language] == text, "run: python -m lis.web.catalogues"


def test_every_word_asked_for_is_there_and_every_word_is_asked_for():
    """Pages ask for nothing unworded; a worded name is asked for by name, or its section by values (states, roles)."""
    sources = [*WEB.glob("*.py"), *(WEB / "templates").glob("*.html")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    used = set(re.findall(r"""\b(?:t|say)\(\s*['"]([a-z_]+\.[a-z_0-9]+)['"]""", text))
    used = {key for key in used if not key.endswith("_")}  # the rest of those keys is composed
    for key in used:
        assert all(say(key, language) for language in LANGUAGES), key
    named = used | set(re.findall(r"""['"]([a-z_]+\.[a-z_0-9]+)['"]""", text))
    values = re.findall(r"""\b(?:word|label)\(\s*['"]([a-z_]+)['"]""", text)
    values += re.findall(r"""wordings\([^)]+\)\["([a-z_]+)"\]""", text)
    values += re.findall(r"""\b(?:t|say)\(\s*f?['"]([a-z_]+)\.(?:[a-z_]*_)?(?:['"] ~|\{)""", text)
    for section, entries in (one for language in LANGUAGES for one in wordings(language).items()):
        spare = {f"{section}.{key}" for key in entries} - named
        assert not spare or section in values, spare
    scripts = "".join(path.read_text(encoding="utf-8") for path in (WEB / "static").glob("*.js"))
    asked = set(re.findall(r'say\("([a-z_]+)"', scripts)) | {"received", "repeat", "held", "refused"}
    for language in LANGUAGES:
        assert asked == set(wordings(language)["script"])


def test_every_value_that_screens_show_has_a_word():
    """States, kinds, roles and events are worded, so that none shows as code."""
    expected = {
        "state": {state.value for state in TubeState},
        "next": {state.value for state in TubeState},
        "kind": {kind.value for kind in events.TubeKind},
        "role": {role.value for role in Role},
        "event": set(events.KINDS),
        "setting": set(Settings.model_fields),
    }
    for section, values in expected.items():
        assert all(set(wordings(language)[section]) == values for language in LANGUAGES), section


def raised_codes() -> set[str]:
    """Every code of an error raised in the project's own source, read from the syntax tree."""
    names = {
        "Refused",
        "Invalid",
        "Conflict",
        "NotFound",
        "Forbidden",
        "NotSignedIn",
        "IllegalMove",
        "Busy",
        "StorageFull",
        "TooManyTries",
    }
    found = set()
    for path in [*(ROOT / "lis").rglob("*.py")]:
        if path.parts[-2] in {"cli", "demo", "printing", "reception"} or path.name in {
            "config.py",
            "rulebook.py",
            "admin.py",
        }:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in names and node.args:
                code = node.args[0]
                if isinstance(code, ast.Constant) and isinstance(code.value, str) and code.value.isupper():
                    found.add(code.value)
    return found


def test_every_refusal_has_a_chinese_sentence():
    """A code that can reach a screen is worded in Chinese."""
    missing = raised_codes() - set(wordings("zh")["error"])
    assert not missing, missing
    assert "NEW_CODE" in error_zh("NEW_CODE", {})


def test_stored_reasons_are_shown_in_the_language_of_the_screen():
    """Codes and sentences of the rules change language; what a person typed stays."""
    assert reason_text("mixed-positive", "zh") == REASONS["mixed-positive"][1]
    assert reason_text("run-failed: control-signal", "zh").startswith("整板质控失败：")
    assert reason_text("run-failed: control-signal", "en") == f"run failed: {REASONS['control-signal'][0]}"
    assert reason_text("漏液", "en") == "漏液"
    assert REASONS["control-signal"][1] in reason_text(f"NTC A12 N: {REASONS['control-signal'][0]}", "zh")
    with pytest.raises(KeyError):
        say("nav.nothing", "zh")


def test_the_words_reach_the_scripts_whole(day):
    """The page carries the words of its scripts in its own language, as data that no markup can leave."""
    _found, _paths, cai = day
    for language in LANGUAGES:
        cai.http.cookies.set("lis_language", language)
        text = cai.get("/reception").text
        data = re.search(r'<script type="application/json" id="words">(.*?)</script>', text, re.DOTALL)[1]
        assert json.loads(data) == wordings(language)["script"]
        assert not set("<>&") & set(data)
    cai.http.cookies.delete("lis_language")
