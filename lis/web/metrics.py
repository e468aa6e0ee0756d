"""What Prometheus is told: requests as they happen, the laboratory's queues when asked."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from lis import queries
from lis.errors import LisError
from lis.laboratory import Laboratory

log = logging.getLogger(__name__)

BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


@dataclass(frozen=True)
class Metrics:
    """The counters of one application, on a registry of its own."""

    registry: CollectorRegistry
    requests: Counter
    seconds: Histogram
    errors: Counter
    lookups: Counter

    def text(self) -> tuple[bytes, str]:
        """Exposition and its media type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


def create(lab: Laboratory, bridge: Callable[[], Mapping[str, int]] | None = None) -> Metrics:
    """Counters for an application of this laboratory; ``bridge`` tells those of the instruments' bridge."""
    registry = CollectorRegistry()
    registry.register(_Queues(lab))
    if bridge is not None:
        registry.register(_Bridge(bridge))
    return Metrics(
        registry,
        Counter(
            "lis_requests_total",
            "Requests by route and status",
            ["method", "route", "status"],
            registry=registry,
        ),
        Histogram(
            "lis_request_seconds", "Seconds until the reply", ["route"], registry=registry, buckets=BUCKETS
        ),
        Counter("lis_errors_total", "Refused or failed requests by code", ["code"], registry=registry),
        Counter("lis_person_lookups_total", "Times personal data were opened", ["how"], registry=registry),
    )


@dataclass(frozen=True, eq=False)
class _Queues:
    """Reads the queues at the moment of asking; on a database that is away it says only that."""

    lab: Laboratory

    def describe(self) -> list[Metric]:
        """Nothing is known before the first question."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family a queue."""
        try:
            with self.lab.database.read() as conn:
                states = queries.state_counts(conn)
                depths = queries.queue_depths(conn)
                oldest = queries.oldest_unreported(conn)
        except LisError as error:
            log.warning("metrics without queues: %s", error)
            yield _gauge("lis_up", "1 while the database answers", 0)
            return
        yield _gauge("lis_up", "1 while the database answers", 1)
        refused = self.lab.database.trouble is not None
        yield _gauge("lis_writes_refused", "1 while the disk refuses what is to be written", refused)
        tubes = GaugeMetricFamily("lis_tubes", "Tubes by state", labels=["state"])
        for state, count in states.items():
            tubes.add_metric([state], count)
        yield tubes
        yield _gauge("lis_retest_queue", "Tubes waiting for a retest", states.get("awaiting_retest", 0))
        age = (self.lab.database.clock.now() - oldest).total_seconds() if oldest else 0.0
        yield _gauge(
            "lis_oldest_unreported_age_seconds", "Age of the oldest tube without a report", max(age, 0.0)
        )
        yield _gauge("lis_recalls_open", "Persons whose new specimen is awaited", depths["recalls"])
        yield _gauge("lis_files_quarantined", "Files that wait for a person", depths["quarantined"])
        proposed = depths["amendments"]
        yield _gauge("lis_amendments_open", "Proposed corrections that wait for another person", proposed)
        yield _gauge("lis_alarms_open", "Alarms nobody has cleared", depths["alarms"])


@dataclass(frozen=True, eq=False)
class _Bridge:
    """What the bridge has counted since the server started."""

    figures: Callable[[], Mapping[str, int]]

    def describe(self) -> list[Metric]:
        """Nothing is known before the first question."""
        return []

    def collect(self) -> Iterator[Metric]:
        """One family, by what happened."""
        family = CounterMetricFamily(
            "lis_bridge", "Messages, answers, refusals and events of the bridge", labels=["what"]
        )
        for what, count in sorted(self.figures().items()):
            family.add_metric([what], count)
        yield family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
