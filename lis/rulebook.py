"""The rules in force: shipped files, the laboratory's own, and every version that ever spoke.

Shipped rules are package data; a laboratory adds or replaces them in ``<data>/rules/{assays,policies,
pools,pool-policies,plates,tables}/*.toml``. Loading happens once; a rule file that is wrong stops the
start with its name and line, never a run.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING

from lis.errors import LisError, NotFound, Refused
from pooling import BenchRules, Mode, PoolPolicy, PoolRules, bench_from_toml, policy_from_toml
from retest import AssayRules, CaseRules, Material, Policy, ReleaseRules, RulesError
from retest.kits import second_kits
from retest.void import priority_of_void
from scheduler.deadlines import TierRules, due_at
from scheduler.fill import FillRules
from scheduler.jobs import ScheduleError
from scheduler.plates import PlateTemplate, templates_from_toml

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from datetime import datetime
    from importlib.resources.abc import Traversable
    from pathlib import Path

    from instruments import TableMapping
    from lis.config import Settings
    from lis.tube import Tube


@dataclass(frozen=True)
class Rulebook:
    """Everything the services ask policy about.

    Attributes:
        assays: id -> rules of the newest version; ``texts`` holds their files as they are.
        pool: how the laboratory pools; ``pool_policy`` is what its jurisdiction says of pools.
        pool_texts: (kind, id) -> the files of both as they are.
        old: (id, version) -> rules of versions that spoke earlier.
        recall_hours: hours within which a recalled person should be re-collected.
        recall_clock_minutes: how far the clock of a collection site may be behind.
    """

    assays: Mapping[str, AssayRules]
    texts: Mapping[str, str]
    policy: Policy
    release: ReleaseRules
    tiers: TierRules
    templates: Mapping[str, PlateTemplate]
    pool: BenchRules
    pool_policy: PoolPolicy
    pool_texts: Mapping[tuple[str, str], str]
    tables: tuple[TableMapping, ...] = ()
    laboratory: str = ""
    default_assay: str = ""
    default_template: str = ""
    plate_closing: str = "cost"
    auto_release: bool = True
    recall_clock_minutes: int = 30
    old: Mapping[tuple[str, str], AssayRules] = field(default_factory=dict)

    @property
    def recall_hours(self) -> float:
        """Hours within which a recalled person should be re-collected."""
        return self.policy.hours["recollect"]

    def assay(self, name: str, version: str = "") -> AssayRules:
        """The rules of an assay, of a named version if it is not the newest.

        Raises:
            NotFound: no such assay or version is loaded.
        """
        rules = self.assays.get(name)
        if rules is not None and version in {"", rules.version}:
            return rules
        found = self.old.get((name, version))
        if found is None:
            known = ", ".join(sorted(self.assays))
            wanted = f"{name} version {version}" if version else name
            raise NotFound(
                "ASSAY_UNKNOWN", f"No rules for assay {wanted or '(none)'} are loaded. Known: {known}."
            )
        return found

    def template(self, name: str = "") -> PlateTemplate:
        """A plate template.

        Raises:
            NotFound: no such template.
        """
        wanted = name or self.default_template
        if wanted not in self.templates:
            known = ", ".join(sorted(self.templates))
            raise NotFound("TEMPLATE_UNKNOWN", f"No plate template {wanted}. Known: {known}.")
        return self.templates[wanted]

    def fill(self, template: PlateTemplate, *, impatient: bool) -> FillRules:
        """How a plate is filled; an impatient one never waits for more tubes."""
        rules = FillRules(template=template, policy=self.plate_closing)
        return replace(rules, policy="urgency", min_fill=1, max_wait_minutes=0) if impatient else rules

    def pooling(self, assay: AssayRules) -> PoolRules:
        """How tubes may be pooled for an assay: the bench's rules, within what kit and jurisdiction allow.

        Raises:
            Refused: ``POOLING_NOT_VALIDATED`` or ``POOLING_NOT_ALLOWED``.
        """
        if Material.pool not in assay.pooling.modes or assay.pooling.max_n < 2:
            raise Refused(
                "POOLING_NOT_VALIDATED",
                f"Assay {assay.id} is not validated for laboratory pools. Test these tubes singly.",
                assay=assay.id,
            )
        duties = self.pool_policy.modes.get(Mode.POOL)
        if duties is None:
            raise Refused(
                "POOLING_NOT_ALLOWED",
                f"Policy {self.pool_policy.id} has no rule for laboratory pools. Test these tubes singly.",
                policy=self.pool_policy.id,
            )
        rules = self.pool.pool
        most = min(rules.max_n, assay.pooling.max_n, duties.max_n)
        size = min(rules.size, most)
        return replace(rules, max_n=most, size=size, min_n=min(rules.min_n, size))

    def mixing(self, persons: int) -> None:
        """Whether the swabs of this many persons may share a tube here.

        Raises:
            Refused: ``MIXING_NOT_ALLOWED`` or ``MIXED_TOO_MANY``: no rule here for such a tube.
        """
        duties = self.pool_policy.modes.get(Mode.MIXED)
        if duties is None:
            raise Refused(
                "MIXING_NOT_ALLOWED",
                f"Policy {self.pool_policy.id} has no rule for tubes mixed at collection. "
                "Give every person a tube of their own.",
                policy=self.pool_policy.id,
            )
        if persons > duties.max_n:
            raise Refused(
                "MIXED_TOO_MANY",
                f"Policy {self.pool_policy.id} allows {duties.max_n} persons in a mixed tube, not {persons}. "
                "Take a smaller tube.",
                policy=self.pool_policy.id,
            )

    def assay_file(self, assay: AssayRules) -> tuple[str, str, str, str, str]:
        """(kind, id, version, digest, text) of the file of an assay."""
        return "assay", assay.id, assay.version, assay.digest, self.texts[assay.id]

    def pool_files(self) -> Iterator[tuple[str, str, str, str, str]]:
        """(kind, id, version, digest, text) of the two files that speak about pools."""
        for kind, one in (("pool-rules", self.pool), ("pool-policy", self.pool_policy)):
            yield kind, one.id, one.version, one.digest, self.pool_texts[kind, one.id]

    def case(self, assay: AssayRules) -> CaseRules:
        """The kit and the jurisdiction that a case is decided under."""
        return CaseRules(assay, self.policy, self.assays)

    def due_at(self, tier: str, sampled: datetime, received: datetime | None) -> datetime:
        """When the report of a tube is due.

        Raises:
            NotFound: no such service tier.
        """
        try:
            return due_at(tier, sampled, received, self.tiers)
        except ScheduleError as error:
            raise NotFound("TIER_UNKNOWN", str(error)) from error

    def second_kits(self, tube: Tube, called: Collection[str]) -> tuple[str, ...]:
        """The assays that a second-kit test of ``tube`` may use after those that ``called`` it."""
        return second_kits(self.policy, self.assays, called, Material(tube.kind.value), tube.persons)

    def void_priority(self, tube: Tube) -> int:
        """Priority of a tube whose well was void, or that a reviewer sends back."""
        return max(tube.priority, priority_of_void(self.policy, tube.persons, tube.tier))


@lru_cache(maxsize=128)
def _assay(text: str, name: str) -> AssayRules:
    """The rules of a file; the same text is read once, however often a laboratory is opened."""
    return AssayRules.from_toml(text, name)


def load(settings: Settings) -> Rulebook:
    """The rules in force for a laboratory.

    Raises:
        LisError: ``BAD_RULES`` names the file, the place and what is wrong.
    """
    own = settings.data / "rules"
    try:
        assays, texts = {}, {}
        for name, text in files("assays", own):
            rules = _assay(text, name)
            assays[rules.id], texts[rules.id] = rules, text
        policies = dict(files("policies", own))
        plates = dict(files("plates", own))
        tiers = dict(files("tiers", own))
        policy = Policy.from_toml(_named(policies, settings.jurisdiction), settings.jurisdiction)
        _kits_loaded(policy, assays)
        pool, pool_policy, pool_texts = _pooling(settings, own)
        return Rulebook(
            assays=assays,
            texts=texts,
            policy=policy,
            release=ReleaseRules.from_toml(_named(policies, "release"), "release"),
            tiers=TierRules.from_toml(_named(tiers, settings.tiers)),
            templates={
                key: one for text in plates.values() for key, one in templates_from_toml(text).items()
            },
            pool=pool,
            pool_policy=pool_policy,
            pool_texts=pool_texts,
            tables=tuple(own_tables(own)),
            laboratory=settings.laboratory,
            default_assay=settings.assay,
            default_template=settings.template,
            plate_closing=settings.plate_closing,
            auto_release=settings.auto_release,
            recall_clock_minutes=settings.recall_clock_minutes,
        )
    except (RulesError, ValueError) as error:
        raise LisError("BAD_RULES", f"A rule file cannot be used: {error}") from error


def _pooling(settings: Settings, own: Path) -> tuple[BenchRules, PoolPolicy, dict[tuple[str, str], str]]:
    """The rules of the pooling bench and the jurisdiction's policy about pools, with their files."""
    benches, policies = dict(files("pools", own)), dict(files("pool-policies", own))
    text = _named(benches, settings.pool_rules)
    bench = bench_from_toml(text, settings.pool_rules)
    name = settings.pool_policy or _about_pools(settings.jurisdiction, policies)
    policy = policy_from_toml(_named(policies, name), name)
    return bench, policy, {("pool-rules", bench.id): text, ("pool-policy", policy.id): policies[name]}


def _about_pools(jurisdiction: str, known: Mapping[str, str]) -> str:
    """The pool policy of a jurisdiction: its own, or that of which it is a variant (china-second-kit)."""
    if jurisdiction in known:
        return jurisdiction
    wider = [name for name in known if jurisdiction.startswith(f"{name}-")]
    return max(wider, key=len, default=jurisdiction)


def _kits_loaded(policy: Policy, assays: Mapping[str, AssayRules]) -> None:
    for kit in policy.second_kits:
        if kit not in assays:
            raise RulesError(
                "second-kit-unknown",
                f"{policy.id}.positive.second_kits",
                f"no assay '{kit}' is loaded. Known: {', '.join(sorted(assays))}.",
            )


HOMES = {
    "assays": ("retest", "assays"),
    "policies": ("retest", "policies"),
    "pools": ("pooling", "benches"),
    "pool-policies": ("pooling", "policies"),
    "plates": ("scheduler", "plates.toml"),
    "tiers": ("scheduler", "tiers.toml"),
    "scenarios": ("sim", "scenarios"),
}
"""Kind of rule -> the package and the folder, or file, that is shipped."""


def files(kind: str, own: Path | None = None) -> Iterator[tuple[str, str]]:
    """(name, text) of every rule file of a kind; the laboratory's own replaces a shipped one of its name."""
    package, folder = HOMES[kind]
    found: dict[str, Traversable | Path] = {}
    for place in (resources.files(package) / folder, own / kind if own else None):
        if place is not None:
            paths = place.iterdir() if place.is_dir() else [place] if place.is_file() else []
            found.update(
                (path.name.removesuffix(".toml"), path) for path in paths if path.name.endswith(".toml")
            )
    for name in sorted(found):
        yield name, found[name].read_text(encoding="utf-8")


def _named(texts: Mapping[str, str], name: str) -> str:
    if name not in texts:
        raise LisError(
            "RULES_MISSING", f"There is no rule file {name}.toml. Known: {', '.join(sorted(texts))}."
        )
    return texts[name]


def own_tables(own: Path) -> Iterator[TableMapping]:
    """The laboratory's descriptions of tables that no reader knows."""
    from instruments import InstrumentError, TableMapping

    folder = own / "tables"
    for path in sorted(folder.glob("*.toml")) if folder.is_dir() else ():
        try:
            yield TableMapping.from_mapping(tomllib.loads(path.read_text(encoding="utf-8")))
        except (InstrumentError, ValueError) as error:
            raise LisError(
                "BAD_RULES", f"The table description {path.name} cannot be used: {error}"
            ) from error
