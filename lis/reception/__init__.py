"""Where the instruments' bridge meets the laboratory: keep, acknowledge, then read."""

from lis.reception.keys import bridge_keys
from lis.reception.link import REMEMBER_KEYS, Reception

__all__ = ["REMEMBER_KEYS", "Reception", "bridge_keys"]
