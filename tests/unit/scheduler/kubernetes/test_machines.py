"""The model of nodes and kubelets goes the courses that tests of the scheduler rely on."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from support.kubernetes.audit import check_audit_log
from support.kubernetes.containers import Course
from support.kubernetes.kinds import NODE, POD, PRIORITY_CLASS
from support.kubernetes.machines import Machines
from support.kubernetes.others import NAMESPACE_NAME, Pods
from support.kubernetes.server import FakeApiServer
from support.kubernetes.verbs import Ask
from support.waiting import eventually

FINALIZER = "slipway.dev/concluded"
SMALL = {"requests": {"cpu": "1", "memory": "1Gi"}}
QUICK = [
    {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute",
     "tolerationSeconds": 0}
    for what in ("not-ready", "unreachable")
]  # fmt: skip


class World:
    """Pods as they are at any moment, on machines of the model."""

    def __init__(
        self,
        server: FakeApiServer,
        pods: Pods,
        machines: Machines,
        courses: dict[str, Course],
    ) -> None:
        """``courses``: by name of the pod."""
        self._server = server
        self.pods = pods
        self.machines = machines
        self.courses = courses

    def pod(self, name: str) -> Any:
        return self._server.store.get(POD, (NAMESPACE_NAME, name))

    async def until(self, name: str, holds: Callable[[Any], bool], what: str) -> Any:
        async def look() -> Any:
            found = self.pod(name)
            return found if found is not None and holds(found) else None

        return await eventually(look, seconds=10, what=f"{what} of {name}: {self.pod(name)}")

    async def runs(self, name: str) -> Any:
        return await self.until(name, lambda pod: ready(pod) == "True", "readiness")

    async def is_gone(self, name: str) -> None:
        async def gone() -> bool:
            return self.pod(name) is None

        await eventually(gone, seconds=10, what=f"the end of {name}")


@pytest.fixture
async def world(server: FakeApiServer, pods: Pods) -> AsyncIterator[World]:
    courses: dict[str, Course] = {}

    def course(pod: Any) -> Course:
        return courses.get(pod["metadata"]["name"], Course(start_seconds=0.01))

    async with Machines.run(server, course=course) as machines:
        yield World(server, pods, machines, courses)


def ready(pod: Any) -> str:
    return condition(pod, "Ready").get("status", "")


def condition(pod: Any, kind: str) -> Any:
    conditions = pod["status"].get("conditions", [])
    return next((found for found in conditions if found["type"] == kind), {})


def state(pod: Any) -> Any:
    return pod["status"]["containerStatuses"][0]["state"]


async def test_a_pod_is_placed_and_runs(world: World) -> None:
    world.machines.add_node("node-1")
    world.pods.create("a")

    pod = await world.runs("a")

    assert pod["spec"]["nodeName"] == "node-1"
    assert pod["status"]["phase"] == "Running"
    assert pod["status"]["podIP"].startswith("10.244.")
    assert "running" in state(pod)
    assert condition(pod, "PodScheduled")["status"] == "True"


async def test_a_pod_that_is_told_to_end_ends_and_is_gone(world: World) -> None:
    world.machines.add_node("node-1")
    world.pods.create("a")
    await world.runs("a")

    world.pods.end("a")

    await world.is_gone("a")


async def test_a_pod_with_a_finalizer_shows_how_it_ended(world: World) -> None:
    world.machines.add_node("node-1")
    world.courses["a"] = Course(start_seconds=0.01, message='{"reason": "finished"}')
    world.pods.create("a", metadata={"finalizers": [FINALIZER]})
    await world.runs("a")

    world.pods.end("a")

    pod = await world.until(
        "a", lambda pod: pod["metadata"].get("deletionGracePeriodSeconds") == 0, "the last word"
    )
    assert pod["status"]["phase"] == "Succeeded"
    assert state(pod)["terminated"]["message"] == '{"reason": "finished"}'
    assert pod["metadata"]["finalizers"] == [FINALIZER]


async def test_a_pod_that_does_not_obey_is_killed_after_its_grace(world: World) -> None:
    world.machines.add_node("node-1")
    world.courses["a"] = Course(start_seconds=0.01, obeys=False)
    world.pods.create("a", terminationGracePeriodSeconds=1, metadata={"finalizers": [FINALIZER]})
    await world.runs("a")

    world.pods.end("a")

    pod = await world.until("a", lambda pod: pod["status"]["phase"] == "Failed", "the kill")
    assert state(pod)["terminated"]["exitCode"] == 137


@pytest.mark.parametrize(
    ("course", "phase", "code", "reason"),
    [
        (Course(ends_after=0.01), "Succeeded", 0, "Completed"),
        (Course(ends_after=0.01, exit_code=1), "Failed", 1, "Error"),
        (Course(ends_after=0.01, exit_code=137, reason="OOMKilled"), "Failed", 137, "OOMKilled"),
    ],
    ids=["ends", "crashes", "out of memory"],
)
async def test_a_pod_that_ends_by_itself_says_how(
    world: World, course: Course, phase: str, code: int, reason: str
) -> None:
    world.machines.add_node("node-1")
    world.courses["a"] = course
    world.pods.create("a")

    pod = await world.until("a", lambda pod: pod["status"]["phase"] == phase, phase)

    assert state(pod)["terminated"]["exitCode"] == code
    assert state(pod)["terminated"]["reason"] == reason
    assert ready(pod) == "False"


async def test_an_image_that_cannot_be_had_is_told_and_nothing_starts(world: World) -> None:
    world.machines.add_node("node-1")
    world.courses["a"] = Course(trouble="ImagePullBackOff")
    world.pods.create("a")

    pod = await world.until(
        "a",
        lambda pod: "containerStatuses" in pod["status"],
        "the trouble",
    )

    assert state(pod)["waiting"]["reason"] == "ImagePullBackOff"
    assert pod["status"]["phase"] == "Pending"
    world.pods.end("a")
    await world.is_gone("a")


async def test_a_pod_without_room_waits_for_a_node_that_boots(world: World) -> None:
    world.machines.add_node("full", cpu="500m")
    world.pods.create("a", containers=[{"name": "runner", "image": "i", "resources": SMALL}])
    waiting = await world.until(
        "a", lambda pod: condition(pod, "PodScheduled").get("status") == "False", "the wait"
    )

    world.machines.add_node("roomy", boot_seconds=0.2)

    pod = await world.runs("a")
    assert condition(waiting, "PodScheduled")["reason"] == "Unschedulable"
    assert pod["spec"]["nodeName"] == "roomy"


async def test_who_is_more_important_is_placed_first(world: World, server: FakeApiServer) -> None:
    high = {"metadata": {"name": "high"}, "value": 1000}
    server.act(Ask("create", PRIORITY_CLASS, body=high))
    room = {"containers": [{"name": "runner", "image": "i", "resources": SMALL}]}
    world.pods.create("a-low", **room)
    world.pods.create("b-high", priorityClassName="high", **room)
    await world.until("a-low", lambda pod: condition(pod, "PodScheduled") != {}, "the wait")

    world.machines.add_node("small", cpu="1")

    await world.runs("b-high")
    assert "nodeName" not in world.pod("a-low")["spec"]


async def test_selectors_taints_and_cordons_keep_pods_away(world: World) -> None:
    taint = {"key": "slipway.dev/pool", "value": "big", "effect": "NoSchedule"}
    world.machines.add_node("tainted", labels={"slipway.dev/pool": "big"}, taints=[taint])
    world.pods.create("plain")
    tolerates = {**taint, "operator": "Equal"}
    world.pods.create("meant", nodeSelector={"slipway.dev/pool": "big"}, tolerations=[tolerates])

    pod = await world.runs("meant")

    assert pod["spec"]["nodeName"] == "tainted"
    assert "nodeName" not in world.pod("plain")["spec"]


async def test_a_lost_nodes_pods_are_given_up_and_seen_to_end_when_it_returns(
    world: World,
) -> None:
    world.machines.add_node("node-1")
    world.pods.create("a", tolerations=QUICK, metadata={"finalizers": [FINALIZER]})
    await world.runs("a")

    world.machines.lose_node("node-1")

    lost = await world.until(
        "a", lambda pod: "deletionTimestamp" in pod["metadata"], "the eviction"
    )
    assert ready(lost) == "False"
    assert lost["status"]["phase"] == "Running"
    assert condition(lost, "DisruptionTarget")["reason"] == "DeletionByTaintManager"
    world.machines.return_node("node-1")
    pod = await world.until("a", lambda pod: pod["status"]["phase"] != "Running", "the end")
    assert state(pod)["terminated"]


async def test_a_node_that_is_back_in_time_keeps_its_pods(world: World) -> None:
    world.machines.add_node("node-1")
    world.pods.create("a")
    before = await world.runs("a")

    world.machines.lose_node("node-1")
    world.machines.return_node("node-1")

    world.pods.create("b")
    await world.runs("b")
    after = world.pod("a")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert "deletionTimestamp" not in after["metadata"]


async def test_a_node_that_is_lost_takes_no_pods(world: World) -> None:
    world.machines.add_node("node-1")
    world.pods.create("a")
    await world.runs("a")
    world.machines.lose_node("node-1")
    world.pods.create("b")
    await world.until("b", lambda pod: condition(pod, "PodScheduled") != {}, "the wait")

    assert "nodeName" not in world.pod("b")["spec"]


async def test_the_pods_of_a_node_that_vanishes_have_failed(
    world: World, server: FakeApiServer
) -> None:
    world.machines.add_node("node-1")
    world.pods.create("a", metadata={"finalizers": [FINALIZER]})
    world.pods.create("b")
    await world.runs("a")
    await world.runs("b")

    world.machines.remove_node("node-1")

    assert server.store.get(NODE, ("", "node-1")) is None
    assert world.pod("a")["status"]["phase"] == "Failed"
    assert condition(world.pod("a"), "DisruptionTarget")["reason"] == "DeletionByPodGC"
    await world.is_gone("b")


async def test_an_address_is_used_again_at_once(world: World) -> None:
    world.machines.add_node("node-1")
    world.pods.create("a")
    first = await world.runs("a")
    world.pods.end("a")
    await world.is_gone("a")

    world.pods.create("b")

    second = await world.runs("b")
    assert second["status"]["podIP"] == first["status"]["podIP"]


async def test_what_happens_here_can_be_read_by_the_checker(
    world: World, server: FakeApiServer
) -> None:
    world.machines.add_node("node-1")
    labels = {"slipway.dev/role": "session", "slipway.dev/session": "a"}
    secret = world.pods.secret("session-a")
    owner = {"apiVersion": "v1", "kind": "Secret", "name": "session-a",
             "uid": secret["metadata"]["uid"]}  # fmt: skip
    world.pods.create("session-a", labels=labels, metadata={"ownerReferences": [owner]})
    await world.runs("session-a")
    world.pods.end("session-a")
    await world.is_gone("session-a")

    report = check_audit_log(server.audit)

    assert report.violations == []
    assert (report.sessions, report.creates, report.unended) == (1, 1, 0)
