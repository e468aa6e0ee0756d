"""The pooling bench: which tubes go together, where each aliquot goes, what a pool's reading leads to."""

from lis.services.pools.advice import STREAMS, StreamAdvice, advice, stream_json
from lis.services.pools.decoding import Case, gather, interim, interim_of, settle_pools
from lis.services.pools.forming import (
    Formed,
    Kept,
    PoolOrder,
    PoolProposal,
    Proposal,
    form,
    form_many,
    propose,
)
from lis.services.pools.incidents import find, lose, measure, withdraw
from lis.services.pools.pipetting import (
    AliquotOutcome,
    AliquotResult,
    AliquotScan,
    Sheet,
    Step,
    as_csv,
    confirm,
    sheet,
)

__all__ = [
    "STREAMS",
    "AliquotOutcome",
    "AliquotResult",
    "AliquotScan",
    "Case",
    "Formed",
    "Kept",
    "PoolOrder",
    "PoolProposal",
    "Proposal",
    "Sheet",
    "Step",
    "StreamAdvice",
    "advice",
    "as_csv",
    "confirm",
    "find",
    "form",
    "form_many",
    "gather",
    "interim",
    "interim_of",
    "lose",
    "measure",
    "propose",
    "settle_pools",
    "sheet",
    "stream_json",
    "withdraw",
]
