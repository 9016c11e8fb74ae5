"""What the node loop sees and does, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import TypeAlias

from slipway_scheduler.nodes.room import NOTHING, Room
from slipway_scheduler.nodes.specs import PoolSpec


class Kind(IntEnum):
    """What a pod is to the node loop; who comes first is placed first."""

    SESSION = 0
    """Also whatever we do not know: it is never put away."""

    MEMBER = 1
    PLACEHOLDER = 2


@dataclass(frozen=True, slots=True)
class PodSeen:
    name: str
    uid: str
    version: str
    kind: Kind
    room: Room
    selector: frozenset[tuple[str, str]] = frozenset()
    ending: bool = False
    """It was told to end; it takes room until it has."""


@dataclass(frozen=True, slots=True)
class PodWaiting:
    """A pod that fits on no node, says the cluster."""

    pod: PodSeen
    since: datetime
    full: bool = True
    """The cluster's reason is that nodes are full, and no other."""


class NodePhase(StrEnum):
    COMING = "coming"
    """Known to the cluster, and not ready yet."""

    READY = "ready"
    BROKEN = "broken"
    """Was ready, or should be by now."""


@dataclass(frozen=True, slots=True)
class NodeSeen:
    name: str
    phase: NodePhase
    room: Room = NOTHING
    """For sessions, when it is empty."""

    pods: tuple[PodSeen, ...] = ()
    """Those that have not ended."""

    created_at: datetime | None = None
    ready_since: datetime | None = None
    cordoned_since: datetime | None = None
    """As far as this loop has seen; None while it takes pods."""

    leaving: bool = False
    """It is us who want it empty."""

    removal_asked_at: datetime | None = None
    """Set once its removal was written down: from then on there is no way back."""

    @property
    def sessions(self) -> int:
        return sum(pod.kind is Kind.SESSION for pod in self.pods)

    @property
    def staying(self) -> tuple[PodSeen, ...]:
        return tuple(pod for pod in self.pods if not pod.ending)

    @property
    def usable(self) -> bool:
        return self.phase is NodePhase.READY and self.cordoned_since is None and not self.leaving

    @property
    def may_stay(self) -> bool:
        """It is leaving, and could be used again."""
        return self.leaving and self.removal_asked_at is None and self.phase is NodePhase.READY


@dataclass(frozen=True, slots=True)
class Asked:
    """Nodes that were asked for and are not ready yet."""

    at: datetime
    count: int

    def is_overdue(self, now: datetime, longest: timedelta) -> bool:
        return now - self.at >= longest


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """What the cloud says about one pool."""

    name: str
    target: int | None
    """How many machines it has or is making; None: the cloud decides, and does not say."""

    minimum: int = 0
    maximum: int = 1000
    """What the cloud itself allows."""

    busy: str = ""
    """What it is busy with, so that it takes no orders for this pool; empty: it takes them."""

    failed: str = ""
    """Why its last work on the pool failed."""

    unmanaged: str = ""
    """Why we cannot set its size."""

    version: str = ""
    """Changes with the pool, so that an order can name what it was based on."""

    machines: frozenset[str] | None = None
    """Names of the machines that exist, where they were asked for; nodes take these names."""


@dataclass(frozen=True, slots=True)
class PoolSeen:
    spec: PoolSpec
    status: PoolStatus | None
    """None: the cloud has not told yet."""

    nodes: tuple[NodeSeen, ...] = ()
    asked: tuple[Asked, ...] = ()
    """Oldest first; together as many as are missing."""

    retry_at: datetime | None = None
    """Not before then, for the last attempt failed."""

    problem: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class View:
    now: datetime
    pools: tuple[PoolSeen, ...]
    waiting: tuple[PodWaiting, ...] = ()
    unneeded: Mapping[str, datetime] = field(default_factory=dict)
    """As the last decision said."""

    seeming: Mapping[str, datetime] = field(default_factory=dict)
    """As the last decision said."""

    fresh: bool = True
    """False: what is known of the cluster is old, so nothing may be taken away."""


@dataclass(frozen=True, slots=True)
class SetSize:
    """``count`` is absolute, so that doing it twice or late does no more."""

    pool: str
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class Cordon:
    pool: str
    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Uncordon:
    pool: str
    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Move:
    """Delete what can be elsewhere; those who own it make it again there."""

    pool: str
    node: str
    pods: tuple[PodSeen, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Remove:
    pool: str
    nodes: tuple[str, ...]
    why: str


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing is done, and this is why."""

    pool: str
    why: str


Action: TypeAlias = SetSize | Cordon | Uncordon | Move | Remove | Hold


@dataclass(frozen=True, slots=True)
class Decision:
    actions: tuple[Action, ...]
    unneeded: Mapping[str, datetime]
    """Nodes that nothing needs, and since when."""

    seeming: Mapping[str, datetime]
    """Waiting pods for which a node seems to have room, and since when."""

    lacking: Mapping[str, int]
    """By pool, how many more nodes the waiting pods need."""

    waiting: Mapping[str, int]
    """By pool, how many pods wait for a node of it."""

    full: frozenset[str] = frozenset()
    """Pools for which pods wait and that have their largest size."""
