"""Jurisdiction rules for pools: what is said of whom while a pool is not resolved, and what reports must say.

Only what concerns pools stands here. What a case of one person needs (repeats, the state reported for a
tube mixed at collection while its persons wait, what an invalid mixed tube means) is in the case policy of
the same name; `mode.mixed` therefore has no `report` key, and a file that has one is refused.

The TOML format (`pooling/policies/{china,cdc,fda-swab}.toml`)
==============================================================
::

    id = "cdc"
    name = "..."
    version = "1"
    source = "..."
    notes = "..."                   # what the sources leave open

    [limits]                        # optional; without a key there is no such limit
    max_prevalence = 0.20           # above it pooling stops
    records_months = 12             # how long the daily pool records are kept
    compare_share = 0.85            # re-assess when pooled / single positivity falls below it

    [statement]                     # on every report of a pooled person
    en = "..."
    zh = "..."

    [mode.mixed]                    # one table for each mode that the jurisdiction knows
    max_n = 20
    notify = true                   # tell the health authority at once
    isolate = true                  # persons isolate until their own result
    with_confirmed = false          # they may be put together with confirmed positives
    en = "..."                      # what a person is told
    zh = "..."

    [mode.mixed.medium_ml]          # optional: persons -> medium in mL
    10 = 6.0

    [mode.pool]                     # and mode.dual
    report = "nothing"              # nothing, under-review or presumed-positive, until the single test
    ...
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pooling.checked import Table, content_of, digest
from pooling.modes import Mode, Resolution, resolution
from pooling.size import PoolDesignError

REPORTS = ("nothing", "under-review", "presumed-positive")


@dataclass(frozen=True, slots=True)
class Duties:
    """What is due for a pooled tube that is not clearly negative (positive, grey, single target, invalid).

    Attributes:
        resolve: re-collection or single tests; follows from the mode, not from the file.
        report: what is reported of each person until the own result; None: the case policy says it.
        notify: tell the health authority at once.
        isolate: persons isolate until their own result.
        with_confirmed: they may be put together with confirmed positives.
        max_n: most persons.
        medium_ml: persons -> medium volume in mL.
        sentence, sentence_zh: what a person is told.
    """

    resolve: Resolution
    report: str | None
    notify: bool
    isolate: bool
    with_confirmed: bool
    max_n: int
    medium_ml: Mapping[int, float]
    sentence: str
    sentence_zh: str


@dataclass(frozen=True, slots=True)
class PoolPolicy:
    """The pool rules of one jurisdiction; see the format above."""

    id: str
    name: str
    version: str
    source: str
    notes: str
    statement: str
    statement_zh: str
    max_prevalence: float | None
    records_months: int | None
    compare_share: float | None
    modes: Mapping[Mode, Duties]
    digest: str = ""

    def duties(self, mode: Mode) -> Duties:
        """What is due for a non-negative pooled tube of this mode.

        Raises:
            PoolDesignError: `MODE_NOT_ALLOWED` when the jurisdiction has no rule for the mode.
        """
        if mode not in self.modes:
            known = ", ".join(self.modes)
            raise PoolDesignError(
                "MODE_NOT_ALLOWED", f"Policy {self.id} has no rule for mode {mode}; it knows {known}."
            )
        return self.modes[mode]


def policy_from_toml(text: str, name: str) -> PoolPolicy:
    """Read one pool policy.

    Args:
        text: the TOML text.
        name: file name, for the errors.

    Raises:
        PoolPolicyError: names file and key, what is wrong and what to write instead.
    """
    content = content_of(text, name)
    table = Table(content, name)
    texts = {key: table.take(key, str, "a text") for key in ("id", "name", "version", "source", "notes")}
    statement = Table(table.take("statement", dict, "a table"), f"{name}.statement")
    said = [statement.take(language, str, "a text") for language in ("en", "zh")]
    statement.close()
    limits = _limits(Table(table.maybe("limits", dict, "a table") or {}, f"{name}.limits"))
    modes = _modes(Table(table.take("mode", dict, "a table"), f"{name}.mode"))
    table.close()
    return PoolPolicy(
        **texts,
        statement=said[0],
        statement_zh=said[1],
        max_prevalence=limits[0],
        records_months=limits[1],
        compare_share=limits[2],
        modes=modes,
        digest=digest(content),
    )


def _limits(table: Table) -> tuple[float | None, int | None, float | None]:
    number = (int, float)
    prevalence = table.maybe("max_prevalence", number, "a share between 0 and 1")
    months = table.maybe("records_months", int, "a whole number")
    share = table.maybe("compare_share", number, "a share between 0 and 1")
    for key, value in (("max_prevalence", prevalence), ("compare_share", share)):
        if value is not None and not 0 < value < 1:
            raise table.wrong(
                key, "out-of-range", f"{value} is not between 0 and 1; write a share such as 0.2"
            )
    if months is not None and months < 1:
        raise table.wrong(
            "records_months", "out-of-range", f"{months} is not a number of months; write 1 or more"
        )
    table.close()
    return prevalence, months, share


def _modes(table: Table) -> dict[Mode, Duties]:
    found = {}
    for mode in Mode:
        if (content := table.maybe(mode, dict, "a table")) is not None:
            found[mode] = _duties(Table(content, f"{table.where}.{mode}"), mode)
    table.close()
    if not found:
        raise table.wrong("", "no-mode", "no mode is given; add [mode.mixed], [mode.pool] or [mode.dual]")
    return found


def _duties(table: Table, mode: Mode) -> Duties:
    max_n = table.take("max_n", int, "a whole number")
    if max_n < 2:
        raise table.wrong("max_n", "out-of-range", f"{max_n} is no pool; write 2 or more")
    duties = Duties(
        resolve=resolution(mode),
        report=_report(table, mode),
        notify=table.take("notify", bool, "true or false"),
        isolate=table.take("isolate", bool, "true or false"),
        with_confirmed=table.take("with_confirmed", bool, "true or false"),
        max_n=max_n,
        medium_ml=_medium(table),
        sentence=table.take("en", str, "a text"),
        sentence_zh=table.take("zh", str, "a text"),
    )
    table.close()
    return duties


def _report(table: Table, mode: Mode) -> str | None:
    if mode is Mode.MIXED:
        if "report" in table.content:
            raise table.wrong(
                "report",
                "said-elsewhere",
                "for a mixed tube this is report_while_waiting of the case policy; remove it here",
            )
        return None
    report: str = table.take("report", str, "a text")
    if report not in REPORTS:
        raise table.wrong(
            "report", "not-allowed", f"'{report}' is not known; write one of {', '.join(REPORTS)}"
        )
    return report


def _medium(table: Table) -> dict[int, float]:
    content = Table(table.maybe("medium_ml", dict, "a table") or {}, f"{table.where}.medium_ml")
    found = {}
    for key in list(content.content):
        value = content.take(key, (int, float), "a volume in mL")
        if not key.isdigit() or int(key) < 1 or not value > 0:
            raise content.wrong(key, "out-of-range", "write persons = mL, both above 0, such as 10 = 6.0")
        found[int(key)] = float(value)
    return found
