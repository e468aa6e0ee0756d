"""One reader per file format; a file is known by its content, never by its extension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from instruments.errors import InstrumentError
from instruments.formats import (
    astm,
    biomark,
    cfx,
    design_analysis,
    eds,
    eds_json,
    hl7v2,
    lightcycler,
    lighthouse,
    quantstudio,
    rdml,
    rotorgene,
    sds7500,
    slan,
    tlda,
)
from instruments.formats.cells import some
from instruments.formats.refused import refuse
from instruments.formats.source import Source
from instruments.formats.table import TableMapping, fits, read_source

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import tzinfo
    from types import ModuleType

    from instruments.model import RunFile

_T = TypeVar("_T")
SIZE_LIMIT = 64 * 2**20


@dataclass(frozen=True)
class Reader:
    """A format: its name, the kinds of file it comes in, how to know it and how to read it.

    Attributes:
        runs: reads every run the file holds; most files hold one.
        about: what is read, what proves completeness and what is not read, for ``docs/formats.md``.
        proved: against real files; a reader that is not comes after the laboratory's own mappings.
    """

    format: str
    kinds: tuple[str, ...]
    matches: Callable[[Source], bool]
    runs: Callable[[Source], tuple[RunFile, ...]]
    about: str = ""
    proved: bool = True


def _reader(
    form: str, kinds: Sequence[str], home: ModuleType, name: str = "", *, proved: bool = True
) -> Reader:
    """The reader ``matches`` and ``read`` (or ``matches_x`` and ``read_x``) of a module of one format."""
    suffix = f"_{name}" if name else ""
    read_one: Callable[[Source], RunFile] = getattr(home, f"read{suffix}")
    return Reader(
        form,
        tuple(kinds),
        getattr(home, f"matches{suffix}"),
        lambda source: (read_one(source),),
        home.__doc__ or "",
        proved,
    )


_BOOK = ("zip", "ole")
READERS: tuple[Reader, ...] = (
    # The .eds first: older ones carry an Excel workbook of settings in the same archive.
    _reader(eds.FORMAT, ("zip",), eds),
    _reader(eds_json.FORMAT, ("zip",), eds_json, proved=False),
    Reader(rdml.FORMAT, ("zip", "text"), rdml.matches, rdml.read, rdml.__doc__ or ""),
    _reader(sds7500.FORMAT, _BOOK, sds7500),
    _reader(design_analysis.FORMAT, _BOOK, design_analysis),
    _reader(quantstudio.BOOK_FORMAT, _BOOK, quantstudio, "book"),
    _reader(quantstudio.TEXT_FORMAT, ("text",), quantstudio, "text"),
    _reader(cfx.CQ_FORMAT, ("text",), cfx, "cq"),
    _reader(cfx.CURVE_FORMAT, ("text",), cfx, "curves"),
    _reader(lightcycler.CP_FORMAT, ("text",), lightcycler, "cp"),
    _reader(lightcycler.RAW_FORMAT, ("text",), lightcycler, "raw"),
    _reader(rotorgene.FORMAT, ("text",), rotorgene),
    Reader(lighthouse.FORMAT, ("text",), lighthouse.matches, lighthouse.read, lighthouse.__doc__ or ""),
    _reader(biomark.FORMAT, ("text",), biomark),
    _reader(tlda.FORMAT, ("text",), tlda),
    Reader(astm.FORMAT, ("text",), astm.matches, astm.read, astm.__doc__ or "", proved=False),
    Reader(hl7v2.FORMAT, ("text",), hl7v2.matches, hl7v2.read, hl7v2.__doc__ or "", proved=False),
    _reader(slan.SLAN_FORMAT, _BOOK, slan, "slan", proved=False),
    _reader(slan.MA_FORMAT, _BOOK, slan, "ma", proved=False),
)


def sniff(name: str, data: bytes, mappings: Sequence[TableMapping] = ()) -> Reader:
    """Find the reader for a file by its content.

    Args:
        name: file name, for messages only.
        data: the whole file.
        mappings: the laboratory's own table descriptions, asked after the built-in formats.

    Raises:
        InstrumentError: EMPTY_FILE, TOO_LARGE, UNKNOWN_FORMAT, or what the container says
            (ENCRYPTED_FILE, INCOMPLETE_FILE, DAMAGED_FILE).
    """
    return _guarded(_source(name, data, None), lambda source: _sniff(source, mappings))


def read(
    name: str,
    data: bytes,
    mappings: Sequence[TableMapping] = (),
    *,
    zone: tzinfo | None = None,
    run: str = "",
) -> RunFile:
    """Read a cycler's export that holds one run, or the run named ``run`` of several.

    Args:
        name: file name, for messages only (the dye of a CFX amplification csv is in it too).
        data: the whole file.
        mappings: the laboratory's own table descriptions.
        zone: the laboratory's time zone; without it a time stamped ``CST``, or with no zone, is
            left out rather than guessed.
        run: the ``experiment`` of the wanted run, for a file of several (RDML).

    Raises:
        InstrumentError: when nothing can be read, or SEVERAL_RUNS when it is not clear which run is
            meant; a file that is merely not whole is returned with ``complete=False``.
    """
    found = read_all(name, data, mappings, zone=zone)
    chosen = [one for one in found if one.experiment == run] if run else list(found)
    if len(chosen) == 1:
        return chosen[0]
    names = some(one.experiment for one in found)
    raise InstrumentError(
        "SEVERAL_RUNS",
        f"The file holds {len(found)} runs ({names}) and a plate has one. Say which one is meant."
        if not chosen or not run
        else f"The file holds {len(chosen)} runs named '{run}'. Export each run to a file of its own.",
        file=name,
    )


def read_all(
    name: str, data: bytes, mappings: Sequence[TableMapping] = (), *, zone: tzinfo | None = None
) -> tuple[RunFile, ...]:
    """Read every run of a file; arguments and errors as for :func:`read`."""
    return _guarded(_source(name, data, zone), lambda source: _sniff(source, mappings).runs(source))


def _source(name: str, data: bytes, zone: tzinfo | None) -> Source:
    if not data.strip(b"\0 \t\r\n"):
        raise InstrumentError(
            "EMPTY_FILE",
            "The file is empty. Wait until the export has finished, or export the run again.",
            file=name,
        )
    if len(data) > SIZE_LIMIT:
        raise InstrumentError(
            "TOO_LARGE",
            f"The file has {len(data) / 2**20:.0f} MiB; no export is larger than {SIZE_LIMIT // 2**20} MiB. "
            "Send the exported results, not the instrument's raw folder.",
            file=name,
        )
    return Source(name, data, zone)


def _guarded(source: Source, step: Callable[[Source], _T]) -> _T:
    """Run a step so that whatever breaks in it reaches the user as a sentence."""
    try:
        return step(source)
    except InstrumentError as exc:
        raise exc.at(source.name) from exc
    except Exception as exc:
        raise InstrumentError(
            "UNREADABLE_FILE",
            f"The file looks like a known export but cannot be read ({type(exc).__name__}: {exc}). "
            "Keep it and export the run again; if that fails too, report it with the file.",
            file=source.name,
        ) from exc


def _sniff(source: Source, mappings: Sequence[TableMapping]) -> Reader:
    refuse(source)
    own = [_table_reader(mapping) for mapping in mappings]
    proved = [reader for reader in READERS if reader.proved]
    for reader in (*proved, *own, *(reader for reader in READERS if not reader.proved)):
        if source.kind in reader.kinds and reader.matches(source):
            return reader
    raise InstrumentError("UNKNOWN_FORMAT", _unknown(source), file=source.name)


def _table_reader(mapping: TableMapping) -> Reader:
    return Reader(
        f"table:{mapping.name}",
        ("zip", "ole", "text"),
        matches=lambda source: fits(source, mapping),
        runs=lambda source: (read_source(source, mapping),),
    )


def _unknown(source: Source) -> str:
    known = ", ".join(reader.format for reader in READERS)
    what = {
        "binary": "The file is not a text, a workbook or an archive that any reader knows.",
        "zip": "The archive is not an Excel workbook of a known instrument.",
        "ole": "The workbook is not an export of a known instrument.",
        "text": "The text is not an export of a known instrument.",
    }[source.kind]
    if any(member.lower().endswith((".csv", ".xls", ".xlsx", ".txt", ".rdml")) for member in source.members):
        what = "This is an archive of several files: unpack it and send them one by one."
    return (
        f"{what} Known are {known}; for another table, describe it in a table mapping "
        "(lis formats new proposes one)."
    )
