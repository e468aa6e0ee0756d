"""Plate templates: wells, controls and extraction batches."""

from importlib.resources import files

import pytest

from scheduler import PlateTemplate, ScheduleError, templates_from_toml
from scheduler.plates import well_name, well_place

TEMPLATES = templates_from_toml(files("scheduler").joinpath("plates.toml").read_text("utf-8"))
NTC_PC = (("NTC", "A12"), ("PC", "H12"))


@pytest.mark.parametrize(
    ("name", "samples"), [("96-standard", 93), ("96-two-controls", 94), ("384-quadrants", 372)]
)
@pytest.mark.parametrize("order", ["column", "row"])
def test_shipped_templates(name, samples, order):
    """93, 94 and 372 samples; sample wells and control wells together are the plate, each once."""
    template = TEMPLATES[name]
    wells = template.sample_wells(order)
    assert len(wells) == samples
    assert len({*wells, *template.control_at}) == len(wells) + len(template.controls) == template.size


def test_quadrants_are_stamped_interleaved():
    """A1, A2, B1, B2 belong to batches 1 to 4, and every batch of 96 wells carries its own NTC, EC and PC."""
    template = TEMPLATES["384-quadrants"]
    assert [template.batch(well) for well in ("A1", "A2", "B1", "B2", "C3", "P24")] == [1, 2, 3, 4, 1, 4]
    kinds = {(kind, template.batch(well)) for kind, well in template.controls}
    assert kinds == {(kind, batch) for kind in ("NTC", "EC", "PC") for batch in (1, 2, 3, 4)}
    assert template.sample_wells("column")[:3] == ("A1", "C1", "E1")
    assert {template.batch(well) for well in template.sample_wells("column")[:93]} == {1}


def test_fill_orders():
    """Down the columns or along the rows."""
    template = TEMPLATES["96-standard"]
    assert template.sample_wells("column")[:9] == ("A1", "B1", "C1", "D1", "E1", "F1", "G1", "H1", "A2")
    assert template.sample_wells("row")[:12][-2:] == ("A11", "B1")


@pytest.mark.parametrize("size", [96, 384])
def test_well_names_go_both_ways(size):
    """Every well's name leads back to its place."""
    rows, columns = {96: (8, 12), 384: (16, 24)}[size]
    places = [(row, column) for row in range(rows) for column in range(columns)]
    assert [well_place(well_name(*place), size) for place in places] == places


@pytest.mark.parametrize("well", ["", "A", "A0", "A01", "A13", "I1", "a1", "A1 ", "A²"])
def test_wells_that_do_not_exist(well):
    """A well that is not on the plate, or not written like A1, is refused."""
    with pytest.raises(ScheduleError) as caught:
        well_place(well, 96)
    assert caught.value.code == "BAD_WELL"


@pytest.mark.parametrize(
    ("size", "controls", "code"),
    [
        (48, NTC_PC, "BAD_TEMPLATE"),
        (96, (("NTC", "A12"), ("PC", "A12")), "BAD_TEMPLATE"),
        (96, (*NTC_PC, ("XC", "B12")), "BAD_TEMPLATE"),
        (96, (("NTC", "A12"),), "BAD_TEMPLATE"),
        (384, (("NTC", "A1"), ("PC", "A2")), "BAD_TEMPLATE"),
        (384, (("NTC", "A1"), ("PC", "A3"), ("EC", "A5")), "BAD_TEMPLATE"),
        (96, (("NTC", "A13"), ("PC", "H12")), "BAD_WELL"),
    ],
    ids=["size", "shared", "kind", "no-pc", "pc-elsewhere", "batch-without-ec", "well"],
)
def test_senseless_templates_are_refused(size, controls, code):
    """A template that could never give a valid run is refused when it is made."""
    with pytest.raises(ScheduleError) as caught:
        PlateTemplate("t", size, controls)
    assert caught.value.code == code


ENTRY = '[[template]]\nid = "a"\nsize = 96\ncontrols = { NTC = ["A12"], PC = ["H12"] }\n'


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[[template", "BAD_TOML"),
        (ENTRY + ENTRY, "BAD_TEMPLATE"),
        (ENTRY + "colour = 1\n", "BAD_TEMPLATE"),
    ],
    ids=["toml", "twice", "extra"],
)
def test_senseless_template_files_are_refused(text, code):
    """A file that cannot be read, names a template twice or holds an unknown key is refused."""
    with pytest.raises(ScheduleError) as caught:
        templates_from_toml(text)
    assert caught.value.code == code
