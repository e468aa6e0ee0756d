"""A rule file of the pools, read key by key: what nobody asked for is refused, what it says has a digest."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from typing import Any


class PoolPolicyError(ValueError):
    """A rule file about pools that cannot be trusted.

    Attributes:
        code: machine code, such as `unknown-key`.
        where: file and key.
    """

    def __init__(self, code: str, where: str, sentence: str) -> None:
        super().__init__(f"{where}: {sentence}")
        self.code = code
        self.where = where


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the content in canonical form: comments, order and spacing do not count."""
    canonical = json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()


def content_of(text: str, name: str) -> dict[str, Any]:
    """The content of a TOML text.

    Raises:
        PoolPolicyError: `toml`.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PoolPolicyError("toml", name, f"this is not valid TOML: {error}. Correct that line.") from error


class Table:
    """A TOML table that is read key by key; a key that nobody asked for is refused."""

    def __init__(self, content: dict[str, Any], where: str) -> None:
        self.content = content
        self.where = where
        self.left = dict(content)

    def wrong(self, key: str, code: str, sentence: str) -> PoolPolicyError:
        """The error about a key, to be raised."""
        where = f"{self.where}.{key}" if key else self.where
        return PoolPolicyError(code, where, f"{sentence}.")

    def take(self, key: str, kind: type | tuple[type, ...], what: str) -> Any:
        """The value of a key that must be there."""
        if key not in self.content:
            raise self.wrong(key, "missing-key", f"the key '{key}' is missing; add {what}")
        value = self.left.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(key, "wrong-kind", f"{value!r} is not {what}; write {what}")
        if isinstance(value, str) and not value.strip():
            raise self.wrong(key, "empty", f"the text is empty; write {what}")
        return value

    def maybe(self, key: str, kind: type | tuple[type, ...], what: str) -> Any:
        """The value of a key, or None."""
        return self.take(key, kind, what) if key in self.content else None

    def table(self, key: str) -> "Table":
        """A table inside this one, which must be there."""
        return Table(self.take(key, dict, "a table"), f"{self.where}.{key}")

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; without the key an empty one."""
        found = self.maybe(key, list, "a list of texts") or []
        if not all(isinstance(one, str) and one.strip() for one in found):
            raise self.wrong(key, "wrong-kind", f'{found!r} is not a list of texts; write ["..."]')
        return tuple(found)

    def close(self) -> None:
        """Refuse what nobody asked for."""
        for key in self.left:
            known = ", ".join(name for name in self.content if name not in self.left)
            raise self.wrong(
                key, "unknown-key", f"the key '{key}' is not known here; remove or correct it (read: {known})"
            )
