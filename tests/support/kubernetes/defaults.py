"""What the server adds to a new object by itself."""

import copy
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from support.kubernetes.kinds import NAMESPACE, NODE, POD, SECRET, Kind

Object = dict[str, Any]

DEFAULT_TOLERATION_SECONDS = 300


def timestamp(moment: datetime | None = None) -> str:
    """As metadata carries it: whole seconds."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment_of(text: str) -> datetime:
    return datetime.fromisoformat(text)


def seconds_later(text: str, seconds: int) -> str:
    return timestamp(moment_of(text) + timedelta(seconds=seconds))


def completed(kind: Kind, body: Object, *, namespace: str) -> Object:
    item = copy.deepcopy(body)
    item = {"kind": kind.name, "apiVersion": kind.api_version} | {
        key: value for key, value in item.items() if key not in {"kind", "apiVersion"}
    }
    metadata = item.setdefault("metadata", {})
    if "generateName" in metadata and not metadata.get("name"):
        metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
    if kind.namespaced:
        metadata["namespace"] = namespace
    for own in ("deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"):
        metadata.pop(own, None)
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = timestamp()
    for empty in ("labels", "annotations", "finalizers", "ownerReferences"):
        if not metadata.get(empty, True):
            del metadata[empty]
    if kind is POD:
        _complete_pod(item)
    elif kind is SECRET:
        item.setdefault("type", "Opaque")
    elif kind is NAMESPACE:
        item["status"] = {"phase": "Active"}
    elif kind is NODE:
        item.setdefault("spec", {})
        item.setdefault("status", {})
    return item


def _complete_pod(pod: Object) -> None:
    pod["metadata"]["generation"] = 1
    spec = pod.setdefault("spec", {})
    for name, value in (
        ("restartPolicy", "Always"),
        ("terminationGracePeriodSeconds", 30),
        ("dnsPolicy", "ClusterFirst"),
        ("schedulerName", "default-scheduler"),
        ("enableServiceLinks", True),
        ("preemptionPolicy", "PreemptLowerPriority"),
    ):
        spec.setdefault(name, value)
    tolerations = spec.setdefault("tolerations", [])
    for key in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(found.get("key") == key for found in tolerations):
            tolerations.append(
                {
                    "key": key,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": DEFAULT_TOLERATION_SECONDS,
                }
            )
    for container in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        container.setdefault("resources", {})
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
    pod["status"] = {"phase": "Pending", "qosClass": "Burstable"}
