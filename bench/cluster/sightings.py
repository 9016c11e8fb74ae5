"""When a pod was first seen in each of its states: by our own clock, for the kubelet's tells whole
seconds only.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.cluster import objects
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.api import Connection, Resource
from slipway_scheduler.kubernetes.objects import Pod
from slipway_scheduler.kubernetes.reflector import Reflector

SCHEDULED = "scheduled"
SANDBOX = "sandbox"
CONTAINER = "container"
READY = "ready"

_CONDITIONS = {
    "PodScheduled": SCHEDULED,
    "PodReadyToStartContainers": SANDBOX,
    "Ready": READY,
}
LOOK_SECONDS = 0.02


@dataclass(slots=True)
class Sightings:
    first: dict[str, dict[str, float]] = field(default_factory=dict)
    """By pod's name: state, and when it was first seen in it."""

    there: dict[str, Pod] = field(default_factory=dict)

    def on_pod(self, before: Pod | None, after: Pod | None) -> None:
        if after is None:
            if before is not None:
                self.there.pop(before.metadata.name, None)
            return
        now = time.time()
        self.there[after.metadata.name] = after
        seen = self.first.setdefault(after.metadata.name, {})
        for condition in after.status.conditions:
            if condition.holds and condition.type in _CONDITIONS:
                seen.setdefault(_CONDITIONS[condition.type], now)
        if any(one.state.running is not None for one in after.status.container_statuses):
            seen.setdefault(CONTAINER, now)

    async def until(self, name: str, state: str, *, seconds: float) -> float:
        async with asyncio.timeout(seconds):
            while state not in self.first.get(name, {}):
                await asyncio.sleep(LOOK_SECONDS)
        return self.first[name][state]

    async def until_gone(self, name: str, *, seconds: float) -> None:
        async with asyncio.timeout(seconds):
            while name in self.there:
                await asyncio.sleep(LOOK_SECONDS)

    async def until_member(self, *, seconds: float) -> str:
        """The name of a member that is ready and nobody's."""
        async with asyncio.timeout(seconds):
            while True:
                for name, pod in self.there.items():
                    free = pod.metadata.labels.get(labels.ROLE) == labels.MEMBER_ROLE
                    if free and READY in self.first[name] and not pod.terminating:
                        return name
                await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def watching(kubeconfig: Path) -> AsyncIterator[Sightings]:
    """All pods of the namespace of sessions, whoever makes them."""
    sightings = Sightings()
    connection = await Connection.open(kubeconfig, connections=2)
    pods = Resource("v1", "pods", objects.SESSIONS)
    mirror = Reflector(connection, pods, Pod, on_change=sightings.on_pod)
    task = asyncio.create_task(mirror.run())
    try:
        await mirror.synced.wait()
        yield sightings
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await connection.close()
