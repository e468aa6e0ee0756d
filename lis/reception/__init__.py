"""Where the instruments' bridge meets the laboratory: keep, acknowledge, then read."""

from lis.reception.link import REMEMBER_KEYS, Reception, bridge_keys

__all__ = ["REMEMBER_KEYS", "Reception", "bridge_keys"]
