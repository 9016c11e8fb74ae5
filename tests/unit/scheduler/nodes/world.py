"""A node loop on the fake API server, with a cloud and mirrors in the hands of the test."""

import asyncio
import json
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic
from typing import Any

import msgspec

from slipway_common.contracts.base import utc_now
from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.errors import NotFoundError
from slipway_scheduler.kubernetes.limits import Rank, WriteLimiter
from slipway_scheduler.kubernetes.objects import Node, Pod
from slipway_scheduler.leadership import Leadership
from slipway_scheduler.nodes.loop import NodeLoop
from slipway_scheduler.nodes.models import PoolStatus
from slipway_scheduler.nodes.placeholders import PlaceholderStyle
from slipway_scheduler.nodes.records import Record
from slipway_scheduler.nodes.specs import NodeLimits, PoolSpec
from support.kubernetes.server import FakeApiServer
from support.waiting import eventually
from unit.scheduler.nodes.making import spec
from unit.scheduler.nodes.scripted_cloud import ScriptedCloud

OWN, SESSIONS = "slipway", "slipway-sessions"
PODS, NODES = Resource("v1", "pods", SESSIONS), Resource("v1", "nodes")
MAPS = Resource("v1", "configmaps", OWN)
FAST = NodeLimits.model_validate(
    {
        "look_every": 0.1,
        "batch_idle": 0.1,
        "idle_for": 0.4,
        "settle": 0.6,
        "first_pause": 30,
        "boot_longest": 60,
    }
)
UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/0 nodes are available: Insufficient cpu.",
}


@dataclass
class Mirror:
    """Shows what it was last filled with."""

    objects: dict[str, Any] = field(default_factory=dict)
    synced: asyncio.Event = field(default_factory=asyncio.Event)
    age_seconds: float = 0.0


@dataclass
class World:
    server: FakeApiServer
    api: KubernetesApi
    specs: tuple[PoolSpec, ...] = (spec(),)
    cloud: ScriptedCloud = field(default_factory=ScriptedCloud)
    pods: Mirror = field(default_factory=Mirror)
    nodes: Mirror = field(default_factory=Mirror)
    later: timedelta = timedelta()
    """How far the loop's clock is ahead."""

    @classmethod
    @asynccontextmanager
    async def run(cls, folder, **more: Any):
        async with FakeApiServer.run(folder) as server, AsyncExitStack() as stack:
            limiter = WriteLimiter(per_second=1000, burst=1000)
            api = await KubernetesApi.open(server.kubeconfig(), stack, limiter=limiter)
            world = cls(server, api, **more)
            for name in (OWN, SESSIONS):
                body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
                await api.create(Resource("v1", "namespaces"), body, rank=Rank.NODE)
            await api.create(
                Resource("scheduling.k8s.io/v1", "priorityclasses"),
                {
                    "apiVersion": "scheduling.k8s.io/v1",
                    "kind": "PriorityClass",
                    "metadata": {"name": "slipway-placeholder"},
                    "value": -10,
                },
                rank=Rank.NODE,
            )
            for each in world.specs:
                world.cloud.statuses[each.name] = PoolStatus(each.name, target=0)
            await world.refresh()
            yield world

    def now(self) -> datetime:
        return utc_now() + self.later

    def loop(self, cloud: ScriptedCloud | None = None) -> NodeLoop:
        return NodeLoop(
            self.api,
            cloud or self.cloud,
            specs=self.specs,
            pods=self.pods,
            nodes=self.nodes,
            own_namespace=OWN,
            placeholders=PlaceholderStyle(image="pause:1", namespace=SESSIONS),
            limits=FAST,
            clock=self.now,
            jitter=lambda: 0.5,
        )

    @asynccontextmanager
    async def leading(self, epoch: int = 1, *, loop: NodeLoop | None = None):
        """A loop that leads inside this block, and the task that it runs in."""
        leading = loop or self.loop()
        task = asyncio.create_task(leading.run(Leadership(epoch, until=monotonic() + 600)))
        try:
            yield leading, task
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def refresh(self) -> None:
        """Let the mirrors show what there is now."""
        for mirror, resource, kind in ((self.pods, PODS, Pod), (self.nodes, NODES, Node)):
            content = await self.api.watches.request("GET", resource.path())
            found = [msgspec.convert(item, kind) for item in json.loads(content)["items"]]
            mirror.objects = {item.metadata.name: item for item in found}
            mirror.synced.set()

    async def record(self, pool: str = "small") -> Record:
        content = json.loads(await self.api.get(MAPS, f"slipway-node-pool-{pool}"))
        return msgspec.json.decode(content["data"]["record.json"], type=Record)

    async def claimed(self, *, by: int = 1) -> None:
        async def found() -> bool:
            try:
                return (await self.record()).epoch == by
            except (NotFoundError, msgspec.MsgspecError):
                return False

        await eventually(found, what=f"the claim of epoch {by}")

    async def put_record(self, record: Record, pool: str = "small") -> None:
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"slipway-node-pool-{pool}"},
            "data": {"record.json": msgspec.json.encode(record).decode()},
        }
        await self.api.create(MAPS, body, rank=Rank.NODE)

    async def add_pod(
        self, name: str, *, role: str = "session", node: str | None = None, refresh: bool = True
    ) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"slipway.dev/role": role}},
            "spec": {
                "containers": [
                    {
                        "name": "main",
                        "image": "any:1",
                        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
                    }
                ]
            },
        }
        await self.api.create(PODS, body, rank=Rank.NODE)
        if node is None:
            waits = [{"op": "add", "path": "/status/conditions", "value": [UNSCHEDULABLE]}]
            await self.api.patch(PODS, name, waits, rank=Rank.NODE, subresource="status")
        else:
            binding = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": name},
                "target": {"kind": "Node", "name": node},
            }
            path = PODS.path(name, subresource="binding")
            await self.api.watches.request("POST", path, body=binding)
        if refresh:
            await self.refresh()

    async def add_node(self, name: str, *, closed: bool = False) -> None:
        size = {"cpu": "4", "memory": "4Gi", "pods": "100"}
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {"slipway.dev/pool": "small"}},
            "spec": {"unschedulable": True} if closed else {},
            "status": {
                "allocatable": size,
                "capacity": size,
                "conditions": [
                    {
                        "type": "Ready",
                        "status": "True",
                        "reason": "KubeletReady",
                        "lastTransitionTime": "2026-01-01T00:00:00Z",
                    }
                ],
            },
        }
        await self.api.create(NODES, body, rank=Rank.NODE)
        status = self.cloud.statuses["small"]
        self.cloud.statuses["small"] = PoolStatus("small", target=(status.target or 0) + 1)
        await self.refresh()

    async def is_closed(self, node: str) -> bool:
        found = json.loads(await self.api.get(NODES, node))
        return bool(found["spec"].get("unschedulable"))

    async def names(self, resource: Resource) -> set[str]:
        content = json.loads(await self.api.watches.request("GET", resource.path()))
        return {item["metadata"]["name"] for item in content["items"]}

    async def soon(self, look, *, what: str, seconds: float = 15) -> Any:
        """``look`` may be sync or not; the mirrors follow meanwhile."""

        async def found() -> Any:
            await self.refresh()
            answer = look()
            return await answer if asyncio.iscoroutine(answer) else answer

        return await eventually(found, what=what, seconds=seconds)
