"""Short names for what decisions about nodes are made of."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from slipway_scheduler.nodes.decide import decide
from slipway_scheduler.nodes.models import (
    Asked,
    Decision,
    Hold,
    Kind,
    NodePhase,
    NodeSeen,
    PodSeen,
    PodWaiting,
    PoolSeen,
    PoolStatus,
    View,
)
from slipway_scheduler.nodes.room import Room
from slipway_scheduler.nodes.specs import POOL_LABEL, NodeLimits, PoolSpec

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LIMITS = NodeLimits()
SIZE = Room.of(cpu=1, memory_mib=1024)
"""Of a session; four of them fit on a node."""


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def spec(name: str = "small", *, maximum: int = 10, **more: Any) -> PoolSpec:
    stated = {"name": name, "cpu": 4, "memory_mib": 4096, "maximum": maximum} | more
    return PoolSpec.model_validate(stated)


def pod(name: str = "pod", kind: Kind = Kind.SESSION, **more: Any) -> PodSeen:
    stated = {"uid": f"uid-{name}", "version": "1", "room": SIZE} | more
    return PodSeen(name=name, kind=kind, **stated)


def waits(name: str, *, seconds: float = 5, full: bool = True, **more: Any) -> PodWaiting:
    return PodWaiting(pod(name, **more), ago(seconds), full=full)


def waiting(count: int, *, seconds: float = 5, **more: Any) -> tuple[PodWaiting, ...]:
    return tuple(waits(f"waiting-{number}", seconds=seconds, **more) for number in range(count))


def for_pool(name: str) -> frozenset[tuple[str, str]]:
    return frozenset({(POOL_LABEL, name)})


def node(name: str, *pods: PodSeen, phase: NodePhase = NodePhase.READY, **more: Any) -> NodeSeen:
    stated = {
        "room": spec().room,
        "created_at": ago(3600),
        "ready_since": ago(3500) if phase is NodePhase.READY else None,
    } | more
    return NodeSeen(name, phase, pods=pods, **stated)


def full_node(name: str) -> NodeSeen:
    return node(name, *(pod(f"{name}-{number}") for number in range(4)))


def leaving(name: str, *pods: PodSeen, for_seconds: float = 60, **more: Any) -> NodeSeen:
    return node(name, *pods, leaving=True, cordoned_since=ago(for_seconds), **more)


def pool(
    *nodes: NodeSeen,
    of: PoolSpec | None = None,
    target: int | None = -1,
    asked: Iterable[tuple[float, int]] = (),
    retry_at: datetime | None = None,
    problem: str = "",
    **status: Any,
) -> PoolSeen:
    """A pool that has, unless said otherwise, just these nodes."""
    described = of or spec()
    return PoolSeen(
        spec=described,
        status=PoolStatus(described.name, target=len(nodes) if target == -1 else target, **status),
        nodes=nodes,
        asked=tuple(Asked(ago(seconds), count) for seconds, count in asked),
        retry_at=retry_at,
        problem=problem,
    )


def decided(
    *pools: PoolSeen,
    waiting: Iterable[PodWaiting] = (),
    idle: Mapping[str, float] | None = None,
    seeming: float | None = None,
    fresh: bool = True,
    limits: NodeLimits = LIMITS,
) -> Decision:
    """``idle``: nodes that were unneeded at earlier looks, and for how many seconds;

    ``seeming``: for how many a node has seemed to have room for the pods that wait.
    """
    pods = tuple(waiting)
    view = View(
        now=NOW,
        pools=pools,
        waiting=pods,
        unneeded={name: ago(seconds) for name, seconds in (idle or {}).items()},
        seeming={} if seeming is None else {one.pod.name: ago(seeming) for one in pods},
        fresh=fresh,
    )
    return decide(view, limits=limits)


def orders(decision: Decision) -> list[Any]:
    """What is to be done."""
    return [action for action in decision.actions if not isinstance(action, Hold)]


def reasons(decision: Decision) -> str:
    """Why nothing is done."""
    return "; ".join(action.why for action in decision.actions if isinstance(action, Hold))
