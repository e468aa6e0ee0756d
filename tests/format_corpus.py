"""A readable synthetic file of every format that is read, to be damaged; none holds a real result.

Files are made by the virtual cycler, by the project's own exports, or written down in the layout that
the format's documentation gives.
"""

import io
import json
import struct
import zipfile
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache

import xlsxwriter
from message_peers import astm_plate, hl7_plate, mllp

from instruments.export import rdml
from instruments.formats import READERS, read_all
from instruments.formats.table import TableMapping
from instruments.model import well_name
from instruments.virtual import VirtualRun, VirtualWell, write_cfx, write_quantstudio

TEXT_TABLE = TableMapping.from_toml(
    """
name = "text"
delimiter = ";"
decimal = ","
end_mark = "END"
[columns]
well = "Pos"
sample = "ID"
[[targets]]
name = "N"
cq = "Ct N"
[[targets]]
name = "RP"
cq = "Ct RP"
""",
    "text.toml",
)
BOOK_TABLE = TableMapping.from_toml(
    """
name = "book"
contains = ["SYNTHETIC"]
no_cq = ["-"]
[columns]
well = "Hole"
sample = "ID"
target = "Gene"
cq = "Ct"
""",
    "book.toml",
)
MAPPINGS = (TEXT_TABLE, BOOK_TABLE)
FORMATS = {*(reader.format for reader in READERS), *(f"table:{one.name}" for one in MAPPINGS)}


@dataclass(frozen=True)
class Example:
    """A file that is read: its format, its name (for messages) and its bytes."""

    format: str
    name: str
    data: bytes

    @property
    def packed(self) -> bool:
        """Whether checksums guard every byte of content (a zip)."""
        return self.data[:2] == b"PK"

    @property
    def text(self) -> bool:
        """Whether the file is a text."""
        return not self.packed and self.data[:4] != b"\xd0\xcf\x11\xe0"


def zipped(parts):
    """A zip of named parts; what is neither text nor bytes is written as JSON."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content if isinstance(content, (str, bytes)) else json.dumps(content))
    return out.getvalue()


def book(sheets):
    """A workbook of these sheets."""
    out = io.BytesIO()
    with xlsxwriter.Workbook(out, {"in_memory": True}) as workbook:
        for name, rows in sheets.items():
            sheet = workbook.add_worksheet(name)
            for i, row in enumerate(rows):
                sheet.write_row(i, 0, row)
    return out.getvalue()


def record(kind, *parts):
    """A record of an old workbook: numbers as (layout, value ...), texts as bytes."""
    body = b"".join(part if isinstance(part, bytes) else struct.pack(part[0], *part[1:]) for part in parts)
    return struct.pack("<HH", kind, len(body)) + body


def stream(rows):
    """The records of an old workbook with one sheet, ``Results``, of texts and numbers."""
    cells = b""
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            if isinstance(cell, (int, float)):
                cells += record(0x0203, ("<HHHd", i, j, 0, cell))
            elif cell:
                cells += record(0x0204, ("<HHHHB", i, j, 0, len(cell), 1), cell.encode("utf-16-le"))
    begin = record(0x0809, ("<HHHHII", 0x0600, 0x0005, 0, 0, 0, 0))
    end = record(0x000A)
    named = record(0x0085, ("<IHBB", len(begin) + 4 + 15 + len(end), 0, 7, 0), b"Results")
    width = max(map(len, rows))
    sheet = record(0x0809, ("<HHHHII", 0x0600, 0x0010, 0, 0, 0, 0))
    sheet += record(0x0200, ("<IIHHH", 0, len(rows), 0, width, 0)) + cells + end
    return begin + named + end + sheet


def ole(content, *, follow=None, size=0):
    """An OLE file that holds ``content`` as its stream ``Workbook``; ``follow`` changes its sector table, ``size`` its length."""
    content = content.ljust(4096, b"\0")
    count = -(-len(content) // 512)
    tables = -(-(count + 2) // 126)
    table = [*range(1, count), 0xFFFFFFFE, 0xFFFFFFFE, *[0xFFFFFFFD] * tables]
    for sector, following in (follow or {}).items():
        table[sector] = following
    table += [0xFFFFFFFF] * (tables * 128 - len(table))
    sectors = [count + 1 + i for i in range(tables)]
    head = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16)
    head += struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    head += struct.pack("<IIIIIIIIII", 0, tables, count, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0, *sectors[:1])
    head += struct.pack("<108I", *sectors[1:], *[0xFFFFFFFF] * (109 - len(sectors)))

    def entry(name, kind, start, size):
        title = name.encode("utf-16-le") + b"\0\0" if name else b""
        links = struct.pack(
            "<HBBIII", len(title), kind, 1, 0xFFFFFFFF, 0xFFFFFFFF, 1 if kind == 5 else 0xFFFFFFFF
        )
        return title.ljust(64, b"\0") + links + bytes(36) + struct.pack("<IQ", start, size)

    folders = (
        entry("Root Entry", 5, 0xFFFFFFFE, 0) + entry("Workbook", 2, 0, size or len(content)) + bytes(256)
    )
    return head + content.ljust(count * 512, b"\0") + folders + struct.pack(f"<{len(table)}I", *table)


def run():
    """A virtual plate: eleven samples and a negative control, two targets, 40 cycles."""
    wells = [
        VirtualWell(
            well_name(i, 96), f"S{i}", "unknown", {"N": ("FAM", 20.0 + i), "RP": ("VIC", 24.0 + i / 3)}
        )
        for i in range(11)
    ]
    wells.append(VirtualWell("A12", "", "ntc", {"N": ("FAM", None), "RP": ("VIC", None)}))
    day = datetime(2026, 3, 1, 8, tzinfo=UTC)
    return VirtualRun(
        "P-1", "SYNTHETIC", "S1", "QuantStudio 5", day, day.replace(hour=9), 96, wells, cycles=40, seed=3
    )


def abi_books():
    """The results of the virtual run as the three families of workbook write them, with its curves."""
    (read,) = read_all("x", write_quantstudio(run()))
    head = ["Well", "Well Position", "Omit", "Sample Name", "Target Name", "Task", "Reporter", "CT", "NOAMP"]
    rows = [
        [i // 2 + 1, r.well, "false", r.sample, r.target, "UNKNOWN", r.dye, r.cq or "Undetermined", "N"]
        for i, r in enumerate(read.readings)
    ]
    curves = [
        [int(c.well[1:]), c.well, int(n), c.target, float(rn)]
        for c in read.curves
        if c.kind == "rn"
        for n, rn in zip(c.cycles, c.values, strict=True)
    ]
    amplification = [["Well", "Well Position", "Cycle", "Target Name", "Rn"], *curves]
    end = ["Experiment Run End Time", "2026-03-01 09:00:00 AM UTC"]
    legacy = [["Block Type", "96-Well Block"], ["Instrument Type", "QuantStudio 7 Flex"], end, []]
    new = [["Instrument Type", "QuantStudio 5"], ["Software Name and Version", "Design & Analysis 2.7"], []]
    old = [["Block Type", "96alum"], ["Instrument Type", "sds7500"], end, []]
    yield (
        "quantstudio-workbook",
        book({"Results": [*legacy, head, *rows], "Amplification Data": [*legacy, *amplification]}),
    )
    yield (
        "design-analysis",
        book({"Results": [*new, head, *rows], "Amplification Data": [*new, *amplification]}),
    )
    yield "sds7500", book({"Results": [*old, head, *rows]})
    yield "sds7500", ole(stream([*old, head, *rows]))


def eds():
    """An experiment file of the first kind."""
    task = (
        "<FeatureValue><Index>{0}</Index><FeatureItem><DetectorTaskList><DetectorTask><Task>UNKNOWN</Task>"
        "<Detector><Name>N</Name><Reporter>FAM</Reporter></Detector></DetectorTask></DetectorTaskList>"
        "</FeatureItem></FeatureValue>"
    )
    points = "\t".join(f"{n / 7:.3f}" for n in range(30))
    results = "".join(
        f"{i}\tS{i}\tN\tTarget\t{20 + i}.5\t1\nRn values\t{points}\nDelta Rn values\t{points}\n"
        for i in range(8)
    )
    signals = "".join(f"{i}\t{n}\tFAM\tx\t{n}.5\n" for i in range(8) for n in range(30))
    return zipped(
        {
            "apldbio/sds/plate_setup.xml": "<Plate><Rows>8</Rows><Columns>12</Columns><FeatureMap><Feature>"
            f"<Id>detector-task</Id></Feature>{''.join(map(task.format, range(8)))}</FeatureMap></Plate>",
            "apldbio/sds/experiment.xml": "<Experiment><Name>SYNTHETIC</Name><RunState>COMPLETE</RunState>"
            "<RunEndTime>1600003600000</RunEndTime></Experiment>",
            "apldbio/sds/analysis_protocol.xml": "<a><Name>AlgorithmName</Name><StringValue>ct</StringValue></a>",
            "apldbio/sds/multicomponent_data.txt": signals,
            "apldbio/sds/analysis_result.txt": f"Session\t\nWell\tSample Name\tDetector\tTask\tCt\tAmp Status\n"
            f"{results}",
        }
    )


def eds_json():
    """An experiment file of the second kind."""
    heights = [n / 7 for n in range(30)]
    wells = [
        {
            "wellIndex": i,
            "reactionResults": [
                {
                    "targetName": "N",
                    "sampleName": f"S{i}",
                    "amplificationResult": {
                        "cq": 20.5 + i,
                        "rn": heights,
                        "deltaRn": heights,
                        "flags": ["X"],
                    },
                }
            ],
        }
        for i in range(8)
    ]
    plan = [{"index": i, "sampleName": f"S{i}", "targetAssignments": [{"targetName": "N"}]} for i in range(8)]
    return zipped(
        {
            "summary.json": {"name": "SYNTHETIC", "runStatus": "COMPLETED"},
            "run/run_summary.json": {"startTime": 1.6e12, "endTime": 1.61e12},
            "setup/plate_setup.json": {"blockType": "BLOCK_96W", "targets": [{"name": "N"}], "wells": plan},
            "primary/analysis_result.json": {"wellResults": wells},
            "primary/multicomponent_data.json": {
                "collectionPoints": [{"stage": 2, "cycle": n} for n in range(30)],
                "wellData": [{"wellIndex": 0, "dyeData": [{"dyeName": "FAM", "fluorescences": heights}]}],
            },
        }
    )


def lists():
    """The plain lists: LightCycler, Rotor-Gene, Lighthouse, BioMark, array card, described table."""
    full = [well_name(i, 96) for i in range(96)]
    yield (
        "lightcycler-cp",
        "Experiment: SYNTHETIC  Selected Filter: FAM (465-510)\r\n"
        + (
            "Include\tColor\tPos\tName\tCp\tConcentration\tStandard\tStatus\r\n"
            + "".join(f"True\t255\t{w}\tT\t{20 + i / 10:.2f}\t\t0\t\r\n" for i, w in enumerate(full))
        ),
    )
    yield (
        "lightcycler-raw",
        "Raw Data \t\tExperiment - S (Run on LCS480 1.5)\r\n"
        + (
            "SamplePos\tSampleName\tProg#\tSeg#\tCycle#\tTime\tTemp\t465-510\t\r\n"
            + "".join(f"{w}\tT\t2\t2\t{n}\t{n}\t60\t0.{n}\r\n" for w in full for n in range(1, 6))
        ),
    )
    yield (
        "rotor-gene",
        "Excel Analysed Data Export,,\r\nFile,SYNTHETIC,\r\nDate,5/16/2021,\r\n,,\r\n"
        + (
            "Quantitative analysis of Cycling A.Green (N),,\r\nNo.,Name,Type,Ct,Ct Comment\r\n"
            + "".join(f"{n},T{n},Unknown,{20 + n / 10:.2f},\r\n" for n in range(1, 37))
        ),
    )
    yield (
        "lighthouse",
        "Root Sample,RNA ID,Result,CH1-Target,CH1-Result,CH1-Cq,CH2-Target,CH2-Result,CH2-Cq\n"
        + ("".join(f"S{i},P1_{w},Void,N,Positive,{20 + i / 10:.2f},,,\n" for i, w in enumerate(full[:24]))),
    )
    yield (
        "biomark",
        (
            "Chip Run Filename,SYNTHETIC\nQuality Threshold,0.65\n\nExperiment Information,,,,,,FAM,FAM,FAM,FAM\n"
            "Chamber,Sample,Sample,Sample,FAM,FAM,Ct,Ct,Ct,Ct\n"
            "ID,Name,Type,rConc,Name,Type,Value,Quality,Call,Threshold\n"
            + "".join(
                f"S{s:02d}-A{a:02d},T,NTC,1,N{a},Test,{10 + s + a / 10:.1f},0.9,Pass,0.05\n"
                for s in range(1, 13)
                for a in range(1, 13)
            )
        ),
    )
    yield (
        "tlda",
        "\r".join(
            f"{i + 1}\tP\t{well_name(i, 384)}\tPassed\tS\tG{i}\tTarget\t{20 + i / 100:.2f}" + "\t" * 8
            for i in range(384)
        ),
    )
    yield (
        "table:text",
        "SYNTHETIC\nPos;ID;Ct N;Ct RP\n"
        + (
            "".join(f"{w};S{i};{20 + i / 10:.2f}".replace(".", ",") + ";25,5\n" for i, w in enumerate(full))
            + "END\n"
        ),
    )


@cache
def synthetic():
    """One example of every format that ``lis formats`` lists, and of both kinds of described table."""
    text = write_quantstudio(run())
    found = [*abi_books(), ("quantstudio-text", text), ("eds", eds()), ("eds-json", eds_json()), *lists()]
    found.append(("rdml", rdml(read_all("x", text)[0])))
    for name, data in write_cfx(run()).items():
        found.append(("cfx-amplification" if "Amplification" in name else "cfx-cq", data))
    rows = [[well_name(i, 96), f"S{i}", "ORF1ab", 20 + i / 10] for i in range(96)]
    slan = [["SYNTHETIC", "SLAN-96P"], *[[]] * 12, ["反应孔位", "样本编号", "目标名称", "Ct"]]
    found.append(("slan-96", book({"S": [*slan, *rows]})))
    ma = [[w, t, "FAM", cq, s] for w, s, t, cq in rows]
    found.append(("ma-6000", book({"Data&Graph": [["Well", "Item", "Reporter", "Ct", "Sample"], *ma]})))
    found.append(("table:book", book({"S": [["SYNTHETIC"], ["Hole", "ID", "Gene", "Ct"], *rows]})))
    told = [(well_name(i, 96), f"S{i}", "", "ORF1ab", 20 + i / 10) for i in range(24)]
    found.append(("astm-e1394", astm_plate("P00000018", told)))
    found.append(("hl7-v2", mllp(hl7_plate("P00000018", told))))
    return tuple(
        Example(form, f"SYNTHETIC {form} {n}", data.encode() if isinstance(data, str) else data)
        for n, (form, data) in enumerate(found)
    )
