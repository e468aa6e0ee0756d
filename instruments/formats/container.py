"""Whole or not: proofs on the two containers that spreadsheets come in.

A zip carries a checksum of every member and its directory at the very end, an OLE file carries a
table of all its sectors: a cut or damaged file cannot pass either proof.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from instruments.errors import InstrumentError

ZIP_MAGIC = b"PK\x03\x04"
# Bio-Rad writes the marker of a spanned archive in front of a single one.
SPANNED_MAGIC = b"PK\x07\x08"
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
# The largest real export seen unpacks to about 20 MiB; a 384-well six-plex run to about 60.
UNPACKED_LIMIT = 256 * 2**20
_CHUNK = 2**20
_UTF8 = 0x800  # flag of a member's name; without it the name is in code page 437
_FREE = 0xFFFFFFFF
_LAST_SECTOR = 0xFFFFFFFA
_ENTRY, _ROOT = 128, 5  # bytes of an entry of the directory; kind of its first one
_SMALL = 4096  # smaller streams lie elsewhere; no workbook is so small

EXPORT_HINT = {
    ".pcrd": "Open it in CFX Maestro and use Export > Export All Data Sheets (csv), then send the csv files.",
    "": "Export the results from the instrument software without a password and send that file.",
}


def _encrypted(name: str) -> InstrumentError:
    suffix = ".pcrd" if name.lower().endswith(".pcrd") else ""
    return InstrumentError(
        "ENCRYPTED_FILE",
        f"The file is encrypted by the software that wrote it. {EXPORT_HINT[suffix]}",
        file=name,
    )


def zip_members(name: str, data: bytes) -> tuple[str, ...]:
    """Prove a zip whole and return the names of its members.

    Every member is unpacked in pieces against its declared size and CRC-32 before anything else
    sees the file, so that neither a cut file nor a zip bomb reaches a parser.

    Raises:
        InstrumentError: INCOMPLETE_FILE, ENCRYPTED_FILE, TOO_LARGE or DAMAGED_FILE.
    """
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except zipfile.BadZipFile as exc:
        raise InstrumentError(
            "INCOMPLETE_FILE",
            "The file is cut off: its end is missing. Export or copy it again.",
            file=name,
        ) from exc
    except NotImplementedError as exc:  # a version or a way of packing that is not known
        raise InstrumentError(
            "DAMAGED_FILE", f"The file is packed in no known way ({exc}). Copy it again.", file=name
        ) from exc
    members = archive.infolist()
    if len({member.filename for member in members}) < len(members):
        raise InstrumentError(
            "DAMAGED_FILE", "Two parts of the file have one name. Export or copy it again.", file=name
        )
    if any(member.flag_bits & 1 for member in members):
        raise _encrypted(name)
    if sum(member.file_size for member in members) > UNPACKED_LIMIT:
        raise InstrumentError(
            "TOO_LARGE",
            f"The file unpacks to more than {UNPACKED_LIMIT // 2**20} MiB; no run does. It is not opened.",
            file=name,
        )
    for member in members:
        if not _holds(data, member):
            raise InstrumentError(
                "DAMAGED_FILE",
                f"The part '{member.filename}' does not match its checksum. Export or copy the file again.",
                file=name,
            )
    return tuple(member.filename for member in members)


def _holds(data: bytes, member: zipfile.ZipInfo) -> bool:
    """Whether a member unpacks to exactly its declared size and checksum."""
    head = data[member.header_offset : member.header_offset + 30]
    if len(head) < 30 or head[:4] != ZIP_MAGIC:
        return False
    named, extra = struct.unpack("<HH", head[26:30])
    start = member.header_offset + 30 + named + extra
    # The name stands twice and has no checksum: a part under another name is a part that is missing.
    written = member.orig_filename.encode("utf-8" if member.flag_bits & _UTF8 else "cp437")
    if data[start - named - extra : start - extra] != written:
        return False
    packed = memoryview(data)[start : start + member.compress_size]
    if member.compress_type == zipfile.ZIP_STORED:
        return len(packed) == member.file_size and zlib.crc32(packed) == member.CRC
    if member.compress_type != zipfile.ZIP_DEFLATED:
        return False
    return _inflates(packed, member)


def _inflates(packed: memoryview, member: zipfile.ZipInfo) -> bool:
    unpacker = zlib.decompressobj(-15)
    size = crc = 0
    waiting: bytes | memoryview = packed
    while not unpacker.eof:
        try:
            piece = unpacker.decompress(waiting, _CHUNK)
        except zlib.error:
            return False
        size += len(piece)
        crc = zlib.crc32(piece, crc)
        waiting = unpacker.unconsumed_tail
        if size > member.file_size or (not piece and not waiting):
            return False
    return size == member.file_size and crc == member.CRC


def check_ole(name: str, data: bytes) -> None:
    """Prove that an OLE file (a real .xls) holds every sector its allocation table speaks of.

    Source: [MS-CFB] 2.2 (header), 2.3 (FAT), 2.5 (DIFAT).

    Raises:
        InstrumentError: INCOMPLETE_FILE when sectors are missing, ENCRYPTED_FILE for a workbook
            under a password.
    """
    cut = InstrumentError(
        "INCOMPLETE_FILE",
        "The workbook is cut off: parts it refers to are missing. Copy it again.",
        file=name,
    )
    if len(data) < 512:
        raise cut
    size: int = 1 << struct.unpack_from("<H", data, 30)[0]
    if size not in (512, 4096):
        raise cut
    table = _fat(data, size, cut)
    used = next((i for i in range(len(table) - 1, -1, -1) if table[i] != _FREE), -1)
    if (used + 2) * size > len(data):
        raise cut
    if "EncryptedPackage".encode("utf-16-le") in data:
        raise _encrypted(name)


def _sector(data: bytes, sector: int, size: int, cut: InstrumentError) -> bytes:
    piece = data[(sector + 1) * size : (sector + 2) * size]
    if len(piece) != size:
        raise cut
    return piece


def _fat_sectors(data: bytes, size: int, cut: InstrumentError) -> list[int]:
    """Sector numbers of the allocation table: 109 in the header, the rest chained behind."""
    sectors = [s for s in struct.unpack_from("<109I", data, 76) if s <= _LAST_SECTOR]
    following, count = struct.unpack_from("<II", data, 68)
    for _ in range(count):
        if following > _LAST_SECTOR:
            break
        entries = struct.unpack(f"<{size // 4}I", _sector(data, following, size, cut))
        sectors += [s for s in entries[:-1] if s <= _LAST_SECTOR]
        following = entries[-1]
    return sectors


def _fat(data: bytes, size: int, cut: InstrumentError) -> list[int]:
    """The allocation table: for every sector the one that follows it."""
    table: list[int] = []
    for sector in _fat_sectors(data, size, cut):
        table += struct.unpack(f"<{size // 4}I", _sector(data, sector, size, cut))
    return table


def ole_streams(name: str, data: bytes, wanted: tuple[str, ...]) -> list[bytes]:
    """The streams of an OLE file that was proved to hold all its sectors, by their names in lower case.

    The chains of the directory and of the small streams are followed too: one that runs in a circle
    would be followed for ever by a reader that trusts it. Source: [MS-CFB] 2.3, 2.6 (directory).

    Raises:
        InstrumentError: DAMAGED_FILE for a chain that runs in a circle or out of the file, for counts of
            the header that the file cannot hold, and for a workbook too small to be one.
    """
    broken = InstrumentError(
        "DAMAGED_FILE",
        "The parts of the workbook do not follow each other: it was changed. Copy or export it again.",
        file=name,
    )
    size: int = 1 << struct.unpack_from("<H", data, 30)[0]
    counts = struct.unpack_from("<III", data, 40) + struct.unpack_from("<I", data, 64)
    if max(counts[0], counts[1], counts[3]) > len(data) // size:
        raise broken
    table = _fat(data, size, broken)
    folders = b"".join(_chain(data, size, table, struct.unpack_from("<I", data, 48)[0], broken))
    _chain(data, size, table, struct.unpack_from("<I", data, 60)[0], broken)
    found = []
    for at in range(0, len(folders) - 127, _ENTRY):
        length, kind = struct.unpack_from("<HB", folders, at + 64)
        start, bytes_ = struct.unpack_from("<II", folders, at + 116)
        title = folders[at : at + max(min(length, 64) - 2, 0)].decode("utf-16-le", errors="replace").lower()
        if kind == _ROOT:
            _chain(data, size, table, start, broken)
        elif title in wanted:
            stream = b"".join(_chain(data, size, table, start, broken))
            if not _SMALL <= bytes_ <= len(stream):
                raise broken
            found.append(stream[:bytes_])
    return found


def _chain(data: bytes, size: int, table: list[int], start: int, broken: InstrumentError) -> list[bytes]:
    """The sectors that follow each other from ``start`` on."""
    pieces: list[bytes] = []
    while start <= _LAST_SECTOR:
        if start >= len(table) or len(pieces) > len(table):
            raise broken
        pieces.append(_sector(data, start, size, broken))
        start = table[start]
    return pieces
