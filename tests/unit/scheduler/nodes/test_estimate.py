"""When a node will be there, as far as anybody can say."""

from datetime import timedelta

import pytest

from slipway_scheduler.nodes.estimate import estimate, quantile
from slipway_scheduler.nodes.models import Asked
from unit.scheduler.nodes.making import NOW, ago

BOOTS = [60.0] * 8 + [90.0, 120.0]
"""Usually a minute, and nine of ten within a minute and a half."""


def told(*, boots=BOOTS, asked=(), retry_in=None, full=False):
    at = estimate(
        boots=boots,
        asked=[Asked(ago(seconds), 1) for seconds in asked],
        retry_at=None if retry_in is None else NOW + timedelta(seconds=retry_in),
        full=full,
        now=NOW,
    )
    return None if at is None else (at - NOW).total_seconds()


def test_nobody_can_say_before_a_node_was_ever_made():
    assert told(boots=[], asked=[5]) is None


def test_a_node_that_was_asked_for_comes_as_nodes_usually_come():
    assert told(asked=[20]) == 40


def test_the_first_of_several_counts():
    assert told(asked=[20, 5]) == 40


def test_one_that_takes_longer_comes_as_late_ones_come():
    assert told(asked=[70]) == 20


def test_nobody_can_say_when_it_takes_longer_than_ever():
    assert told(asked=[91]) is None


def test_one_that_was_asked_for_later_is_not_hidden_by_it():
    assert told(asked=[91, 10]) == 50


def test_one_that_is_not_asked_for_yet_is_counted_from_now():
    assert told() == 60


def test_after_a_failure_from_the_next_try():
    assert told(retry_in=100) == 160
    assert told(retry_in=-5) == 60


def test_nobody_can_say_when_no_node_may_be_added():
    assert told(full=True) is None
    assert told(full=True, asked=[20]) == 40


@pytest.mark.parametrize(
    ("seconds", "share", "expected"),
    [([5], 0.5, 5), ([3, 1, 2], 0.5, 2), ([1, 2, 3, 4], 0.5, 2), ([1, 2, 3, 4], 0.9, 4)],
)
def test_a_quantile_is_one_of_the_values(seconds, share, expected):
    assert quantile(seconds, share) == timedelta(seconds=expected)
