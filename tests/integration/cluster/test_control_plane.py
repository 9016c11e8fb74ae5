"""The control plane: what it knows survives it, and who asks gets no more than is theirs."""

import asyncio
import json

import pytest

from slipway_local.cluster.api import Api, ApiError
from slipway_local.errors import LocalError
from support.running_cluster import RunningCluster
from support.waiting import eventually

SECRET = "what nobody may read in a log"


async def answers(api: Api) -> bool:
    try:
        async with asyncio.timeout(2):
            return await api.is_ready()
    except (OSError, TimeoutError):
        return False


async def test_objects_survive_a_crash_of_the_api_server(
    cluster: RunningCluster, api: Api, namespace: str
) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    await api.create(maps, {"metadata": {"name": "kept"}, "data": {"word": "yes"}})

    await asyncio.to_thread(lambda: cluster.call(cluster.cluster.kill("kube-apiserver")))
    assert not await answers(api)
    await asyncio.to_thread(
        lambda: cluster.call(cluster.cluster.restart("kube-apiserver"), seconds=150)
    )

    kept = await api.get(f"{maps}/kept")
    assert kept is not None
    assert kept["data"] == {"word": "yes"}


@pytest.mark.parametrize("name", ["kube-apiserver", "etcd"])
async def test_a_paused_part_holds_up_who_asks_until_it_goes_on(
    cluster: RunningCluster, api: Api, namespace: str, name: str
) -> None:
    maps = f"/api/v1/namespaces/{namespace}/configmaps"
    await asyncio.to_thread(lambda: cluster.call(cluster.cluster.pause(name)))
    asked = asyncio.create_task(api.create(maps, {"metadata": {"name": "late"}}))
    try:
        done, _ = await asyncio.wait({asked}, timeout=2)
        assert not done
    finally:
        await asyncio.to_thread(lambda: cluster.call(cluster.cluster.resume(name)))

    assert (await asked)["metadata"]["name"] == "late"


async def test_a_service_account_may_do_what_it_was_given_and_no_more(
    cluster: RunningCluster, api: Api, namespace: str
) -> None:
    account = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    rights = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}"
    await api.create(account, {"metadata": {"name": "reader"}})
    rule = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    await api.create(f"{rights}/roles", {"metadata": {"name": "reader"}, "rules": [rule]})
    binding = {
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
    }
    await api.create(f"{rights}/rolebindings", binding)

    kubeconfig = await asyncio.to_thread(
        lambda: cluster.call(cluster.cluster.kubeconfig_for(namespace, "reader"))
    )

    async with await Api.open(kubeconfig) as reader:

        async def pods():
            try:
                return await reader.get(f"/api/v1/namespaces/{namespace}/pods")
            except ApiError as error:
                if error.status != 403:
                    raise
                return None  # the binding takes a moment to be known

        assert (await eventually(pods, what="the account's right"))["items"] == []
        with pytest.raises(ApiError, match="cannot list resource"):
            await reader.get(f"/api/v1/namespaces/{namespace}/secrets")


async def test_the_audit_log_tells_who_did_what_and_no_secret(
    cluster: RunningCluster, api: Api, namespace: str
) -> None:
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    await api.create(secrets, {"metadata": {"name": "quiet"}, "stringData": {"word": SECRET}})
    await api.get(f"{secrets}/quiet")

    text = await asyncio.to_thread(cluster.cluster.audit_log.read_text)

    lines = [json.loads(line) for line in text.splitlines()]
    assert {line["stage"] for line in lines} == {"ResponseComplete"}
    about = [line for line in lines if line.get("objectRef", {}).get("namespace") == namespace]
    told = [(line["user"]["username"], line["verb"], line["objectRef"]["name"]) for line in about]
    assert ("slipway:admin", "create", "quiet") in told
    assert ("slipway:admin", "get", "quiet") in told
    assert SECRET not in text
    assert all("requestObject" not in line for line in about)


async def test_a_part_that_does_not_exist_is_named_with_those_that_do(
    cluster: RunningCluster,
) -> None:
    with pytest.raises(LocalError, match="unknown part 'kubernetes'; there are: etcd"):
        await asyncio.to_thread(lambda: cluster.call(cluster.cluster.kill("kubernetes")))
