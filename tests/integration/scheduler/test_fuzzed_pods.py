"""Whatever a session is asked for with, its pod has no field that we did not mean, and the API
server takes it under the ``restricted`` profile.
"""

import asyncio
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from slipway_scheduler.kubernetes.api import Connection, Resource
from slipway_scheduler.kubernetes.errors import ApiError
from slipway_scheduler.kubernetes.manifests import Manifest, Template, session_pod
from slipway_scheduler.units.pods import pool_of
from support.kubectl import Kubectl
from support.kubernetes.allowed import disallowed
from support.kubernetes.real import control_plane
from support.kubernetes.requests import CANARY, Requests, words
from support.kubernetes.restricted import violations

SEED = 20261125
HOW_MANY = 10_000
AT_ONCE = 24

TEMPLATE = Template(
    namespace="slipway-sessions",
    image="registry.example/slipway-runner:1.0.0",
    gateway_url="http://gateway.slipway.svc:8082",
)
TEMPLATES = (
    TEMPLATE,
    replace(TEMPLATE, node_pools={"standard": "general", "large": "memory"}),
    replace(TEMPLATE, disk_limits=False, pull_policy="Never"),
    replace(TEMPLATE, runtime_class="walled", pull_policy="Always"),
)
WALLED = {
    "apiVersion": "node.k8s.io/v1",
    "kind": "RuntimeClass",
    "metadata": {"name": "walled"},
    "handler": "walled",
}


@pytest.fixture(scope="module")
def pods() -> list[Manifest]:
    pick, requests = random.Random(SEED), Requests(SEED)
    made: list[Manifest] = []
    for _ in range(HOW_MANY):
        wanted = requests.next()
        secret = str(wanted.account_id)  # any id will do
        pod = session_pod(wanted, pick.choice(TEMPLATES), secret_uid=secret, pool=pool_of(wanted))
        made.append(pod)
    return made


@pytest.fixture(scope="module")
def kubeconfig(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Path]:
    """Of a cluster with the namespace of sessions as an installation has it."""
    with control_plane(tmp_path_factory.mktemp("cluster")) as cluster:
        kubectl = Kubectl(cluster.kubeconfig)
        kubectl.apply([*kubectl.build(repository / "k8s" / "base" / "sessions"), WALLED])
        yield cluster.kubeconfig


def test_no_pod_has_a_field_that_is_not_allowed(pods: list[Manifest]) -> None:
    found = [(pod["metadata"]["name"], wrong) for pod in pods for wrong in disallowed(pod)]

    assert found == []
    assert len(pods) == HOW_MANY


def test_no_pod_breaks_the_restricted_profile(pods: list[Manifest]) -> None:
    assert [violations(pod) for pod in pods if violations(pod)] == []


def test_no_text_that_users_choose_is_in_a_pod(pods: list[Manifest]) -> None:
    assert not any(CANARY in word for pod in pods for word in words(pod))


@pytest.mark.timeout(600)
async def test_the_api_server_takes_every_one(pods: list[Manifest], kubeconfig: Path) -> None:
    connection = await Connection.open(kubeconfig, connections=AT_ONCE)
    path = Resource("v1", "pods", TEMPLATE.namespace).path()
    waiting, refused, taken = list(pods), list[str](), 0

    async def ask() -> None:
        nonlocal taken
        while waiting:
            try:
                answer = await connection.request(
                    "POST", path, body=waiting.pop(), params={"dryRun": "All"}, seconds=30
                )
            except ApiError as error:
                refused.append(f"{error.status} {error}")
            else:
                taken += json.loads(answer)["kind"] == "Pod"

    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(ask())
    await connection.close()

    assert refused[:5] == []
    assert taken == HOW_MANY


@pytest.mark.timeout(120)
async def test_the_api_server_would_not_take_what_is_not_restricted(
    pods: list[Manifest], kubeconfig: Path
) -> None:
    """Else that it takes the others would say nothing."""
    connection = await Connection.open(kubeconfig, connections=1)
    path = Resource("v1", "pods", TEMPLATE.namespace).path()
    loose = json.loads(json.dumps(pods[0]))
    del loose["spec"]["containers"][0]["securityContext"]["capabilities"]

    with pytest.raises(ApiError, match="violates PodSecurity"):
        await connection.request("POST", path, body=loose, params={"dryRun": "All"})
    await connection.close()
