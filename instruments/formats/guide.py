"""The page ``docs/formats.md``, made from what the readers say of themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from instruments.formats import READERS, table
from instruments.formats.refused import ENTRIES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_INTRO = """\
# Files of cyclers

This page is printed by `lis docs formats` from the readers themselves; a test keeps it so.

A file is known by its content, never by its name. It is **complete** or it is not, with reasons, and an
incomplete one never yields results. Where a format cannot prove that nothing was cut off its end, the
wells are compared with the plate that was loaded. Columns, sheets and keys that are not understood are
kept by name and reported. A Cq that cannot be read is never "not detected".

A table that no reader knows is described in a TOML file (below); `lis formats new FILE` proposes one.
`lis read FILE --export run.rdml` (or `.csv`) writes any run as RDML 1.4 or as a tidy table; with
`--rdml 1.3` for programs that do not open 1.4, as rdmlpython 1.7.2 does not. `.parquet` needs pyarrow.
"""


@dataclass(frozen=True)
class Entry:
    """What one reader says: a title, what is read, what proves completeness, what is not read."""

    format: str
    kinds: tuple[str, ...]
    proved: bool
    title: str
    read: str
    complete: str
    not_read: str


def entries() -> Iterator[Entry]:
    """The readers in the order in which a file is shown to them."""
    for reader in READERS:
        title, read, complete, not_read = _parts(reader.about)
        yield Entry(reader.format, reader.kinds, reader.proved, title, read, complete, not_read)


def _parts(about: str) -> tuple[str, str, str, str]:
    """Title, what is read, proof, and limits of a module docstring, by the first words of a paragraph."""
    title, *paragraphs = about.strip().split("\n\n")
    complete = [one for one in paragraphs if one.startswith("Complete")]
    limits = [one for one in paragraphs if one.startswith("Not read")]
    read = [one for one in paragraphs if one not in (*complete, *limits)]
    return title.replace("\n", " "), "\n\n".join(read), "\n\n".join(complete), "\n\n".join(limits)


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([_INTRO, *_overview(), *_details(), *_refused(), *_mapping()]).replace("``", "`")


def _overview() -> Iterable[str]:
    yield "| format | file | proved on real files | what it is |"
    yield "| --- | --- | --- | --- |"
    for entry in entries():
        proved = "yes" if entry.proved else "no, synthetic only"
        yield f"| `{entry.format}` | {', '.join(entry.kinds)} | {proved} | {entry.title} |"
    yield ""


def _details() -> Iterable[str]:
    groups: dict[str, list[Entry]] = {}
    for entry in entries():
        groups.setdefault(entry.title, []).append(entry)
    for title, group in groups.items():
        yield f"## {', '.join(f'`{entry.format}`' for entry in group)}\n"
        first = group[0]
        yield "\n\n".join(part for part in (title, first.read, first.complete, first.not_read) if part) + "\n"


def _refused() -> Iterable[str]:
    yield "## Refused by name\n\n| file | why | what to export instead |\n| --- | --- | --- |"
    yield from (f"| {what} | {why} | {instead} |" for what, why, instead in ENTRIES)
    yield ""


def _mapping() -> Iterable[str]:
    title, read, complete, _ = _parts(table.__doc__ or "")
    yield f"## Any other table\n\n{title}\n"
    body = read.removeprefix("::\n\n").removeprefix("::").strip("\n")
    yield "~~~toml\n" + "\n".join(line.removeprefix("    ") for line in body.splitlines()) + "\n~~~\n"
    yield complete
