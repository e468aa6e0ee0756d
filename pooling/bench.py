"""How one laboratory pools: sizes, volumes, who is tested singly, how pools are pipetted and when to change.

The TOML format (`pooling/benches/standard.toml`)
=================================================
::

    id = "standard"
    name = "..."
    version = "1"
    source = "..."
    notes = "..."

    [pool]
    size = 5                        # tubes in a full pool
    max_n = 10                      # never more; the assay and the jurisdiction may allow fewer
    min_n = 3                       # fewer left-over tubes are tested singly
    max_wait_minutes = 45           # longest time a tube waits for its pool to fill
    lead_minutes = 480              # a pool closes this long before its first due time
    confirm = false                 # true: every aliquot is confirmed by scan before the pool is plated
    second_aliquots = 1             # further tests a pool tube holds liquid for
    hold_for_rerun = true           # negatives of an unexplained pool wait for its second aliquot

    [volume]                        # microlitres
    tube_ul = 3000                  # in a tube at reception, until somebody measures it
    aliquot_ul = 100                # taken from each tube for the pool
    reserve_ul = 200                # must remain for the single test after the pool
    reflex_ul = 200                 # one single test needs, with what cannot be drawn

    [singly]                        # tiers, as in the tier file
    tiers = ["fever"]               # tested singly
    symptomatic = ["emergency"]     # tested singly because these persons have symptoms
    contact = ["close-contact"]     # tested singly because these persons are close contacts

    [worklist]
    reserved = ["H12"]              # wells of the pool plate that no pool gets

    [advice]
    modes = [10, 5, 1]              # places per tube the city can use, 1 among them
    window_days = 7
    confidence = 0.95
    min_tested = 200                # fewer tubes in the window: no advice to change
    margin = 0.02                   # tests per person a change must save over the whole interval
    sensitivity = 0.99              # of one test of a single tube
    specificity = 0.999
    grey = 0.001                    # share of clean tubes that read grey or single target
    invalid = 0.003

    [advice.mixed]                  # and [advice.pool]: tubes mixed at collection, laboratory pools
    round_hours = 6                 # from reception to reading
    again_hours = 24                # from a tube that is not clearly negative to its persons' own readings

    [advice.mixed.detection]        # places -> share of positives still found (dilution)
    10 = 0.995
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

from pooling.checked import PoolPolicyError, Table, content_of, digest
from pooling.decode import DecodeRules
from pooling.form import PoolRules
from pooling.modes import Mode
from pooling.prevalence import AdviceRules
from pooling.size import Accuracy, PoolDesignError
from pooling.worklist import WELLS

NUMBER = (int, float)
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Exclusions:
    """Service tiers whose tubes are never pooled, by reason."""

    tiers: frozenset[str]
    symptomatic: frozenset[str]
    contact: frozenset[str]


@dataclass(frozen=True, slots=True)
class BenchRules:
    """The rules of one laboratory's pooling bench; see the format above.

    Attributes:
        tube_ul: in each single tube at reception, in microlitres, until it is measured.
        confirm: every aliquot is confirmed by scan before a pool is plated.
        second_aliquots: further tests a pool tube holds liquid for.
        reserved: wells of the pool plate that no pool gets.
        window_days: days of readings an advice rests on.
        advice: rules by how persons are put together: `Mode.MIXED` and `Mode.POOL`.
        digest: SHA-256 of the content.
    """

    id: str
    name: str
    version: str
    source: str
    notes: str
    pool: PoolRules
    decode: DecodeRules
    exclusions: Exclusions
    tube_ul: float
    confirm: bool
    second_aliquots: int
    reserved: tuple[str, ...]
    window_days: float
    advice: Mapping[Mode, AdviceRules]
    digest: str


def bench_from_toml(text: str, name: str) -> BenchRules:
    """Read the rules of one pooling bench.

    Args:
        text: the TOML text.
        name: file name, for the errors.

    Raises:
        PoolPolicyError: names file and key, what is wrong and what to write instead.
    """
    content = content_of(text, name)
    table = Table(content, name)
    texts = {key: table.take(key, str, "a text") for key in ("id", "name", "version", "source", "notes")}
    pool, volume = table.table("pool"), table.table("volume")
    confirm = pool.take("confirm", bool, "true or false")
    seconds = _least(pool, "second_aliquots", 0)
    hold = pool.take("hold_for_rerun", bool, "true or false")
    tube_ul, reflex = _above_zero(volume, "tube_ul"), _above_zero(volume, "reflex_ul")
    exclusions = _exclusions(table.table("singly"))
    sizes = _made(pool, lambda: _pool_rules(pool, volume, exclusions))
    _enough(volume, tube_ul, sizes, reflex)
    reserved = _reserved(table.table("worklist"))
    window, advice = _advice(table.table("advice"))
    for one in (pool, volume, table):
        one.close()
    return BenchRules(
        **texts,
        pool=sizes,
        decode=DecodeRules(reflex_ul=reflex, hold_for_rerun=hold),
        exclusions=exclusions,
        tube_ul=tube_ul,
        confirm=confirm,
        second_aliquots=seconds,
        reserved=reserved,
        window_days=window,
        advice=advice,
        digest=digest(content),
    )


def _made(table: Table, make: Callable[[], Made]) -> Made:
    """What `make` makes; a refusal names the table."""
    try:
        return make()
    except PoolDesignError as error:
        raise PoolPolicyError("out-of-range", table.where, str(error)) from error


def _least(table: Table, key: str, least: int) -> int:
    value: int = table.take(key, int, "a whole number")
    if value < least:
        raise table.wrong(key, "out-of-range", f"{value} is too small; write {least} or more")
    return value


def _above_zero(table: Table, key: str) -> float:
    value = float(table.take(key, NUMBER, "a number"))
    if value <= 0:
        raise table.wrong(key, "out-of-range", f"{value:g} is not above 0; write a number such as 200")
    return value


def _pool_rules(pool: Table, volume: Table, exclusions: Exclusions) -> PoolRules:
    return PoolRules(
        size=_least(pool, "size", 2),
        max_n=_least(pool, "max_n", 2),
        min_n=_least(pool, "min_n", 2),
        aliquot_ul=_above_zero(volume, "aliquot_ul"),
        reserve_ul=float(volume.take("reserve_ul", NUMBER, "a number")),
        max_wait=timedelta(minutes=_least(pool, "max_wait_minutes", 0)),
        lead=timedelta(minutes=_least(pool, "lead_minutes", 0)),
        excluded_tiers=exclusions.tiers,
    )


def _enough(volume: Table, tube_ul: float, rules: PoolRules, reflex_ul: float) -> None:
    """A full tube must be poolable, and still hold a single test afterwards."""
    need = rules.aliquot_ul + max(rules.reserve_ul, reflex_ul)
    if tube_ul < need:
        raise volume.wrong(
            "tube_ul", "out-of-range", f"{tube_ul:g} is less than aliquot and single test need ({need:g})"
        )
    if reflex_ul > rules.reserve_ul:
        raise volume.wrong(
            "reserve_ul", "out-of-range", f"{rules.reserve_ul:g} is less than one single test ({reflex_ul:g})"
        )


def _exclusions(table: Table) -> Exclusions:
    names = ("tiers", "symptomatic", "contact")
    found = {name: frozenset(table.texts(name)) for name in names}
    table.close()
    return Exclusions(**found)


def _reserved(table: Table) -> tuple[str, ...]:
    wells = table.texts("reserved")
    if unknown := [well for well in wells if well not in WELLS]:
        raise table.wrong("reserved", "out-of-range", f"{unknown[0]} is no well; write A1 to H12")
    if len(set(wells)) >= len(WELLS):
        raise table.wrong("reserved", "out-of-range", "no well is left for a pool; leave some free")
    table.close()
    return wells


def _advice(table: Table) -> tuple[float, dict[Mode, AdviceRules]]:
    window = _above_zero(table, "window_days")
    modes = table.take("modes", list, "a list of whole numbers")
    if not all(type(one) is int for one in modes):
        raise table.wrong("modes", "wrong-kind", f"{modes} are not whole numbers; write [10, 5, 1]")
    common = {
        "modes": tuple(modes),
        "confidence": table.take("confidence", NUMBER, "a share"),
        "min_tested": table.take("min_tested", int, "a whole number"),
        "margin": table.take("margin", NUMBER, "tests per person"),
        "grey": table.take("grey", NUMBER, "a share"),
        "invalid": table.take("invalid", NUMBER, "a share"),
    }
    test = (
        table.take("sensitivity", NUMBER, "a share"),
        table.take("specificity", NUMBER, "a share"),
    )
    found = {}
    for mode in ADVISED:
        found[mode] = _made(table, partial(_of_mode, table, mode, common, test))
    table.close()
    return window, found


ADVISED = (Mode.MIXED, Mode.POOL)


def _of_mode(
    table: Table, mode: Mode, common: Mapping[str, object], test: tuple[float, float]
) -> AdviceRules:
    own = table.table(mode.value)
    shares = own.table("detection")
    detection = {}
    for key in list(shares.content):
        if not key.isdigit():
            raise shares.wrong(key, "out-of-range", "write places = share, such as 10 = 0.9")
        detection[int(key)] = float(shares.take(key, NUMBER, "a share"))
    rules = AdviceRules(
        **common,  # type: ignore[arg-type]
        accuracy=Accuracy(*test, detection),
        round_hours=float(own.take("round_hours", NUMBER, "hours")),
        again_hours=float(own.take("again_hours", NUMBER, "hours")),
        recollected=mode is Mode.MIXED,
    )
    for size in rules.modes:
        rules.accuracy.pool_sensitivity(size)
    own.close()
    return rules
