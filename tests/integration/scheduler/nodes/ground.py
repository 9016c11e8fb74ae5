"""A node loop on a real control plane, where KWOK plays the nodes; each test has its own corner."""

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from typing_extensions import override

from slipway_common.contracts.base import utc_now
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.errors import ConflictError, NotFoundError
from slipway_scheduler.kubernetes.limits import Rank, WriteLimiter
from slipway_scheduler.kubernetes.objects import Node, Pod
from slipway_scheduler.kubernetes.reflector import Reflector
from slipway_scheduler.leadership import Elector
from slipway_scheduler.nodes.kwok import KwokPools
from slipway_scheduler.nodes.loop import NodeLoop
from slipway_scheduler.nodes.models import PoolStatus
from slipway_scheduler.nodes.placeholders import PlaceholderStyle
from slipway_scheduler.nodes.specs import POOL_LABEL, NodeLimits, PoolSpec
from support.waiting import eventually

FAST = NodeLimits.model_validate(
    {
        "idle_for": 4,
        "settle": 2,
        "boot_longest": 20,
        "first_pause": 3,
        "longest_pause": 6,
        "ask_again": 5,
        "disbelief": 10,
    }
)
SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
PATIENCE = 90


class WitnessedPools(KwokPools):
    """Notes each order, and which sessions a node had right when it was removed."""

    def __init__(self, *arguments: Any, ground: "Ground", **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._ground = ground
        self.sizes: list[int] = []
        self.removed: list[str] = []
        self.lost: list[str] = []

    @override
    async def set_size(self, status: PoolStatus, count: int) -> str:
        self.sizes.append(count)
        return await super().set_size(status, count)

    @override
    async def remove(self, status: PoolStatus, nodes: Sequence[str]) -> str:
        self.removed += nodes
        done = await super().remove(status, nodes)
        for node in nodes:
            self.lost += await self._ground.sessions_on(node)
        return done


@dataclass
class Ground:
    api: KubernetesApi
    kubeconfig: Path
    own: str
    sessions: str
    pool: str
    pods: Reflector[Pod]
    nodes: Reflector[Node]
    loops: list[NodeLoop] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def open(cls, kubeconfig: Path) -> AsyncIterator["Ground"]:
        mark = uuid.uuid4().hex[:8]
        async with AsyncExitStack() as stack:
            limiter = WriteLimiter(per_second=500, burst=500)
            api = await KubernetesApi.open(kubeconfig, stack, limiter=limiter)
            changed: list[NodeLoop] = []

            def wake(_: object, __: object) -> None:
                for loop in changed:
                    loop.wake()

            sessions = f"sessions-{mark}"
            pods = Reflector(
                api.watches,
                Resource("v1", "pods", sessions),
                Pod,
                selector=labels.ROLE,
                on_change=wake,
            )
            nodes = Reflector(api.watches, Resource("v1", "nodes"), Node, on_change=wake)
            ground = cls(api, kubeconfig, f"own-{mark}", sessions, f"p{mark}", pods, nodes, changed)
            await ground._furnish()
            mirrors = [asyncio.create_task(mirror.run()) for mirror in (pods, nodes)]
            try:
                yield ground
            finally:
                for task in mirrors:
                    task.cancel()
                await asyncio.gather(*mirrors, return_exceptions=True)
                await ground._clear()

    def spec(self, **more: Any) -> PoolSpec:
        stated = {"name": self.pool, "cpu": 4, "memory_mib": 4096, "maximum": 12} | more
        return PoolSpec.model_validate(stated)

    @asynccontextmanager
    async def following(
        self, *, boot: float = 2, limits: NodeLimits = FAST, **more: Any
    ) -> AsyncIterator[tuple[NodeLoop, WitnessedPools]]:
        """A scheduler's node loop that stands for election inside this block."""
        specs = (self.spec(**more),)
        cloud = WitnessedPools(
            self.api,
            specs,
            nodes=self.nodes.objects,
            boot=timedelta(seconds=boot),
            ground=self,
        )
        loop = NodeLoop(
            self.api,
            cloud,
            specs=specs,
            pods=self.pods,
            nodes=self.nodes,
            own_namespace=self.own,
            placeholders=PlaceholderStyle(image="pause:1", namespace=self.sessions),
            limits=limits,
        )
        elector = Elector(self.api, namespace=self.own, name="slipway-nodes", identity="test")
        self.loops.append(loop)
        task = asyncio.create_task(elector.run(loop.run))
        try:
            yield loop, cloud
        finally:
            self.loops.remove(loop)
            task.cancel()
            await asyncio.wait({task})

    async def add_session(self, name: str, *, role: str = "session", **more: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {labels.ROLE: role},
                "annotations": {f"slipway.dev/{key}": text for key, text in more.items()},
            },
            "spec": {
                "automountServiceAccountToken": False,
                "nodeSelector": {POOL_LABEL: self.pool},
                "priorityClassName": "slipway-session",
                "terminationGracePeriodSeconds": 5,
                "containers": [
                    {
                        "name": "main",
                        "image": "any:1",
                        "resources": {"requests": {"cpu": "1", "memory": "512Mi"}},
                        "securityContext": SECURITY,
                    }
                ],
            },
        }
        await self.api.create(self._pods, body, rank=Rank.SESSION)

    async def end(self, name: str) -> None:
        pod = await self.pod(name)
        await self.api.delete(self._pods, name, uid=pod["metadata"]["uid"], rank=Rank.END)

    async def pod(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(await self.api.get(self._pods, name))
        return found

    async def node_of(self, name: str) -> str | None:
        try:
            return (await self.pod(name))["spec"].get("nodeName")
        except NotFoundError:
            return None

    async def runs(self, *names: str, seconds: float = PATIENCE) -> None:
        async def all_run() -> bool:
            pods = [self.pods.objects.get(name) for name in names]
            return all(pod is not None and pod.status.phase == "Running" for pod in pods)

        await eventually(all_run, what=f"{len(names)} running pods", seconds=seconds)

    async def sessions_on(self, node: str) -> list[str]:
        """By the server's own word, those that have not ended."""
        fields = f"spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
        content = await self.api.watches.request(
            "GET",
            self._pods.path(),
            params={"fieldSelector": fields, "labelSelector": f"{labels.ROLE}=session"},
        )
        return [pod["metadata"]["name"] for pod in json.loads(content)["items"]]

    def pool_nodes(self) -> list[str]:
        return [name for name, node in self.nodes.objects.items() if node.pool == self.pool]

    async def size_is(self, count: int, *, seconds: float = PATIENCE) -> None:
        async def look() -> bool:
            return len(self.pool_nodes()) == count

        await eventually(look, what=f"a pool of {count} nodes", seconds=seconds)

    async def record(self) -> dict[str, Any]:
        maps = Resource("v1", "configmaps", self.own)
        content = json.loads(await self.api.get(maps, f"slipway-node-pool-{self.pool}"))
        found: dict[str, Any] = json.loads(content["data"]["record.json"])
        return found | {"age": utc_now()}

    @property
    def _pods(self) -> Resource:
        return Resource("v1", "pods", self.sessions)

    async def _furnish(self) -> None:
        classes = Resource("scheduling.k8s.io/v1", "priorityclasses")
        namespaces = Resource("v1", "namespaces")
        for name, value in (("slipway-session", 0), ("slipway-placeholder", -10)):
            body = {
                "apiVersion": "scheduling.k8s.io/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": value,
            }
            with contextlib.suppress(ConflictError):  # another test has made it
                await self.api.create(classes, body, rank=Rank.NODE)
        restricted = {"pod-security.kubernetes.io/enforce": "restricted"}
        for name, marks in ((self.own, {}), (self.sessions, restricted)):
            body = {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": name, "labels": marks},
            }
            await self.api.create(namespaces, body, rank=Rank.NODE)

        async def account() -> bool:
            accounts = Resource("v1", "serviceaccounts", self.sessions)
            try:
                return bool(await self.api.get(accounts, "default"))
            except NotFoundError:
                return False

        await eventually(account, what="the namespace's account")

    async def _clear(self) -> None:
        for name in (self.own, self.sessions):
            resource = Resource("v1", "namespaces")
            uid = json.loads(await self.api.get(resource, name))["metadata"]["uid"]
            await self.api.delete(resource, name, uid=uid, rank=Rank.NODE)
        for name in self.pool_nodes():
            uid = self.nodes.objects[name].metadata.uid
            await self.api.delete(Resource("v1", "nodes"), name, uid=uid, rank=Rank.NODE)
