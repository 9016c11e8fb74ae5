"""A model of the rest of a cluster: nodes, who places pods on them, and who runs them there.

It shows what a real kubelet does not show on demand: an image that cannot be had, a crash, a
machine that falls silent and returns with its pods alive, an address that is used again at once.
Pods of higher priority take nobody's place.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self

from support.kubernetes.containers import Course
from support.kubernetes.defaults import timestamp
from support.kubernetes.hands import Hands, key_of
from support.kubernetes.kinds import NODE, POD
from support.kubernetes.kubelets import Kubelets, Machine
from support.kubernetes.placing import Placing
from support.kubernetes.server import FakeApiServer
from support.kubernetes.store import Object
from support.kubernetes.verbs import with_condition

NODE_CONTROLLER = "system:serviceaccount:kube-system:node-controller"
POD_COLLECTOR = "system:serviceaccount:kube-system:pod-garbage-collector"
UNREACHABLE = "node.kubernetes.io/unreachable"


class Machines:
    def __init__(self, server: FakeApiServer, *, course: Callable[[Object], Course]) -> None:
        self._store = server.store
        self._kubelets = Kubelets(server, course)
        self._placing = Placing(server)
        self._controller = Hands(server, NODE_CONTROLLER)
        self._collector = Hands(server, POD_COLLECTOR)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """Boots by name of the node, evictions by uid of the pod."""

    @classmethod
    @asynccontextmanager
    async def run(
        cls, server: FakeApiServer, *, course: Callable[[Object], Course] = lambda _: Course()
    ) -> AsyncIterator[Self]:
        """``course`` says how a pod goes, by its manifest."""
        machines = cls(server, course=course)
        placing = asyncio.create_task(machines._placing.run())
        try:
            yield machines
        finally:
            tasks = [placing, *machines._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await machines._kubelets.close()

    def add_node(
        self,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        taints: Sequence[Mapping[str, str]] = (),
        cpu: str = "4",
        memory: str = "16Gi",
        pods: int = 110,
        boot_seconds: float = 0,
    ) -> None:
        """A machine that is ready after its boot."""
        capacity = {"cpu": cpu, "memory": memory, "pods": str(pods)}
        self._controller.create_node(
            {
                "metadata": {"name": name, "labels": dict(labels or {})},
                "spec": {"taints": [dict(taint) for taint in taints]} if taints else {},
                "status": {"capacity": capacity, "allocatable": capacity},
            }
        )
        self._kubelets.machines[name] = Machine(name)
        self._start(name, self._boot(name, boot_seconds))

    def lose_node(self, name: str) -> None:
        """It falls silent; its pods live on, and are given up after what they tolerate."""
        self._kubelets.machines[name].answers.clear()
        self._set_ready(name, "Unknown", "NodeStatusUnknown")
        taint = {"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": timestamp()}
        self._controller.patch_node(name, {"spec": {"taints": [*self._other_taints(name), taint]}})
        for pod in self._pods_on(name):
            self._controller.set_condition(pod, "Ready", "False", reason="NodeNotReady")
            self._start(pod["metadata"]["uid"], self._give_up(pod))

    def return_node(self, name: str) -> None:
        """It is back, and hears only now what was decided about its pods."""
        for pod in self._pods_on(name):
            eviction = self._tasks.pop(pod["metadata"]["uid"], None)
            if eviction is not None:
                eviction.cancel()
        self._set_ready(name, "True", "KubeletReady")
        self._controller.patch_node(name, {"spec": {"taints": self._other_taints(name)}})
        self._kubelets.machines[name].answers.set()

    def remove_node(self, name: str) -> None:
        """It vanishes with all that ran on it, and its pods are collected."""
        self._controller.delete_node(name)
        del self._kubelets.machines[name]
        for pod in self._pods_on(name):
            self._kubelets.drop(pod["metadata"]["uid"])
            words = {"reason": "DeletionByPodGC", "message": "PodGC: node no longer exists"}
            conditions = with_condition(pod, "DisruptionTarget", "True", **words)
            self._collector.set_status(pod, {"phase": "Failed", "conditions": conditions})
            self._collector.delete(pod, grace=0)

    async def _boot(self, name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._kubelets.machines[name].answers.set()
        self._set_ready(name, "True", "KubeletReady")

    async def _give_up(self, pod: Object) -> None:
        tolerated = [
            found.get("tolerationSeconds")
            for found in pod["spec"].get("tolerations", [])
            if found.get("key") in {None, UNREACHABLE}
            and found.get("effect") in {None, "", "NoExecute"}
        ]
        if None in tolerated:
            return  # it stays for ever
        await asyncio.sleep(min(tolerated, default=0))
        left = self._controller.find(key_of(pod), pod["metadata"]["uid"])
        if left is not None:
            words = {"message": "Taint manager: deleting due to NoExecute taint"}
            self._controller.set_condition(
                left, "DisruptionTarget", "True", reason="DeletionByTaintManager", **words
            )
            self._controller.delete(left)

    def _pods_on(self, node: str) -> list[Object]:
        return [pod for pod in self._store.all(POD) if pod["spec"].get("nodeName") == node]

    def _other_taints(self, name: str) -> list[Object]:
        return [found for found in self._node(name)["spec"].get("taints", [])
                if found["key"] != UNREACHABLE]  # fmt: skip

    def _set_ready(self, name: str, status: str, reason: str) -> None:
        conditions = with_condition(self._node(name), "Ready", status, reason=reason)
        status_of = {"status": {"conditions": conditions}}
        self._controller.patch_node(name, status_of, subresource="status")

    def _node(self, name: str) -> Object:
        node = self._store.get(NODE, ("", name))
        assert node is not None
        return node

    def _start(self, name: str, work: Coroutine[None, None, None]) -> None:
        self._tasks[name] = asyncio.create_task(work)
