"""Duty plans in the words of a manager, for whoever needs one in force."""

from __future__ import annotations

WINTER = """
title = "Winter"
from = 2022-12-01

[[shift]]
role = "prepare"
name = "day"
start = "08:00"
end = "16:00"
people = 2
breaks = [["12:00", "12:30"]]

[[shift]]
role = "prepare"
name = "late"
start = "16:00"
end = "01:00"
people = 1
days = ["mon", "tue", "wed", "thu", "fri"]

[[shift]]
role = "review"
name = "day"
start = "08:00"
end = "20:00"
people = 1

[[exception]]
date = 2022-12-22
role = "prepare"
shift = "day"
people = 1
"""
"""Three shifts with a break, a night and an exception: something in every table of plans."""


def day(role: str, people: int) -> str:
    """A shift of a role from eight to midnight, every day."""
    return f'[[shift]]\nrole = "{role}"\nname = "day"\nstart = "08:00"\nend = "24:00"\npeople = {people}\n'


WEEK = 'title = "Week"\nfrom = 2022-12-01\n' + day("prepare", 2)
BENCH_AND_DESK = WEEK + day("review", 1)
