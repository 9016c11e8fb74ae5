"""A cluster and its cloud in one process and in its own time, around the real decisions.

Pods are bound by a scheduler that acts on what was true a moment ago, so that one may still land on
a node that was just closed: as in a real cluster.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace as changed

from slipway_scheduler.nodes.decide import decide
from slipway_scheduler.nodes.loop import NOTHING_YET
from slipway_scheduler.nodes.models import (
    Action,
    Asked,
    Cordon,
    Decision,
    Hold,
    Kind,
    Move,
    NodePhase,
    NodeSeen,
    PodSeen,
    PodWaiting,
    PoolSeen,
    PoolStatus,
    Remove,
    SetSize,
    Uncordon,
    View,
)
from slipway_scheduler.nodes.progress import failed, follow, late
from slipway_scheduler.nodes.records import Record
from slipway_scheduler.nodes.room import Room
from slipway_scheduler.nodes.specs import NodeLimits, PoolSpec
from unit.scheduler.nodes.making import NOW

FAST = NodeLimits.model_validate(
    {
        "idle_for": 20,
        "boot_longest": 60,
        "settle": 3,
        "first_pause": 5,
        "longest_pause": 20,
        "ask_again": 10,
        "disbelief": 15,
    }
)
NEVER = datetime.max.replace(tzinfo=NOW.tzinfo)


@dataclass
class SimPod:
    seen: PodSeen
    since: datetime
    node: str | None = None


@dataclass
class SimNode:
    name: str
    ready_at: datetime
    created_at: datetime
    cordoned_since: datetime | None = None
    known: bool = True
    """It is a node of the cluster, and not a machine alone."""


@dataclass
class Simulation:
    spec: PoolSpec
    now: datetime = NOW
    boot: float = 8
    refusing: bool = False
    """The cloud refuses every machine."""

    stuck: int = 0
    """So many of the next machines never become nodes."""

    pods: dict[str, SimPod] = field(default_factory=dict)
    nodes: dict[str, SimNode] = field(default_factory=dict)
    record: Record = field(default_factory=Record)
    last: Decision = NOTHING_YET
    done: list[Action] = field(default_factory=list)
    on_action: Callable[[Action], None] = lambda _: None
    _made: int = 0
    _closed_before: set[str] = field(default_factory=set)

    @property
    def target(self) -> int:
        return len(self.nodes)

    def add(self, kind: Kind, room: Room) -> str:
        self._made += 1
        name = f"{kind.name.lower()}-{self._made}"
        self.pods[name] = SimPod(PodSeen(name, f"uid-{name}", "1", kind, room), self.now)
        return name

    def sessions_on(self, node: str) -> int:
        return sum(pod.node == node and pod.seen.kind is Kind.SESSION for pod in self.pods.values())

    def waiting(self) -> list[SimPod]:
        return [pod for pod in self.pods.values() if pod.node is None]

    def run(self, seconds: int) -> None:
        for _ in range(seconds):
            self.tick()

    def tick(self) -> None:
        self.now += timedelta(seconds=1)
        view = self._view()
        # The scheduler has not seen yet which nodes were closed in this very second.
        self._bind(closed=self._closed_before)
        self._closed_before = {n.name for n in self.nodes.values() if n.cordoned_since is not None}
        self.last = decision = decide(view, limits=FAST)
        for action in decision.actions:
            self.on_action(action)
            self._act(action)
            self.done.append(action)

    def _view(self) -> View:
        seen = tuple(self._seen(node) for node in self.nodes.values() if node.known)
        there = sum(node.phase is not NodePhase.COMING for node in seen)
        missing = max(0, self.target - there)
        names = {node.name for node in seen}
        record = changed(
            self.record,
            leaving=tuple(name for name in self.record.leaving if name in names),
            removing={k: v for k, v in self.record.removing.items() if k in names},
        )
        record = follow(record, missing=missing, nodes=seen, now=self.now, limits=FAST)
        overdue = late(record.asked, self.now, FAST)
        if overdue > record.late:
            record = failed(record, "too late", now=self.now, limits=FAST, jitter=0.5)
        self.record = changed(record, late=overdue)
        machines = frozenset(self.nodes) if overdue else None
        status = PoolStatus(self.spec.name, target=self.target, machines=machines)
        waiting = tuple(
            PodWaiting(pod.seen, pod.since)
            for pod in self.waiting()
            if self.now - pod.since >= timedelta(seconds=1)
        )
        pool = PoolSeen(
            self.spec, status, seen, self.record.asked, self.record.retry_at, self.record.problem
        )
        return View(
            self.now, (pool,), waiting, unneeded=self.last.unneeded, seeming=self.last.seeming
        )

    def _seen(self, node: SimNode) -> NodeSeen:
        is_ready = node.ready_at <= self.now
        young = self.now - node.created_at < FAST.boot_longest
        absent = NodePhase.COMING if young else NodePhase.BROKEN
        return NodeSeen(
            node.name,
            NodePhase.READY if is_ready else absent,
            room=self.spec.room,
            pods=tuple(pod.seen for pod in self.pods.values() if pod.node == node.name),
            created_at=node.created_at,
            ready_since=node.ready_at if is_ready else None,
            cordoned_since=node.cordoned_since,
            leaving=node.name in self.record.leaving,
            removal_asked_at=self.record.removing.get(node.name),
        )

    def _bind(self, *, closed: set[str]) -> None:
        """First fit by kind, and a session evicts placeholders."""
        for pod in sorted(self.waiting(), key=lambda pod: pod.seen.kind):
            for node in self.nodes.values():
                if node.ready_at > self.now or node.name in closed or not node.known:
                    continue
                if self._makes_room(node.name, pod.seen):
                    pod.node = node.name
                    break

    def _makes_room(self, node: str, pod: PodSeen) -> bool:
        on_it = [one for one in self.pods.values() if one.node == node]
        weak = [one for one in on_it if one.seen.kind is Kind.PLACEHOLDER]
        free = self.spec.room
        for one in on_it:
            free -= one.seen.room
        while not free.holds(pod.room):
            if pod.kind is Kind.PLACEHOLDER or not weak:
                return False
            evicted = weak.pop()
            evicted.node, evicted.since = None, self.now
            free += evicted.seen.room
        return True

    def _act(self, action: Action) -> None:
        match action:
            case SetSize(count=count):
                self._set_size(count)
            case Cordon(node=name):
                self.record = changed(self.record, leaving=tuple({*self.record.leaving, name}))
                node = self.nodes[name]
                node.known = True
                node.cordoned_since = node.cordoned_since or self.now
            case Uncordon(node=name):
                self.nodes[name].cordoned_since = None
                left = tuple(one for one in self.record.leaving if one != name)
                self.record = changed(self.record, leaving=left)
            case Move(pods=pods):
                for pod in pods:
                    if pod.name in self.pods:
                        self.pods[pod.name].node = None
                        self.pods[pod.name].since = self.now
            case Remove(nodes=names):
                self.record = changed(
                    self.record, removing=self.record.removing | dict.fromkeys(names, self.now)
                )
                for name in names:
                    assert not self.sessions_on(name), f"{name} has a live session"
                    self.nodes.pop(name, None)
            case Hold():
                pass

    def _set_size(self, count: int) -> None:
        if self.refusing:
            self.record = failed(self.record, "refused", now=self.now, limits=FAST, jitter=0.5)
            return
        more = count - self.target
        self.record = changed(
            self.record, asked=(*self.record.asked, Asked(self.now, more)) if more > 0 else ()
        )
        for _ in range(more):
            self._made += 1
            name = f"node-{self._made}"
            lost = self.stuck > 0
            self.stuck -= lost
            ready_at = NEVER if lost else self.now + timedelta(seconds=self.boot)
            self.nodes[name] = SimNode(name, ready_at, self.now, known=not lost)
