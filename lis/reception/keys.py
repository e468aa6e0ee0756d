"""The key pair by which agents know this laboratory's bridge."""

from __future__ import annotations

from pathlib import Path

from instruments.bridge import KeyPair, new_keypair
from lis import config


def bridge_keys(folder: Path) -> KeyPair:
    """The bridge's own key pair, made on first use in ``folder/bridge.key`` (mode 0600)."""
    path = folder / "bridge.key"
    if not path.exists():
        pair = new_keypair()
        config.keep_secret(path, f"{pair.public.decode()}\n{pair.secret.decode()}\n")
    public, _, secret = path.read_text(encoding="ascii").strip().partition("\n")
    return KeyPair(public.encode(), secret.encode())
