"""Which kit may check a finding: one that has not read the specimen before, as the policy lists them."""

from collections.abc import Collection, Mapping

from retest.policy import Policy
from retest.rules import AssayRules
from retest.words import Material


def second_kits(
    policy: Policy,
    assays: Mapping[str, AssayRules],
    called: Collection[str],
    material: Material,
    persons: int,
) -> tuple[str, ...]:
    """The kits that a second-kit test of a tube may use, the preferred one first.

    Args:
        policy: lists the kits, in order of preference.
        assays: the kits that the laboratory has, by id.
        called: kits that have read this tube.
        material: what the tube holds.
        persons: places of a mixed tube, or members of a pool.

    Returns:
        Empty where the policy names no kit, or none that is validated for this tube is left.
    """
    return tuple(
        kit
        for kit in policy.second_kits
        if kit not in called and kit in assays and assays[kit].pooling.fits(material, persons)
    )
