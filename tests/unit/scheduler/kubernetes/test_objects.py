"""What is read of a pod and of a node, of answers as a real API server and kubelet give them."""

from datetime import UTC, datetime

import msgspec
import pytest

from slipway_scheduler.kubernetes.objects import Metadata, Node, Page, Pod, quantity

POD = b"""
{"kind":"Pod","apiVersion":"v1","metadata":{"name":"session-1","namespace":"sessions",
 "uid":"35a66180-568c-439a-b5fb-c9eaf7222cc4","resourceVersion":"2290","generation":2,
 "creationTimestamp":"2026-11-25T00:57:38Z","deletionTimestamp":"2026-11-25T00:58:08Z",
 "deletionGracePeriodSeconds":30,"labels":{"slipway.dev/role":"session"},
 "annotations":{"karpenter.sh/do-not-disrupt":"true"},"finalizers":["slipway.dev/concluded"],
 "ownerReferences":[{"apiVersion":"v1","kind":"Secret","name":"session-1",
  "uid":"24fd643e-95c6-4d46-bd27-dd58dc34db9c"}],
 "managedFields":[{"manager":"kubelet","operation":"Update","apiVersion":"v1",
  "time":"2026-11-25T00:57:38Z","fieldsType":"FieldsV1","fieldsV1":{"f:status":{}},
  "subresource":"status"}]},
 "spec":{"volumes":[{"name":"work","emptyDir":{"sizeLimit":"4Gi"}}],
 "initContainers":[{"name":"external","image":"i","restartPolicy":"Always",
  "resources":{"limits":{"cpu":"1","memory":"2Gi"},"requests":{"cpu":"1","memory":"2Gi"}}}],
 "containers":[{"name":"runner","image":"i","resources":{"limits":{"cpu":"1500m",
  "memory":"2Gi"},"requests":{"cpu":"1500m","memory":"2Gi"}}}],
 "nodeName":"node-1","nodeSelector":{"slipway.dev/pool":"big"},
 "priorityClassName":"slipway-session","priority":1000},
 "status":{"observedGeneration":2,"phase":"Running","conditions":[
  {"type":"PodReadyToStartContainers","status":"True","lastProbeTime":null,
   "lastTransitionTime":"2026-11-25T00:57:39Z"},
  {"type":"Ready","status":"False","lastProbeTime":null,
   "lastTransitionTime":"2026-11-25T00:57:40Z","reason":"ContainersNotReady",
   "message":"containers with unready status: [runner]"}],
 "hostIP":"10.0.0.1","hostIPs":[{"ip":"10.0.0.1"}],"podIP":"10.88.0.7",
 "podIPs":[{"ip":"10.88.0.7"}],"startTime":"2026-11-25T00:57:38Z",
 "initContainerStatuses":[{"name":"external","state":{"waiting":{"reason":"ImagePullBackOff",
  "message":"Back-off pulling image"}},"lastState":{},"ready":false,"restartCount":0,"image":"i",
  "imageID":"","started":false}],
 "containerStatuses":[{"name":"runner","state":{"terminated":{"exitCode":137,"signal":9,
  "reason":"OOMKilled","startedAt":"2026-11-25T00:57:38Z","finishedAt":"2026-11-25T00:57:40Z",
  "containerID":"containerd://1"}},"lastState":{"running":null},"ready":false,"restartCount":3,
  "image":"i","imageID":"","resources":{},"volumeMounts":[]}],"qosClass":"Guaranteed"}}
"""
NODE = b"""
{"kind":"Node","apiVersion":"v1","metadata":{"name":"node-1","uid":"u","resourceVersion":"7",
 "creationTimestamp":"2026-11-25T00:57:38Z","labels":{"slipway.dev/pool":"big"}},
 "spec":{"podCIDR":"10.88.0.0/24","unschedulable":true,"taints":[
  {"key":"node.kubernetes.io/unreachable","effect":"NoExecute",
   "timeAdded":"2026-11-25T01:00:00Z"}]},
 "status":{"capacity":{"cpu":"4"},"allocatable":{"cpu":"3920m","ephemeral-storage":"9Gi",
  "hugepages-2Mi":"0","memory":"15936532Ki","pods":"110"},
 "conditions":[{"type":"MemoryPressure","status":"Unknown",
   "lastHeartbeatTime":"2026-11-25T00:59:00Z","lastTransitionTime":"2026-11-25T01:00:00Z"},
  {"type":"Ready","status":"Unknown","lastHeartbeatTime":"2026-11-25T00:59:00Z",
   "lastTransitionTime":"2026-11-25T01:00:00Z","reason":"NodeStatusUnknown",
   "message":"Kubelet stopped posting node status."}],
 "daemonEndpoints":{"kubeletEndpoint":{"Port":10250}},"images":[{"names":["a"],"sizeBytes":1}]}}
"""


def test_a_pod_is_read_as_far_as_it_is_decided_by() -> None:
    pod = msgspec.json.decode(POD, type=Pod)

    assert pod.metadata.name == "session-1"
    assert pod.metadata.resource_version == "2290"
    assert pod.metadata.finalizers == ("slipway.dev/concluded",)
    assert pod.metadata.owner_references[0].uid == "24fd643e-95c6-4d46-bd27-dd58dc34db9c"
    assert pod.metadata.deletion_timestamp == datetime(2026, 11, 25, 0, 58, 8, tzinfo=UTC)
    assert pod.metadata.deletion_grace_period_seconds == 30
    assert pod.terminating
    assert pod.spec.node_name == "node-1"
    assert pod.spec.node_selector == {"slipway.dev/pool": "big"}
    assert pod.spec.containers[0].resources.requests.cpu == "1500m"
    assert pod.status.phase == "Running"
    assert pod.status.pod_ip == "10.88.0.7"
    ready = pod.status.condition("Ready")
    assert ready is not None
    assert not ready.holds
    assert ready.last_transition_time == datetime(2026, 11, 25, 0, 57, 40, tzinfo=UTC)
    assert pod.status.condition("Absent") is None
    (runner,) = pod.status.container_statuses
    assert runner.state.terminated is not None
    assert (runner.state.terminated.exit_code, runner.state.terminated.reason) == (137, "OOMKilled")
    assert (runner.restart_count, runner.started) == (3, None)
    (external,) = pod.status.init_container_statuses
    assert external.state.waiting is not None
    assert external.state.waiting.reason == "ImagePullBackOff"


def test_a_node_is_read_as_far_as_it_is_decided_by() -> None:
    node = msgspec.json.decode(NODE, type=Node)

    assert node.pool == "big"
    assert node.spec.unschedulable
    assert node.spec.taints[0].key == "node.kubernetes.io/unreachable"
    assert quantity(node.status.allocatable.cpu) == 3.92
    assert quantity(node.status.allocatable.memory) == 15936532 * 1024
    assert not node.status.ready
    assert node.not_ready_since() == datetime(2026, 11, 25, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize("kind", [Pod, Node, Metadata])
def test_what_is_new_and_empty_can_be_read(kind: type) -> None:
    found = msgspec.json.decode(b'{"metadata":{"name":"a","creationTimestamp":null}}', type=kind)

    assert found.metadata.name == "a"
    assert found.metadata.creation_timestamp is None


def test_a_page_without_items_and_one_with_none_are_read() -> None:
    empty = msgspec.json.decode(b'{"metadata":{"resourceVersion":"7"},"items":[]}', type=Page[Pod])
    null = msgspec.json.decode(
        b'{"metadata":{"resourceVersion":"7","continue":"next","remainingItemCount":3},'
        b'"items":null}',
        type=Page[Pod],
    )

    assert empty.items == []
    assert null.items is None
    assert null.metadata.continue_ == "next"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("1", 1),
        ("0.5", 0.5),
        (".5", 0.5),
        ("5.", 5),
        ("+2", 2),
        ("-2", -2),
        ("1500m", 1.5),
        ("100u", 0.0001),
        ("250n", 2.5e-7),
        ("1k", 1000),
        ("2M", 2_000_000),
        ("3G", 3e9),
        ("1T", 1e12),
        ("1P", 1e15),
        ("1E", 1e18),
        ("1Ki", 1024),
        ("1.5Gi", 1610612736),
        ("2Ti", 2 * 2**40),
        ("1Pi", 2**50),
        ("1Ei", 2**60),
        ("1e3", 1000),
        ("1E3", 1000),
        ("12e-3", 0.012),
        ("128974848", 128974848),
        ("129e6", 129_000_000),
        ("123Mi", 123 * 2**20),
    ],
)
def test_a_quantity_is_a_number(text: str, number: float) -> None:
    assert quantity(text) == pytest.approx(number, rel=1e-12)


@pytest.mark.parametrize("text", ["", "m", "Gi", "1 Gi", "1gi", "1mi", "1e", "0x10", "1K", "one"])
def test_what_is_no_quantity_is_no_number(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        quantity(text)
