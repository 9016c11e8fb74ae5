"""How things end: preconditions, grace, finalizers, owners."""

import asyncio
from datetime import datetime

import pytest

from slipway_scheduler.kubernetes.errors import ConflictError, NotFoundError, RefusedError
from support.kubernetes.asking import Server, config_map, pod
from support.waiting import eventually

FINALIZER = "slipway.dev/concluded"


async def delete(server: Server, plural: str, name: str, **options: object) -> dict[str, object]:
    found: dict[str, object] = await server.ask("DELETE", server.path(plural, name), options)
    return found


async def test_deleting_another_object_of_the_same_name_is_a_conflict(server: Server) -> None:
    created = await server.create("pods", pod("a"))
    uid = created["metadata"]["uid"]

    error = await server.refused(
        "DELETE", server.path("pods", "a"), {"preconditions": {"uid": "another"}}
    )

    assert type(error) is ConflictError
    assert (error.status, error.reason) == (409, "Conflict")
    assert str(error) == (
        'Operation cannot be fulfilled on Pod "a": the UID in the precondition (another) does not '
        f"match the UID in record ({uid}). The object might have been deleted and then recreated"
    )


async def test_deleting_what_has_changed_since_is_a_conflict(server: Server) -> None:
    created = await server.create("configmaps", config_map("a"))
    version = created["metadata"]["resourceVersion"]

    error = await server.refused(
        "DELETE", server.path("configmaps", "a"), {"preconditions": {"resourceVersion": "1"}}
    )

    assert type(error) is ConflictError
    assert str(error) == (
        'Operation cannot be fulfilled on ConfigMap "a": the ResourceVersion in the precondition '
        f"(1) does not match the ResourceVersion in record ({version}). "
        "The object might have been modified"
    )


async def test_what_has_no_grace_is_gone_at_once(server: Server) -> None:
    created = await server.create("secrets", {"metadata": {"name": "s"}})
    uid = created["metadata"]["uid"]

    answer = await delete(server, "secrets", "s", preconditions={"uid": uid})

    assert answer["status"] == "Success"
    assert answer["details"] == {"name": "s", "kind": "secrets", "uid": uid}
    assert await server.is_gone("secrets", "s")


async def test_a_pod_that_nobody_runs_is_gone_at_once(server: Server) -> None:
    created = await server.create("pods", pod("a"))

    answer = await delete(server, "pods", "a", preconditions={"uid": created["metadata"]["uid"]})

    assert answer["kind"] == "Pod"
    assert answer["metadata"]["deletionGracePeriodSeconds"] == 0
    assert await server.is_gone("pods", "a")


async def test_a_pod_on_a_node_gets_its_grace(server: Server) -> None:
    await server.create("pods", pod("a", nodeName="nowhere", terminationGracePeriodSeconds=70))

    answer = await delete(server, "pods", "a")

    left = await server.get("pods", "a")
    assert left == answer
    assert left["metadata"]["deletionGracePeriodSeconds"] == 70
    assert left["metadata"]["generation"] == 2
    assert "deletionTimestamp" in left["metadata"]


async def test_grace_can_only_be_shortened(server: Server) -> None:
    await server.create("pods", pod("a", nodeName="nowhere", terminationGracePeriodSeconds=70))
    first = await delete(server, "pods", "a")

    longer = await delete(server, "pods", "a", gracePeriodSeconds=100)
    unstated = await delete(server, "pods", "a")
    shorter = await delete(server, "pods", "a", gracePeriodSeconds=50)

    assert longer == first
    assert unstated == first
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 50
    brought_forward = datetime.fromisoformat(
        first["metadata"]["deletionTimestamp"]
    ) - datetime.fromisoformat(shorter["metadata"]["deletionTimestamp"])
    assert brought_forward.total_seconds() == 20


async def test_no_grace_removes_a_pod_whoever_runs_it(server: Server) -> None:
    await server.create("pods", pod("a", nodeName="nowhere"))
    await delete(server, "pods", "a")

    answer = await delete(server, "pods", "a", gracePeriodSeconds=0)

    assert answer["metadata"]["deletionGracePeriodSeconds"] == 0
    assert await server.is_gone("pods", "a")


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
async def test_a_pod_that_has_ended_needs_no_grace(server: Server, phase: str) -> None:
    await server.create("pods", pod("a", nodeName="nowhere"))
    await server.patch("pods", "a", {"status": {"phase": phase}}, "status")

    await delete(server, "pods", "a")

    assert await server.is_gone("pods", "a")


async def test_a_finalizer_keeps_what_is_deleted_until_it_is_taken_away(server: Server) -> None:
    await server.create("pods", pod("a", metadata={"finalizers": [FINALIZER]}))
    await delete(server, "pods", "a")
    kept = await server.get("pods", "a")
    again = await delete(server, "pods", "a", gracePeriodSeconds=0)

    freed = await server.patch("pods", "a", {"metadata": {"finalizers": None}})

    assert kept["metadata"]["deletionGracePeriodSeconds"] == 0
    assert again["metadata"]["finalizers"] == [FINALIZER]
    assert "finalizers" not in freed["metadata"]
    assert freed["metadata"]["resourceVersion"] == kept["metadata"]["resourceVersion"]
    assert await server.is_gone("pods", "a")


async def test_without_its_finalizer_a_pod_still_has_its_grace(server: Server) -> None:
    await server.create("pods", pod("a", nodeName="nowhere", metadata={"finalizers": [FINALIZER]}))
    await delete(server, "pods", "a")

    await server.patch("pods", "a", [{"op": "remove", "path": "/metadata/finalizers"}])

    assert (await server.get("pods", "a"))["metadata"]["deletionGracePeriodSeconds"] == 30
    await delete(server, "pods", "a", gracePeriodSeconds=0)
    assert await server.is_gone("pods", "a")


async def test_what_ends_gets_no_new_finalizer(server: Server) -> None:
    await server.create("pods", pod("a", metadata={"finalizers": [FINALIZER]}))
    await delete(server, "pods", "a")

    error = await server.refused_patch(
        "pods", "a", [{"op": "add", "path": "/metadata/finalizers/-", "value": "slipway.dev/more"}]
    )

    assert type(error) is RefusedError
    assert (error.status, error.reason) == (422, "Invalid")
    assert "no new finalizers can be added if the object is being deleted" in str(error)


async def test_a_name_can_be_had_again_with_another_identity(server: Server) -> None:
    first = await server.create("pods", pod("a"))
    await delete(server, "pods", "a")

    second = await server.create("pods", pod("a"))

    assert second["metadata"]["uid"] != first["metadata"]["uid"]


def owned_by(name: str, uid: str) -> dict[str, object]:
    owner = {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": uid}
    return {"ownerReferences": [owner]}


async def test_what_belongs_to_something_goes_after_it(server: Server) -> None:
    owner = await server.create("secrets", {"metadata": {"name": "owner"}})
    await server.create("pods", pod("a", metadata=owned_by("owner", owner["metadata"]["uid"])))

    await delete(server, "secrets", "owner", propagationPolicy="Background")

    async def is_gone() -> bool:
        return await server.is_gone("pods", "a")

    await eventually(is_gone, what="the end of what was owned")


async def test_what_belongs_to_something_keeps_its_grace_and_its_finalizer(
    server: Server,
) -> None:
    owner = await server.create("secrets", {"metadata": {"name": "owner"}})
    metadata = {"finalizers": [FINALIZER], **owned_by("owner", owner["metadata"]["uid"])}
    await server.create("pods", pod("a", nodeName="nowhere", metadata=metadata))

    await delete(server, "secrets", "owner")

    async def ends() -> bool:
        return "deletionTimestamp" in (await server.get("pods", "a"))["metadata"]

    await eventually(ends, what="the end of what was owned")
    left = await server.get("pods", "a")
    assert left["metadata"]["deletionGracePeriodSeconds"] == 30
    assert left["metadata"]["finalizers"] == [FINALIZER]


async def test_what_belongs_to_what_never_was_goes_too(server: Server) -> None:
    await server.create("secrets", {"metadata": {"name": "owner"}})
    other = "00000000-0000-4000-8000-000000000000"
    await server.create("pods", pod("a", metadata=owned_by("owner", other)))

    async def is_gone() -> bool:
        return await server.is_gone("pods", "a")

    await eventually(is_gone, what="the end of what nobody owns")


async def test_what_belongs_to_what_is_there_stays(server: Server) -> None:
    owner = await server.create("secrets", {"metadata": {"name": "owner"}})
    await server.create("pods", pod("a", metadata=owned_by("owner", owner["metadata"]["uid"])))
    ghost = "00000000-0000-4000-8000-000000000000"
    await server.create("pods", pod("b", metadata=owned_by("ghost", ghost)))

    async def other_is_gone() -> bool:
        return await server.is_gone("pods", "b")

    await eventually(other_is_gone, what="the end of what nobody owns")
    assert not await server.is_gone("pods", "a")


async def test_an_owner_must_be_named_by_its_identity(server: Server) -> None:
    error = await server.refused(
        "POST",
        server.path("pods"),
        pod("a", metadata={"ownerReferences": [{"kind": "Secret", "name": "owner"}]}),
    )

    assert type(error) is RefusedError
    assert str(error) == (
        'Pod "a" is invalid: [metadata.ownerReferences.apiVersion: Invalid value: "": version must '
        'not be empty, metadata.ownerReferences.uid: Invalid value: "": must not be empty]'
    )


async def test_of_two_who_delete_one_comes_too_late(server: Server) -> None:
    created = await server.create("pods", pod("a"))
    meant = {"preconditions": {"uid": created["metadata"]["uid"]}}

    answers = await asyncio.gather(
        *(server.ask("DELETE", server.path("pods", "a"), meant) for _ in range(2)),
        return_exceptions=True,
    )

    assert await server.is_gone("pods", "a")
    assert sum(isinstance(answer, dict) for answer in answers) >= 1
    assert all(isinstance(answer, dict | NotFoundError | ConflictError) for answer in answers)


async def test_a_node_is_gone_at_once(server: Server) -> None:
    name = f"node-of-{server.namespace}"
    await server.ask("POST", "/api/v1/nodes", {"metadata": {"name": name}})

    answer = await server.ask("DELETE", f"/api/v1/nodes/{name}")

    assert answer["status"] == "Success"
    assert answer["details"]["kind"] == "nodes"
