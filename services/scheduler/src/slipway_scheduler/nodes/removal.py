"""Which nodes go, and which that were to go stay: the shrinking half of the decision."""

from collections.abc import Iterable
from datetime import datetime

from slipway_scheduler.nodes.bins import Packing
from slipway_scheduler.nodes.models import (
    Action,
    Cordon,
    Hold,
    Move,
    NodePhase,
    NodeSeen,
    PoolSeen,
    PoolStatus,
    Remove,
    Uncordon,
    View,
)
from slipway_scheduler.nodes.specs import NodeLimits


def shrink(
    pool: PoolSeen,
    packing: Packing,
    view: View,
    *,
    calm: bool,
    limits: NodeLimits,
) -> tuple[list[Action], dict[str, datetime]]:
    """``calm``: nobody waits for a node of this pool, and none is on its way.

    Returned besides the actions: which nodes nothing needs, and since when.
    """
    status = pool.status
    surplus = _surplus(pool, packing)
    actions, surplus = _go_on(pool, packing, view, surplus=surplus, limits=limits)
    if status is None or not _is_ours(status):
        # Nothing is taken away then, but what is closed by us and needed is given back.
        return [action for action in actions if isinstance(action, Uncordon)], {}
    since = _unneeded(pool, packing, view)
    stuck = _stuck(pool, status, view, limits)
    actions += [Cordon(pool.spec.name, name, "it never became a node") for name in stuck]
    if calm and view.fresh and not status.busy:
        due = [name for name, start in since.items() if view.now - start >= limits.idle_for]
        actions += _begin(pool, due, surplus=surplus, limits=limits)
    return actions, since


def _is_ours(status: PoolStatus) -> bool:
    return status.target is not None and not status.unmanaged


def _surplus(pool: PoolSeen, packing: Packing) -> int:
    """How many nodes there are above the smallest size, those on their way included."""
    load = packing.loads[pool.spec.name]
    staying = sum(node.usable for node in pool.nodes) + len(load.coming)
    cloud = 0 if pool.status is None else pool.status.minimum
    return staying - min(max(pool.spec.minimum, cloud), pool.spec.maximum)


def _go_on(
    pool: PoolSeen, packing: Packing, view: View, *, surplus: int, limits: NodeLimits
) -> tuple[list[Action], int]:
    """The next step of each node that is leaving."""
    actions: list[Action] = []
    ripe: list[str] = []
    name = pool.spec.name
    needed = packing.loads[name].needed
    for node in pool.nodes:
        if node.removal_asked_at is not None:
            if node.sessions:
                why = f"{node.name} was to be removed and has a session: waits for its end"
                actions.append(Hold(name, why))
            elif view.now - node.removal_asked_at >= limits.ask_again:
                ripe.append(node.name)
        elif node.leaving:
            stays = _why_it_stays(node, pool.status, needed=node.name in needed, surplus=surplus)
            if stays:
                actions.append(Uncordon(name, node.name, stays))
                surplus += node.phase is NodePhase.READY
            elif node.cordoned_since is None:
                actions.append(Cordon(name, node.name, "it is to be removed"))
            elif node.staying:
                actions.append(Move(name, node.name, node.staying, "its node is to be removed"))
            elif node.pods and node.phase is NodePhase.READY:
                continue  # they end by themselves; on a node that is dead they never would
            elif view.now - node.cordoned_since >= limits.settle:
                ripe.append(node.name)
    if ripe and view.fresh and pool.status is not None and not pool.status.busy:
        actions.append(Remove(name, tuple(ripe), _nothing_needs(ripe)))
    return actions, surplus


def _why_it_stays(node: NodeSeen, status: PoolStatus | None, *, needed: bool, surplus: int) -> str:
    """Empty: it goes."""
    if node.sessions:
        return "a session was placed on it meanwhile"
    if status is not None and not _is_ours(status):
        return "the pool is not ours to make smaller any more"
    if not node.may_stay:
        return ""
    if needed:
        return "it is needed again"
    return "the pool would fall below its smallest size" if surplus < 0 else ""


def _unneeded(pool: PoolSeen, packing: Packing, view: View) -> dict[str, datetime]:
    """Nodes whose pods fit on others, the emptiest first; each counts those before it as gone."""
    idle = [node for node in pool.nodes if not node.sessions and not node.leaving]
    idle.sort(key=lambda node: (node.phase is NodePhase.READY, len(node.pods), node.name))
    return {
        node.name: view.unneeded.get(node.name, view.now)
        for node in idle
        if (node.phase is NodePhase.BROKEN and node.cordoned_since is None)
        or (node.usable and packing.can_do_without(pool, node))
    }


def _begin(pool: PoolSeen, due: Iterable[str], *, surplus: int, limits: NodeLimits) -> list[Action]:
    leaving = sum(node.leaving for node in pool.nodes)
    phases = {node.name: node.phase for node in pool.nodes}
    actions: list[Action] = []
    for name in due:
        working = phases[name] is NodePhase.READY
        if len(actions) + leaving >= limits.removed_at_once or (working and surplus <= 0):
            continue
        surplus -= working
        idle = f"nothing has needed it for {_span(limits.idle_for.total_seconds())}"
        actions.append(Cordon(pool.spec.name, name, idle if working else "it does not answer"))
    return actions


def _stuck(pool: PoolSeen, status: PoolStatus, view: View, limits: NodeLimits) -> list[str]:
    """Machines that have not become nodes in time.

    A cordoned node of that name is made for each, so that it takes no pod should it still come.
    """
    if status.machines is None:
        return []
    overdue = [one.is_overdue(view.now, limits.boot_longest) for one in pool.asked]
    if not overdue or not all(overdue):
        return []  # it may be one of those that were asked for later
    return sorted(status.machines - {node.name for node in pool.nodes})


def _nothing_needs(nodes: list[str]) -> str:
    return "nothing needs it" if len(nodes) == 1 else "nothing needs them"


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
