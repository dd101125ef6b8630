"""Schedules as the controllers of CronJobs and RayCronJobs read them: taken, or refused by name."""

import pytest

from ray_audit.errors import SpecificationError
from tests.support.rendered import of_kind, rendered


@pytest.mark.parametrize(
    "schedule",
    [
        *("nightly", "@daily", "0 2 * * * *", "0 2 * *", "TZ=UTC 0 2 * *", "0 2 * * *\n"),
        *("60 2 * * *", "0 24 * * *", "0 2 0 * *", "0 2 * 13 *", "0 2 * * 7", "0 2 * * someday"),
        *("*/0 2 * * *", "5-1 2 * * *", "0 2 * * " + "9" * 5000, "0 2 * * */" + "9" * 5000),
        # Days that never come.
        *("0 2 30 2 *", "0 2 30 2 */1", "0 2 30 2 1,*"),
    ],
    ids=lambda schedule: schedule[:30],
)
def test_what_never_starts_or_is_no_schedule_is_refused(schedule):
    with pytest.raises(SpecificationError, match="--schedule "):
        rendered(schedule=schedule)


@pytest.mark.parametrize("zone", ["Local", "", "../etc/passwd", "Mars/Base"])
def test_a_time_zone_that_is_none_is_refused(zone):
    with pytest.raises(SpecificationError, match="--time-zone "):
        rendered(time_zone=zone)


@pytest.mark.parametrize(
    "schedule",
    [
        "0 2 * * *",
        "*/15 0-6/2 1,15 jan-mar MON",
        "30 1 * * 1-5",
        "0 2 29 2 *",
        "0 2 31 2 0",
        "5/10 ? ? * ?",
        "00 02 31 2 */2",
    ],
)
def test_every_schedule_that_the_controllers_take_is_taken(schedule):
    (cron,) = of_kind("CronJob", schedule=schedule)
    assert cron["spec"]["schedule"] == schedule
