"""Settings: one place each, wrong ones are named, the key is only its owner's."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from lis import config
from lis.errors import LisError
from lis.reception import bridge_keys


def test_given_values_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Defaults, then lis.toml in the data folder, then LIS_*, then what the program was told."""
    assert config.load(tmp_path).port == 8080
    (tmp_path / "lis.toml").write_text(
        "port = 1\nlaboratory = 'from file'\nlanguage = 'en'\n", encoding="utf-8"
    )
    assert config.load(tmp_path).port == 1
    monkeypatch.setenv("LIS_PORT", "2")
    found = config.load(str(tmp_path), laboratory="given")
    assert (found.port, found.laboratory, found.language, found.data) == (2, "given", "en", tmp_path)
    monkeypatch.setenv("LIS_DATA", str(tmp_path))
    assert config.load().data == tmp_path
    assert config.load().laboratory == "from file"


@pytest.mark.parametrize(
    "text", ["port = 70000", "prot = 8080", "language = 'fr'", "auto_release = 'perhaps'"]
)
def test_a_wrong_setting_is_named(tmp_path: Path, text: str):
    """A value out of range, an unknown name and a wrong kind stop the start with the name in the sentence."""
    (tmp_path / "lis.toml").write_text(text, encoding="utf-8")
    with pytest.raises(LisError) as error:
        config.load(tmp_path)
    assert error.value.code == "BAD_SETTINGS"
    assert text.split(" ", maxsplit=1)[0] in error.value.sentence


def test_settings_do_not_change_while_the_laboratory_is_open(tmp_path: Path):
    """The settings in force are frozen."""
    with pytest.raises(Exception, match="frozen"):
        config.load(tmp_path).port = 1


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path):
    """Ten starts at once agree on one key of 256 bits, in a file of mode 0600."""
    folder = tmp_path / "data"
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(config.secret_key(folder))) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert (len(found), len(found[0])) == (10, 32)
    assert [path.name for path in folder.iterdir()] == ["secret.key"]
    assert (folder / "secret.key").stat().st_mode & 0o777 == 0o600


def test_a_secret_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that fails while a key is made leaves no half of it: the next start makes a whole one."""
    real = os.fsync

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    for make in (config.secret_key, bridge_keys):
        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            make(tmp_path)
        monkeypatch.setattr(os, "fsync", real)
    assert list(tmp_path.iterdir()) == []
    assert config.secret_key(tmp_path) == config.secret_key(tmp_path)
    assert bridge_keys(tmp_path) == bridge_keys(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"secret.key", "bridge.key"}


@pytest.mark.parametrize("text", ["", "abc", "zz" * 32])
def test_a_file_that_is_no_key_stops_the_start(tmp_path: Path, text: str):
    """A cut or foreign key file is never replaced: what it sealed would be lost."""
    (tmp_path / "secret.key").write_text(text, encoding="ascii")
    with pytest.raises(LisError) as error:
        config.secret_key(tmp_path)
    assert error.value.code == "BAD_KEY"
    assert (tmp_path / "secret.key").read_text(encoding="ascii") == text
