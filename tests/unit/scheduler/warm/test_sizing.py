"""How many pods should wait: by policy, by the clock on the wall, and by what was asked lately."""

from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_scheduler.warm.sizing import (
    DEMAND_WINDOW,
    Brake,
    Demand,
    Sizes,
    Window,
    newest_first,
    target,
)

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
EVERY_DAY = frozenset(range(7))
MONDAY, SUNDAY = 0, 6


def window(
    start: str, end: str, *, days: frozenset[int] = EVERY_DAY, zone: ZoneInfo = BERLIN
) -> Window:
    return Window(days, time.fromisoformat(start), time.fromisoformat(end), zone, least=3)


def berlin(text: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


# Windows


@pytest.mark.parametrize(
    ("at", "covered"),
    [
        ("2026-03-02T07:59:59", False),
        ("2026-03-02T08:00:00", True),
        ("2026-03-02T11:59:59", True),
        ("2026-03-02T12:00:00", False),
        ("2026-03-03T09:00:00", False),
    ],
)
def test_a_window_holds_from_its_start_until_just_before_its_end_on_its_days(
    at: str, covered: bool
) -> None:
    monday = window("08:00", "12:00", days=frozenset({MONDAY}))

    assert monday.covers(berlin(at)) is covered


@pytest.mark.parametrize(
    ("at", "covered"),
    [
        ("2026-03-01T21:59:00", False),
        ("2026-03-01T22:00:00", True),
        ("2026-03-01T23:59:59", True),
        ("2026-03-02T00:00:00", True),
        ("2026-03-02T05:59:59", True),
        ("2026-03-02T06:00:00", False),
        ("2026-03-02T22:00:00", False),
        ("2026-03-01T05:00:00", False),
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_on_which_it_begins(
    at: str, covered: bool
) -> None:
    night = window("22:00", "06:00", days=frozenset({SUNDAY}))

    assert night.covers(berlin(at)) is covered


def test_a_window_that_ends_when_it_begins_holds_for_a_day() -> None:
    day = window("09:00", "09:00", days=frozenset({MONDAY}))

    assert not day.covers(berlin("2026-03-02T08:59:59"))
    assert day.covers(berlin("2026-03-02T09:00:00"))
    assert day.covers(berlin("2026-03-03T08:59:59"))
    assert not day.covers(berlin("2026-03-03T09:00:00"))


def test_a_window_goes_by_the_clock_of_its_zone() -> None:
    morning = window("08:00", "09:00", zone=ZoneInfo("America/New_York"))

    assert morning.covers(datetime(2026, 1, 5, 13, 30, tzinfo=UTC))
    assert morning.covers(datetime(2026, 7, 6, 12, 30, tzinfo=UTC))
    assert not morning.covers(datetime(2026, 7, 6, 13, 30, tzinfo=UTC))


def minutes_covered(found: Window, day: str) -> int:
    start = datetime.fromisoformat(f"{day}T00:00:00").replace(tzinfo=BERLIN)
    end = (start + timedelta(days=1)).astimezone(UTC)
    moment, covered = start.astimezone(UTC), 0
    while moment < end:
        covered += found.covers(moment)
        moment += timedelta(minutes=1)
    return covered


@pytest.mark.parametrize(
    ("day", "minutes"), [("2026-03-28", 240), ("2026-03-29", 180), ("2026-10-25", 300)]
)
def test_on_the_days_when_the_clock_is_changed_a_window_is_as_long_as_the_wall_says(
    day: str, minutes: int
) -> None:
    """In the spring the hour after 02:00 is left out, in the autumn it comes twice."""
    assert minutes_covered(window("00:30", "04:30"), day) == minutes


def test_both_of_the_hours_that_come_twice_are_covered() -> None:
    night = window("02:00", "03:00")

    assert night.covers(berlin("2026-10-25T02:30:00", fold=0))
    assert night.covers(berlin("2026-10-25T02:30:00", fold=1))
    assert not night.covers(berlin("2026-10-25T03:00:00"))


_CLOCKS = st.times().map(lambda clock: clock.replace(second=0, microsecond=0))
_MOMENTS = st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(start=_CLOCKS, end=_CLOCKS, day=st.integers(0, 6), moment=_MOMENTS)
def test_a_window_and_the_one_that_fills_the_rest_of_the_day_never_hold_together(
    start: time, end: time, day: int, moment: datetime
) -> None:
    if start == end:
        return
    zone = ZoneInfo("UTC")
    days = frozenset({day})
    rest_days = days if start < end else frozenset({(day + 1) % 7})
    one = Window(days, start, end, zone, 1)
    rest = Window(rest_days, end, start, zone, 1)

    assert not (one.covers(moment) and rest.covers(moment))


@given(start=_CLOCKS, end=_CLOCKS, moment=_MOMENTS)
def test_every_moment_is_in_a_window_of_every_day_or_in_the_rest(
    start: time, end: time, moment: datetime
) -> None:
    if start == end:
        return
    one = Window(EVERY_DAY, start, end, BERLIN, 1)
    rest = Window(EVERY_DAY, end, start, BERLIN, 1)

    assert one.covers(moment) != rest.covers(moment)


# Demand


def test_who_was_never_asked_expects_nothing() -> None:
    assert Demand().per_second(NOW) == 0


def test_a_handful_of_arrivals_is_no_rate_yet() -> None:
    demand = Demand()
    for number in range(6):
        demand.note(NOW + timedelta(milliseconds=number))

    assert demand.per_second(NOW + timedelta(seconds=1)) == pytest.approx(6 / 30)


def test_a_steady_stream_is_seen_as_it_is() -> None:
    demand = Demand()
    for second in range(600):
        demand.note(NOW + timedelta(seconds=second))
        demand.note(NOW + timedelta(seconds=second))

    rate = demand.per_second(NOW + timedelta(seconds=600))

    assert rate == pytest.approx(2, rel=0.02)


def test_what_was_asked_long_ago_is_forgotten() -> None:
    demand = Demand()
    demand.note(NOW)

    assert demand.per_second(NOW + DEMAND_WINDOW) > 0
    assert demand.per_second(NOW + DEMAND_WINDOW + timedelta(seconds=1)) == 0


# Size


@pytest.mark.parametrize(
    ("sizes", "per_second", "size"),
    [
        (Sizes(), 0, 0),
        (Sizes(), 100, 0),
        (Sizes(least=2, most=10), 0, 2),
        (Sizes(least=2, most=10), 0.1, 2),
        (Sizes(least=2, most=10), 0.3, 5),
        (Sizes(least=2, most=10), 45, 10),
        (Sizes(least=1, most=10, windows=(window("00:00", "00:00"),)), 0, 3),
        (Sizes(least=5, most=10, windows=(window("00:00", "00:00"),)), 0, 5),
        (Sizes(least=0, most=10, windows=(window("00:00", "00:01"),)), 0, 0),
    ],
)
def test_the_size_is_the_most_that_anything_asks_for_within_its_bounds(
    sizes: Sizes, per_second: float, size: int
) -> None:
    found = target(sizes, now=NOW, per_second=per_second, refill=timedelta(seconds=10))

    assert found == size


@given(
    least=st.integers(0, 50),
    beyond=st.integers(0, 50),
    per_second=st.floats(0, 1000),
    refill=st.floats(0, 3600),
    moment=_MOMENTS,
)
def test_the_size_keeps_to_its_bounds_and_never_shrinks_when_more_is_asked_for(
    least: int, beyond: int, per_second: float, refill: float, moment: datetime
) -> None:
    sizes = Sizes(least=least, most=least + beyond)

    def size(rate: float) -> int:
        return target(sizes, now=moment, per_second=rate, refill=timedelta(seconds=refill))

    assert least <= size(per_second) <= least + beyond
    assert size(per_second) <= size(per_second * 2)


# Brake


def failed(times: int, *, at: datetime = NOW) -> Brake:
    brake = Brake()
    for _ in range(times):
        brake = brake.failed(at)
    return brake


def test_a_few_failures_keep_nobody_from_trying() -> None:
    for times in range(Brake.ALLOWED):
        assert failed(times).holds_until() is None
        assert failed(times).allowed(now=NOW, on_trial=7) is None


def test_each_further_failure_holds_for_twice_as_long_up_to_a_limit() -> None:
    holds = [failed(times).holds_until() for times in range(3, 40)]
    lengths = [held - NOW for held in holds if held is not None]

    assert lengths[0] == Brake.FIRST
    assert lengths[-1] == Brake.LONGEST
    for shorter, longer in pairwise(lengths):
        assert longer == min(2 * shorter, Brake.LONGEST)


def test_after_the_hold_one_is_tried_and_no_other_while_it_is_on_trial() -> None:
    brake = failed(3)
    later = NOW + Brake.FIRST

    assert brake.allowed(now=later - timedelta(seconds=1), on_trial=0) == 0
    assert brake.allowed(now=later, on_trial=0) == 1
    assert brake.allowed(now=later, on_trial=1) == 0
    assert brake.allowed(now=later, on_trial=5) == 0


def test_what_is_remembered_of_failures_is_bounded() -> None:
    assert len(failed(10_000).failures) < 100


# Versions


def test_the_newest_runtime_is_so_by_number_and_not_by_letter() -> None:
    names = [
        "1.0.9.2-linux64-x64",
        "1.0.10.1-linux64-x64",
        "1.0.10.0-linux64-x64",
        "0.99.0.0-linux64-x64",
        "1.1-linux64-x64",
    ]

    assert newest_first(names) == [
        "1.1-linux64-x64",
        "1.0.10.1-linux64-x64",
        "1.0.10.0-linux64-x64",
        "1.0.9.2-linux64-x64",
        "0.99.0.0-linux64-x64",
    ]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), unique=True))
def test_every_scheduler_finds_the_same_order_whatever_they_are_called(names: list[str]) -> None:
    assert newest_first(names) == newest_first(reversed(names))
    assert sorted(newest_first(names)) == sorted(names)
