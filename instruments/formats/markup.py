"""XML of instrument files, read so that neither a bomb nor a foreign entity does any harm.

A document with a document type (where entities are declared) is refused unread, and so is one that is
larger, or of more elements, than a run can be.
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from instruments.errors import InstrumentError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from xml.etree.ElementTree import Element

SIZE_LIMIT = 48 * 2**20  # a 384-well six-plex run of 50 cycles with melt has about 30 MB
_ELEMENTS = 1_200_000
_CHUNK, _PIECES = 2**18, 16


def _broken(name: str, sentence: str) -> InstrumentError:
    return InstrumentError("DAMAGED_FILE", sentence, file=name)


def _text(name: str, data: bytes) -> str:
    """The document as text, in UTF-8 or, with its mark, UTF-16; anything with a DTD is refused."""
    if len(data) > SIZE_LIMIT:
        raise InstrumentError(
            "TOO_LARGE", f"The XML has {len(data) / 2**20:.0f} MiB; no run does. It is not opened.", file=name
        )
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as exc:
        raise _broken(name, "The XML is not UTF-8 as it should be: the file was changed.") from exc
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InstrumentError(
            "UNREADABLE_FILE",
            "The XML declares a document type, which no instrument writes and which can hide harm. "
            "It is not read.",
            file=name,
        )
    return text


def tag(element: Element) -> str:
    """Name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def walk(name: str, data: bytes, wanted: tuple[str, ...] = ()) -> Iterator[Element]:
    """Yield the elements of a document as they end; the caller may clear what it has read.

    ``wanted``: names without namespace; only elements whose tag ends so are yielded, all without it.

    Raises:
        InstrumentError: DAMAGED_FILE when it is not well-formed to its very end, TOO_LARGE,
            UNREADABLE_FILE for a document type.
    """
    text = _text(name, data)  # no DTD, so no entities
    if text.count("<") - text.count("</") > _ELEMENTS:
        raise InstrumentError("TOO_LARGE", "The XML has more parts than any run has.", file=name)
    parser: Any = ET.XMLPullParser(("end",))  # its events are typed for all kinds at once
    # A tag longer than a piece is read anew with every piece: few pieces, or one tag takes minutes.
    piece = max(_CHUNK, len(text) // _PIECES + 1)
    try:
        for at in range(0, len(text), piece):
            parser.feed(text[at : at + piece])
            for _, element in parser.read_events():
                if not wanted or element.tag.endswith(wanted):
                    yield element
        parser.close()
    except ET.ParseError as exc:
        raise _broken(
            name, f"The XML is not well-formed ({exc}): the file was cut off or changed. Export it again."
        ) from exc


def document(name: str, data: bytes) -> Element:
    """The root of a small document, which ends last. Raises as :func:`walk`."""
    root: Element | None = None
    for element in walk(name, data):
        root = element
    if root is None:
        raise _broken(name, "The XML is empty.")
    return root


def child(element: Element | None, name: str) -> Element | None:
    """First child of a name, whatever its namespace."""
    return None if element is None else next((one for one in element if tag(one) == name), None)


def children(element: Element | None, name: str) -> list[Element]:
    """All children of a name, whatever their namespace."""
    return [] if element is None else [one for one in element if tag(one) == name]


def said(element: Element | None, *path: str) -> str:
    """Text at the end of a path of children, stripped; "" when any of them is missing."""
    for name in path:
        element = child(element, name)
    return (element.text or "").strip() if element is not None else ""
