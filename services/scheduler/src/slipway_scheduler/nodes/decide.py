"""What to do next about nodes: a pure function of what was seen.

A node with a session on it is never removed: it is cordoned first, looked at again, and put back
to use if a session slipped in or anything needs it. Once a removal is written down there is no way
back, whoever leads by then; until then it is dropped when demand returns.
"""

from datetime import datetime, timedelta

from slipway_scheduler.nodes.bins import Load, Packing
from slipway_scheduler.nodes.models import (
    Action,
    Decision,
    Hold,
    PodWaiting,
    PoolSeen,
    SetSize,
    View,
)
from slipway_scheduler.nodes.packing import may_grow, pack, seems_for_long
from slipway_scheduler.nodes.removal import shrink
from slipway_scheduler.nodes.specs import NodeLimits


def decide(view: View, *, limits: NodeLimits) -> Decision:
    packing = pack(view, limits)
    actions: list[Action] = []
    still: dict[str, datetime] = {}
    if packing.homeless:
        actions.append(Hold("", f"{_pods(packing.homeless)} on no node of any pool"))
    for pool in view.pools:
        load = packing.loads[pool.spec.name]
        growth = _grow(pool, load, view.now, limits)
        actions += growth
        actions += _puzzles(pool, load, view, limits)
        calm = not load.waiting and not load.coming and not _is_order(growth)
        removals, since = shrink(pool, packing, view, calm=calm, limits=limits)
        actions += removals
        still |= since
    return Decision(
        actions=tuple(actions),
        unneeded=still,
        seeming=_seeming(view, packing, limits),
        lacking={name: len(load.opened) for name, load in packing.loads.items()},
        waiting={name: load.waiting + len(load.seeming) for name, load in packing.loads.items()},
        full=frozenset(
            pool.spec.name
            for pool in view.pools
            if packing.loads[pool.spec.name].unmet and not _is_backing_off(pool, view.now)
        ),
    )


def _grow(pool: PoolSeen, load: Load, now: datetime, limits: NodeLimits) -> list[Action]:
    """Ask for more nodes, or say why not; and give back what the cloud could not make."""
    name, status = pool.spec.name, pool.status
    if status is None:
        return [Hold(name, "the cloud has not told yet how many nodes there are")]
    if status.target is None:
        if not load.opened:
            return []
        why = f"{_wait(load.gathered)}; nodes are left to the cluster's own autoscaler"
        return [Hold(name, why)]
    largest = min(pool.spec.maximum, status.maximum)
    smallest = min(max(pool.spec.minimum, status.minimum), largest)
    order = _order(pool, load, smallest=smallest, largest=largest)
    held = _unmet(pool, load, now, largest=largest)
    if order is None:
        return held
    growing = order.count >= status.target
    if status.unmanaged:
        return [Hold(name, status.unmanaged)]
    if growing and _is_backing_off(pool, now):
        return [Hold(name, _backing_off(pool))]
    if status.busy:
        return [Hold(name, f"{order.why}, once the cloud is done with {status.busy}"), *held]
    if growing and order.count > smallest and not _gathered(load, now, limits):
        return held
    return [order, *held]


def _order(pool: PoolSeen, load: Load, *, smallest: int, largest: int) -> SetSize | None:
    name, status = pool.spec.name, pool.status
    assert status is not None
    assert status.target is not None
    wanted = min(status.target + len(load.opened), largest)
    if wanted > max(status.target, smallest - 1):
        spare = "" if load.gathered else "for the nodes that are kept spare"
        return SetSize(name, wanted, _wait(load.gathered) if load.gathered else spare)
    if status.target < smallest:
        return SetSize(name, smallest, "the pool is below its smallest size")
    missing = _never_made(pool)
    if not missing:
        return None
    made = status.target - missing
    if made >= smallest:
        why = f"gives back {_nodes(missing)} that the cloud could not make: {status.failed}"
        return SetSize(name, made, why)
    return SetSize(name, status.target, f"{_nodes(missing)} could not be made, tries again")


def _never_made(pool: PoolSeen) -> int:
    """How many machines the cloud counts that do not exist, after it failed to make them.

    Only where all nodes are among the machines: a smaller count then takes nothing away.
    """
    status = pool.status
    if status is None or status.machines is None or not status.failed or status.busy:
        return 0
    if status.target is None or not {node.name for node in pool.nodes} <= status.machines:
        return 0
    return max(0, status.target - len(status.machines))


def _gathered(load: Load, now: datetime, limits: NodeLimits) -> bool:
    """Whether no more are likely to come along with those that wait."""
    if not load.gathered:
        return True
    newest = max(one.since for one in load.gathered)
    oldest = min(one.since for one in load.gathered)
    return now - newest >= limits.batch_idle or now - oldest >= limits.batch_longest


def _unmet(pool: PoolSeen, load: Load, now: datetime, *, largest: int) -> list[Action]:
    if not load.unmet:
        return []
    if pool.status is not None and pool.status.unmanaged:
        return [Hold(pool.spec.name, pool.status.unmanaged)]
    if _is_backing_off(pool, now):
        return [Hold(pool.spec.name, f"{_wait(load.unmet)}; {_backing_off(pool)}")]
    if may_grow(pool, now) <= len(load.opened):
        why = f"{_wait(load.unmet)}; the pool has its largest size, {_nodes(largest)}"
        return [Hold(pool.spec.name, why)]
    return []


def _is_backing_off(pool: PoolSeen, now: datetime) -> bool:
    return pool.retry_at is not None and now < pool.retry_at


def _backing_off(pool: PoolSeen) -> str:
    assert pool.retry_at is not None
    at = pool.retry_at + timedelta(seconds=0.5)
    return f"next try at {at:%H:%M:%S} UTC, for the last one failed: {pool.problem}"


def _puzzles(pool: PoolSeen, load: Load, view: View, limits: NodeLimits) -> list[Action]:
    for waits, node in load.seeming:
        if seems_for_long(view.seeming, waits.pod.name, view.now, limits):
            name = waits.pod.name
            why = f"{name} waits although {node} seems to have room: see the pod's events"
            return [Hold(pool.spec.name, why)]
    return []


def _seeming(view: View, packing: Packing, limits: NodeLimits) -> dict[str, datetime]:
    """A pod for which that was so for too long is doubted for as long as it waits."""
    now_seeming = {waits.pod.name for load in packing.loads.values() for waits, _ in load.seeming}
    return {
        one.pod.name: view.seeming.get(one.pod.name, view.now)
        for one in view.waiting
        if one.pod.name in now_seeming
        or seems_for_long(view.seeming, one.pod.name, view.now, limits)
    }


def _is_order(actions: list[Action]) -> bool:
    return any(isinstance(action, SetSize) for action in actions)


def _wait(waiting: list[PodWaiting]) -> str:
    return "1 pod waits for a node" if len(waiting) == 1 else f"{len(waiting)} pods wait for nodes"


def _pods(waiting: list[PodWaiting]) -> str:
    first = waiting[0].pod.name
    return f"{first} fits" if len(waiting) == 1 else f"{first} and {len(waiting) - 1} more fit"


def _nodes(count: int) -> str:
    return "1 node" if count == 1 else f"{count} nodes"
