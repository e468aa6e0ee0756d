"""Settings: built-in defaults, then ``lis.toml`` in the data folder, then ``LIS_*`` in the environment.

The key that seals personal data is made at first start in a file only its owner may read; it is never
in the database and never in a backup of it.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import tomllib
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from instruments.disk import sync_folder
from lis.errors import LisError

KEY_BYTES = 32


class ListenerSettings(BaseModel):
    """One table ``[[listeners]]``: a device without a key, its dialect, where it calls and from where."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dialect: Literal["astm", "hl7"]
    address: str
    device: str = Field(min_length=1, max_length=80)
    peers: tuple[str, ...] = Field(("127.0.0.1",), min_length=1)

    @field_validator("address")
    @classmethod
    def _listens(cls, text: str) -> str:
        try:
            parts = urlsplit(text)
            good = parts.scheme == "tcp" and parts.hostname and parts.port is not None
            ipaddress.ip_address(parts.hostname or "")
        except ValueError:
            good = False
        if not good or parts.path or parts.query:
            raise ValueError(f"{text} is no address to listen at; write it like tcp://127.0.0.1:5601")
        return text

    @field_validator("device")
    @classmethod
    def _named(cls, name: str) -> str:
        if name != name.strip() or not name.isprintable():
            raise ValueError("a device's name has no blanks at its ends and no control characters")
        return name

    @field_validator("peers")
    @classmethod
    def _known(cls, peers: tuple[str, ...]) -> tuple[str, ...]:
        for peer in peers:
            try:
                ipaddress.ip_network(peer, strict=False)
            except ValueError as error:
                raise ValueError(f"{peer} is neither an address nor a network (192.168.1.0/24)") from error
        return peers

    @property
    def host(self) -> str:
        """Where to listen."""
        return urlsplit(self.address).hostname or ""

    @property
    def port(self) -> int:
        """Where to listen; 0 = any free one."""
        return urlsplit(self.address).port or 0


class PrinterSettings(BaseModel):
    """One table ``[[printers]]``: a ZPL II label printer on the network, and the label that lies in it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=80)
    host: str = Field(min_length=1, max_length=255)
    port: int = Field(9100, ge=1, le=65535)
    dpi: Literal[203, 300, 600] = 203
    width_mm: float = Field(50.0, ge=10, le=200)
    height_mm: float = Field(25.0, ge=6, le=300)
    symbol: Literal["code128", "datamatrix", "both"] = "both"
    font: str = Field("", max_length=40, pattern=r"^([A-Z]:[A-Za-z0-9_.-]+)?$")


class LabelSettings(BaseModel):
    """One table ``[[labels]]``: the label on which a browser prints the codes of tubes, pools or plates."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["tube", "pool", "plate"]
    width_mm: float = Field(50.0, ge=10, le=200)
    height_mm: float = Field(25.0, ge=6, le=300)
    symbol: Literal["code128", "datamatrix", "both"] = "both"


class Settings(BaseSettings):
    """How this laboratory runs. Every name can be set as ``LIS_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="LIS_", extra="forbid", frozen=True)

    data: Path = Field(Path("lis-data"), description="folder of the database, keys and instrument inbox")
    database: str = Field("", description="SQLAlchemy URL; empty = the embedded database in the data folder")
    laboratory: str = Field("", description="name of the laboratory on reports")
    laboratory_zh: str = Field("", description="name of the laboratory on Chinese reports")
    timezone: str = Field("Asia/Shanghai", description="zone of printed times")
    language: Literal["zh", "en"] = Field("zh", description="language of screens before a person chooses")
    host: str = Field("127.0.0.1", description="address the server listens on")
    port: int = Field(8080, ge=0, le=65535, description="port the server listens on; 0 = any free one")
    bridge: str = Field("tcp://127.0.0.1:5555", description="where instruments connect")
    bridge_address: str = Field(
        "", description="the bridge as instruments reach it, if that is not where it listens"
    )
    listeners: tuple[ListenerSettings, ...] = Field(
        (), description="tables of devices that speak ASTM or HL7, see [dialects](dialects.md)"
    )
    secure_cookies: bool = Field(default=False, description="set when served over HTTPS")
    assay: str = Field("daan-2019-ncov", description="assay of new plates unless one is named")
    jurisdiction: str = Field("china", description="policy file for retests and recalls, and for pools")
    pool_rules: str = Field("standard", description="rule file of the pooling bench")
    pool_policy: str = Field("", description="policy file about pools; empty = that of the jurisdiction")
    template: str = Field("96-standard", description="plate template of new plates unless one is named")
    plate_closing: Literal["urgency", "cost", "fifo-full"] = Field(
        "cost", description="when a partial plate closes by itself"
    )
    plate_sample_ul: float = Field(
        200.0, gt=0, description="microlitres of specimen a well takes, in transfer lists of plates"
    )
    plate_eluate_ul: float = Field(
        5.0, gt=0, description="microlitres of RNA a well takes when it is amplified again"
    )
    simulations_at_once: int = Field(
        1, ge=1, le=64, description="simulations the server plays at the same time"
    )
    silent_minutes: float = Field(
        10.0, gt=0, le=1440, description="an instrument that was not heard for so long is told of on the wall"
    )
    forecast_minutes: float = Field(
        10.0, ge=0, le=1440, description="the server makes a forecast so often; 0 = never by itself"
    )
    forecast_days: int = Field(
        30, ge=1, le=3650, description="forecasts are deleted after so many days; their scores stay"
    )
    tiers: str = Field("tiers", description="policy file for service tiers and their due times")
    auto_release: bool = Field(default=True, description="release negatives that meet every written rule")
    retention_negative_hours: int = Field(72, ge=0, description="negatives are kept at least this long")
    recall_clock_minutes: int = Field(
        30, ge=0, le=1440, description="how far the clock of a collection site may be behind, for recalls"
    )
    printers: tuple[PrinterSettings, ...] = Field(
        (), description="tables of label printers, see [labels](labels.md)"
    )
    labels: tuple[LabelSettings, ...] = Field(
        (), description="tables of label sizes for the browser, see [labels](labels.md)"
    )
    public_url: str = Field("http://127.0.0.1:8080", description="address in the QR code of reports")
    session_minutes: int = Field(480, ge=1, description="a sign-in lasts at most this long")
    idle_minutes: int = Field(60, ge=1, description="and ends after this long without a request")
    lock_minutes: int = Field(
        10, ge=0, description="the screen is covered after this long without key or touch; 0 = never"
    )
    shift_hours: int = Field(
        12, ge=1, le=24, description="badge and PIN are taken this long after a sign-in with password"
    )
    backups: str = Field(
        "", description="folder for copies made on screen; empty = backups in the data folder"
    )

    @field_validator("listeners")
    @classmethod
    def _each_its_own(cls, listeners: tuple[ListenerSettings, ...]) -> tuple[ListenerSettings, ...]:
        for what, names in (
            ("address", [one.address for one in listeners if one.port]),
            ("device", [one.device.casefold() for one in listeners]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise ValueError(f"two listeners have the {what} {twice[0]}; each needs its own")
        return listeners

    @field_validator("printers")
    @classmethod
    def _named_once(cls, printers: tuple[PrinterSettings, ...]) -> tuple[PrinterSettings, ...]:
        names = [one.name for one in printers]
        if len(set(names)) < len(names) or "browser" in names:
            raise ValueError("every printer needs a name of its own, and none may be called browser")
        return printers

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(f"{name} is no time zone; write it like Asia/Shanghai") from error
        return name

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Explicit values win over the environment, the environment over the file."""
        del dotenv_settings, file_secret_settings
        folder = Path(os.environ.get("LIS_DATA", "lis-data"))
        given = init_settings().get("data")
        path = Path(given or folder) / "lis.toml"
        return (init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path))


def load(data: Path | str | None = None, **values: object) -> Settings:
    """The settings in force for the data folder ``data``.

    Raises:
        LisError: ``BAD_SETTINGS`` names each wrong value and where it can be set.
    """
    from pydantic import ValidationError

    if data is not None:
        values["data"] = Path(data)
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise LisError("BAD_SETTINGS", f"Settings in lis.toml or LIS_* are wrong: {wrong}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise LisError("BAD_SETTINGS", f"lis.toml is not valid TOML: {error}. Correct that line.") from error


def sources(settings: Settings) -> dict[str, str]:
    """Setting -> where its value comes from: ``environment``, ``file``, ``default``, or ``command``."""
    path = settings.data / "lis.toml"
    try:
        written = set(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        written = set()
    set_outside = {name.upper() for name in os.environ}
    found = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if f"LIS_{name.upper()}" in set_outside and value != field.default:
            found[name] = "environment"
        elif name in written:
            found[name] = "file"
        else:
            found[name] = "default" if value == field.default else "command"
    return found


def secret_key(folder: Path) -> bytes:
    """The 256-bit key of this laboratory, made on first use in ``folder/secret.key`` (mode 0600).

    Raises:
        LisError: ``BAD_KEY`` if the file exists but is not such a key.
    """
    path = folder / "secret.key"
    folder.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        keep_secret(path, secrets.token_bytes(KEY_BYTES).hex())
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise LisError(
            "BAD_KEY",
            f"{path.name} is not a key of this laboratory. Put the right file back; "
            "personal data cannot be read without it.",
        )
    return key


def keep_secret(path: Path, text: str) -> None:
    """Write ``text`` (ASCII) under its name all at once and for good, unless somebody else did meanwhile.

    Killed or cut from its power at any moment it leaves the whole file or none; readable by its owner alone.

    Raises:
        OSError: it could not be written; then there is no such file.
    """
    own = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as handle:
            handle.write(text)
            handle.flush()
            os.fsync(handle.fileno())
        with contextlib.suppress(FileExistsError):  # another start was first; its secret counts
            path.hardlink_to(own)
    finally:
        own.unlink()
    sync_folder(path.parent)
