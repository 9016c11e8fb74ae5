"""What the cluster's objects mean to the node loop."""

from datetime import timedelta

import msgspec
import pytest

from slipway_scheduler.kubernetes.objects import Node, Pod
from slipway_scheduler.nodes.models import Kind, NodePhase
from slipway_scheduler.nodes.records import Record
from slipway_scheduler.nodes.room import NOTHING, Room
from slipway_scheduler.nodes.sight import LEAVING, Sight
from unit.scheduler.nodes.making import LIMITS, NOW, ago, spec

UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient memory.",
}


def pod(name="pod", *, role="session", node=None, phase="Pending", conditions=(), **metadata):
    body = {
        "metadata": {"name": name, "uid": f"uid-{name}", "labels": {"slipway.dev/role": role}}
        | metadata,
        "spec": {
            "nodeName": node,
            "containers": [{"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}}}] * 2,
            "initContainers": [{"resources": {"requests": {"cpu": "2", "memory": "1Gi"}}}],
        },
        "status": {"phase": phase, "conditions": list(conditions)},
    }
    return msgspec.convert(body, Pod)


def node(name="a", *, ready="True", age=60.0, reason="", taints=(), closed=False, **metadata):
    conditions = [] if ready is None else [
        {"type": "Ready", "status": ready, "reason": reason, "lastTransitionTime": ago(5)}
    ]  # fmt: skip
    body = {
        "metadata": {
            "name": name,
            "uid": f"uid-{name}",
            "labels": {"slipway.dev/pool": "small"},
            "creationTimestamp": ago(age),
        }
        | metadata,
        "spec": {"unschedulable": closed, "taints": [{"key": key} for key in taints]},
        "status": {
            "conditions": conditions,
            "allocatable": {"cpu": "3800m", "memory": "8Gi", "pods": "110"},
        },
    }
    return msgspec.convert(body, Node)


def look(pods=(), nodes=(), record=None, *, sight=None, now=NOW):
    seen = sight or Sight([spec()], LIMITS)
    found, waiting = seen.look(pods, nodes, {"small": record or Record()}, now=now)
    return found["small"], waiting


def only_node(*pods, **more):
    (seen,), _ = look(pods, [node(**more)])
    return seen


@pytest.mark.parametrize(
    ("role", "kind"),
    [
        ("session", Kind.SESSION),
        ("member", Kind.MEMBER),
        ("retired", Kind.MEMBER),
        ("placeholder", Kind.PLACEHOLDER),
        ("whatever", Kind.SESSION),
    ],
)
def test_what_a_pod_is_is_told_by_its_role_and_the_unknown_counts_as_a_session(role, kind):
    assert only_node(pod(role=role, node="a")).pods[0].kind is kind


def test_a_pod_takes_what_its_containers_ask_for_or_the_larger_init_container():
    assert only_node(pod(node="a")).pods[0].room == Room(2000, 2 * 2**30, 1)


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_is_on_no_node(phase):
    assert only_node(pod(node="a", phase=phase)).sessions == 0


def test_a_pod_that_is_ending_still_is():
    seen = only_node(pod(node="a", phase="Running", deletionTimestamp=NOW))

    assert seen.sessions == 1
    assert seen.staying == ()


def test_a_pod_that_fits_nowhere_waits_since_it_was_first_seen():
    sight = Sight([spec()], LIMITS)
    waits = pod(conditions=[UNSCHEDULABLE])
    look([waits], sight=sight)

    _, (seen,) = look([waits], sight=sight, now=NOW + timedelta(seconds=3))

    assert seen.since == NOW
    assert seen.full


@pytest.mark.parametrize(
    "condition",
    [
        UNSCHEDULABLE | {"reason": "SchedulingGated"},
        UNSCHEDULABLE | {"status": "True"},
        UNSCHEDULABLE | {"type": "Ready"},
    ],
)
def test_other_pods_do_not_wait_for_a_node(condition):
    assert look([pod(conditions=[condition])])[1] == ()
    assert look([pod(conditions=[UNSCHEDULABLE], deletionTimestamp=NOW)])[1] == ()


def test_a_reason_that_is_not_about_room_is_told_apart():
    tainted = UNSCHEDULABLE | {"message": "0/3 nodes are available: 3 had untolerated taints."}

    assert not look([pod(conditions=[tainted])])[1][0].full


@pytest.mark.parametrize(
    ("more", "phase"),
    [
        ({}, NodePhase.READY),
        ({"ready": "False"}, NodePhase.COMING),
        ({"ready": None}, NodePhase.COMING),
        ({"ready": "Unknown", "reason": "NodeStatusNeverUpdated"}, NodePhase.COMING),
        ({"ready": "False", "age": 905}, NodePhase.COMING),
        ({"ready": "False", "age": 911}, NodePhase.BROKEN),
        ({"taints": ["node.cloudprovider.kubernetes.io/uninitialized"]}, NodePhase.COMING),
        ({"taints": ["slipway.dev/pool"]}, NodePhase.READY),
    ],
)
def test_how_a_node_is(more, phase):
    assert only_node(**more).phase is phase


def test_a_node_that_was_ready_before_is_not_coming_but_broken():
    (seen,), _ = look((), [node(ready="Unknown")], Record(came=("a",)))

    assert seen.phase is NodePhase.BROKEN


def test_a_node_offers_no_more_than_its_pool_is_said_to():
    assert only_node().room == Room(3800, 4096 * 2**20, 100)


def test_a_node_that_is_short_of_memory_offers_nothing():
    assert only_node(taints=["node.kubernetes.io/memory-pressure"]).room == NOTHING


def test_a_node_that_is_closed_says_since_when_that_was_seen():
    sight = Sight([spec()], LIMITS)
    look((), [node(closed=True)], sight=sight)

    (seen,), _ = look((), [node(closed=True)], sight=sight, now=NOW + timedelta(seconds=9))

    assert seen.cordoned_since == NOW
    assert not seen.usable
    assert not seen.leaving


def test_who_is_leaving_stands_in_the_record_or_on_a_node_of_our_making():
    (first, second), _ = look(
        (), [node("a"), node("b", annotations={LEAVING: "true"})], Record(leaving=("a",))
    )

    assert first.leaving
    assert second.leaving


def test_nodes_of_no_pool_of_ours_are_none_of_our_business():
    assert look((), [node(labels={"slipway.dev/pool": "other"}), node(labels={})])[0] == ()
