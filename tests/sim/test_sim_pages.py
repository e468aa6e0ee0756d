"""The page of scenarios says what the simulator says."""

from pathlib import Path

import pytest

from sim.pages import PICTURED, RUNS, main, pictures, section

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "scenarios.md").read_text(encoding="utf-8")
IMAGES = DOCS / "img"


def test_every_study_has_its_section():
    """All scenarios stand on the page, with a result."""
    for name in RUNS:
        assert f"## {name}\n" in PAGE
    assert PAGE.count("replications, seed 1:") == len(RUNS)


def test_the_page_is_what_the_simulator_says(capsys):
    """The section of the hospital of the tutorial is reproduced to the last digit."""
    main(["county-hospital"])
    assert capsys.readouterr().out in PAGE


def test_the_pictures_are_what_the_simulator_draws():
    """The pictures of the tutorial are those that the documented command writes."""
    for name, text in pictures("county-hospital").items():
        assert (IMAGES / name).read_text(encoding="utf-8") == text
    for name in PICTURED:
        assert f"img/{name}-turnaround.svg" in PAGE
        assert (IMAGES / f"{name}-turnaround.svg").is_file()


@pytest.mark.soak
@pytest.mark.parametrize(
    "name", ["fever-clinic", "jiangmen-2022-12", "yangzhou-2021-08", "zhengzhou-2022-01"]
)
def test_the_long_sections_too(name):
    """The sections that take longer are reproduced as well."""
    assert section(name) in PAGE


def test_a_day_without_a_laboratory_has_no_section():
    """The demonstration day is no study."""
    with pytest.raises(ValueError, match="no laboratory"):
        section("demo-day")
