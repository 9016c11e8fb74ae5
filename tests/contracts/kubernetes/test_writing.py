"""Create, read, replace and patch: what is kept, and how each refusal is told."""

import pytest

from slipway_scheduler.kubernetes.errors import (
    ConflictError,
    NotFoundError,
    RefusedError,
)
from support.kubernetes.asking import Server, config_map, pod

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)
PATCH_REFUSED = "the server rejected our request due to an error in our request"


async def test_what_is_created_has_an_identity_a_version_and_a_time(server: Server) -> None:
    created = await server.create("pods", pod("a", labels={"k": "v"}))

    assert created["kind"] == "Pod"
    assert created["apiVersion"] == "v1"
    assert created["metadata"]["name"] == "a"
    assert created["metadata"]["namespace"] == server.namespace
    assert created["metadata"]["labels"] == {"k": "v"}
    assert len(created["metadata"]["uid"]) == 36
    assert int(created["metadata"]["resourceVersion"]) > 0
    assert created["metadata"]["generation"] == 1
    assert created["metadata"]["creationTimestamp"].endswith("Z")
    assert created["status"]["phase"] == "Pending"
    assert created["spec"]["restartPolicy"] == "Always"
    assert created["spec"]["terminationGracePeriodSeconds"] == 30
    assert await server.get("pods", "a") == created


async def test_a_second_of_the_same_name_is_refused(server: Server) -> None:
    await server.create("pods", pod("a"))

    error = await server.refused("POST", server.path("pods"), pod("a"))

    assert type(error) is ConflictError
    assert (error.status, error.reason) == (409, "AlreadyExists")
    assert str(error) == 'pods "a" already exists'


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_what_is_not_there_is_not_found(server: Server, method: str) -> None:
    error = await server.refused(method, server.path("pods", "a"))

    assert type(error) is NotFoundError
    assert (error.status, error.reason) == (404, "NotFound")
    assert str(error) == 'pods "a" not found'


async def test_a_group_is_part_of_what_messages_name(server: Server) -> None:
    error = await server.refused("GET", server.path("leases", "a", group="coordination.k8s.io"))

    assert type(error) is NotFoundError
    assert str(error) == 'leases.coordination.k8s.io "a" not found'


async def test_metadata_alone_can_be_asked_for(server: Server) -> None:
    created = await server.create("configmaps", config_map("a", key="value"))

    found = await server.ask(
        "GET",
        server.path("configmaps", "a"),
        accept="application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json",
    )

    assert found["kind"] == "PartialObjectMetadata"
    assert found["metadata"] == created["metadata"]
    assert "data" not in found


async def test_replacing_needs_the_version_that_it_was_made_from(server: Server) -> None:
    created = await server.create("configmaps", config_map("a", key="1"))
    newer = await server.ask(
        "PUT", server.path("configmaps", "a"), created | {"data": {"key": "2"}}
    )

    error = await server.refused("PUT", server.path("configmaps", "a"), created)

    assert int(newer["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])
    assert type(error) is ConflictError
    assert (error.status, error.reason) == (409, "Conflict")
    assert str(error) == f'Operation cannot be fulfilled on configmaps "a": {MODIFIED}'
    assert (await server.get("configmaps", "a"))["data"] == {"key": "2"}


async def test_replacing_removes_what_is_not_named_any_more(server: Server) -> None:
    created = await server.create("configmaps", config_map("a", key="1"))
    created["metadata"]["labels"] = {"k": "v"}
    del created["data"]

    replaced = await server.ask("PUT", server.path("configmaps", "a"), created)

    assert replaced["metadata"]["labels"] == {"k": "v"}
    assert "data" not in replaced


async def test_replacing_another_object_of_the_same_name_is_refused(server: Server) -> None:
    created = await server.create("configmaps", config_map("a", key="1"))
    created["metadata"]["uid"] = "another"

    error = await server.refused("PUT", server.path("configmaps", "a"), created)

    assert type(error) is ConflictError
    assert (error.status, error.reason) == (409, "Conflict")
    assert "Precondition failed: UID in precondition: another" in str(error)


async def test_replacing_creates_nothing(server: Server) -> None:
    error = await server.refused("PUT", server.path("configmaps", "a"), config_map("a"))

    assert type(error) is NotFoundError


async def test_a_lease_changes_hands_for_one_of_two(server: Server) -> None:
    leases = server.path("leases", group="coordination.k8s.io")
    free = await server.ask(
        "POST", leases, {"metadata": {"name": "l"}, "spec": {"holderIdentity": ""}}
    )
    mine = free | {"spec": {"holderIdentity": "me"}}
    yours = free | {"spec": {"holderIdentity": "you"}}

    taken = await server.ask("PUT", f"{leases}/l", mine)
    error = await server.refused("PUT", f"{leases}/l", yours)

    assert taken["spec"]["holderIdentity"] == "me"
    assert type(error) is ConflictError
    assert (
        str(error) == f'Operation cannot be fulfilled on leases.coordination.k8s.io "l": {MODIFIED}'
    )


async def test_a_json_patch_is_applied_when_its_tests_hold(server: Server) -> None:
    created = await server.create("pods", pod("a", labels={"k": "v"}))
    uid = created["metadata"]["uid"]

    patched = await server.patch(
        "pods",
        "a",
        [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "test", "path": "/metadata/labels/slipway.dev~1session", "value": None},
            {"op": "add", "path": "/metadata/labels/slipway.dev~1session", "value": "s"},
            {"op": "remove", "path": "/metadata/labels/k"},
        ],
    )

    assert patched["metadata"]["labels"] == {"slipway.dev/session": "s"}
    assert int(patched["metadata"]["resourceVersion"]) > int(created["metadata"]["resourceVersion"])


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/uid", "value": "another"},
        {"op": "test", "path": "/metadata/labels/k", "value": "other"},
        {"op": "test", "path": "/metadata/labels/absent", "value": "x"},
        {"op": "test", "path": "/metadata/labels/k", "value": None},
        {"op": "remove", "path": "/metadata/labels/absent"},
        {"op": "add", "path": "/metadata/annotations/a", "value": "no annotations are there"},
        {"op": "replace", "path": "/metadata/finalizers/0", "value": "no finalizers are there"},
        {"op": "invented", "path": "/metadata/labels/k", "value": "x"},
    ],
    ids=lambda operation: f"{operation['op']} {operation['path']}",
)
async def test_a_json_patch_that_does_not_hold_changes_nothing(
    server: Server, operation: dict[str, object]
) -> None:
    created = await server.create("pods", pod("a", labels={"k": "v"}))

    error = await server.refused_patch(
        "pods", "a", [operation, {"op": "add", "path": "/metadata/labels/x", "value": "x"}]
    )

    assert type(error) is ConflictError
    assert (error.status, error.reason) == (422, "Invalid")
    assert str(error) == PATCH_REFUSED
    assert await server.get("pods", "a") == created


async def test_replace_of_a_member_that_is_not_there_adds_it(server: Server) -> None:
    await server.create("pods", pod("a", labels={"k": "v"}))

    patched = await server.patch(
        "pods", "a", [{"op": "replace", "path": "/metadata/labels/new", "value": "x"}]
    )

    assert patched["metadata"]["labels"] == {"k": "v", "new": "x"}


async def test_a_patch_that_changes_nothing_makes_no_version(server: Server) -> None:
    created = await server.create("pods", pod("a", labels={"k": "v"}))

    patched = await server.patch("pods", "a", {"metadata": {"labels": {"k": "v"}}})

    assert patched["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_a_merge_patch_adds_changes_and_removes(server: Server) -> None:
    await server.create("pods", pod("a", labels={"stays": "1", "goes": "1", "changes": "1"}))

    patched = await server.patch(
        "pods", "a", {"metadata": {"labels": {"goes": None, "changes": "2", "comes": "1"}}}
    )

    assert patched["metadata"]["labels"] == {"stays": "1", "changes": "2", "comes": "1"}


async def test_a_merge_patch_into_another_object_is_a_conflict(server: Server) -> None:
    await server.create("pods", pod("a"))

    error = await server.refused_patch(
        "pods", "a", {"metadata": {"uid": "another", "labels": {"k": "v"}}}
    )

    assert type(error) is ConflictError
    assert (error.status, error.reason) == (422, "Invalid")
    assert str(error) == (
        'Pod "a" is invalid: metadata.uid: Invalid value: "another": field is immutable'
    )
    assert "labels" not in (await server.get("pods", "a"))["metadata"]


async def test_a_merge_patch_into_another_version_is_a_conflict(server: Server) -> None:
    created = await server.create("pods", pod("a"))
    version = created["metadata"]["resourceVersion"]
    await server.patch("pods", "a", {"metadata": {"labels": {"k": "1"}}})

    error = await server.refused_patch(
        "pods", "a", {"metadata": {"resourceVersion": version, "labels": {"k": "2"}}}
    )

    assert type(error) is ConflictError
    assert (error.status, error.reason) == (409, "Conflict")
    assert str(error) == f'Operation cannot be fulfilled on pods "a": {MODIFIED}'


async def test_a_merge_patch_of_this_very_version_is_applied(server: Server) -> None:
    created = await server.create("pods", pod("a"))
    meant = {key: created["metadata"][key] for key in ("uid", "resourceVersion")}

    patched = await server.patch("pods", "a", {"metadata": {**meant, "labels": {"k": "v"}}})

    assert patched["metadata"]["labels"] == {"k": "v"}


@pytest.mark.parametrize("body", [[], {}], ids=["json patch", "merge patch"])
async def test_a_patch_of_nothing_is_not_found(server: Server, body: object) -> None:
    assert type(await server.refused_patch("pods", "absent", body)) is NotFoundError


async def test_a_patch_of_no_known_kind_is_refused(server: Server) -> None:
    await server.create("pods", pod("a"))

    error = await server.refused("PATCH", server.path("pods", "a"), {}, content_type="text/plain")

    assert type(error) is RefusedError
    assert (error.status, error.reason) == (415, "UnsupportedMediaType")


async def test_a_json_patch_that_is_no_list_is_refused(server: Server) -> None:
    await server.create("pods", pod("a"))

    error = await server.refused(
        "PATCH",
        server.path("pods", "a"),
        {"not": "a list"},
        content_type="application/json-patch+json",
    )

    assert type(error) is RefusedError
    assert (error.status, error.reason) == (400, "BadRequest")


async def test_the_status_of_a_pod_has_a_door_of_its_own(server: Server) -> None:
    await server.create("pods", pod("a"))

    by_status = await server.patch(
        "pods", "a", {"status": {"phase": "Running"}, "spec": {"hostname": "x"}}, "status"
    )
    by_pod = await server.patch(
        "pods", "a", {"status": {"phase": "Failed"}, "metadata": {"labels": {"k": "v"}}}
    )

    assert by_status["status"]["phase"] == "Running"
    assert "hostname" not in by_status["spec"]
    assert by_pod["status"]["phase"] == "Running"
    assert by_pod["metadata"]["labels"] == {"k": "v"}


async def test_a_pods_containers_stay_as_they_were_made(server: Server) -> None:
    await server.create("pods", pod("a"))

    error = await server.refused_patch(
        "pods", "a", [{"op": "replace", "path": "/spec/containers/0/name", "value": "other"}]
    )

    assert type(error) is RefusedError
    assert (error.status, error.reason) == (422, "Invalid")
    assert str(error).startswith(
        'Pod "a" is invalid: spec: Forbidden: pod updates may not change fields other than '
    )


async def test_the_content_of_an_immutable_secret_stays_and_its_annotations_may_change(
    server: Server,
) -> None:
    await server.create(
        "secrets", {"metadata": {"name": "s"}, "immutable": True, "data": {"k": "MQ=="}}
    )

    error = await server.refused_patch("secrets", "s", {"data": {"k": "Mg=="}})
    patched = await server.patch("secrets", "s", {"metadata": {"annotations": {"unit": "u"}}})

    assert type(error) is RefusedError
    assert str(error) == (
        'Secret "s" is invalid: data: Forbidden: field is immutable when `immutable` is set'
    )
    assert patched["metadata"]["annotations"] == {"unit": "u"}
    assert patched["data"] == {"k": "MQ=="}
