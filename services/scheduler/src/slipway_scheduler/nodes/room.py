"""How much a pod takes and a node has, in whole numbers, so that sums are exact."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from slipway_scheduler.kubernetes.objects import Capacity, Pod, Quantities, quantity

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Room:
    millicores: int = 0
    memory: int = 0
    """Bytes."""

    pods: int = 0

    @classmethod
    def of(cls, *, cpu: float, memory_mib: int, pods: int = 1) -> Self:
        return cls(round(cpu * 1000), memory_mib * MIB, pods)

    def __add__(self, other: "Room") -> "Room":
        return Room(
            self.millicores + other.millicores,
            self.memory + other.memory,
            self.pods + other.pods,
        )

    def __sub__(self, other: "Room") -> "Room":
        return Room(
            self.millicores - other.millicores,
            self.memory - other.memory,
            self.pods - other.pods,
        )

    def times(self, count: int) -> "Room":
        return Room(self.millicores * count, self.memory * count, self.pods * count)

    def at_most(self, other: "Room") -> "Room":
        return Room(
            min(self.millicores, other.millicores),
            min(self.memory, other.memory),
            min(self.pods, other.pods),
        )

    def holds(self, one: "Room") -> int:
        """How many of these fit in here."""
        counts = [
            have // take
            for have, take in (
                (self.millicores, one.millicores),
                (self.memory, one.memory),
                (self.pods, one.pods),
            )
            if take > 0
        ]
        return max(0, min(counts, default=0))


NOTHING = Room()


def room_of_node(allocatable: Capacity) -> Room:
    return Room(
        _millicores(allocatable.cpu), _bytes(allocatable.memory), int(quantity(allocatable.pods))
    )


def room_of_pod(pod: Pod) -> Room:
    """What the pod reserves: its containers together, or its largest init container if more."""
    together = NOTHING
    for container in pod.spec.containers:
        together += _requested(container.resources.requests)
    for container in pod.spec.init_containers:
        first = _requested(container.resources.requests)
        together = Room(
            max(together.millicores, first.millicores), max(together.memory, first.memory)
        )
    return Room(together.millicores, together.memory, 1)


def _requested(requests: Quantities) -> Room:
    return Room(_millicores(requests.cpu), _bytes(requests.memory))


@lru_cache(maxsize=4096)
def _millicores(text: str) -> int:
    return round(quantity(text) * 1000)


@lru_cache(maxsize=4096)
def _bytes(text: str) -> int:
    return round(quantity(text))
