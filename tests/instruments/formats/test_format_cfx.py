"""CFX csv, on synthetic files."""

from datetime import UTC, datetime

import pytest

import instruments
from instruments.model import well_name
from instruments.virtual import VirtualRun, VirtualWell, write_cfx

AT = datetime(2022, 12, 1, 8, 0, tzinfo=UTC)
HEAD = ",Well,Fluor,Target,Content,Sample,Biological Set Name,Cq,Cq Mean,Cq Std. Dev,Well Note\r\n"
ROWS = [
    ",A01,FAM,N,Unkn-01,T1,,25.10,25.20,0.14,\r\n",
    ",A02,FAM,N,Unkn-01,T1,,25.30,25.20,0.14,\r\n",
    ",A03,FAM,N,Unkn-02,T2,,30.00,30.00,0.00,\r\n",
    ",A04,FAM,N,NTC-01,,,NaN,0,0,\r\n",
]


def read(*rows, head=HEAD):
    """Read a csv of these rows."""
    return instruments.read("x.csv", (head + "".join(rows)).encode())


def outcomes(run):
    """What a laboratory would act on."""
    return {(r.key, r.cq) for r in run.readings}


def test_a_partial_plate_waits_for_the_plate_map():
    """A csv has no end mark: the file alone never completes, the loaded wells do."""
    run = read(*ROWS)
    assert (run.complete, run.reasons) == (False, run.assumptions)
    assert [(r.well, r.task, r.sample, r.cq) for r in run.readings] == [
        ("A1", "unknown", "T1", 25.1),
        ("A2", "unknown", "T1", 25.3),
        ("A3", "unknown", "T2", 30.0),
        ("A4", "ntc", "", None),
    ]
    assert run.confirmed([(f"A{i}", "N") for i in range(1, 5)]).complete
    assert not run.confirmed([(f"A{i}", "N") for i in range(1, 6)]).complete


def test_a_cut_partial_plate_is_never_complete():
    """At every byte: refused, or not complete, with no Cq changed."""
    data = (HEAD + "".join(ROWS)).encode()
    whole = outcomes(read(*ROWS))
    for point in range(len(data)):
        try:
            run = instruments.read("x.csv", data[:point])
        except instruments.InstrumentError:
            continue
        assert not run.complete
        assert outcomes(run) <= whole
        assert not run.confirmed([(f"A{i}", "N") for i in range(1, 5)]).complete


def test_a_cut_full_plate_is_never_complete():
    """A full block is complete; cut anywhere it is not, even before the plate map is asked."""
    wells = [
        VirtualWell(well_name(i, 96), f"T{i}", "unknown", {"N": ("FAM", 20 + i / 10)}) for i in range(96)
    ]
    run = VirtualRun("P", "CFX", "1", "CFX96", AT, AT, 96, wells)
    data = next(data for name, data in write_cfx(run).items() if "Cq-Results" in name)
    whole = instruments.read("x.csv", data)
    assert (whole.complete, whole.block) == (True, 96)
    assert whole.assumptions
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10][:-1]
    for point in sorted({*range(0, len(data), 53), *range(len(data) - 200, len(data)), *ends[-40:]}):
        try:
            part = instruments.read("x.csv", data[:point])
        except instruments.InstrumentError:
            continue
        assert not part.complete, point
        assert outcomes(part) <= outcomes(whole)


def test_a_missing_replicate_is_seen_in_the_written_mean():
    """The mean of a group is written on each row: one value alone cannot give it."""
    run = read(ROWS[0], *ROWS[2:])
    assert any("replicates are missing" in reason and "A1" in reason for reason in run.reasons)
    assert not run.confirmed([("A1", "N"), ("A3", "N"), ("A4", "N")]).complete


@pytest.mark.parametrize("order", ["well", "fluor"])
def test_a_cut_through_a_duplex_is_seen(order):
    """Whether sorted by well or by fluor, the last one lacks what the ones before have."""
    rows = [f",A0{i},{dye},,Unkn-0{i},T{i},,2{i}.0,,,\r\n" for i in (1, 2, 3) for dye in ("FAM", "HEX")]
    if order == "fluor":
        rows.sort(key=lambda row: row.split(",")[2])
    assert read(*rows).reasons == read(*rows).assumptions[:1]
    short = read(*rows[:-1])
    assert len(short.reasons) == 2
    assert any("lacks" in reason for reason in short.reasons)


def test_a_duplex_without_target_names_is_told_apart_by_fluor():
    """The key is well and fluor where the Target column is empty."""
    run = read(",A01,FAM,,Unkn-01,T1,,25.1,,,\r\n", ",A01,HEX,,Unkn-01,T1,,N/A,,,\r\n")
    assert [r.key for r in run.readings] == [("A1", "", "FAM"), ("A1", "", "HEX")]
    assert not any("two result rows" in reason for reason in run.reasons)
    assert any("two result rows" in reason for reason in read(ROWS[0], ROWS[0]).reasons)


def test_a_semicolon_file_has_a_decimal_comma():
    """A European export is read by its separator; a comma file with decimal commas is not."""
    head, row = HEAD.replace(",", ";"), ";A01;FAM;N;Unkn-01;T1;;25,10;25,10;0,00;\r\n"
    assert read(row, head=head).readings[0].cq == 25.1
    odd = read(',A01,FAM,N,Unkn-01,T1,,"25,10",,,\r\n')
    assert odd.readings[0].flags == ("UNREAD_CQ",)
    assert any("neither a Cq" in reason for reason in odd.reasons)


def test_zero_is_no_cq():
    """Older software writes 0 for a well that was not called."""
    assert read(",A01,FAM,N,Unkn-01,T1,,0,0,0,\r\n").readings[0].cq is None


def test_rows_of_another_width_are_named():
    """A row that lost or won a cell is not complete."""
    assert any("another width" in reason for reason in read(ROWS[0], ",A02,FAM,N\r\n").reasons)


def test_a_torn_quotation_is_an_error():
    """Quotation marks that do not match would swallow rows."""
    with pytest.raises(instruments.InstrumentError) as caught:
        read(',A01,FAM,"N,Unkn-01,T1,,25.1,,,\r\n', ROWS[1])
    assert caught.value.code == "BAD_ROW"


CURVES = ",Cycle,A1,A2\r\n,1,0.5,1.0\r\n,2,0.7,1.5\r\n,3,9.0,-2E-1\r\n"


def test_amplification_is_read_as_curves_without_readings():
    """Curves carry no Cq; the dye is known from the file name when it ends with one."""
    run = instruments.read("Plate Quantification-Amplification-Results_HEX.csv", CURVES.encode())
    assert (run.format, run.complete, run.readings) == ("cfx-amplification", True, ())
    assert run.assumptions
    assert [(c.well, c.dye, c.kind, list(c.cycles)) for c in run.curves] == [
        ("A1", "HEX", "rfu", [1, 2, 3]),
        ("A2", "HEX", "rfu", [1, 2, 3]),
    ]
    assert list(run.curves[1].values) == [1.0, 1.5, -0.2]
    assert instruments.read("DNMT1.csv", CURVES.encode()).curves[0].dye == ""


@pytest.mark.parametrize(
    ("old", "new"), [(",2,0.7,1.5\r\n", ""), ("0.7,1.5", "0.7"), ("0.7", "abc"), ("-2E-1\r\n", "-2E-1")]
)
def test_amplification_with_gaps_is_not_complete(old, new):
    """A missing cycle, a short row, a cell that is no number or an open end is said."""
    run = instruments.read("x.csv", CURVES.replace(old, new).encode())
    assert not run.complete
    assert run.reasons
