"""Pods and nodes as an API server writes them, with all that the scheduler does not read."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.objects import Node, Pod

Json = dict[str, Any]

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SESSION = UUID("5e551011-0000-4000-8000-000000000001")
ACCOUNT = UUID("acc00000-0000-4000-8000-000000000001")
NODE = "pool-default-7"
IP = "10.244.3.9"


def at(seconds_ago: float) -> str:
    return (NOW - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def condition(kind: str, status: str = "True", *, age: float = 60, **words: str) -> Json:
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": at(age),
        "observedGeneration": 1,
        **words,
    }


def container(name: str = "runner", *, restarts: int = 0, **more: Any) -> Json:
    """``more``: state, lastState, ready, started."""
    return {
        "name": name,
        "image": "slipway-runner:1.0",
        "imageID": "sha256:0f1e",
        "containerID": "containerd://5d41402abc4b",
        "restartCount": restarts,
        "ready": False,
        "started": False,
        "lastState": {},
        "resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}},
        "volumeMounts": [{"name": "work", "mountPath": "/session"}],
        "user": {"linux": {"uid": 10001, "gid": 10001, "supplementalGroups": [10001]}},
        **more,
    }


def running(age: float = 30) -> Json:
    return {"running": {"startedAt": at(age)}}


def waiting(reason: str, message: str = "") -> Json:
    return {"waiting": {"reason": reason, **({"message": message} if message else {})}}


def terminated(code: int, reason: str, *, message: str = "", age: float = 1) -> Json:
    return {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "startedAt": at(age + 600),
            "finishedAt": at(age),
            "containerID": "containerd://5d41402abc4b",
            **({"message": message} if message else {}),
        }
    }


def last_words(reason: str, **more: Any) -> str:
    return json.dumps({"reason": reason, "message": "", **more}, ensure_ascii=False)


def unplaced(*, unschedulable: bool = False) -> Json:
    """As it was created, or as the scheduler of the cluster has given up on it for now."""
    body: Json = {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "name": f"session-{SESSION}",
            "namespace": "slipway-sessions",
            "uid": "0c1c9d3a-55a7-44fd-9c6e-8a7f1b6f0001",
            "resourceVersion": "48151",
            "generation": 1,
            "creationTimestamp": at(70),
            "labels": {
                labels.ROLE: labels.SESSION_ROLE,
                labels.SESSION: str(SESSION),
                labels.ACCOUNT: str(ACCOUNT),
                labels.KIND: "webui",
                labels.POOL: "0f" * 16,
            },
            "annotations": {"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"},
            "finalizers": [labels.FINALIZER],
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "name": f"session-{SESSION}",
                    "uid": "0c1c9d3a-55a7-44fd-9c6e-8a7f1b6f0000",
                }
            ],
            "managedFields": [
                {"manager": "python", "operation": "Update", "fieldsV1": {"f:x": {}}}
            ],
        },
        "spec": {
            "containers": [{"name": "runner", "image": "slipway-runner:1.0"}],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 10,
            "schedulerName": "default-scheduler",
            "priority": 1000,
        },
        "status": {"phase": "Pending", "qosClass": "Guaranteed"},
    }
    if unschedulable:
        body["status"]["conditions"] = [
            condition(
                "PodScheduled",
                "False",
                reason="Unschedulable",
                message="0/3 nodes are available: 3 Insufficient cpu. preemption: not helpful.",
            )
        ]
    return body


def placed(*statuses: Json, age: float = 60, started: float | None = 60) -> Json:
    """``age`` seconds after it got its node; ``started``: since when that node knows of it."""
    body = unplaced()
    body["spec"]["nodeName"] = NODE
    body["status"]["conditions"] = [
        condition("PodReadyToStartContainers", age=age),
        condition("Initialized", age=age),
        condition("Ready", "False", reason="ContainersNotReady"),
        condition("ContainersReady", "False", reason="ContainersNotReady"),
        condition("PodScheduled", age=age),
    ]
    if started is not None:
        body["status"]["startTime"] = at(started)
    body["status"]["hostIP"] = "10.0.0.7"
    body["status"]["containerStatuses"] = [
        each for each in statuses if each["name"] != "external"
    ] or [container(state=waiting("ContainerCreating"))]
    sidecars = [each for each in statuses if each["name"] == "external"]
    if sidecars:
        body["status"]["initContainerStatuses"] = sidecars
    return body


def answering() -> Json:
    body = placed(container(state=running(), ready=True, started=True))
    body["status"] |= {"phase": "Running", "podIP": IP, "podIPs": [{"ip": IP}]}
    return with_condition(body, condition("Ready"), condition("ContainersReady"))


def over(
    code: int = 0,
    *,
    word: str = "",
    message: str = "",
    phase: str | None = None,
    status: Json | None = None,
) -> Json:
    """Its container has ended with this code and these last words; ``word``: the kubelet's own."""
    word = word or ("Error" if code else "Completed")
    body = placed(container(state=terminated(code, word, message=message)))
    body["status"]["phase"] = phase or ("Failed" if code else "Succeeded")
    body["status"] |= status or {}
    return body


def with_condition(body: Json, *conditions: Json) -> Json:
    body = deepcopy(body)
    kinds = {each["type"] for each in conditions}
    others = [each for each in body["status"].get("conditions", []) if each["type"] not in kinds]
    body["status"]["conditions"] = [*others, *conditions]
    return body


def ending(body: Json, *, grace: int = 10, age: float = 4) -> Json:
    """It was deleted so many seconds ago."""
    body = deepcopy(body)
    body["metadata"]["deletionTimestamp"] = at(age - grace)
    body["metadata"]["deletionGracePeriodSeconds"] = grace
    return body


def annotated(body: Json, **annotations: str) -> Json:
    body = deepcopy(body)
    body["metadata"]["annotations"] |= annotations
    return body


def pod(body: Json) -> Pod:
    return msgspec.json.decode(json.dumps(body), type=Pod)


def node(*, ready: str = "True", age: float = 600) -> Node:
    body = {
        "kind": "Node",
        "apiVersion": "v1",
        "metadata": {"name": NODE, "uid": "0c1c9d3a-55a7-44fd-9c6e-8a7f1b6f0002"},
        "spec": {"podCIDR": "10.244.3.0/24", "providerID": "azure:///subscriptions/0/7"},
        "status": {
            "conditions": [
                {**condition("MemoryPressure", "False"), "lastHeartbeatTime": at(5)},
                {**condition("Ready", ready, age=age), "lastHeartbeatTime": at(5)},
            ],
            "allocatable": {"cpu": "3920m", "memory": "14Gi", "pods": "110"},
            "nodeInfo": {"kubeletVersion": "v1.35.4"},
        },
    }
    return msgspec.json.decode(json.dumps(body), type=Node)
