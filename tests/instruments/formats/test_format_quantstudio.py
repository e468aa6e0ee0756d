"""QuantStudio text, on synthetic files."""

from datetime import UTC, datetime

import pytest

import instruments
from instruments.virtual import VirtualRun, VirtualWell, write_quantstudio

AT = datetime(2022, 12, 1, 8, 0, tzinfo=UTC)
SMALL = VirtualRun(
    "P-1",
    "QS",
    "1",
    "QuantStudio(TM) 7 Flex System",
    AT,
    AT,
    96,
    [
        VirtualWell("A1", "T-1", "unknown", {"N": ("FAM", 5.0), "RP": ("VIC", 6.0)}),
        VirtualWell("H12", "", "ntc", {"N": ("FAM", None), "RP": ("VIC", None)}),
    ],
    cycles=12,
)
DATA = write_quantstudio(SMALL)


def outcomes(run):
    """What a laboratory would act on."""
    return {(r.key, r.cq) for r in run.readings}


@pytest.mark.parametrize("data", [DATA, DATA.replace(b"\n", b"\r\n")])
def test_a_file_cut_at_any_byte_is_never_complete_with_something_missing(data):
    """Whatever is cut off, the file is refused or says that it is not whole."""
    whole = outcomes(instruments.read("x", data))
    assert len(whole) == 4
    for point in range(len(data)):
        try:
            run = instruments.read("x", data[:point])
        except instruments.InstrumentError as error:
            assert error.sentence  # noqa: PT017 - most cuts raise, some do not
            continue
        assert not run.complete, point
        assert outcomes(run) <= whole


def test_line_ends_and_marks_make_no_difference():
    """LF, CRLF, lone CR and a byte order mark, UTF-8 or UTF-16, read the same."""
    plain = outcomes(instruments.read("x", DATA))
    text = DATA.decode()
    forms = [
        DATA.replace(b"\n", b"\r\n"),
        DATA.replace(b"\n", b"\r"),
        b"\xef\xbb\xbf" + DATA,
        text.encode("utf-16"),
    ]
    for data in forms:
        run = instruments.read("x", data)
        assert run.complete, run.reasons
        assert outcomes(run) == plain


def edited(old, new, count=1):
    """The synthetic file with one change."""
    assert old in DATA.decode()
    return instruments.read("x", DATA.decode().replace(old, new, count).encode())


def result_line(well="H12", target="RP"):
    """A results row of the synthetic file."""
    results = DATA.decode().partition("[Results]")[2].splitlines()
    return next(line for line in results if f"\t{well}\t" in line and f"\t{target}\t" in line) + "\n"


def test_a_row_that_is_missing_in_the_middle_is_named():
    """Sample Setup declares the reaction, so its absence is seen wherever it stood."""
    run = edited(result_line("A1", "RP"), "")
    assert not run.complete
    assert "A1 RP" in run.reasons[0]


def test_a_row_that_stands_twice_is_named():
    """Which of two rows counts cannot be known."""
    line = result_line()
    run = edited(line, line + line)
    assert not run.complete
    assert "two result rows" in run.reasons[0]


def test_a_run_without_an_end_is_not_complete():
    """An export made while the run was on says so by its empty end time."""
    run = edited("* Experiment Run End Time = 2022-12-01 08:00:00 AM UTC", "* Experiment Run End Time = ")
    assert any("no run end time" in reason for reason in run.reasons)


def test_a_decimal_comma_is_not_read_as_thousands():
    """A European export is not complete and its Cq are flagged, never multiplied by a thousand."""
    run = edited("\tUndetermined\t", "\t27,943\t")
    (odd,) = [r for r in run.readings if "UNREAD_CQ" in r.flags]
    assert odd.cq is None
    assert odd.raw_cq == "27,943"
    assert not run.complete


def test_an_impossible_well_is_an_error_with_its_line():
    """Row and well are named."""
    with pytest.raises(instruments.InstrumentError) as caught:
        edited(result_line(), result_line().replace("H12", "H13"))
    assert caught.value.code == "BAD_WELL"
    assert caught.value.line == DATA.decode().splitlines().index(result_line().rstrip("\n")) + 1


@pytest.mark.parametrize("section", ["Sample Setup", "Results"])
def test_a_row_that_names_two_wells_is_named_in_every_table(section: str):
    """Number 96 beside position G12 may be either tube: the file is not complete, and table and row are named."""
    head, mark, rest = DATA.decode().partition(f"[{section}]")
    assert "\tH12\t" in rest
    data = head + mark + rest.replace("\tH12\t", "\tG12\t", 1)
    run = instruments.read("run.txt", data.encode())
    line = next(n for n, text in enumerate(data.splitlines(), 1) if text.startswith("96\tG12\t"))
    assert not run.complete
    said = f"{section} names two wells in one row, so it was changed after its export"
    assert f"{said} (line {line}: well number 96 is not position G12)" in run.reasons


def test_no_plate_confirms_a_row_that_names_two_wells():
    """The loaded plate may have any of the wells; the doubt stays a reason against the file."""
    run = edited(result_line("A1", "RP"), result_line("A1", "RP").replace("1\tA1\t", "2\tA1\t", 1))
    reactions = [(reading.well, reading.target) for reading in run.readings]
    assert "well number 2 is not position A1" in run.confirmed(reactions).reasons[0]


@pytest.mark.parametrize(
    ("number", "position", "agree"),
    [
        ("95", "H12", False),
        ("12", "H12", False),
        ("96.0", "H12", True),
        ("096", "h12", True),
        ("", "H12", True),
    ],
)
def test_spellings_of_one_well_agree_and_a_missing_number_says_nothing(
    number: str, position: str, agree: bool
):
    """``96``, ``96.0`` and ``096`` are H12; its neighbours and its column number are not."""
    run = instruments.read("x", DATA.decode().replace("96\tH12\t", f"{number}\t{position}\t").encode())
    assert outcomes(run) == outcomes(instruments.read("x", DATA))
    assert run.complete is agree


def test_without_a_sample_setup_the_end_must_be_confirmed():
    """Nothing proves the last row; the loaded plate does."""
    text = DATA.decode()
    data = (text.partition("[Sample Setup]")[0] + "[Ampl" + text.partition("[Ampl")[2]).encode()
    run = instruments.read("x", data)
    assert run.reasons == run.assumptions != ()
    loaded = [(well, target) for well in ("A1", "H12") for target in ("N", "RP")]
    assert run.confirmed(loaded).complete
    assert not run.confirmed([*loaded, ("B1", "N")]).complete


def test_a_setup_that_stops_within_the_block_proves_nothing():
    """A setup that lists empty wells must list them all to be trusted."""
    run = edited("\n[Amplification Data]", "\n3\tA3\t\t\t\t\t\t\n[Amplification Data]")
    assert run.reasons == run.assumptions != ()


def test_flags_omitted_wells_and_unknown_names_are_kept():
    """Y columns become flags, Omit a flag, unknown columns and sections names in `unread`."""
    text = (
        DATA.decode()
        .replace("\tNOAMP\n", "\tNOAMP\tFancy\n")
        .replace("\tY\n", "\tY\t?\n")
        .replace("\tN\n", "\tN\t?\n")
    )
    text = text.replace("H12\tfalse", "H12\ttrue", 1) + "[Melt Curve Raw Data]\nWell\tReading\n1\t2\n"
    run = instruments.read("x", text.encode())
    (omitted,) = [r for r in run.readings if "OMIT" in r.flags]
    assert omitted.flags == ("NOAMP", "OMIT")
    assert {"column Fancy", "section Melt Curve Raw Data"} <= set(run.unread)


def test_a_table_without_its_cq_column_is_refused():
    """A result without Cq means nothing, so the technician is told which column to tick."""
    with pytest.raises(instruments.InstrumentError) as caught:
        edited("\tCT\tNOAMP", "\tXX\tNOAMP")
    assert caught.value.code == "MISSING_COLUMN"


def test_curves_survive_grouped_thousands_and_interleaved_wells():
    """Rows sorted by cycle, numbers with grouped thousands and rows of empty wells give the same curves."""
    head, _, rest = DATA.decode().partition("Delta Rn\n")
    body, _, results = rest.partition("[Results]")
    rows = sorted(body.splitlines(), key=lambda line: int(line.split("\t")[1]), reverse=True)
    rows[3] = "\t".join([*rows[3].split("\t")[:3], "1,234.500", "-1,000.250"])
    data = head + "Delta Rn\n" + "\n".join([*rows, "2\t1\t\t\t"]) + "\n[Results]" + results
    before, after = instruments.read("x", DATA), instruments.read("x", data.encode())
    assert after.curve_count == before.curve_count == 4
    curves = {(c.well, c.target, c.kind): c for c in before.curves}
    changed = 0
    for curve in after.curves:
        assert list(curve.cycles) == list(range(1, 13))
        differs = curve.values != curves[curve.well, curve.target, curve.kind].values
        assert set(curve.values[differs]) <= {1234.5, -1000.25}
        changed += differs.sum()
    assert changed == 2


def test_an_ambiguous_time_zone_needs_the_laboratorys():
    """A Chinese PC stamps CST; without the laboratory's zone the time is left out and named."""
    from zoneinfo import ZoneInfo

    data = DATA.replace(b"AM UTC", b"AM CST")
    assert instruments.read("x", data).run_ended is None
    assert "key Experiment Run End Time" in instruments.read("x", data).unread
    local = instruments.read("x", data, zone=ZoneInfo("Asia/Shanghai"))
    assert local.run_ended == datetime(2022, 12, 1, 0, 0, tzinfo=UTC)
