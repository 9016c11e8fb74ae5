"""Requests: how each is sent, how long it may take, and what is known when no answer came."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from slipway_scheduler.kubernetes.api import Connection, KubernetesApi, Resource
from slipway_scheduler.kubernetes.errors import (
    ConflictError,
    NotFoundError,
    StuckWatchError,
    ThrottledError,
    UnavailableError,
)
from slipway_scheduler.kubernetes.limits import Rank, WriteLimiter
from support.kubernetes.faults import (
    HalfAnswer,
    LoseAnswer,
    LoseRequest,
    Refuse,
    Silence,
    Slow,
)
from support.kubernetes.kinds import POD
from support.kubernetes.others import NAMESPACE_NAME, PODS, Pods
from support.kubernetes.server import FakeApiServer

NewApi = Callable[[WriteLimiter], Awaitable[KubernetesApi]]

BODY = {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "runner", "image": "none"}]}}


@pytest.fixture
async def api(new_api: NewApi, pods: Pods) -> KubernetesApi:
    return await new_api(WriteLimiter(per_second=1000, burst=1000))


def there(server: FakeApiServer, name: str = "a") -> bool:
    return server.store.get(POD, (NAMESPACE_NAME, name)) is not None


@pytest.mark.parametrize(
    ("resource", "name", "subresource", "path"),
    [
        (Resource("v1", "pods", "ns"), None, None, "/api/v1/namespaces/ns/pods"),
        (Resource("v1", "pods", "ns"), "a", None, "/api/v1/namespaces/ns/pods/a"),
        (Resource("v1", "pods", "ns"), "a", "status", "/api/v1/namespaces/ns/pods/a/status"),
        (Resource("v1", "nodes"), "a", None, "/api/v1/nodes/a"),
        (
            Resource("coordination.k8s.io/v1", "leases", "ns"),
            "a",
            None,
            "/apis/coordination.k8s.io/v1/namespaces/ns/leases/a",
        ),
    ],
)
def test_where_an_object_is(
    resource: Resource, name: str | None, subresource: str | None, path: str
) -> None:
    assert resource.path(name, subresource=subresource) == path


async def test_what_is_written_is_there(api: KubernetesApi, server: FakeApiServer) -> None:
    created = json.loads(await api.create(PODS, BODY, rank=Rank.SESSION))
    uid = created["metadata"]["uid"]

    await api.merge(PODS, "a", {"metadata": {"uid": uid, "labels": {"k": "1"}}}, rank=Rank.SESSION)
    await api.patch(
        PODS,
        "a",
        [{"op": "test", "path": "/metadata/uid", "value": uid},
         {"op": "replace", "path": "/metadata/labels/k", "value": "2"}],
        rank=Rank.SESSION,
    )  # fmt: skip
    found = json.loads(await api.get(PODS, "a"))
    await api.replace(PODS, "a", found | {"extra": "not kept"}, rank=Rank.SESSION)
    metadata = json.loads(await api.get(PODS, "a", metadata_only=True))
    await api.delete(PODS, "a", uid=uid, rank=Rank.END)

    assert found["metadata"]["labels"] == {"k": "2"}
    assert metadata["kind"] == "PartialObjectMetadata"
    assert not there(server)


async def test_only_the_object_that_is_meant_is_changed_or_deleted(
    api: KubernetesApi, server: FakeApiServer
) -> None:
    await api.create(PODS, BODY, rank=Rank.SESSION)

    with pytest.raises(ConflictError):
        await api.merge(PODS, "a", {"metadata": {"uid": "another"}}, rank=Rank.SESSION)
    with pytest.raises(ConflictError):
        await api.patch(
            PODS,
            "a",
            [{"op": "test", "path": "/metadata/uid", "value": "another"}],
            rank=Rank.SESSION,
        )
    with pytest.raises(ConflictError):
        await api.delete(PODS, "a", uid="another", rank=Rank.END)

    assert there(server)


async def test_every_delete_names_the_object_by_its_identity(
    api: KubernetesApi, server: FakeApiServer
) -> None:
    created = json.loads(await api.create(PODS, BODY, rank=Rank.SESSION))

    await api.delete(PODS, "a", uid=created["metadata"]["uid"], rank=Rank.END, grace_seconds=0)

    lines = [json.loads(line) for line in server.audit.read_text().splitlines()]
    (deletion,) = [line for line in lines if line["verb"] == "delete"]
    assert deletion["user"]["username"] == "scheduler"
    assert deletion["requestObject"] == {
        "kind": "DeleteOptions",
        "apiVersion": "v1",
        "preconditions": {"uid": created["metadata"]["uid"]},
        "propagationPolicy": "Background",
        "gracePeriodSeconds": 0,
    }


async def test_a_name_of_any_text_reaches_the_server_unharmed(
    api: KubernetesApi, server: FakeApiServer
) -> None:
    note = "☃ \x00 \u2028 </script> \\ \" '"
    body = {**BODY, "metadata": {"name": "a", "annotations": {"note": note}}}

    await api.create(PODS, body, rank=Rank.SESSION)

    found = server.store.get(POD, (NAMESPACE_NAME, "a"))
    assert found is not None
    assert found["metadata"]["annotations"]["note"] == note


@pytest.mark.parametrize("effect", [LoseAnswer(), HalfAnswer()], ids=["no answer", "half of one"])
async def test_an_answer_that_was_lost_leaves_open_whether_it_was_done(
    api: KubernetesApi, server: FakeApiServer, effect: LoseAnswer | HalfAnswer
) -> None:
    server.faults.plan(effect, verb="create", plural="pods")

    with pytest.raises(UnavailableError) as error:
        await api.create(PODS, BODY, rank=Rank.SESSION)

    assert error.value.status == 0
    assert there(server)
    with pytest.raises(ConflictError) as again:
        await api.create(PODS, BODY, rank=Rank.SESSION)
    assert again.value.reason == "AlreadyExists"


async def test_a_request_that_was_lost_is_told_in_the_same_way(
    api: KubernetesApi, server: FakeApiServer
) -> None:
    server.faults.plan(LoseRequest(), verb="create", plural="pods")

    with pytest.raises(UnavailableError):
        await api.create(PODS, BODY, rank=Rank.SESSION)

    assert not there(server)


async def test_a_create_is_never_sent_twice_by_itself(
    api: KubernetesApi, server: FakeApiServer
) -> None:
    plan = server.faults.plan(LoseRequest(), verb="create", times=None)

    with pytest.raises(UnavailableError):
        await api.create(PODS, BODY, rank=Rank.SESSION)

    assert plan.met == 1


async def test_no_request_takes_longer_than_it_may(
    connection: Connection, pods: Pods, server: FakeApiServer
) -> None:
    server.faults.plan(Slow(30), verb="create", plural="pods")
    loop = asyncio.get_running_loop()
    began = loop.time()

    with pytest.raises(UnavailableError):
        await connection.request("POST", PODS.path(), body=BODY, seconds=0.3)

    assert loop.time() - began < 5
    assert there(server)


@pytest.mark.parametrize("code", [500, 502, 503, 504])
async def test_a_server_in_trouble_leaves_open_whether_it_was_done(
    api: KubernetesApi, server: FakeApiServer, code: int
) -> None:
    server.faults.plan(Refuse(code, "InternalError", "etcdserver: request timed out"))

    with pytest.raises(UnavailableError) as error:
        await api.create(PODS, BODY, rank=Rank.SESSION)

    assert error.value.status == code


async def test_a_server_that_is_away_is_unavailable_and_found_again(
    api: KubernetesApi, server: FakeApiServer
) -> None:
    await server.go_away()
    with pytest.raises(UnavailableError):
        await api.get(PODS, "a")

    await server.come_back()

    with pytest.raises(NotFoundError):
        await api.get(PODS, "a")


async def test_after_a_429_nobody_writes_before_the_pause_is_over(
    new_api: NewApi, pods: Pods, server: FakeApiServer
) -> None:
    api = await new_api(WriteLimiter(per_second=1000, burst=1000))
    loop = asyncio.get_running_loop()
    server.faults.plan(
        Refuse(429, retry_after="2", plain=True, message="Too many requests"), verb="create"
    )

    with pytest.raises(ThrottledError) as error:
        await api.create(PODS, BODY, rank=Rank.SESSION)
    began = loop.time()
    read = asyncio.create_task(api.list_metadata(PODS, selector=""))
    await read
    read_after = loop.time() - began
    await api.create(PODS, BODY, rank=Rank.SESSION)

    assert error.value.retry_after == 2
    assert read_after < 1.5
    assert loop.time() - began >= 1.9


async def test_watches_do_not_take_connections_from_writes(
    new_api: NewApi, pods: Pods, server: FakeApiServer
) -> None:
    api = await new_api(WriteLimiter(per_second=1000, burst=1000))

    async def watch() -> None:
        params = {"watch": "1"}
        async for _ in api.watches.lines(PODS.path(), params=params, accept="*/*", silence=60):
            pass

    watching = [asyncio.create_task(watch()) for _ in range(20)]
    async with asyncio.timeout(5):
        await api.create(PODS, BODY, rank=Rank.SESSION)

    assert there(server)
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)


async def test_a_watch_that_is_silent_is_told_from_one_that_broke(
    connection: Connection, pods: Pods, server: FakeApiServer
) -> None:
    async def lines() -> list[bytes]:
        found = connection.lines(PODS.path(), params={"watch": "1"}, accept="*/*", silence=0.3)
        return [line async for line in found]

    server.faults.plan(Silence(), verb="watch")
    with pytest.raises(StuckWatchError):
        await lines()

    server.faults.plan(LoseRequest(), verb="watch", times=None)
    with pytest.raises(UnavailableError):
        await lines()


async def test_who_may_not_watch_is_told_why(
    connection: Connection, pods: Pods, server: FakeApiServer
) -> None:
    server.faults.plan(Refuse(429, "TooManyRequests", "slow down"), verb="watch")

    with pytest.raises(ThrottledError, match="slow down"):
        async for _ in connection.lines(
            PODS.path(), params={"watch": "1"}, accept="*/*", silence=5
        ):
            pass
