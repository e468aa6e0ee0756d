"""Which kit may check a finding, and what a kit is validated for."""

from dataclasses import dataclass

import pytest

from retest import Material
from retest.kits import second_kits
from retest.rules import Pooling


@dataclass(frozen=True)
class Named:
    """What the choice of a kit looks at: what a policy names, or what a kit is validated for."""

    second_kits: tuple[str, ...] = ()
    pooling: Pooling | None = None


SINGLE = Pooling(1, (Material.single,))
POOLS = Pooling(5, (Material.single, Material.pool))
MIXED = Pooling(5, (Material.mixed,), 20)
KITS = {"alone": Named(pooling=SINGLE), "pools": Named(pooling=POOLS), "mixed": Named(pooling=MIXED)}


@pytest.mark.parametrize(
    ("pooling", "material", "places", "fits"),
    [
        (SINGLE, Material.single, 1, True),
        (SINGLE, Material.pool, 1, False),
        (SINGLE, Material.mixed, 1, False),
        (POOLS, Material.single, 1, True),
        (POOLS, Material.pool, 5, True),
        (POOLS, Material.pool, 6, False),
        (POOLS, Material.mixed, 2, False),
        (MIXED, Material.mixed, 6, True),
        (MIXED, Material.mixed, 20, True),
        (MIXED, Material.mixed, 21, False),
        (MIXED, Material.pool, 2, False),
        (MIXED, Material.single, 1, True),
    ],
)
def test_a_kit_fits_what_it_is_validated_for(pooling, material, places, fits):
    """A single tube always; a pool or a mixed tube only in its mode and up to its own size."""
    assert pooling.fits(material, places) is fits


@pytest.mark.parametrize(
    ("named", "called", "material", "places", "left"),
    [
        (("pools", "alone"), (), Material.single, 1, ("pools", "alone")),
        (("pools", "alone"), ("pools",), Material.single, 1, ("alone",)),
        (("pools", "alone"), ("pools", "alone"), Material.single, 1, ()),
        (("pools", "nowhere", "alone"), (), Material.single, 1, ("pools", "alone")),
        (("alone", "pools", "mixed"), (), Material.pool, 5, ("pools",)),
        (("alone", "pools", "mixed"), (), Material.pool, 6, ()),
        (("alone", "pools", "mixed"), (), Material.mixed, 10, ("mixed",)),
        ((), (), Material.single, 1, ()),
    ],
)
def test_a_second_kit_is_another_one_that_the_tube_allows(named, called, material, places, left):
    """Never a kit that has read the tube, one the laboratory lacks, or one not validated for the tube."""
    assert second_kits(Named(named), KITS, called, material, places) == left
