import re
from pathlib import Path

from retest import REASONS
from retest.reasons import sentence

PACKAGE = Path(__file__).resolve().parents[2] / "retest"


def test_every_reason_is_said_in_both_languages():
    """Each code has an English sentence and a Chinese one."""
    for code, (en, zh) in REASONS.items():
        assert en.endswith("."), code
        assert zh.endswith("。"), code
        assert re.search("[一-鿿]", zh), code
        assert not re.search("[一-鿿]", en), code
        assert not re.search("[,:;]", zh), code  # Chinese has wide marks
        assert sentence(code) == (en, zh)


def test_every_code_written_in_the_source_exists():
    """The reason codes of `decide` and `controls` are all in the list."""
    text = "".join((PACKAGE / f"{name}.py").read_text("utf-8") for name in ("decide", "controls"))
    codes = re.findall(
        r'"((?:mixed|pool|control|positive|negative|grey|no|repeats|specimens)-[a-z-]+)"', text
    )
    assert len(set(codes)) >= 20
    assert set(codes) - {"no-finding"} <= set(REASONS)  # that one is an error code
