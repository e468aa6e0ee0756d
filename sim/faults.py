"""What is told of a refused scenario, plan or study: the sentences of `faults.toml`, in both languages.

Both languages have the same blanks; they are filled with what was written and with what to write instead:
`phrase("at-least", value=0, least=1)`. Keys, kinds and other words of the file stay as they are written.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final


@cache
def _faults() -> Mapping[str, tuple[str, str]]:
    """Every sentence by its name."""
    text = files("sim").joinpath("faults.toml").read_text("utf-8")
    return {name: (english, chinese) for name, (english, chinese) in tomllib.loads(text).items()}


@dataclass(frozen=True, slots=True)
class Both:
    """Words in both languages, to fill a blank."""

    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Phrase:
    """A sentence, or a part of one: its name in `faults.toml` and what fills its blanks."""

    name: str
    values: Mapping[str, Any]

    @property
    def en(self) -> str:
        """In English."""
        return self._said(0)

    @property
    def zh(self) -> str:
        """In Chinese."""
        return self._said(1)

    def _said(self, place: int) -> str:
        own = {
            blank: (value.en, value.zh)[place] if isinstance(value, (Both, Phrase)) else value
            for blank, value in self.values.items()
        }
        return _faults()[self.name][place].format(**own)


def phrase(name: str, /, **values: Any) -> Phrase:
    """A sentence of `faults.toml` with its blanks filled; it is put together when somebody reads it."""
    return Phrase(name, values)


def listed(known: Iterable[Any]) -> Both:
    """What there is to choose from, as each language lists it."""
    words = [str(one) for one in known]
    return Both(", ".join(words) or "none", "、".join(words) or "无")


_AT: Final = re.compile(r"\(at line (\d+), column (\d+)\)$")
_TOML: Final = {
    "Expected '=' after": "键后缺少等号",
    "Expected ']": "表名后缺少方括号",
    "Expected newline": "值后有多余内容，或值的写法不对",
    "Unclosed array": "方括号没有闭合",
    "Unclosed inline": "花括号没有闭合",
    "Unterminated string": "引号没有闭合",
    "Expected": "引号没有闭合",
    "Illegal character": "引号没有闭合，或有不可用的字符",
    "Found invalid character": "有不可用的字符",
    "Unescaped": "引号内的反斜杠须写两个",
    "Escaped character": "引号内的反斜杠须写两个",
    "Invalid hex": "引号内的反斜杠须写两个",
    "Cannot": "此键或表写了两次",
    "Duplicate": "此键或表写了两次",
    "Invalid value": "等号后的值无法读取，文字须加引号",
    "Invalid date": "没有这样的日期或时间",
    "Invalid": "此行不是键、表或注释",
}
"""How the sentences of `tomllib` begin, the longer before the shorter, and what they mean."""


def toml_fault(error: Exception) -> Both:
    """What the TOML reader found and where; its English is such as `Unclosed array (at line 3, column 5)`."""
    what = next((zh for begin, zh in _TOML.items() if str(error).startswith(begin)), "此处无法读取")
    found = _AT.search(str(error))
    place = f"第 {found[1]} 行第 {found[2]} 列" if found else "文件末尾"
    return Both(str(error), f"{place}，{what}")
