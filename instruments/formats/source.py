"""The bytes of one file, opened lazily as text or as a workbook."""

from __future__ import annotations

import codecs
import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

from instruments.errors import InstrumentError
from instruments.formats.container import OLE_MAGIC, SPANNED_MAGIC, ZIP_MAGIC, check_ole, zip_members

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import tzinfo

_T = TypeVar("_T")
Cell: TypeAlias = Any  # str, float, bool, datetime: whatever a spreadsheet cell can hold
Rows: TypeAlias = list[list[Cell]]

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
OPEN_END = "the last line has no line end: the file is cut off there (the piece of a line was not read)"


@dataclass(frozen=True)
class Text:
    """The text of a file.

    Attributes:
        content: all of it.
        encoding: what the bytes were read as.
    """

    content: str
    encoding: str

    @cached_property
    def newline(self) -> str:
        """The line end of the first line: CRLF, LF or the lone CR of old Mac exports."""
        feed, carriage = self.content.find("\n"), self.content.find("\r")
        if carriage < 0 or 0 <= feed < carriage:
            return "\n"
        return "\r\n" if feed == carriage + 1 else "\r"

    @property
    def ended(self) -> bool:
        """Whether the file ends with the line end its first line uses."""
        return self.content.endswith(self.newline)

    @property
    def whole(self) -> str:
        """The lines that ended properly, with their ends."""
        return self.content[: len(self.content) - len(self.tail)]

    @property
    def tail(self) -> str:
        """The last piece without a line end.

        Some writers never end their last line; a cell of it that a separator follows is whole even then.
        """
        return self.content.rpartition(self.newline)[2]

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """Every line that ended properly, without its end."""
        return tuple(self.content.split(self.newline)[:-1])

    def first(self, count: int) -> Sequence[str]:
        """The first of :attr:`lines`; a long file is not taken apart for them."""
        return self.content.split(self.newline, count)[:-1]


@dataclass(frozen=True)
class Source:
    """One file: its name (for messages only), its bytes, and the laboratory's time zone if known."""

    name: str
    data: bytes
    zone: tzinfo | None = None

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the bytes."""
        return hashlib.sha256(self.data).hexdigest()

    @cached_property
    def kind(self) -> Literal["zip", "ole", "text", "binary"]:
        """What the first bytes say, never the extension."""
        if self.data.startswith((ZIP_MAGIC, SPANNED_MAGIC)):
            return "zip"
        if self.data.startswith(OLE_MAGIC):
            return "ole"
        utf16 = self.data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return "binary" if b"\0" in self.data and not utf16 else "text"

    @cached_property
    def members(self) -> tuple[str, ...]:
        """Members of a zip, after the zip was proved whole; () for anything else."""
        return zip_members(self.name, self.data) if self.kind == "zip" else ()

    def member(self, name: str) -> bytes:
        """Content of a member of the zip, which was proved whole when its members were listed."""
        if name not in self.members:
            return b""
        with zipfile.ZipFile(io.BytesIO(self.data)) as archive:
            return archive.read(name)

    @cached_property
    def text(self) -> Text:
        """The file as text; no lines when it is not text."""
        return Text(*decode(self.data)) if self.kind == "text" else Text("", "")

    @cached_property
    def sheets(self) -> dict[str, Rows]:
        """Sheets already read, by name."""
        return {}

    @cached_property
    def _book(self) -> Any:
        from instruments.formats import extent  # it reads the sources that are opened here

        if self.kind == "ole":
            check_ole(self.name, self.data)
            extent.check_book(self)
        elif "xl/workbook.xml" not in self.members:
            return None
        from python_calamine import CalamineWorkbook  # text files need none

        return self._spreadsheet(lambda: CalamineWorkbook.from_filelike(io.BytesIO(self.data)))

    def _spreadsheet(self, step: Callable[[], _T]) -> _T:
        """Run a step of the spreadsheet reader; a file it cannot read is said in a sentence."""
        try:
            return step()
        except (KeyboardInterrupt, SystemExit):
            raise
        # A panic of the Rust reader is no Exception; whatever it is, the technician gets a sentence.
        except BaseException as exc:
            raise InstrumentError(
                "UNREADABLE_FILE",
                "No spreadsheet reader can open this workbook. Export it again from the instrument software.",
                file=self.name,
            ) from exc

    @property
    def sheet_names(self) -> tuple[str, ...]:
        """Names of the sheets, () for anything that is not a workbook."""
        if self.kind not in ("zip", "ole") or self._book is None:
            return ()
        return tuple(self._book.sheet_names)

    def rows(self, sheet: str) -> Rows:
        """Cells of a sheet from its first row and column on, blank cells as ""."""
        if sheet not in self.sheets:
            from instruments.formats import extent

            if self.kind == "zip":
                extent.check_sheet(self, sheet)
            self.sheets[sheet] = self._spreadsheet(
                lambda: self._book.get_sheet_by_name(sheet).to_python(skip_empty_area=False)
            )
        return self.sheets[sheet]


def decode(data: bytes) -> tuple[str, str]:
    """Bytes as text, and what they were read as: UTF-8, else GB 18030, else Windows-1252."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return codecs.getincrementaldecoder(encoding)("replace").decode(data[len(bom) :]), encoding
    for encoding in ("utf-8", "gb18030"):
        try:
            # Not final: a file cut inside a character is still text, and is caught by its open last line.
            return codecs.getincrementaldecoder(encoding)().decode(data), encoding
        except UnicodeDecodeError:
            continue
    return data.decode("cp1252", errors="replace"), "cp1252"
