"""What a job must be before it can be scheduled."""

from datetime import UTC, datetime

import pytest

from scheduler import Job, ScheduleError, Stage

NOW = datetime(2022, 12, 14, 8, 0, tzinfo=UTC)


def test_a_job_extracts_for_one_person_by_default():
    """The plain job is the first test of a single tube."""
    job = Job("T1", "assay", NOW, NOW)
    assert (job.step, job.reason, job.persons, job.priority, job.kit) == (Stage.EXTRACT, "first", 1, 0, "")
    assert Job("T1", "assay", NOW, NOW, step="re-amplify").step == Stage.RE_AMPLIFY


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"due": datetime(2022, 12, 14)}, "NAIVE_TIME"),  # noqa: DTZ001  that is the point
        ({"received": datetime(2022, 12, 14)}, "NAIVE_TIME"),  # noqa: DTZ001
        ({"step": "boil"}, "BAD_STEP"),
        ({"persons": 0}, "BAD_PERSONS"),
    ],
    ids=["due", "received", "step", "persons"],
)
def test_senseless_jobs_are_refused(change, code):
    """Times without zone, unknown steps and wells nobody waits for are refused, naming the tube."""
    with pytest.raises(ScheduleError) as caught:
        Job(**({"tube": "T1", "assay": "assay", "due": NOW, "received": NOW} | change))
    assert caught.value.code == code
    assert "T1" in str(caught.value)
