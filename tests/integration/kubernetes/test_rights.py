"""What the scheduler may do: what its code does, and nothing more.

Asked of the real API server, in the scheduler's name.
"""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.kubectl import Kubectl, Manifest, RefusedError
from support.rights import (
    CLUSTER,
    LEASES,
    NEEDED,
    NEEDED_FOR_NODE_POOLS,
    OWN,
    POLICIES,
    SCHEDULER,
    SESSIONS,
    Right,
    rights,
)
from support.running_cluster import RunningCluster
from support.waiting import wait_for

SESSION = "system:serviceaccount:slipway-sessions:slipway-session"
OTHERS = tuple(f"system:serviceaccount:slipway:slipway-{name}" for name in
               ("accounts", "gateway", "packager"))  # fmt: skip
REFUSED = [
    *rights("get list watch create patch delete", "secrets", OWN),
    *rights("get list", "secrets", "kube-system"),
    *rights("get list", "secrets", CLUSTER),
    *rights("watch update deletecollection", "secrets", SESSIONS),
    *rights("update deletecollection", "pods", SESSIONS),
    *rights("create get", "pods", SESSIONS, subresource="exec"),
    *rights("create get", "pods", SESSIONS, subresource="attach"),
    *rights("create get", "pods", SESSIONS, subresource="portforward"),
    *rights("create get", "pods", SESSIONS, subresource="proxy"),
    *rights("get", "pods", SESSIONS, subresource="log"),
    *rights("create", "pods", SESSIONS, subresource="eviction"),
    *rights("patch update", "pods", SESSIONS, subresource="ephemeralcontainers"),
    *rights("patch update", "pods", SESSIONS, subresource="status"),
    *rights("create list delete patch", "pods", OWN),
    *rights("create list", "pods", "kube-system"),
    *rights("list", "pods", CLUSTER),
    *rights("delete deletecollection update", "nodes", CLUSTER),
    *rights("patch update", "nodes", CLUSTER, subresource="status"),
    *rights("get create", "nodes", CLUSTER, subresource="proxy"),
    *rights("get patch", "networkpolicies", SESSIONS, group=POLICIES),
    *rights("create list update delete", "networkpolicies", OWN, group=POLICIES),
    *rights("get update", "leases", OWN, group=LEASES, name="another"),
    *rights("list watch delete patch", "leases", OWN, group=LEASES),
    *rights("create get", "leases", "kube-node-lease", group=LEASES),
    *rights("list delete patch watch", "configmaps", OWN),
    *rights("get create", "configmaps", SESSIONS),
    *rights("create", "serviceaccounts", OWN, subresource="token"),
    *rights("create", "serviceaccounts", SESSIONS, subresource="token"),
    *rights("create get patch", "serviceaccounts", SESSIONS),
    *rights("create patch bind escalate", "roles", SESSIONS, group="rbac.authorization.k8s.io"),
    *rights("create patch", "rolebindings", SESSIONS, group="rbac.authorization.k8s.io"),
    *rights("create patch", "clusterrolebindings", CLUSTER, group="rbac.authorization.k8s.io"),
    *rights("impersonate", "users", CLUSTER),
    *rights("create patch delete", "namespaces", CLUSTER),
    *rights("create patch delete", "resourcequotas", SESSIONS),
    *rights("create patch delete", "limitranges", SESSIONS),
    *rights("create patch", "deployments", OWN, group="apps"),
    *rights("create", "deployments", SESSIONS, group="apps"),
    *rights("create list", "persistentvolumes", CLUSTER),
    *rights("create get", "persistentvolumeclaims", OWN),
    *rights("create patch", "priorityclasses", CLUSTER, group="scheduling.k8s.io"),
    *rights("create", "certificatesigningrequests", CLUSTER, group="certificates.k8s.io"),
]

RIGHTS_KINDS = {
    "ClusterRole", "ClusterRoleBinding", "Namespace", "Role", "RoleBinding", "ServiceAccount",
}  # fmt: skip
OF_EVERYBODY = {"selfsubjectaccessreviews", "selfsubjectrulesreviews", "selfsubjectreviews"}


@pytest.fixture(scope="module")
def kubectl(cluster: RunningCluster, overlays: dict[str, list[Manifest]]) -> Iterator[Kubectl]:
    """The rights of an installation that leaves nodes to the cluster, and no workloads."""
    wanted = [one for one in overlays["dev"] if one["kind"] in RIGHTS_KINDS]
    cluster.kubectl.apply([one for one in wanted if one["kind"] == "Namespace"])
    cluster.kubectl.apply(wanted)
    # The authorizer hears of new rights a moment after they were written.
    wait_for(lambda: all(answers(cluster.kubectl, SCHEDULER, NEEDED).values()), what="rights")
    yield cluster.kubectl
    cluster.kubectl.delete(wanted)


@pytest.fixture
def with_node_pools(kubectl: Kubectl, overlays: dict[str, list[Manifest]]) -> Iterator[None]:
    wanted = [one for one in overlays["production"] if "node-pools" in one["metadata"]["name"]]
    assert {one["kind"] for one in wanted} == {"ClusterRole", "ClusterRoleBinding"}
    kubectl.apply(wanted)
    wait_for(
        lambda: all(answers(kubectl, SCHEDULER, NEEDED_FOR_NODE_POOLS).values()), what="rights"
    )
    yield
    kubectl.delete(wanted)


def answers(kubectl: Kubectl, user: str, asked: list[Right]) -> dict[Right, bool]:
    """Whether each is allowed, as the API server tells that user."""
    output = kubectl.acting_as(user).run(
        "create",
        "--filename=-",
        "--output=json",
        stdin=json.dumps(
            {"apiVersion": "v1", "kind": "List", "items": [one.review() for one in asked]}
        ),
    )
    decoder, found = json.JSONDecoder(), []
    while output := output.lstrip():
        document, end = decoder.raw_decode(output)
        found += document.get("items", [document])
        output = output[end:]
    assert len(found) == len(asked)
    return {right: one["status"]["allowed"] for right, one in zip(asked, found, strict=True)}


def rules_of(kubectl: Kubectl, user: str, namespace: str) -> set[tuple[str, str, str, str]]:
    """Everything that the user may do there: group, resource, name and verb of each."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    status: dict[str, Any] = kubectl.acting_as(user).create(review)["status"]
    assert not status["incomplete"]
    return {
        (group, resource, name, verb)
        for rule in status["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for name in rule.get("resourceNames") or [""]
        for verb in rule["verbs"]
        if resource not in OF_EVERYBODY
    }


def expected(needed: list[Right], namespace: str) -> set[tuple[str, str, str, str]]:
    return {
        (one.group, one.resource, one.name, one.verb)
        for one in needed
        if one.namespace in {namespace, None}
    }


@pytest.mark.parametrize("right", NEEDED, ids=str)
def test_the_scheduler_can_do_what_its_code_does(kubectl: Kubectl, right: Right):
    assert answers(kubectl, SCHEDULER, [right]) == {right: True}


def test_the_scheduler_can_do_nothing_that_others_would_want_of_it(kubectl: Kubectl):
    asked = REFUSED + NEEDED_FOR_NODE_POOLS
    allowed = [right for right, may in answers(kubectl, SCHEDULER, asked).items() if may]

    assert allowed == []


@pytest.mark.parametrize("namespace", [SESSIONS, OWN, "kube-system", "default"])
def test_the_table_of_rights_is_complete(kubectl: Kubectl, namespace: str):
    assert rules_of(kubectl, SCHEDULER, namespace) == expected(NEEDED, namespace)


@pytest.mark.parametrize("namespace", [SESSIONS, OWN])
def test_node_pools_add_what_they_need_and_no_more(
    kubectl: Kubectl, with_node_pools: None, namespace: str
):
    needed = NEEDED + NEEDED_FOR_NODE_POOLS

    assert rules_of(kubectl, SCHEDULER, namespace) == expected(needed, namespace)
    assert not any(answers(kubectl, SCHEDULER, REFUSED).values())


@pytest.mark.parametrize("user", [*OTHERS, SESSION])
def test_nobody_else_has_any_rights(kubectl: Kubectl, user: str):
    for namespace in (SESSIONS, OWN, "kube-system"):
        assert rules_of(kubectl, user, namespace) == set()
    assert not any(answers(kubectl, user, NEEDED + NEEDED_FOR_NODE_POOLS).values())


def test_a_secret_of_a_service_is_not_shown_to_the_scheduler(kubectl: Kubectl):
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "slipway-packager", "namespace": OWN},
        "stringData": {"seal.key": "what nobody else may read"},
    }
    kubectl.apply([secret])
    scheduler = kubectl.acting_as(SCHEDULER)

    for arguments in (("get", "secret", "slipway-packager"), ("get", "secrets")):
        with pytest.raises(RefusedError, match="forbidden"):
            scheduler.run(*arguments, namespace=OWN)
    assert kubectl.get("secret", "slipway-packager", namespace=OWN)["data"]


def test_a_node_is_not_deleted_by_the_scheduler(kubectl: Kubectl, cluster: RunningCluster):
    (node,) = cluster.call(cluster.cluster.add_fake_nodes(1, pool="default", prefix="kept"))

    with pytest.raises(RefusedError, match="forbidden"):
        kubectl.acting_as(SCHEDULER).run("delete", "node", node)
    assert kubectl.get("node", node)["metadata"]["name"] == node
