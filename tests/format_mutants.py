"""Damage done to files on purpose, by kind of file: texts by lines and cells, zips by their parts."""

import io
import json
import re
import struct
import zipfile

WORDS = [
    b"", b"\t", b"\n", b"\r\n", b",", b";", b'"', b"<", b"</a>", b"]]>", b"&amp;", b"&x;", b"\xff", b"\0", b"-1",
    b"0", b"40.0", b"999", b"1e999", b"-1e999", b"nan", b"inf", b"1_0", b"1.2.3", b"1,234.5", b"9" * 400,
    b"9" * 5000, b"\xd9\xa1", b"Undetermined", b"N/A", b"A1", b"A01", b"P24", b"Q99", b"A" * 3000, b"[Results]",
    b"Well", b"Cq", b"END", b"{", b"[", b"null", b"true", b"\xef\xbb\xbf", b"<!DOCTYPE a>", b'r="XFD1048576"',
    b'r="A1048576"', b"Genotyping", b"( " * 500,
]  # fmt: skip
VALUES = [
    None,
    True,
    -1,
    0,
    9999,
    10**400,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "N",
    "9" * 5000,
    [],
    {},
    [[]],
]
NUMBERS = [0, 1, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF]
SEPARATORS = re.compile(rb'([\t,;<>"\n])')


def bits(data, chance, count=1):
    """Single bits turned."""
    mutant = bytearray(data)
    for _ in range(count):
        mutant[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(mutant)


def pieces(data, chance):
    """A piece cut out, doubled, moved, or replaced by noise or by a telling word."""
    at, size = chance.randrange(len(data) + 1), chance.choice([1, 4, 60, 2000])
    piece = data[at : at + size]
    new = chance.choice([b"", chance.randbytes(size), piece * 3, chance.choice(WORDS), chance.choice(WORDS)])
    rest = data[at + chance.choice([0, size]) :]
    return data[:at] + new + rest


def lines(data, chance):
    """Lines left out, doubled, swapped, cut, or moved."""
    end = b"\r" if b"\n" not in data else b"\n"
    rows = data.split(end)
    a, b = chance.randrange(len(rows)), chance.randrange(len(rows))
    match chance.randrange(6):
        case 0:
            del rows[a : a + chance.choice([1, 1, 5, 100])]
        case 1:
            rows[a:a] = rows[a : a + chance.choice([1, 5, 100])]
        case 2:
            rows[a], rows[b] = rows[b], rows[a]
        case 3:
            rows[a] = rows[a][: len(rows[a]) // 2]
        case 4:
            rows.insert(a, chance.choice(WORDS))
        case _:
            rows[a] = rows[a] * (chance.choice([2, 50]) if len(rows[a]) < 2000 else 2)
    return end.join(rows)


def cells(data, chance):
    """A cell, a tag or a value replaced by a telling word, or swapped with another."""
    parts = SEPARATORS.split(data)
    a, b = chance.randrange(len(parts)), chance.randrange(len(parts))
    match chance.randrange(4):
        case 0 | 1:
            parts[a] = chance.choice(WORDS)
        case 2:
            parts[a], parts[b] = parts[b], parts[a]
        case _:
            del parts[a]
    return b"".join(parts)


def coded(data, chance):
    """The same words in another encoding or with other line ends."""
    words = data.decode("utf-8", errors="replace")
    match chance.randrange(5):
        case 0:
            return words.encode("utf-16")
        case 1:
            return words.encode("gb18030", errors="replace")
        case 2:
            return b"\xef\xbb\xbf" + data
        case 3:
            return data.replace(b"\r\n", b"\n").replace(b"\n", b"\r")
        case _:
            return data.replace(b",", b";")


def text(data, chance):
    """One of the ways above."""
    return (
        chance.choice([bits, pieces, lines, lines, cells, cells, cells, coded])(data or b"x", chance) or b"x"
    )


def tree(data, chance):
    """A JSON document with one node replaced, left out or repeated; other text as text."""
    try:
        document = json.loads(data)
    except ValueError:
        return text(data, chance)
    here = document
    while isinstance(here, (dict, list)) and here:
        key = chance.choice(list(here)) if isinstance(here, dict) else chance.randrange(len(here))
        if not isinstance(here[key], (dict, list)) or not here[key] or chance.random() < 0.2:
            match chance.randrange(3):
                case 0 if isinstance(here, list):
                    here.append(here[key])
                case 1:
                    del here[key]
                case _:
                    here[key] = chance.choice(VALUES)
            break
        here = here[key]
    return json.dumps(document).encode()


def zipped(data, chance):
    """A zip whose checksums hold, with a part damaged, left out, renamed or put in another's place."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    # Parts that are read: not the pictures, themes and property lists.
    told = [n for n in parts if re.search(r"sheet|shared|workbook|sds/[a-z_]+\.|json|rdml|styles", n)]
    for _ in range(chance.randrange(1, 3)):
        name, other = chance.choice(told or [*parts, "x"]), chance.choice([*parts, "x"])
        match chance.randrange(12):
            case 0:
                parts.pop(name, None)
            case 1:
                parts[name], parts[other] = parts.get(other, b""), parts.get(name, b"")
            case 2:
                parts[name + chance.choice([".bak", "/"])] = parts.pop(name, b"")
            case _:
                whole = parts.get(name, b"x")
                parts[name] = tree(whole, chance) if name.endswith("json") else text(whole, chance)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(name or "x", content)
    return out.getvalue()


def ole(data, chance):
    """An old workbook with numbers replaced by the smallest, the largest and those between, or bytes."""
    mutant = bytearray(data)
    for _ in range(chance.randrange(1, 4)):
        at = chance.choice([chance.randrange(512), chance.randrange(len(data) - 4)])
        struct.pack_into("<H", mutant, at & ~1, chance.choice([*NUMBERS, chance.randrange(65536)]))
    return bytes(mutant)


def mutant(data, chance):
    """A damaged copy of a file: half of the zips by their parts, the others by their bytes."""
    if data[:2] == b"PK" and chance.random() < 0.8:
        return zipped(data, chance)
    if data[:4] == b"\xd0\xcf\x11\xe0" and chance.random() < 0.7:
        return ole(data, chance)
    for _ in range(chance.randrange(1, 5)):
        data = text(data, chance) if data[:2] != b"PK" else pieces(data, chance)
    return data
