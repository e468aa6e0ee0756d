"""The one writer of tube state. Events and the state they lead to are written in one transaction.

The log is hash-linked: ``hash(n) = SHA-256(hash(n-1) || canonical row n)``, where the canonical row
is JSON of every field that is not empty. ``chain`` holds the head, so a deleted last row is found
too. :func:`verify` folds the whole log, compares the result with the tube table and names the first
row that does not fit.
"""

from lis.db import GENESIS
from lis.ledger.acts import CHAINS, broken_acts, read_acts, write_acts
from lis.ledger.folding import fact_of, fold, rows
from lis.ledger.rebuilding import Rebuilt, rebuild
from lis.ledger.rows import (
    CHUNK,
    HEAD,
    SHAPE,
    Entry,
    Recorded,
    as_fact,
    as_row,
    as_tube,
    history,
    known,
    link,
    link_row,
    recalls,
    tubes,
)
from lis.ledger.seals import report_seal, run_seal, seal_of
from lis.ledger.verifying import Verdict, verify
from lis.ledger.writing import append

__all__ = [
    "CHAINS",
    "CHUNK",
    "GENESIS",
    "HEAD",
    "SHAPE",
    "Entry",
    "Rebuilt",
    "Recorded",
    "Verdict",
    "append",
    "as_fact",
    "as_row",
    "as_tube",
    "broken_acts",
    "fact_of",
    "fold",
    "history",
    "known",
    "link",
    "link_row",
    "read_acts",
    "rebuild",
    "recalls",
    "report_seal",
    "rows",
    "run_seal",
    "seal_of",
    "tubes",
    "verify",
    "write_acts",
]
