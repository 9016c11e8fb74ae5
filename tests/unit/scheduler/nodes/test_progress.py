"""How a pool's record follows the nodes that were asked for."""

from datetime import timedelta

import pytest

from slipway_scheduler.nodes.estimate import REMEMBERED
from slipway_scheduler.nodes.models import Asked, NodePhase
from slipway_scheduler.nodes.progress import failed, follow, late
from slipway_scheduler.nodes.records import Record
from unit.scheduler.nodes.making import LIMITS, NOW, ago, node

OVERDUE = 15 * 60


def asked(*pairs: tuple[float, int]) -> tuple[Asked, ...]:
    return tuple(Asked(ago(seconds), count) for seconds, count in pairs)


def followed(record: Record, *nodes, missing: int) -> Record:
    return follow(record, missing=missing, nodes=nodes, now=NOW, limits=LIMITS)


def came(name: str, *, asked_ago: float, took: float):
    at = ago(asked_ago)
    return node(
        name,
        created_at=at + timedelta(seconds=took / 2),
        ready_since=at + timedelta(seconds=took),
    )


def test_a_node_that_came_tells_how_long_nodes_take():
    record = followed(Record(asked=asked((100, 2))), came("a", asked_ago=100, took=80), missing=1)

    assert record.boots == (80,)
    assert record.asked == asked((100, 1))


def test_it_is_counted_once():
    first = followed(Record(asked=asked((100, 2))), came("a", asked_ago=100, took=80), missing=1)

    assert followed(first, came("a", asked_ago=100, took=80), missing=1) == first


def test_nodes_that_were_there_before_are_not_taken_for_new_ones():
    record = followed(Record(asked=asked((100, 1))), node("old"), missing=1)

    assert record.boots == ()


def test_nodes_that_are_not_ready_have_not_come():
    coming = node("a", phase=NodePhase.COMING, created_at=ago(10))

    assert followed(Record(asked=asked((100, 1))), coming, missing=1).boots == ()


def test_the_oldest_order_is_met_first():
    record = followed(
        Record(asked=asked((100, 1), (40, 1))), came("a", asked_ago=100, took=90), missing=1
    )

    assert record.asked == asked((40, 1))


def test_an_order_that_is_overdue_is_not_the_one_that_was_met():
    before = Record(asked=asked((OVERDUE + 60, 1), (40, 1)))

    record = followed(before, came("a", asked_ago=40, took=30), missing=1)

    assert record.boots == (30,)
    assert record.asked == asked((OVERDUE + 60, 1))


def test_nodes_that_are_missing_for_another_reason_are_expected_from_now():
    assert followed(Record(), missing=3).asked == asked((0, 3))


def test_nodes_that_are_not_missing_any_more_are_not_expected_the_overdue_ones_first():
    before = Record(asked=asked((OVERDUE + 9, 2), (60, 2), (10, 2)))

    assert followed(before, missing=4).asked == asked((60, 2), (10, 2))
    assert followed(before, missing=3).asked == asked((60, 2), (10, 1))
    assert followed(before, missing=0).asked == ()


def test_a_node_that_came_ends_the_failures():
    before = Record(asked=asked((100, 1)), failures=3, retry_at=NOW, problem="quota")

    record = followed(before, came("a", asked_ago=100, took=80), missing=0)

    assert (record.failures, record.retry_at, record.problem) == (0, None, "")


def test_the_latest_boots_are_remembered():
    before = Record(asked=asked((100, 1)), boots=tuple(range(REMEMBERED)))

    record = followed(before, came("a", asked_ago=100, took=80), missing=0)

    assert len(record.boots) == REMEMBERED
    assert record.boots[-1] == 80


def test_what_was_counted_is_forgotten_when_nothing_is_expected_and_it_cannot_come_again():
    old = node("a", created_at=ago(OVERDUE + 1))

    assert followed(Record(came=("a", "gone")), old, missing=0).came == ()


@pytest.mark.parametrize(
    ("failures", "jitter", "pause"),
    [(0, 0, 22.5), (0, 0.5, 30), (0, 1, 37.5), (1, 0.5, 60), (3, 0.5, 240), (60, 0.5, 900)],
)
def test_each_failure_in_a_row_doubles_the_pause_up_to_an_end(failures, jitter, pause):
    record = failed(Record(failures=failures), "quota", now=NOW, limits=LIMITS, jitter=jitter)

    assert record.retry_at == NOW + timedelta(seconds=pause)
    assert (record.failures, record.problem) == (failures + 1, "quota")


def test_nodes_are_late_after_the_longest_boot():
    assert late(asked((OVERDUE, 2), (OVERDUE - 1, 5)), NOW, LIMITS) == 2
