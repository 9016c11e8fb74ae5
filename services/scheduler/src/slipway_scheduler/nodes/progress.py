"""What a pool's record says after another look: how nodes that were asked for have come along."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from slipway_scheduler.nodes.estimate import REMEMBERED
from slipway_scheduler.nodes.models import Asked, NodePhase, NodeSeen
from slipway_scheduler.nodes.records import Record
from slipway_scheduler.nodes.specs import NodeLimits

SAME_SECOND = timedelta(seconds=2)
"""The API server tells times in whole seconds, and its clock is not ours."""


def follow(
    record: Record, *, missing: int, nodes: Sequence[NodeSeen], now: datetime, limits: NodeLimits
) -> Record:
    """``missing``: how many nodes are there to come in all."""
    names = {node.name for node in nodes}
    came = [name for name in record.came if name in names]
    asked = list(record.asked)
    boots = list(record.boots)
    for node in _newly_ready(record, nodes):
        came.append(node.name)
        slot = _take(asked, now, limits)
        if slot is not None and node.ready_since is not None:
            boots.append(max(0.0, (node.ready_since - slot.at).total_seconds()))
    asked = _equalised(asked, missing, now=now, limits=limits)
    if not asked:
        young = {node.name for node in nodes if _is_young(node, now, limits)}
        came = [name for name in came if name in young]
    worked = len(boots) > len(record.boots)
    return msgspec.structs.replace(
        record,
        asked=tuple(asked),
        came=tuple(came),
        boots=tuple(boots[-REMEMBERED:]),
        failures=0 if worked else record.failures,
        retry_at=None if worked else record.retry_at,
        problem="" if worked else record.problem,
    )


def failed(
    record: Record, problem: str, *, now: datetime, limits: NodeLimits, jitter: float
) -> Record:
    """Wait before the next attempt, twice as long each time; ``jitter`` is from 0 to 1."""
    pause = min(limits.first_pause * 2 ** min(record.failures, 10), limits.longest_pause)
    return msgspec.structs.replace(
        record,
        failures=record.failures + 1,
        retry_at=now + pause * (0.75 + jitter / 2),
        problem=problem,
    )


def late(asked: Iterable[Asked], now: datetime, limits: NodeLimits) -> int:
    """How many nodes should be there by now."""
    return sum(one.count for one in asked if one.is_overdue(now, limits.boot_longest))


def _newly_ready(record: Record, nodes: Iterable[NodeSeen]) -> list[NodeSeen]:
    if not record.asked:
        return []
    since = record.asked[0].at - SAME_SECOND
    fresh = [
        node
        for node in nodes
        if node.phase is NodePhase.READY
        and node.name not in record.came
        and node.created_at is not None
        and node.created_at >= since
    ]
    return sorted(fresh, key=lambda node: (node.ready_since or node.created_at, node.name))


def _take(asked: list[Asked], now: datetime, limits: NodeLimits) -> Asked | None:
    """The oldest that is not overdue: what is overdue is likely never to come."""
    order = sorted(asked, key=lambda one: (one.is_overdue(now, limits.boot_longest), one.at))
    if not order:
        return None
    _drop(asked, order[0], 1)
    return order[0]


def _equalised(
    asked: list[Asked], missing: int, *, now: datetime, limits: NodeLimits
) -> list[Asked]:
    """Whatever the reason, no more and no fewer are expected than are missing."""
    surplus = sum(one.count for one in asked) - missing
    if surplus < 0:
        return _joined([*asked, Asked(now, -surplus)])
    order = sorted(
        asked, key=lambda one: (not one.is_overdue(now, limits.boot_longest), -one.at.timestamp())
    )
    for one in order:
        dropped = min(surplus, one.count)
        _drop(asked, one, dropped)
        surplus -= dropped
    return _joined(asked)


def _drop(asked: list[Asked], one: Asked, count: int) -> None:
    index = asked.index(one)
    left = one.count - count
    asked[index : index + 1] = [Asked(one.at, left)] if left else []


def _joined(asked: Iterable[Asked]) -> list[Asked]:
    counts: dict[datetime, int] = {}
    for one in asked:
        counts[one.at] = counts.get(one.at, 0) + one.count
    return [Asked(at, count) for at, count in sorted(counts.items()) if count]


def _is_young(node: NodeSeen, now: datetime, limits: NodeLimits) -> bool:
    return node.created_at is not None and now - node.created_at < limits.boot_longest
