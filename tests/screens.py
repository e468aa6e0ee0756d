"""A real browser for the tests that need one: a signed-in page, its faults kept, pictures of what it shows.

Tests marked ``screens`` keep what they show to :func:`picture` below ``build/screens``, in a folder for each
of their files; ``SCREENS=folder`` says another place, and then every browser test keeps its pictures there.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
"""The browser without a window of its own costs a third of the processor time of a whole one."""

BUILT = Path(__file__).resolve().parents[1] / "build" / "screens"
"""Where pictures are kept unless somebody says where."""

_own: list[Path] = []
"""The folder of the test that runs, if it keeps its pictures without being asked."""

BENCH = {"width": 1366, "height": 768}
"""The screen of an old bench computer."""


@pytest.fixture(scope="module", name="browser")
def browser_fixture() -> Iterator[Any]:
    """A real browser, if this machine has one; one of a module, because its loop belongs to the thread."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: install one to run the browser tests")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@contextlib.contextmanager
def screen(browser: Any, served: Any, who: Any, language: str = "en", **context: Any) -> Iterator[Any]:
    """A page of somebody signed in; at its end no script may have failed and no other host been asked."""
    opened = browser.new_context(**{"viewport": BENCH} | context)
    opened.add_cookies(
        [
            {"name": "lis", "value": who.token, "url": served.url},
            {"name": "lis_language", "value": language, "url": served.url},
        ]
    )
    page = opened.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda fault: faults.append(str(fault)))
    page.on(
        "request",
        lambda asked: (
            None if asked.url.startswith((served.url, "data:", "blob:")) else faults.append(asked.url)
        ),
    )
    try:
        yield page
        assert faults == []
    finally:
        opened.close()


def keep_pictures(item: pytest.Item) -> None:
    """Say before a test whether it keeps its pictures: it does if it is marked ``screens``."""
    _own[:] = [BUILT / item.path.stem] if item.get_closest_marker("screens") else []


def kept_in() -> Path | None:
    """Where the test that runs keeps its pictures; None if nobody wants them."""
    asked = os.environ.get("SCREENS")
    return Path(asked) if asked else next(iter(_own), None)


def picture(page: Any, name: str, *, whole: bool = True) -> None:
    """Keep a picture of the page (of what is in sight, unless ``whole``) as ``name``.png, if pictures are wanted.

    Where somebody said the pictures belong they are made small: screens have few colours, a palette of 96 makes
    a third of the bytes of it, and costs more time than the picture itself.
    """
    if folder := kept_in():
        folder.mkdir(parents=True, exist_ok=True)
        shot, target = page.screenshot(full_page=whole), folder / f"{name}.png"
        if "SCREENS" in os.environ:
            Image.open(io.BytesIO(shot)).convert("RGB").quantize(96).save(target, optimize=True)
        else:
            target.write_bytes(shot)
