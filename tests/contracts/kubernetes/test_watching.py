"""Lists in pages, which show one instant, and watches, which tell every change once."""

import asyncio
import base64
import json
from typing import Any

import pytest

from slipway_scheduler.kubernetes.errors import ExpiredError, RefusedError, UnavailableError
from support.kubernetes.asking import Server, config_map, pod

METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"


def names(answer: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in answer["items"]]


def told(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (event["type"], event["object"]["metadata"]["name"])
        for event in events
        if event["type"] != "BOOKMARK"
    ]


def event(name: str, namespace: str) -> dict[str, Any]:
    """Of a kind of which the real server keeps nothing in memory: what is gone is gone at once."""
    about = {"kind": "Pod", "name": "a", "namespace": namespace}
    return {"metadata": {"name": name}, "involvedObject": about, "reason": "Test"}


async def test_a_list_is_in_the_order_of_names_and_has_a_version(server: Server) -> None:
    for name in ("b", "c", "a"):
        await server.create("pods", pod(name))

    answer = await server.ask("GET", server.path("pods"))

    assert answer["kind"] == "PodList"
    assert names(answer) == ["a", "b", "c"]
    assert int(answer["metadata"]["resourceVersion"]) > 0
    assert "continue" not in answer["metadata"]


async def test_pages_show_one_instant(server: Server) -> None:
    for name in "abcde":
        await server.create("pods", pod(name))
    first = await server.ask("GET", server.path("pods"), params={"limit": "2"})
    await server.ask("DELETE", server.path("pods", "d"))
    await server.create("pods", pod("c1"))

    second = await server.ask(
        "GET",
        server.path("pods"),
        params={"limit": "2", "continue": first["metadata"]["continue"]},
    )
    third = await server.ask(
        "GET",
        server.path("pods"),
        params={"limit": "2", "continue": second["metadata"]["continue"]},
    )

    assert [names(page) for page in (first, second, third)] == [["a", "b"], ["c", "d"], ["e"]]
    assert first["metadata"]["remainingItemCount"] == 3
    assert "continue" not in third["metadata"]
    assert (
        first["metadata"]["resourceVersion"]
        == second["metadata"]["resourceVersion"]
        == third["metadata"]["resourceVersion"]
    )


async def test_a_list_of_metadata_names_neither_spec_nor_status(server: Server) -> None:
    await server.create("pods", pod("a"))

    answer = await server.ask("GET", server.path("pods"), accept=METADATA_LIST)

    assert answer["kind"] == "PartialObjectMetadataList"
    assert names(answer) == ["a"]
    assert set(answer["items"][0]) == {"kind", "apiVersion", "metadata"}


async def test_a_page_that_is_asked_for_too_late_is_expired(server: Server) -> None:
    events = server.path("events")
    for name in "abc":
        await server.ask("POST", events, event(name, server.namespace))
    first = await server.ask("GET", events, params={"limit": "1"})
    await server.ask("POST", events, event("d", server.namespace))
    await server.forget()

    error = await server.refused(
        "GET", events, params={"limit": "1", "continue": first["metadata"]["continue"]}
    )

    assert type(error) is ExpiredError
    assert (error.status, error.reason) == (410, "Expired")
    assert str(error).startswith("The provided continue parameter is too old to display a ")


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        ("tier=front", ["a", "b"]),
        ("tier==front", ["a", "b"]),
        ("tier!=front", ["c", "d"]),
        ("tier in (front, back)", ["a", "b", "c"]),
        ("tier notin (front)", ["c", "d"]),
        ("tier", ["a", "b", "c"]),
        ("!tier", ["d"]),
        ("slipway.dev/role=session", ["b"]),
        ("tier=front,slipway.dev/role=session", ["b"]),
        ("tier in (front),!slipway.dev/role", ["a"]),
        ("tier=", []),
        ("absent", []),
    ],
)
async def test_labels_select(server: Server, selector: str, selected: list[str]) -> None:
    for name, labels in {
        "a": {"tier": "front"},
        "b": {"tier": "front", "slipway.dev/role": "session"},
        "c": {"tier": "back"},
        "d": {},
    }.items():
        await server.create("configmaps", {"metadata": {"name": name, "labels": labels}})

    answer = await server.ask("GET", server.path("configmaps"), params={"labelSelector": selector})

    # The real server puts an authority of its own into each namespace.
    assert [name for name in names(answer) if name != "kube-root-ca.crt"] == selected


async def test_fields_select(server: Server) -> None:
    await server.create("pods", pod("a", nodeName="nowhere"))
    await server.create("pods", pod("b"))

    answer = await server.ask(
        "GET", server.path("pods"), params={"fieldSelector": "spec.nodeName=nowhere"}
    )

    assert names(answer) == ["a"]


@pytest.mark.parametrize(
    "params",
    [
        {"labelSelector": "a==="},
        {"fieldSelector": "spec.invented=1"},
        {"limit": "many"},
        {"limit": "1", "continue": "invented"},
    ],
    ids=lambda params: next(iter(params)),
)
async def test_what_cannot_be_understood_is_refused(server: Server, params: dict[str, str]) -> None:
    error = await server.refused("GET", server.path("pods"), params=params)

    assert type(error) is RefusedError
    assert (error.status, error.reason) == (400, "BadRequest")


async def test_a_watch_tells_each_change_once_and_in_order(server: Server) -> None:
    first = await server.create("pods", pod("before"))
    since = first["metadata"]["resourceVersion"]
    await server.create("pods", pod("a", nodeName="nowhere"))
    watching = asyncio.create_task(server.watch(server.path("pods"), resourceVersion=since))

    await server.patch("pods", "a", {"metadata": {"labels": {"k": "v"}}})
    await server.ask("DELETE", server.path("pods", "a"))
    await server.ask("DELETE", server.path("pods", "a"), {"gracePeriodSeconds": 0})
    events = await watching

    assert told(events) == [
        ("ADDED", "a"),
        ("MODIFIED", "a"),
        ("MODIFIED", "a"),
        ("MODIFIED", "a"),
        ("DELETED", "a"),
    ]
    versions = [int(found["object"]["metadata"]["resourceVersion"]) for found in events[:5]]
    assert versions == sorted(set(versions))
    assert versions[0] > int(since)


async def test_what_a_finalizer_kept_is_told_as_it_was_before_it_went(server: Server) -> None:
    kept = pod("a", metadata={"finalizers": ["slipway.dev/concluded"]})
    created = await server.create("pods", kept)
    await server.ask("DELETE", server.path("pods", "a"))
    await server.patch("pods", "a", {"metadata": {"finalizers": None}})

    events = await server.watch(
        server.path("pods"), resourceVersion=created["metadata"]["resourceVersion"]
    )

    assert told(events) == [("MODIFIED", "a"), ("DELETED", "a")]
    marked, gone = (found["object"]["metadata"] for found in events[:2])
    assert gone["finalizers"] == ["slipway.dev/concluded"]
    assert int(gone["resourceVersion"]) > int(marked["resourceVersion"])


async def test_what_comes_into_sight_is_added_and_what_goes_out_of_it_deleted(
    server: Server,
) -> None:
    created = await server.create("pods", pod("a"))
    for value in ("1", "2", None, None):
        await server.patch("pods", "a", {"metadata": {"labels": {"seen": value}}})
    last = await server.patch("pods", "a", {"metadata": {"labels": {"unseen": "1"}}})

    events = await server.watch(
        server.path("pods"),
        resourceVersion=created["metadata"]["resourceVersion"],
        labelSelector="seen",
    )

    assert told(events) == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    gone = events[2]["object"]["metadata"]
    assert gone["labels"] == {"seen": "2"}
    assert int(gone["resourceVersion"]) < int(last["metadata"]["resourceVersion"])


async def test_a_watch_without_a_version_begins_with_what_is_there(server: Server) -> None:
    await server.create("pods", pod("a"))
    await server.create("pods", pod("b"))

    events = await server.watch(server.path("pods"))

    assert told(events) == [("ADDED", "a"), ("ADDED", "b")]


async def test_a_watch_ends_when_its_time_is_over_after_a_bookmark(server: Server) -> None:
    created = await server.create("pods", pod("a"))
    await server.patch("pods", "a", {"metadata": {"labels": {"k": "1"}}})
    loop = asyncio.get_running_loop()
    began = loop.time()

    events = await server.watch(
        server.path("pods"),
        after_first=lambda: server.patch("pods", "a", {"metadata": {"labels": {"k": "2"}}}),
        resourceVersion=created["metadata"]["resourceVersion"],
        allowWatchBookmarks="true",
        timeoutSeconds="6",
    )

    assert 5 < loop.time() - began < 10
    assert told(events) == [("MODIFIED", "a"), ("MODIFIED", "a")]
    assert events[-1]["type"] == "BOOKMARK"
    bookmark = events[-1]["object"]
    assert bookmark["kind"] == "Pod"
    assert bookmark["spec"] == {"containers": None}
    assert "name" not in bookmark["metadata"]
    assert int(bookmark["metadata"]["resourceVersion"]) >= int(
        events[1]["object"]["metadata"]["resourceVersion"]
    )


async def test_a_watch_of_metadata_tells_nothing_else(server: Server) -> None:
    created = await server.create("secrets", {"metadata": {"name": "s"}, "data": {"k": "MQ=="}})
    await server.patch("secrets", "s", {"metadata": {"labels": {"k": "1"}}})

    events = await server.watch(
        server.path("secrets"),
        after_first=lambda: server.patch("secrets", "s", {"metadata": {"labels": {"k": "2"}}}),
        resourceVersion=created["metadata"]["resourceVersion"],
        allowWatchBookmarks="true",
        timeoutSeconds="6",
        accept=METADATA,
    )

    assert told(events) == [("MODIFIED", "s"), ("MODIFIED", "s")]
    assert set(events[0]["object"]) == {"kind", "apiVersion", "metadata"}
    assert {found["object"]["kind"] for found in events} == {"PartialObjectMetadata"}
    assert events[-1]["type"] == "BOOKMARK"


async def test_where_nothing_happens_no_object_is_told(server: Server) -> None:
    """A bookmark may come or not: the store tells the cache of the server its place in between."""
    await server.create("configmaps", config_map("a"))
    listed = await server.ask("GET", server.path("leases", group="coordination.k8s.io"))

    events = await server.watch(
        server.path("resourcequotas"),
        resourceVersion=listed["metadata"]["resourceVersion"],
        allowWatchBookmarks="true",
        timeoutSeconds="6",
    )

    assert told(events) == []
    assert {found["type"] for found in events} <= {"BOOKMARK"}


async def test_a_watch_from_what_is_forgotten_is_told_so_in_its_stream(server: Server) -> None:
    events = server.path("events")
    first = await server.ask("POST", events, event("a", server.namespace))
    for name in "bc":
        await server.ask("POST", events, event(name, server.namespace))
    await server.forget()

    (error,) = await server.watch(events, resourceVersion=first["metadata"]["resourceVersion"])

    assert error["type"] == "ERROR"
    assert (error["object"]["kind"], error["object"]["code"]) == ("Status", 410)
    assert error["object"]["reason"] == "Expired"


async def test_a_version_that_is_none_is_the_servers_own_error(server: Server) -> None:
    with pytest.raises(UnavailableError) as error:
        await server.watch(server.path("pods"), resourceVersion="invented")

    assert error.value.status == 500


async def test_a_continue_token_is_a_place_in_an_instant(server: Server) -> None:
    for name in "ab":
        await server.create("configmaps", config_map(name))

    answer = await server.ask("GET", server.path("configmaps"), params={"limit": "1"})

    token = answer["metadata"]["continue"]
    content = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    assert content["v"] == "meta.k8s.io/v1"
    assert str(content["rv"]) == answer["metadata"]["resourceVersion"]
    assert content["start"]
