"""Where a refused key stands in the text of a scenario."""

import pytest

from sim.places import line_of


@pytest.mark.parametrize(
    ("key", "reason", "line"),
    [
        ("station.pcr.servers", "", 8),
        ('stream."fever clinic".tubes', "", 11),
        ("laboratory.fill", "", 2),
        ("laboratory.speed", "", 1),
        ("", "Expected ']' (at line 4, column 12).", 4),
        ("nowhere.at_all", "", None),
        ("", "", None),
    ],
)
def test_a_refused_key_is_found_in_the_text(key, reason, line):
    """Tables by name or by number, keys inside them, faults of the syntax, and what is nowhere."""
    text = (
        "[laboratory]\nfill.policy = 'x'\n[[station]]\nname = \"a\"\n[[station]]\n# servers\n"
        'name = "pcr"\nservers = 0\n[[stream]]\nname = "fever clinic"\ntubes = 1\n'
    )
    assert line_of(text, key, reason) == line
