"""From the swab to the rack: register, bind persons, seal, receive, hold, reject."""

from lis.barcodes import Scan
from lis.services.receiving.arriving import ScanOutcome, ScanResult, foresee, receive
from lis.services.receiving.holding import clear_hold, hold, reject
from lis.services.receiving.registering import PLACES, PersonData, TubeData, bind, register, seal

__all__ = [
    "PLACES",
    "PersonData",
    "Scan",
    "ScanOutcome",
    "ScanResult",
    "TubeData",
    "bind",
    "clear_hold",
    "foresee",
    "hold",
    "receive",
    "register",
    "reject",
    "seal",
]
