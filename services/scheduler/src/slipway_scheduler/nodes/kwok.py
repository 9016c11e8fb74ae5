"""Nodes without machines, on a cluster where KWOK plays kubelet: for tests, benches and trials.

A node is made at once and becomes ready when its boot time is over, which a stage of KWOK waits
for. What a cloud would remember, the nodes themselves say. No name is ever used again: an order
to remove a node may come late, and must not meet another one.
"""

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from typing_extensions import override

from slipway_common.contracts.base import utc_now
from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.errors import ConflictError, NotFoundError
from slipway_scheduler.kubernetes.labels import prefixed
from slipway_scheduler.kubernetes.limits import Rank
from slipway_scheduler.kubernetes.objects import Node
from slipway_scheduler.nodes.base import NodePools, Progress
from slipway_scheduler.nodes.models import PoolStatus
from slipway_scheduler.nodes.room import MIB
from slipway_scheduler.nodes.specs import POOL_LABEL, PoolSpec

FAKE = ("kwok.x-k8s.io/node", "fake")
BOOT_SECONDS = prefixed("boot-seconds")
DISK = "1Ti"
"""Pools say nothing of disks, so that of a machine which is only played never lacks room."""

EXPECTED_SECONDS = 30.0
"""How long a node that we made is believed in before the mirror shows it."""


@dataclass(frozen=True, slots=True)
class _Expected:
    pool: str
    until: float


class KwokPools(NodePools):
    """``nodes`` is the mirror of the cluster's nodes; what it does not show yet is expected."""

    def __init__(
        self,
        api: KubernetesApi,
        specs: Iterable[PoolSpec],
        *,
        nodes: Mapping[str, Node],
        boot: timedelta,
    ) -> None:
        self._api = api
        self._specs = {spec.name: spec for spec in specs}
        self._mirror = nodes
        self._boot = boot
        self._nodes = Resource("v1", "nodes")
        self._expected: dict[str, _Expected] = {}

    @override
    async def look(self) -> Mapping[str, PoolStatus]:
        return {
            name: PoolStatus(name, target=len(await self.machines(name))) for name in self._specs
        }

    @override
    async def machines(self, pool: str) -> frozenset[str]:
        now = time.monotonic()
        self._expected = {
            name: expected
            for name, expected in self._expected.items()
            if now < expected.until and name not in self._mirror
        }
        seen = (name for name, node in self._mirror.items() if node.pool == pool)
        expected = (name for name, one in self._expected.items() if one.pool == pool)
        return frozenset((*seen, *expected))

    @override
    async def set_size(self, status: PoolStatus, count: int) -> str:
        spec = self._specs[status.name]
        # The mirror of a leader that was paused is as old as its pause.
        found = await self._api.list_metadata(self._nodes, selector=f"{POOL_LABEL}={spec.name}")
        there = await self.machines(spec.name) | {node.metadata.name for node in found}
        for _ in range(count - len(there)):
            name = f"{spec.name}-{secrets.token_hex(4)}"
            # Before it is made: an answer that is lost leaves open whether it was.
            self._expected[name] = _Expected(spec.name, time.monotonic() + EXPECTED_SECONDS)
            await self._api.create(self._nodes, self._node(spec, name), rank=Rank.NODE)
        return ""

    @override
    async def remove(self, status: PoolStatus, nodes: Sequence[str]) -> str:
        for name in nodes:
            node = self._mirror.get(name)
            if node is None:
                continue
            try:
                await self._api.delete(self._nodes, name, uid=node.metadata.uid, rank=Rank.NODE)
            except (NotFoundError, ConflictError):
                continue  # it is gone, or another has its name
        return ""

    @override
    async def progress(self, operation: str) -> Progress:
        return Progress(over=True)

    def _node(self, spec: PoolSpec, name: str) -> dict[str, Any]:
        room = {
            "cpu": f"{spec.room.millicores}m",
            "memory": f"{spec.room.memory // MIB}Mi",
            "pods": str(spec.pods),
            "ephemeral-storage": DISK,
        }
        taint = {"key": POOL_LABEL, "value": spec.name, "effect": "NoSchedule"}
        taints = [taint] if spec.dedicated else []
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {
                    **spec.labels,
                    POOL_LABEL: spec.name,
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                },
                "annotations": {
                    FAKE[0]: FAKE[1],
                    BOOT_SECONDS: f"{self._boot.total_seconds():g}",
                },
            },
            "spec": {"taints": taints},
            "status": {"capacity": room, "allocatable": room, "conditions": [_booting()]},
        }


def _booting() -> dict[str, str]:
    """As a kubelet registers: on a node that says nothing of itself, pods would be placed."""
    now = utc_now().strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "type": "Ready",
        "status": "False",
        "reason": "KubeletNotReady",
        "message": "it boots",
        "lastHeartbeatTime": now,
        "lastTransitionTime": now,
    }
