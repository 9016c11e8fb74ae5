"""Where waiting pods would go: first-fit-decreasing over nodes that are there, are coming, or new.

Placeholders count as free room to everybody else, and are then placed anew themselves.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from slipway_scheduler.nodes.bins import Bin, Load, Packing, largest_first, total
from slipway_scheduler.nodes.models import Kind, NodeSeen, PodSeen, PodWaiting, PoolSeen, View
from slipway_scheduler.nodes.specs import NodeLimits


def pack(view: View, limits: NodeLimits) -> Packing:
    loads = {pool.spec.name: _bins(pool, view.now, limits) for pool in view.pools}
    packing = Packing(loads)
    doubted = _doubted(view, limits)
    for kind in (Kind.SESSION, Kind.MEMBER):
        waiting = [one for one in view.waiting if one.pod.kind is kind]
        moving = [pod for pod in _displaced(view) if pod.kind is kind]
        _place_all(view, packing, [*waiting, *_as_waiting(moving, view, limits)], doubted)
    waiting = [one for one in view.waiting if one.pod.kind is Kind.PLACEHOLDER]
    pushed = _settle_placeholders(view, loads)
    _place_all(view, packing, [*waiting, *_as_waiting(pushed, view, limits)], doubted)
    for pool in view.pools:
        _keep_spare(pool, loads[pool.spec.name], view.now)
    return packing


def seems_for_long(
    seeming: Mapping[str, datetime], pod: str, now: datetime, limits: NodeLimits
) -> bool:
    return now - seeming.get(pod, now) >= limits.disbelief


def may_grow(pool: PoolSeen, now: datetime) -> int:
    """How many nodes may be added: none while it is not ours to say, or has just failed."""
    status = pool.status
    if status is None or status.unmanaged:
        return 0
    if status.target is None:
        return max(0, pool.spec.maximum - len(pool.nodes))
    if pool.retry_at is not None and now < pool.retry_at:
        return 0
    return max(0, min(pool.spec.maximum, status.maximum) - status.target)


def _bins(pool: PoolSeen, now: datetime, limits: NodeLimits) -> Load:
    load = Load()
    for node in pool.nodes:
        staying = [pod for pod in node.pods if pod.kind is not Kind.PLACEHOLDER]
        if node.usable or (node.may_stay and node.sessions):
            free = node.room - total(staying)
            fresh = not _is_old(node, now, limits)
            taken = node.sessions > 0
            load.ready.append(Bin(pool.spec, free, node.name, taken=taken, fresh=fresh))
        elif node.may_stay:
            load.leaving.append(Bin(pool.spec, node.room, node.name))
    load.ready.sort(key=lambda one: (one.free.memory, one.node))
    if pool.status is not None and pool.status.target is not None:
        coming = sum(
            one.count for one in pool.asked if not one.is_overdue(now, limits.boot_longest)
        )
        load.coming = [Bin(pool.spec, pool.spec.room) for _ in range(coming)]
    return load


def _place_all(
    view: View,
    packing: Packing,
    waiting: Sequence[PodWaiting],
    doubted: frozenset[str],
) -> None:
    """Pods that are alike are placed together, or ten thousand would take a second."""
    groups: defaultdict[tuple[object, ...], list[PodWaiting]] = defaultdict(list)
    for one in waiting:
        groups[one.pod.room, one.pod.selector, one.pod.name in doubted].append(one)
    for group in sorted(groups.values(), key=lambda group: largest_first(group[0].pod)):
        _place_group(view, packing, group, doubted=group[0].pod.name in doubted)


def _place_group(view: View, packing: Packing, group: list[PodWaiting], *, doubted: bool) -> None:
    pod = group[0].pod
    suitable = [pool for pool in view.pools if pool.spec.suits(pod.selector)]
    loads = [packing.loads[pool.spec.name] for pool in suitable]
    rest = group
    for load in loads:
        believed = [one for one in load.ready if one.fresh or not doubted]
        rest, placed = _fill(believed, rest)
        load.seeming += placed
    for load in loads:
        rest, _ = _fill(load.leaving, rest)
    for load in loads:
        rest, placed = _fill(load.coming, rest)
        load.helped += len(placed)
    for pool, load in zip(suitable, loads, strict=True):
        rest = _open(pool, load, rest, view.now)
    if not rest:
        return
    large_enough = [pool for pool in suitable if pool.spec.room.holds(pod.room)]
    if large_enough:
        packing.loads[large_enough[0].spec.name].unmet.extend(rest)
    else:
        packing.homeless.extend(rest)


def _fill(
    bins: Iterable[Bin], group: list[PodWaiting]
) -> tuple[list[PodWaiting], list[tuple[PodWaiting, str]]]:
    """Place what fits; return the rest, and who was placed on which node."""
    placed: list[tuple[PodWaiting, str]] = []
    for one in bins:
        count = min(len(group), one.free.holds(group[0].pod.room)) if group else 0
        if count:
            _put(one, group[0].pod, count)
            placed += ((waits, one.node) for waits in group[:count])
            group = group[count:]
    return group, placed


def _open(pool: PoolSeen, load: Load, group: list[PodWaiting], now: datetime) -> list[PodWaiting]:
    """Place pods on new nodes of this pool, as many as it may get, and return the rest."""
    each = pool.spec.room.holds(group[0].pod.room) if group else 0
    if each == 0:
        return group
    for one in load.opened:
        count = min(len(group), one.free.holds(group[0].pod.room))
        if count:
            _put(one, group[0].pod, count)
            load.gathered.extend(group[:count])
            group = group[count:]
        if not group:
            return group
    for _ in range(may_grow(pool, now) - len(load.opened)):
        if not group:
            break
        fresh = Bin(pool.spec, pool.spec.room)
        count = min(len(group), each)
        _put(fresh, group[0].pod, count)
        load.opened.append(fresh)
        load.gathered.extend(group[:count])
        group = group[count:]
    return group


def _put(one: Bin, pod: PodSeen, count: int) -> None:
    one.free -= pod.room.times(count)
    one.needed = True
    one.taken = one.taken or pod.kind is Kind.SESSION


def _settle_placeholders(view: View, loads: dict[str, Load]) -> list[PodSeen]:
    """Leave placeholders where there is still room for them; return those that must give way."""
    pushed = [pod for pod in _displaced(view) if pod.kind is Kind.PLACEHOLDER]
    for pool in view.pools:
        bins = {one.node: one for one in loads[pool.spec.name].ready}
        for node in pool.nodes:
            one = bins.get(node.name)
            if one is None:
                continue
            for pod in node.pods:
                if pod.kind is not Kind.PLACEHOLDER:
                    continue
                if one.free.holds(pod.room):
                    one.free -= pod.room
                else:
                    pushed.append(pod)
    return pushed


def _displaced(view: View) -> list[PodSeen]:
    """What is to move from nodes that are leaving."""
    return [
        pod
        for pool in view.pools
        for node in pool.nodes
        if node.may_stay and not node.sessions
        for pod in node.staying
    ]


def _as_waiting(pods: Iterable[PodSeen], view: View, limits: NodeLimits) -> list[PodWaiting]:
    """They will wait from when those who push them away arrived."""
    since = max((one.since for one in view.waiting), default=view.now - limits.batch_longest)
    return [PodWaiting(pod, since) for pod in pods]


def _keep_spare(pool: PoolSeen, load: Load, now: datetime) -> None:
    """Provide for the nodes that the operator wants besides: first those that were to leave."""
    missing = pool.spec.spare - load.untaken
    for one in load.leaving:
        if missing > 0 and not one.needed:
            one.needed = True
            missing -= 1
    room = may_grow(pool, now) - len(load.opened)
    load.opened.extend(Bin(pool.spec, pool.spec.room) for _ in range(min(missing, room)))


def _doubted(view: View, limits: NodeLimits) -> frozenset[str]:
    """Pods that are right to wait although nodes seem to have room: something else fills those.

    Not where an empty node is at hand and did not help: then another would not either.
    """
    patient = [
        one
        for one in view.waiting
        if one.full and seems_for_long(view.seeming, one.pod.name, view.now, limits)
    ]
    empty = [
        (pool.spec, node)
        for pool in view.pools
        for node in pool.nodes
        if node.usable and not node.pods and _is_old(node, view.now, limits)
    ]
    return frozenset(
        one.pod.name
        for one in patient
        if not any(
            spec.suits(one.pod.selector) and node.room.holds(one.pod.room) for spec, node in empty
        )
    )


def _is_old(node: NodeSeen, now: datetime, limits: NodeLimits) -> bool:
    return node.ready_since is not None and now - node.ready_since >= limits.disbelief
