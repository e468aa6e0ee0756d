"""Persons who are called back: who comes, when, and what their new specimen holds."""

from typing import TYPE_CHECKING, Any

import numpy as np
from simpy.events import Timeout

from retest import Material
from sim.service import stream
from sim.tube import Tube

if TYPE_CHECKING:
    from sim.lab import Floor


def recall(floor: "Floor", tube: Tube) -> None:
    """Every person of the tube is called back; who comes gives a single specimen."""
    floor.finish(tube, reported=False)
    rules, chemistry = floor.lab.recall, floor.scenario.chemistry
    rng = stream(floor.seed, floor.replication, "recall", *tube.path, tube.specimen)
    count = tube.persons
    shown = rng.uniform(size=count) < rules.show_up
    delays = rules.delay.draw(count, rng)
    viral = np.full(count, np.nan)
    viral[: len(tube.cq)] = tube.cq
    control = chemistry.draw_controls(count, rng)
    shift = rng.normal(0, chemistry.extraction_noise, count)
    readings = floor.reader.read(viral, control, shift, rng)
    # drawn last, so that whose extraction fails changes no other number
    failed = rng.uniform(size=count) < floor.lab.invalid
    readings[:, failed], shift[failed] = np.nan, np.nan
    codes = floor.verdicts.classify(readings)
    floor.counts["recollections"] += int(shown.sum())
    floor.counts["no_shows"] += int(count - shown.sum())
    earlier = (*tube.earlier, *tube.past) if tube.material is Material.single else ()
    for person in np.flatnonzero(shown).tolist():
        infected = person < len(tube.cq)
        sampled = floor.env.now + float(delays[person])
        came = Tube(
            tid=floor.size + len(floor.more),
            path=(*tube.path, person),
            material=Material.single,
            persons=1,
            tier=rules.tier,
            due=sampled,
            received=0.0,
            viral=float(viral[person]),
            control=float(control[person]),
            shift=float(shift[person]),
            code=int(codes[person]),
            earlier=earlier,
            specimen=tube.specimen + 1,
            arrived=sampled + rules.travel,
            cq=tube.cq[person : person + 1] if infected else (),
        )
        floor.more.append(came)
        Timeout(floor.env, came.arrived - floor.env.now, came).callbacks.append(
            lambda event: _arrived(floor, event)
        )


def _arrived(floor: "Floor", event: Any) -> None:
    floor.desk.queue.put(event.value, floor.env.now)  # type: ignore[attr-defined]
    floor.desk.poke()


def received(floor: "Floor", tubes: list[Tube]) -> None:
    """A re-collected tube was scanned and waits for its plate."""
    for tube in tubes:
        tier = floor.lab.tiers.tier(tube.tier)
        tube.received, tube.priority = floor.env.now, tier.priority
        sampled = tube.due
        tube.due = (tube.received if tier.clock == "receipt" else sampled) + 60 * tier.hours
        floor.queue(tube)
    floor.stations[0].poke()
