"""Invented persons with valid document numbers, so that the demonstration uses the real checks."""

from __future__ import annotations

from datetime import date, timedelta

from stdnum.cn import ric

from lis.services.receiving import PersonData

SURNAMES = "陈李黄张梁林吴何谭周邓罗冯赵余区麦伍甄司徒"
GIVEN = (
    "伟",
    "芳",
    "娜",
    "敏",
    "静",
    "强",
    "磊",
    "洋",
    "艳",
    "勇",
    "嘉欣",
    "子轩",
    "浩然",
    "梓涵",
    "文杰",
    "秀英",
)
DISTRICT = "440700"
"""Jiangmen."""


def person(number: int) -> PersonData:
    """The invented person ``number``: always the same one, with a resident id that passes its check."""
    born = date(1940, 1, 1) + timedelta(days=(number * 37) % 27_000)
    serial = f"{DISTRICT}{born:%Y%m%d}{number % 1000:03d}"
    name = SURNAMES[number % len(SURNAMES)] + GIVEN[(number // len(SURNAMES)) % len(GIVEN)]
    return PersonData(
        name=name,
        document_type="resident_id",
        document_number=serial + ric.calc_check_digit(serial + "0"),
        phone=f"138{number:08d}",
    )
