"""Frames between an instrument's agent and the bridge: protocol 1, without any I/O.

One message is five frames: ``b"NAT1" | type | message id | header (JSON) | body``. The digits after
``NAT`` are the major version; unknown header keys of the same major are kept in ``Message.extra``.
A run file travels in parts of at most :data:`MAX_PART_BYTES`; :func:`split_file` cuts it and
:class:`Assembly` puts it together again, in any order, and believes nothing but its SHA-256.

This file needs the standard library alone, runs on Python 3.8, and may lie beside ``agent.py`` on
the old PC of a cycler.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import struct
import unicodedata
import uuid
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # Python 3.8 cannot subscript these when the program runs
    from collections.abc import Callable, Iterable, Mapping, Sequence

    _Check = Callable[[Any], bool]

SUPPORTED = (1, 1)  # lowest and highest major version spoken here
MAGIC = b"NAT1"

HELLO = "HELLO"
ENROL = "ENROL"
RUN_FILE = "RUN_FILE"
READS = "READS"
PING = "PING"
WELCOME = "WELCOME"
ACK = "ACK"
NACK = "NACK"
PONG = "PONG"

STORED = "stored"
DUPLICATE = "duplicate"
RETRYABLE = "retryable"
PERMANENT = "permanent"

PART_BYTES = 512 * 1024
MAX_PART_BYTES = 4 * 1024 * 1024
MAX_PARTS = 1024
MAX_FILE_BYTES = 64 * 1024 * 1024
MAX_HEADER_BYTES = 16 * 1024
MAX_ID_BYTES = 64
PLATE_SIZES = (96, 384)

_FRAMES = 5
# Made once: json.dumps makes a new encoder for every call with options.
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
_PLAIN_JSON = json.JSONEncoder().encode
_MAGIC_FORM = re.compile(rb"NAT(0|[1-9][0-9]{0,3})\Z")
_UNSAFE = {"Cc", "Cs", "Zl", "Zp"}  # control characters, lone surrogates, line ends: they forge log lines
_SHA256_FORM = re.compile(r"[0-9a-f]{64}\Z")
_KEY_FORM = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}\Z")  # Z85 of 32 bytes


class WireError(Exception):
    """A message that breaks the protocol.

    Attributes:
        code: stable machine code.
        sentence: what is wrong and what to do, for a person.
        message_id: the id of the broken message where it could be read, else ``b""``.
        supported: lowest and highest major version, set when the version is the trouble.
    """

    def __init__(
        self,
        code: str,
        sentence: str,
        message_id: bytes = b"",
        supported: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(f"{code}: {sentence}")
        self.code = code
        self.sentence = sentence
        self.message_id = message_id
        self.supported = supported


@dataclass(frozen=True)
class Message:
    """One message: ``header`` holds the checked keys of its type, ``extra`` every other key."""

    type: str
    message_id: bytes
    header: Mapping[str, Any] = field(default_factory=dict)
    body: bytes = b""
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class FileHead:
    """What is the same in every part of one run file; ``size`` in bytes, ``sha256`` in hex."""

    instrument: str
    run: str
    name: str
    sha256: str
    size: int
    parts: int
    plate: str = ""
    produced_at: str = ""

    @property
    def key(self) -> str:
        """Identity of this file on the wire (hex): equal for every resend, whoever asks."""
        return _key_of(self)


class PartStore(Protocol):
    """Where an :class:`Assembly` keeps its parts: memory here, a folder in the bridge."""

    def held(self) -> Mapping[int, int]:
        """The parts kept so far, as number -> length in bytes."""
        ...

    def put(self, part: int, body: bytes) -> None:
        """Keep one part."""
        ...

    def get(self, part: int) -> bytes:
        """Give one kept part back."""
        ...

    def clear(self) -> None:
        """Forget every part."""
        ...


# ---------------------------------------------------------------------------- header rules
def _text(limit: int, *, empty: bool = False) -> _Check:
    def check(value: Any) -> bool:
        if not isinstance(value, str) or len(value) > limit or not (value.strip() or (empty and not value)):
            return False
        return value.isprintable() or not any(unicodedata.category(letter) in _UNSAFE for letter in value)

    return check


def _whole(low: int, high: int) -> _Check:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _moment(value: Any) -> bool:
    """Empty, or ISO 8601 with an offset: a time without one cannot be placed."""
    return isinstance(value, str) and (value == "" or parse_moment(value) is not None)


def _numbers(low: int, high: int, limit: int) -> _Check:
    one = _whole(low, high)
    return lambda value: isinstance(value, list) and len(value) <= limit and all(map(one, value))


def _is_range(value: Any) -> bool:
    return _numbers(0, 9999, 2)(value) and len(value) == 2 and value[0] <= value[1]


def _texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= 32 and all(map(_text(64), value))


def _one_of(*words: str) -> _Check:
    return lambda value: isinstance(value, str) and value in words


_NAME = _text(128)
_FIELDS: dict[str, dict[str, _Check]] = {
    HELLO: {"agent": _text(64), "instrument": _NAME, "kinds": _texts},
    ENROL: {
        "agent": _text(64),
        "instrument": _text(128, empty=True),
        "public_key": lambda value: isinstance(value, str) and bool(_KEY_FORM.match(value)),
    },
    RUN_FILE: {
        "instrument": _NAME,
        "run": _text(256),
        "plate": _text(128, empty=True),
        "name": _text(512),
        "sha256": lambda value: isinstance(value, str) and bool(_SHA256_FORM.match(value)),
        "size": _whole(0, MAX_FILE_BYTES),
        "part": _whole(1, MAX_PARTS),
        "parts": _whole(1, MAX_PARTS),
        "produced_at": _moment,
    },
    READS: {
        "instrument": _NAME,
        "run": _text(256),
        "cycle": _whole(0, 1000),
        "dye": _text(64),
        "plate": _text(128, empty=True),
        "wells": lambda value: _whole(96, 384)(value) and value in PLATE_SIZES,
    },
    PING: {},
    PONG: {},
    WELCOME: {"supported": _is_range, "device": _NAME},
    ACK: {
        "status": _one_of(STORED, DUPLICATE),
        "first_stored_at": _moment,
        "complete": lambda value: isinstance(value, bool),
        "missing": _numbers(1, MAX_PARTS, MAX_PARTS),
    },
    NACK: {"status": _one_of(RETRYABLE, PERMANENT), "code": _text(64), "sentence": _text(2000)},
}
_OPTIONAL: dict[str, Any] = {
    "plate": "",
    "produced_at": "",
    "kinds": [],
    "first_stored_at": "",
    "complete": True,
    "missing": [],
}


def parse_moment(text: str) -> datetime | None:
    """Read an ISO 8601 time with an offset; None when it is anything else."""
    try:
        moment = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment


def check(message: Message) -> Message:
    """Hold a message against the rules of its type and give it back.

    Raises:
        WireError: ``unknown-type``, ``bad-id``, ``bad-header`` or ``bad-body``.
    """
    fields = _FIELDS.get(message.type)
    if fields is None:
        raise _error(message, "unknown-type", f"{message.type!r} is not a message type of protocol 1.")
    if not 1 <= len(message.message_id) <= MAX_ID_BYTES:
        raise _error(message, "bad-id", f"A message id has 1 to {MAX_ID_BYTES} bytes.")
    for name, allowed in fields.items():
        if name not in message.header:
            raise _error(message, "bad-header", f"{message.type} lacks the header key {name!r}.")
        if not allowed(message.header[name]):
            shown = repr(message.header[name])[:80]
            raise _error(message, "bad-header", f"{message.type}: {shown} is not a valid {name!r}.")
    _check_body(message)
    return message


def _check_body(message: Message) -> None:
    header, length = message.header, len(message.body)
    if length > MAX_PART_BYTES:
        raise _error(message, "bad-body", f"{length} bytes in one part; at most {MAX_PART_BYTES} are taken.")
    if message.type == READS and length != 8 * header["wells"]:
        raise _error(message, "bad-body", f"{length} bytes do not hold {header['wells']} readings.")
    if message.type != RUN_FILE:
        return
    if header["part"] > header["parts"]:
        raise _error(message, "bad-header", f"Part {header['part']} of {header['parts']} cannot be.")
    if length > header["size"] or (length == 0) != (header["size"] == 0):
        raise _error(
            message, "bad-body", f"A part of {length} bytes does not fit a file of {header['size']}."
        )


def _error(message: Message, code: str, sentence: str) -> WireError:
    return WireError(code, sentence, message.message_id[:MAX_ID_BYTES])


# ---------------------------------------------------------------------------- frames
def encode(message: Message) -> list[bytes]:
    """Turn a message into its five frames.

    Raises:
        WireError: as :func:`check`; also ``bad-header`` for a header JSON cannot carry.
    """
    check(message)
    try:
        header = _JSON({**message.extra, **message.header}).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise _error(message, "bad-header", f"The header cannot be written as JSON: {error}.") from None
    if len(header) > MAX_HEADER_BYTES:
        raise _error(message, "bad-header", f"The header has {len(header)} bytes, over {MAX_HEADER_BYTES}.")
    return [MAGIC, message.type.encode(), message.message_id, header, message.body]


def decode(frames: Sequence[bytes]) -> Message:
    """Read the frames of one message.

    Raises:
        WireError: ``bad-frames``, ``unknown-protocol`` (with ``supported``), or as :func:`check`.
    """
    message_id = _readable_id(frames)
    _check_magic(frames, message_id)
    if len(frames) != _FRAMES:
        sentence = f"A message has {_FRAMES} frames, this one has {len(frames)}."
        raise WireError("bad-frames", sentence, message_id)
    try:
        kind = frames[1].decode("ascii")
    except UnicodeDecodeError:
        raise WireError("unknown-type", "The message type is not ASCII.", message_id) from None
    everything = _read_header(frames[3], message_id)
    names = _FIELDS.get(kind, {})
    header = {name: _OPTIONAL[name] for name in names if name in _OPTIONAL}
    header.update({name: value for name, value in everything.items() if name in names})
    extra = {name: value for name, value in everything.items() if name not in names}
    return check(Message(kind, frames[2], header, frames[4], extra))


def _readable_id(frames: Sequence[bytes]) -> bytes:
    return frames[2][:MAX_ID_BYTES] if len(frames) > 2 else b""


def _check_magic(frames: Sequence[bytes], message_id: bytes) -> None:
    match = _MAGIC_FORM.match(frames[0]) if frames else None
    if match is None:
        raise WireError("bad-frames", "The first frame does not begin a NAT message.", message_id)
    low, high = SUPPORTED
    major = int(match.group(1))
    if not low <= major <= high:
        sentence = f"Protocol {major} is not spoken here, only {low} to {high}. Update the older side."
        raise WireError("unknown-protocol", sentence, message_id, SUPPORTED)


def _read_header(raw: bytes, message_id: bytes) -> dict[str, Any]:
    if len(raw) > MAX_HEADER_BYTES:
        sentence = f"The header has {len(raw)} bytes, over {MAX_HEADER_BYTES}."
        raise WireError("bad-header", sentence, message_id)
    try:
        header = json.loads(raw.decode("utf-8"), parse_constant=_no_constant, parse_float=_finite)
        if b"\\u" in raw:
            _JSON(header).encode()  # a lone surrogate could be read, never stored
    except (ValueError, RecursionError):
        raise WireError("bad-header", "The header is not valid JSON in UTF-8.", message_id) from None
    if not isinstance(header, dict):
        raise WireError("bad-header", "The header is not a JSON object.", message_id)
    return header


def _no_constant(word: str) -> float:
    raise ValueError(word)


def _finite(digits: str) -> float:
    """A number; one too large for a float could be read, never written again."""
    number = float(digits)
    if math.isinf(number):
        raise ValueError(digits)
    return number


# ---------------------------------------------------------------------------- one function a type
def new_id() -> bytes:
    """A fresh message id for a message that is never resent."""
    return uuid.uuid4().hex.encode()


def hello(agent: str, instrument: str, kinds: Iterable[str] = ()) -> Message:
    """Greeting of an agent: its version, its instrument, the kinds of message it will send."""
    return check(
        Message(HELLO, new_id(), {"agent": agent, "instrument": instrument, "kinds": list(kinds)}),
    )


def enrol(agent: str, public_key: str, instrument: str = "") -> Message:
    """Ask, with the key of a code, that ``public_key`` (Z85) be enrolled; answered by WELCOME or NACK.

    ``instrument`` may name the device the code is thought to be for; empty: whichever it is for.
    """
    return check(
        Message(ENROL, new_id(), {"agent": agent, "instrument": instrument, "public_key": public_key}),
    )


def ping() -> Message:
    """Ask for a sign of life."""
    return Message(PING, new_id())


def pong(to: bytes) -> Message:
    """Answer to a PING; ``to`` is its message id, as in every answer."""
    return Message(PONG, to)


def welcome(to: bytes, device: str) -> Message:
    """Answer to HELLO and ENROL: the majors spoken here and the name the agent's key is enrolled under."""
    return check(Message(WELCOME, to, {"supported": list(SUPPORTED), "device": device}))


def ack(to: bytes, status: str, first_stored_at: str, missing: Sequence[int] | None = None) -> Message:
    """Answer to RUN_FILE. Only ``complete`` (``missing`` is None) promises that the file is stored.

    Otherwise this part is held and ``missing`` lists the parts the bridge does not hold now; it is
    the whole truth each time, so a bridge that lost parts simply lists them again.
    """
    header = {
        "status": status,
        "first_stored_at": first_stored_at,
        "complete": missing is None,
        "missing": list(missing or ()),
    }
    return check(Message(ACK, to, header))


def nack(
    to: bytes, status: str, code: str, sentence: str, supported: tuple[int, int] | None = None
) -> Message:
    """Refusal: ``retryable`` (send it again later) or ``permanent`` (a person must look)."""
    extra = {} if supported is None else {"supported": list(supported)}
    header = {"status": status, "code": code, "sentence": " ".join(sentence.split())[:2000]}
    return check(Message(NACK, to or b"?", header, extra=extra))


def reads(
    instrument: str, run: str, cycle: int, dye: str, values: Sequence[float], plate: str = ""
) -> Message:
    """Live fluorescence of one cycle and dye: 96 or 384 values in well order, NaN where not read.

    Live values are for eyes and planning only; they may be dropped, the run file is the record.
    """
    header = {
        "instrument": instrument,
        "run": run,
        "cycle": cycle,
        "dye": dye,
        "plate": plate,
        "wells": len(values),
    }
    return check(Message(READS, new_id(), header, struct.pack(f"<{len(values)}d", *values)))


def values_of(message: Message) -> tuple[float, ...]:
    """The fluorescence in a READS message, one float a well."""
    return struct.unpack(f"<{len(message.body) // 8}d", message.body)


def routing_id(public_key: bytes) -> bytes:
    """The only routing id the owner of ``public_key`` (Z85) may set.

    Replies travel by routing id. Derived from the key, one device can neither attract nor provoke
    the answers meant for another.
    """
    return b"K" + hashlib.sha256(public_key).digest()[:15]


# ---------------------------------------------------------------------------- enrolment codes
SECRET_BYTES = 16
_CODE_VERSION = 1
_CODE_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford's: no I, L, O, U to be misread
_TO_CODE = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _CODE_DIGITS)
_FROM_CODE = str.maketrans(_CODE_DIGITS, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
_MISREAD = str.maketrans("OIL", "011", " \t\r\n-")
_ENDPOINT_FORM = re.compile(r"tcp://([!-~]{1,120}):([0-9]{1,5})\Z")


@dataclass(frozen=True)
class Code:
    """What an enrolment code tells the instrument's PC.

    Attributes:
        endpoint: the bridge as that PC reaches it, ``tcp://host:port``.
        server_key: the bridge's public key, 32 raw bytes.
        secret: 128 random bits, good for one enrolment.
    """

    endpoint: str
    server_key: bytes
    secret: bytes = field(repr=False)

    @property
    def key(self) -> bytes:
        """The CURVE secret key (32 raw bytes) that the holder of the code knocks with."""
        return hashlib.sha256(b"nat-lis enrolment 1\0" + self.server_key + self.secret).digest()


def code_text(code: Code) -> str:
    """A code as people copy it: groups of four digits and a check digit, joined by dashes.

    Raises:
        WireError: ``bad-code`` for an address that is not ``tcp://host:port``.
    """
    match = _ENDPOINT_FORM.match(code.endpoint)
    if match is None or int(match.group(2)) > 65535 or match.group(1) == "*":
        raise WireError("bad-code", f"{code.endpoint} is not an address like tcp://lis.lab:5555.")
    host = match.group(1).encode()
    whole = struct.pack(
        ">B16s32sHB", _CODE_VERSION, code.secret, code.server_key, int(match.group(2)), len(host)
    )
    whole += host
    whole += bytes(-(len(whole) + 3) % 5)
    whole += hashlib.sha256(whole).digest()[:3]
    digits = base64.b32encode(whole).decode().translate(_TO_CODE)
    fours = [digits[at : at + 4] for at in range(0, len(digits), 4)]
    return "-".join(four + _check_digit(four, number) for number, four in enumerate(fours, 1))


def _check_digit(four: str, number: int) -> str:
    """Tells one wrong digit, two neighbours swapped, a group left out or out of place."""
    total = number + sum(weight * _CODE_DIGITS.index(digit) for weight, digit in enumerate(four, 1))
    return _CODE_DIGITS[total % 31]


def read_code(text: str) -> Code:
    """Read a code as a person typed it: small letters, blanks and O for 0 do no harm.

    Raises:
        WireError: ``bad-code``, with the number of the first group that is wrong.
    """
    digits = text.upper().translate(_MISREAD)
    groups = [digits[at : at + 5] for at in range(0, len(digits), 5)]
    for number, group in enumerate(groups, 1):
        right = len(group) == 5 and not set(group) - set(_CODE_DIGITS)
        if not right or _check_digit(group[:4], number) != group[4]:
            sentence = f"Group {number} of the code, {group}, is mistyped, or one before it is missing."
            raise WireError("bad-code", sentence)
    if len(groups) < 2 or len(groups) % 2:
        raise WireError("bad-code", "The end of the code is missing; copy the whole code.")
    whole = base64.b32decode("".join(group[:4] for group in groups).translate(_FROM_CODE))
    if hashlib.sha256(whole[:-3]).digest()[:3] != whole[-3:]:
        raise WireError("bad-code", "The code is not whole; copy all of its groups, in order.")
    if whole[0] != _CODE_VERSION:
        raise WireError("bad-code", f"This code is of version {whole[0]}; update the agent on this PC.")
    _, secret, server_key, port, length = struct.unpack_from(">B16s32sHB", whole)
    host = whole[52 : 52 + length].decode("ascii", "replace")
    return Code(f"tcp://{host}:{port}", server_key, secret)


# ---------------------------------------------------------------------------- files in parts
def _digest(*pieces: object) -> str:
    return hashlib.sha256(_PLAIN_JSON(pieces).encode()).hexdigest()


@lru_cache(maxsize=1024)
def _key_of(head: FileHead) -> str:
    return _digest(*_same_of(head))


@lru_cache(maxsize=1024)
def message_id_of(head: FileHead, part: int) -> bytes:
    """The id of one part: the same at every resend, so that a resend is recognised."""
    return _digest(head.instrument, head.run, head.name, head.sha256, part, head.parts).encode()


def parts_needed(size: int, part_bytes: int = PART_BYTES) -> int:
    """How many parts a file of ``size`` bytes takes; an empty file takes one."""
    return max(1, math.ceil(size / part_bytes))


def part_message(head: FileHead, part: int, body: bytes, extra: Mapping[str, Any] | None = None) -> Message:
    """The RUN_FILE message of one part (1 .. ``head.parts``)."""
    header = {
        "instrument": head.instrument,
        "run": head.run,
        "plate": head.plate,
        "name": head.name,
        "sha256": head.sha256,
        "size": head.size,
        "part": part,
        "parts": head.parts,
        "produced_at": head.produced_at,
    }
    return check(Message(RUN_FILE, message_id_of(head, part), header, body, extra or {}))


def split_file(
    data: bytes,
    *,
    instrument: str,
    run: str,
    name: str,
    plate: str = "",
    produced_at: str = "",
    part_bytes: int = PART_BYTES,
) -> list[Message]:
    """Cut a file into RUN_FILE messages of at most ``part_bytes`` each.

    Raises:
        WireError: ``bad-header`` for a file too large or a name the protocol does not allow.
        ValueError: for a ``part_bytes`` outside 1 .. :data:`MAX_PART_BYTES`.
    """
    if not 1 <= part_bytes <= MAX_PART_BYTES:
        raise ValueError(f"A part has 1 to {MAX_PART_BYTES} bytes, not {part_bytes}.")
    sha256 = hashlib.sha256(data).hexdigest()
    parts = parts_needed(len(data), part_bytes)
    head = FileHead(instrument, run, name, sha256, len(data), parts, plate, produced_at)
    return [
        part_message(head, number + 1, data[number * part_bytes : (number + 1) * part_bytes])
        for number in range(parts)
    ]


def head_of(message: Message) -> FileHead:
    """What a RUN_FILE message says about the whole file."""
    return FileHead(**{name: value for name, value in message.header.items() if name != "part"})


def _same_of(head: FileHead) -> tuple[object, ...]:
    """What a resend has in common with its first: the plate and the time may be told better later."""
    return head.instrument, head.run, head.name, head.sha256, head.size, head.parts


class PartsInMemory:
    """A :class:`PartStore` in memory."""

    def __init__(self) -> None:
        self._bodies: dict[int, bytes] = {}

    def held(self) -> dict[int, int]:
        """The parts kept so far, as number -> length in bytes."""
        return {part: len(body) for part, body in self._bodies.items()}

    def put(self, part: int, body: bytes) -> None:
        """Keep one part."""
        self._bodies[part] = body

    def get(self, part: int) -> bytes:
        """Give one kept part back."""
        return self._bodies[part]

    def clear(self) -> None:
        """Forget every part."""
        self._bodies.clear()


class Assembly:
    """One run file being put together from parts that come in any order, some of them twice."""

    def __init__(self, head: FileHead, store: PartStore | None = None) -> None:
        """Begin, or go on with what ``store`` already holds."""
        self.head = head
        self._store: PartStore = PartsInMemory() if store is None else store

    def add(self, message: Message) -> bool:
        """Take one part; False when it was already here.

        Raises:
            WireError: ``foreign-part`` for a part of another file, ``too-many-bytes`` when the parts
                together exceed the announced size (everything held is then forgotten).
        """
        if _same_of(head_of(message)) != _same_of(self.head):
            raise _error(message, "foreign-part", f"This part does not belong to {self.head.name}.")
        held = self._store.held()
        part = message.header["part"]
        if part in held:
            return False
        total = sum(held.values()) + len(message.body)
        if total > self.head.size:
            self._store.clear()
            sentence = f"The parts of {self.head.name} hold {total} bytes, announced were {self.head.size}."
            raise _error(message, "too-many-bytes", sentence)
        self._store.put(part, message.body)
        return True

    def missing(self) -> list[int]:
        """The parts not held yet, in order; empty when all are here."""
        held = self._store.held()
        return [part for part in range(1, self.head.parts + 1) if part not in held]

    def data(self) -> bytes:
        """The whole file, its length and SHA-256 proved.

        Raises:
            WireError: ``incomplete`` while parts are missing; ``digest-mismatch`` when the whole is
                not the file that was announced (everything held is then forgotten).
        """
        missing = self.missing()
        if missing:
            raise WireError(
                "incomplete", f"{self.head.name} lacks {len(missing)} of {self.head.parts} parts."
            )
        whole = b"".join(self._store.get(part) for part in range(1, self.head.parts + 1))
        if len(whole) != self.head.size or hashlib.sha256(whole).hexdigest() != self.head.sha256:
            self._store.clear()
            sentence = (
                f"{self.head.name} did not arrive as it was announced (SHA-256 differs). Send it again."
            )
            raise WireError("digest-mismatch", sentence)
        return whole

    def clear(self) -> None:
        """Forget every part."""
        self._store.clear()
