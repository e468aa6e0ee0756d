"""Catalogues of words: what counts as translated, and the form in which they are written."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from babel.messages.pofile import PoFileError, read_po

from lis.web import catalogues, words

ZH = """
msgid "a.both"
msgstr "两种"

#, fuzzy
msgid "a.guess"
msgstr "猜的"

msgid "a.empty"
msgstr ""

msgid "error.CODE"
msgstr "错误"

#~ msgid "a.old"
#~ msgstr "旧的"
"""
EN = """
msgid "b.english"
msgstr "only here"

# For the translator.
#. 过时
msgid "a.both"
msgstr ""
"bo"
"th"
"""


def read(text: str):
    """A synthetic catalogue."""
    return read_po(BytesIO(text.encode()), charset="utf-8", ignore_obsolete=True, abort_invalid=True)


def test_what_is_empty_guessed_or_obsolete_counts_as_missing():
    """Only finished translations reach a screen."""
    assert catalogues.worded(read(ZH)) == {"a": {"both": "两种"}, "error": {"CODE": "错误"}}


def test_an_unworded_name_is_an_error_in_each_language_alone(monkeypatch: pytest.MonkeyPatch):
    """A word that one language lacks shows neither its name nor the other language."""
    texts = {"zh": ZH, "en": EN}
    monkeypatch.setattr(words, "wordings", lambda language: catalogues.worded(read(texts[language])))
    assert (words.say("a.both", "zh"), words.say("a.both", "en")) == ("两种", "both")
    assert words.say("b.english", "en") == "only here"
    for key, language in (("b.english", "zh"), ("a.guess", "zh"), ("a.empty", "zh"), ("a.guess", "en")):
        with pytest.raises(KeyError):
            words.say(key, language)


def test_the_normal_form_has_one_order_and_a_place_for_what_is_missing():
    """Both files get the same names in the same order, notes in the other language, empty entries to fill, no leavings."""
    forms = catalogues.normal_forms({"zh": read(ZH), "en": read(EN)})
    again = {language: read(text.decode()) for language, text in forms.items()}
    names = ["a.both", "a.guess", "a.empty", "b.english"]
    assert [message.id for message in again["en"] if message.id] == names
    assert [message.id for message in again["zh"] if message.id] == [*names[:3], "error.CODE", names[3]]
    both = again["en"].get("a.both")
    assert (both.string, both.auto_comments, both.user_comments) == (
        "both",
        ["两种"],
        ["For the translator."],
    )
    assert again["zh"].get("a.guess").fuzzy
    assert "旧的" not in forms["zh"].decode()
    assert catalogues.normal_forms(again) == forms


def test_one_command_gives_a_new_word_its_place_in_the_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A word added to the Chinese file alone gets an empty entry in the English one, at the same place."""
    monkeypatch.setattr(catalogues, "file_of", lambda language: tmp_path / f"{language}.po")
    shared = 'msgid "a.last"\nmsgstr "x"\n'
    (tmp_path / "zh.po").write_text(f'msgid "a.new"\nmsgstr "新"\n\n{shared}', encoding="utf-8")
    (tmp_path / "en.po").write_text(shared, encoding="utf-8")
    catalogues.main()
    assert '#. 新\nmsgid "a.new"\nmsgstr ""\n\n#. x\nmsgid "a.last"' in (tmp_path / "en.po").read_text(
        "utf-8"
    )
    written = (tmp_path / "zh.po").read_bytes()
    catalogues.main()
    assert (tmp_path / "zh.po").read_bytes() == written
    with pytest.raises(FileNotFoundError):
        catalogues.catalogue("fr")


def test_a_line_that_is_no_catalogue_is_named():
    """A damaged file is refused, not read in part."""
    with pytest.raises(PoFileError, match="misformatted"):
        read('msgid "a.b"\nmsgstr "c"\nnothing known\n')
