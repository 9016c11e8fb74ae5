"""Whether a new object may come in: its namespace, what it refers to, quota, Pod Security."""

from typing import Any

from support.kubernetes import answers
from support.kubernetes.kinds import NAMESPACE, POD, PRIORITY_CLASS, QUOTA, SERVICE_ACCOUNT, Kind
from support.kubernetes.restricted import violations
from support.kubernetes.store import Store

Object = dict[str, Any]

ENFORCE = "pod-security.kubernetes.io/enforce"
BUILT_IN_PRIORITIES = frozenset({"system-node-critical", "system-cluster-critical"})


def admit(store: Store, kind: Kind, item: Object) -> None:
    name = item["metadata"].get("name", "")
    if not kind.namespaced:
        return
    namespace = item["metadata"]["namespace"]
    within = store.get(NAMESPACE, ("", namespace))
    if within is None:
        raise answers.not_found(NAMESPACE, namespace)
    if within["metadata"].get("deletionTimestamp"):
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
        why = (
            f"unable to create new content in namespace {namespace} because it is being terminated"
        )
        raise answers.forbidden(kind, name, why, causes=[cause])
    if kind is POD:
        _admit_references(store, namespace, item)
        if within["metadata"].get("labels", {}).get(ENFORCE) == "restricted":
            _admit_security(item)
        _admit_quota(store, namespace, item)


def _admit_references(store: Store, namespace: str, pod: Object) -> None:
    name, spec = pod["metadata"]["name"], pod["spec"]
    account = spec.setdefault("serviceAccountName", "default")
    if store.get(SERVICE_ACCOUNT, (namespace, account)) is None:
        why = (
            f"error looking up service account {namespace}/{account}: "
            f'serviceaccount "{account}" not found'
        )
        raise answers.forbidden(POD, name, why)
    priority = spec.get("priorityClassName")
    if priority and priority not in BUILT_IN_PRIORITIES:
        found = store.get(PRIORITY_CLASS, ("", priority))
        if found is None:
            why = f"no PriorityClass with name {priority} was found"
            raise answers.forbidden(POD, name, why)
        spec["priority"] = found.get("value", 0)


def _admit_security(pod: Object) -> None:
    found = violations(pod)
    if found:
        why = f'violates PodSecurity "restricted:latest": {", ".join(found)}'
        raise answers.forbidden(POD, pod["metadata"]["name"], why)


def _admit_quota(store: Store, namespace: str, pod: Object) -> None:
    used = sum(
        found["status"].get("phase") not in {"Succeeded", "Failed"}
        for found in store.all(POD, namespace)
    )
    for quota in store.all(QUOTA, namespace):
        limit = quota["spec"].get("hard", {}).get("pods")
        if limit is not None and used >= int(limit):
            why = (
                f"exceeded quota: {quota['metadata']['name']}, requested: pods=1, "
                f"used: pods={used}, limited: pods={limit}"
            )
            raise answers.forbidden(POD, pod["metadata"]["name"], why)
