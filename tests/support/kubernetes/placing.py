"""Who places pods on the nodes of the model: the first node with room, by name."""

import asyncio
from collections import Counter
from collections.abc import Mapping

from support.kubernetes.hands import Hands
from support.kubernetes.kinds import NODE, POD
from support.kubernetes.server import FakeApiServer
from support.kubernetes.store import Object

PLACER = "system:kube-scheduler"
_UNITS = {"m": 0.001, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


class Placing:
    def __init__(self, server: FakeApiServer) -> None:
        self._store = server.store
        self._hands = Hands(server, PLACER)
        self._changed = asyncio.Event()
        server.store.listen(lambda _: self._changed.set())

    async def run(self) -> None:
        while True:
            self._changed.clear()
            self._place_all()
            await self._changed.wait()
            await asyncio.sleep(0.005)  # what changes together is looked at together

    def _place_all(self) -> None:
        pods, nodes = self._store.all(POD), self._store.all(NODE)
        unplaced = [pod for pod in pods if _waits(pod)]
        if not unplaced:
            return
        used = {node["metadata"]["name"]: Counter[str]() for node in nodes}
        for pod in pods:
            on = pod["spec"].get("nodeName")
            if on in used and pod["status"]["phase"] in {"Pending", "Running"}:
                used[on].update(_requests(pod))
        for pod in sorted(unplaced, key=lambda found: -found["spec"].get("priority", 0)):
            wanted = _requests(pod)
            for node in nodes:
                on = node["metadata"]["name"]
                if _fits(pod, node) and _has_room(node, used[on] + wanted):
                    used[on].update(wanted)
                    self._hands.bind(pod, on)
                    break
            else:
                message = f"0/{len(nodes)} nodes are available"
                self._hands.set_condition(
                    pod, "PodScheduled", "False", reason="Unschedulable", message=message
                )


def _waits(pod: Object) -> bool:
    gated = pod["spec"].get("schedulingGates")
    ending = pod["metadata"].get("deletionTimestamp")
    return not pod["spec"].get("nodeName") and not ending and not gated


def _fits(pod: Object, node: Object) -> bool:
    ready = any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in node["status"].get("conditions", [])
    )
    if not ready or node["spec"].get("unschedulable"):
        return False
    labels = node["metadata"].get("labels", {})
    if any(labels.get(key) != value for key, value in pod["spec"].get("nodeSelector", {}).items()):
        return False
    tolerations = pod["spec"].get("tolerations", [])
    return all(
        any(_tolerates(toleration, taint) for toleration in tolerations)
        for taint in node["spec"].get("taints", [])
        if taint["effect"] in {"NoSchedule", "NoExecute"}
    )


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") not in {None, "", taint["effect"]}:
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in {None, "", taint["key"]}
    if toleration.get("key") != taint["key"]:
        return False
    return bool(toleration.get("value", "") == taint.get("value", ""))


def _has_room(node: Object, used: Mapping[str, float]) -> bool:
    allocatable = node["status"]["allocatable"]
    return all(used.get(name, 0) <= amount(allocatable[name]) for name in ("cpu", "memory", "pods"))


def _requests(pod: Object) -> Counter[str]:
    total: Counter[str] = Counter({"pods": 1})
    for part in ("containers", "initContainers"):
        for container in pod["spec"].get(part, []):
            requests = container["resources"].get("requests", {})
            for name in ("cpu", "memory"):
                total[name] += amount(requests.get(name, "0"))  # type: ignore[assignment]
    return total


def amount(text: str) -> float:
    for unit, size in _UNITS.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * size
    return float(text)
