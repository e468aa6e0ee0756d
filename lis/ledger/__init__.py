"""The one writer of tube state. Events and the state they lead to are written in one transaction.

The log is hash-linked: ``hash(n) = SHA-256(hash(n-1) || canonical row n)``, where the canonical row
is JSON of every field that is not empty. ``chain`` holds the head, so a deleted last row is found
too. :func:`verify` folds the whole log, compares the result with the tube table and names the first
row that does not fit.
"""

from lis.db import GENESIS
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
from lis.ledger.seals import act_link, report_seal, run_seal, seal_of
from lis.ledger.verifying import Verdict, verify
from lis.ledger.writing import append

__all__ = [
    "CHUNK",
    "GENESIS",
    "HEAD",
    "SHAPE",
    "Entry",
    "Rebuilt",
    "Recorded",
    "Verdict",
    "act_link",
    "append",
    "as_fact",
    "as_row",
    "as_tube",
    "fact_of",
    "fold",
    "history",
    "known",
    "link",
    "link_row",
    "rebuild",
    "recalls",
    "report_seal",
    "rows",
    "run_seal",
    "seal_of",
    "tubes",
    "verify",
]
