"""Room on nodes, as it is filled in thought; nothing here knows how it is filled."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from slipway_scheduler.nodes.models import (
    NodeSeen,
    PodSeen,
    PodWaiting,
    PoolSeen,
)
from slipway_scheduler.nodes.room import NOTHING, Room
from slipway_scheduler.nodes.specs import PoolSpec

MEMORY_PER_CORE = 4 * 2**30
"""Only to compare what is large in one with what is large in the other."""


@dataclass(slots=True)
class Bin:
    """Room on one node, or on one that is to come."""

    spec: PoolSpec
    free: Room
    node: str = ""
    """Empty: it has no name yet."""

    taken: bool = False
    """A session is on it, or was placed on it here."""

    needed: bool = False
    """Something that waits was placed on it."""

    fresh: bool = False
    """It has been ready for a moment only, so that pods may just be about to be placed there."""


@dataclass(slots=True)
class Load:
    """What the waiting pods mean for one pool."""

    ready: list[Bin] = field(default_factory=list)
    leaving: list[Bin] = field(default_factory=list)
    coming: list[Bin] = field(default_factory=list)
    opened: list[Bin] = field(default_factory=list)
    """Nodes that should be added."""

    gathered: list[PodWaiting] = field(default_factory=list)
    """The pods that these are for."""

    helped: int = 0
    """Pods that wait for nodes which are coming."""

    unmet: list[PodWaiting] = field(default_factory=list)
    """Pods for which no node may be added."""

    seeming: list[tuple[PodWaiting, str]] = field(default_factory=list)
    """Pods that wait although this node seems to have room."""

    @property
    def needed(self) -> frozenset[str]:
        return frozenset(one.node for one in (*self.ready, *self.leaving) if one.needed)

    @property
    def waiting(self) -> int:
        return self.helped + len(self.gathered) + len(self.unmet)

    @property
    def untaken(self) -> int:
        leaving = (one for one in self.leaving if one.needed)
        bins = (*self.ready, *leaving, *self.coming, *self.opened)
        return sum(not one.taken for one in bins)


@dataclass(slots=True)
class Packing:
    loads: dict[str, Load]
    homeless: list[PodWaiting] = field(default_factory=list)
    """Pods that no pool has nodes for."""

    def can_do_without(self, pool: PoolSeen, node: NodeSeen) -> bool:
        """Whether all that is on the node fits on others; if so, it is counted there from now."""
        load = self.loads[pool.spec.name]
        mine = next((one for one in load.ready if one.node == node.name), None)
        if mine is None or mine.taken or mine.needed or load.untaken <= pool.spec.spare:
            return False
        others = [one for one in self._ready() if one is not mine]
        before = [one.free for one in others]
        load.ready.remove(mine)
        for pod in sorted(node.staying, key=largest_first):
            home = next((one for one in others if fits(one, pod)), None)
            if home is None:
                for one, free in zip(others, before, strict=True):
                    one.free = free
                load.ready.append(mine)
                return False
            home.free -= pod.room
        return True

    def _ready(self) -> list[Bin]:
        return [one for load in self.loads.values() for one in load.ready]


def fits(one: Bin, pod: PodSeen) -> bool:
    return one.spec.suits(pod.selector) and one.free.holds(pod.room) > 0


def total(pods: Iterable[PodSeen]) -> Room:
    return sum((pod.room for pod in pods), NOTHING)


def largest_first(pod: PodSeen) -> float:
    return -max(pod.room.millicores / 1000, pod.room.memory / MEMORY_PER_CORE)
