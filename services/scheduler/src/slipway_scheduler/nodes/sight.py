"""What the mirrors of the cluster mean to the node loop; remembers only since when."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from slipway_scheduler.kubernetes.labels import (
    MEMBER_ROLE,
    PLACEHOLDER_ROLE,
    RETIRED_ROLE,
    ROLE,
    SESSION_ROLE,
    prefixed,
)
from slipway_scheduler.kubernetes.objects import Node, Pod
from slipway_scheduler.nodes.models import Kind, NodePhase, NodeSeen, PodSeen, PodWaiting
from slipway_scheduler.nodes.records import Record
from slipway_scheduler.nodes.room import NOTHING, Room, room_of_node, room_of_pod
from slipway_scheduler.nodes.specs import NodeLimits, PoolSpec

KINDS = {
    SESSION_ROLE: Kind.SESSION,
    MEMBER_ROLE: Kind.MEMBER,
    RETIRED_ROLE: Kind.MEMBER,
    PLACEHOLDER_ROLE: Kind.PLACEHOLDER,
}
LATER = timedelta(seconds=10)
"""A node counts as late first, and as broken this much after that."""

OVER = frozenset({"Succeeded", "Failed"})
STARTING_TAINTS = frozenset(
    {"node.cloudprovider.kubernetes.io/uninitialized", "node.kubernetes.io/not-ready"}
)
LEAVING = prefixed("leaving")
"""On a node that we made for a machine which never became one; see ``orders``."""

CORDON_TAINT = "node.kubernetes.io/unschedulable"


class Sight:
    def __init__(self, specs: Sequence[PoolSpec], limits: NodeLimits) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._limits = limits
        self._known: dict[str, tuple[Pod, PodSeen]] = {}
        self._since: dict[tuple[str, str], datetime] = {}

    def look(
        self,
        pods: Iterable[Pod],
        nodes: Iterable[Node],
        records: Mapping[str, Record],
        *,
        now: datetime,
    ) -> tuple[dict[str, tuple[NodeSeen, ...]], tuple[PodWaiting, ...]]:
        """Nodes by pool, and the pods that fit on none."""
        since: dict[tuple[str, str], datetime] = {}
        known: dict[str, tuple[Pod, PodSeen]] = {}
        placed: defaultdict[str, list[PodSeen]] = defaultdict(list)
        waiting: list[PodWaiting] = []
        for pod in pods:
            if pod.status.phase in OVER:
                continue
            seen = self._seen(pod, known)
            if pod.spec.node_name is not None:
                placed[pod.spec.node_name].append(seen)
            elif (reason := _unschedulable(pod)) is not None:
                key = ("waits", pod.metadata.uid)
                since[key] = self._since.get(key, now)
                full = "Insufficient" in reason or "Too many pods" in reason
                waiting.append(PodWaiting(seen, since[key], full=full))
        found: dict[str, list[NodeSeen]] = {name: [] for name in self._specs}
        for node in nodes:
            if node.pool not in found:
                continue
            if node.spec.unschedulable:
                key = ("cordoned", node.metadata.uid)
                since[key] = self._since.get(key, now)
            found[node.pool].append(
                self._node(
                    node,
                    placed.get(node.metadata.name, ()),
                    records.get(node.pool, Record()),
                    cordoned_since=since.get(("cordoned", node.metadata.uid)),
                    now=now,
                )
            )
        self._since, self._known = since, known
        by_name = {pool: sorted(some, key=lambda node: node.name) for pool, some in found.items()}
        return {pool: tuple(some) for pool, some in by_name.items()}, tuple(waiting)

    def _seen(self, pod: Pod, known: dict[str, tuple[Pod, PodSeen]]) -> PodSeen:
        """Made once per version of a pod: there may be ten thousand of them."""
        before = self._known.get(pod.metadata.uid)
        seen = before[1] if before is not None and before[0] is pod else _pod(pod)
        known[pod.metadata.uid] = (pod, seen)
        return seen

    def _node(
        self,
        node: Node,
        pods: Iterable[PodSeen],
        record: Record,
        *,
        cordoned_since: datetime | None,
        now: datetime,
    ) -> NodeSeen:
        assert node.pool is not None
        name = node.metadata.name
        phase = _phase(node, now, self._limits, came=name in record.came)
        ready = next((one for one in node.status.conditions if one.type == "Ready"), None)
        return NodeSeen(
            name=name,
            phase=phase,
            room=_room(node, self._specs[node.pool]),
            pods=tuple(pods),
            created_at=node.metadata.creation_timestamp,
            ready_since=(
                ready.last_transition_time
                if ready is not None and phase is NodePhase.READY
                else None
            ),
            cordoned_since=cordoned_since,
            leaving=name in record.leaving or LEAVING in node.metadata.annotations,
            removal_asked_at=record.removing.get(name),
        )


def _pod(pod: Pod) -> PodSeen:
    return PodSeen(
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        version=pod.metadata.resource_version,
        kind=KINDS.get(pod.metadata.labels.get(ROLE, ""), Kind.SESSION),
        room=room_of_pod(pod),
        selector=frozenset(pod.spec.node_selector.items()),
        ending=pod.terminating,
    )


def _unschedulable(pod: Pod) -> str | None:
    """What the cluster's scheduler says about a pod that fits nowhere; None of any other."""
    if pod.terminating:
        return None
    condition = pod.status.condition("PodScheduled")
    if condition is None or condition.holds or condition.reason != "Unschedulable":
        return None
    return condition.message


def _phase(node: Node, now: datetime, limits: NodeLimits, *, came: bool) -> NodePhase:
    """``came``: it was ready before."""
    ready = next((one for one in node.status.conditions if one.type == "Ready"), None)
    starting = any(taint.key in STARTING_TAINTS for taint in node.spec.taints)
    if ready is not None and ready.holds and not starting:
        return NodePhase.READY
    created = node.metadata.creation_timestamp
    young = created is None or now - created < limits.boot_longest + LATER
    return NodePhase.COMING if young and not came else NodePhase.BROKEN


def _room(node: Node, spec: PoolSpec) -> Room:
    """None while the node itself wants no more pods, for it is short of memory or disk."""
    pressed = any(
        taint.key.startswith("node.kubernetes.io/") and taint.key != CORDON_TAINT
        for taint in node.spec.taints
    )
    return NOTHING if pressed else room_of_node(node.status.allocatable).at_most(spec.room)
