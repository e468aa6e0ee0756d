"""The gettext catalogues ``locales/LANGUAGE/LC_MESSAGES/lis.po``: read, and written in their normal form.

A message is known by a symbolic name, ``section.key``; Chinese and English are both translations of it. The
normal form is that of Babel: one order for all languages, no dates, no names of people or machines, and above
each message what the other languages say, so that whoever changes one sentence sees the other.
``python -m lis.web.catalogues`` writes it, after a word was added or a translator's program saved the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from babel.messages import Catalog, Message

Language = Literal["zh", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("zh", "en")

ONLY_CHINESE: Final = "error"
"""The section of refusals, which bring their own English."""

_HEADER: Final = r"""# Every word on the screens of nat-lis. A message is named section.key; blanks in braces
# are filled in by the program and stay as they are. Notes show the other language.
msgid ""
msgstr ""
"Project-Id-Version: nat-lis\n"
"Language: %s\n"
"Plural-Forms: %s\n"
"MIME-Version: 1.0\n"
"Content-Type: text/plain; charset=utf-8\n"
"Content-Transfer-Encoding: 8bit\n"

"""


def file_of(language: str) -> Path:
    """Where the catalogue of a language stands."""
    return Path(str(resources.files("lis.web"))) / "locales" / language / "LC_MESSAGES" / "lis.po"


def catalogue(language: str) -> Catalog:
    """A catalogue as Babel reads it.

    Raises:
        babel.messages.pofile.PoFileError: a line cannot be understood; its number is named.
    """
    from babel.messages.pofile import read_po

    with file_of(language).open("rb") as file:
        return read_po(file, locale=language, ignore_obsolete=True, abort_invalid=True)


def wording(message: Message) -> str:
    """What a message says; nothing where it is only a guess (fuzzy), which screens must not show."""
    return "" if message.fuzzy or not isinstance(message.string, str) else message.string


def worded(catalog: Catalog) -> dict[str, dict[str, str]]:
    """Section -> key -> wording; what is not translated is left out."""
    found: dict[str, dict[str, str]] = {}
    for message in catalog:
        section, _, key = str(message.id).partition(".")
        if section and wording(message):
            found.setdefault(section, {})[key] = wording(message)
    return found


def normal_forms(found: Mapping[Language, Catalog]) -> dict[Language, bytes]:
    """The text of every catalogue in normal form.

    A name that another language has and this one lacks gets an empty entry in its place, to be filled in.
    """
    names = list(dict.fromkeys(str(message.id) for one in found.values() for message in one if message.id))
    return {language: _normal_form(language, names, found) for language in found}


def _normal_form(language: Language, names: list[str], found: Mapping[Language, Catalog]) -> bytes:
    from babel.messages.catalog import Catalog
    from babel.messages.pofile import write_po

    catalog, own = Catalog(language), found[language]
    for name in names:
        message = own.get(name)
        if message is None and name.split(".")[0] == ONLY_CHINESE:
            continue
        others = (found[other].get(name) for other in found if other != language)
        catalog.add(
            name,
            message.string if message else "",
            flags=message.flags if message else (),
            user_comments=message.user_comments if message else (),
            auto_comments=[wording(other) for other in others if other],
        )
    text = BytesIO()
    write_po(text, catalog, omit_header=True)
    header = _HEADER % (language, catalog.plural_forms)
    return header.encode() + text.getvalue().rstrip(b"\n") + b"\n"


def main() -> None:
    """Write every catalogue in its normal form."""
    found = {language: catalogue(language) for language in LANGUAGES}
    for language, text in normal_forms(found).items():
        file_of(language).write_bytes(text)


if __name__ == "__main__":
    main()
