"""What has to be in a cluster before a scheduler can work there, with no more rights than it needs.

Whoever is measured is a service account: the server's fairness to others holds for it, too.
"""

from typing import Any

from slipway_local.cluster.api import Api

OWN = "slipway"
SESSIONS = "slipway-sessions"
PEER = "bench-peer"
SCHEDULER = "slipway-scheduler"
PRIORITY = 100_000
PLACEHOLDER_PRIORITY = -10

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_ALL = ["get", "list", "watch", "create", "update", "patch", "delete"]


def user_of(account: str) -> str:
    """As the audit log has it."""
    return f"system:serviceaccount:{OWN}:{account}"


async def prepare(api: Api) -> None:
    for namespace in (OWN, SESSIONS, PEER):
        labels = {"pod-security.kubernetes.io/enforce": "restricted"} if namespace != OWN else {}
        await api.ensure("/api/v1/namespaces", _object("Namespace", namespace, labels=labels))
    for name, value in (
        ("slipway-session", PRIORITY),
        ("slipway-placeholder", PLACEHOLDER_PRIORITY),
    ):
        kind = _object("PriorityClass", name, group="scheduling.k8s.io/v1") | {"value": value}
        await api.ensure("/apis/scheduling.k8s.io/v1/priorityclasses", kind)
    for namespace, account in ((SESSIONS, "slipway-session"), (OWN, SCHEDULER), (OWN, PEER)):
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
        await api.ensure(path, _object("ServiceAccount", account))
    await api.ensure(f"{_RBAC}/clusterroles", _role())
    for account in (SCHEDULER, PEER):
        await api.ensure(f"{_RBAC}/clusterrolebindings", _binding(account))


def _object(
    kind: str, name: str, *, group: str = "v1", labels: dict[str, str] | None = None
) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels or {}}
    return {"apiVersion": group, "kind": kind, "metadata": metadata}


def _role() -> dict[str, Any]:
    rules = [
        {"apiGroups": [""], "resources": ["pods", "secrets", "configmaps", "nodes"],
         "verbs": _ALL},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": _ALL},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": _ALL},
    ]  # fmt: skip
    return _object("ClusterRole", "bench", group="rbac.authorization.k8s.io/v1") | {"rules": rules}


def _binding(account: str) -> dict[str, Any]:
    subject = {"kind": "ServiceAccount", "name": account, "namespace": OWN}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bench"}
    body = _object("ClusterRoleBinding", f"bench-{account}", group="rbac.authorization.k8s.io/v1")
    return body | {"subjects": [subject], "roleRef": role}
