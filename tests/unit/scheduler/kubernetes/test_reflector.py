"""The mirror, while all goes well and when its watch is cut: each change is told once, in order."""

from typing import Any

import pytest

from slipway_scheduler.kubernetes import reflector as reflectors
from slipway_scheduler.kubernetes.api import Resource
from slipway_scheduler.kubernetes.objects import Metadata, Node
from support.kubernetes.faults import LoseRequest, Refuse
from support.kubernetes.kinds import NODE, SECRET
from support.kubernetes.mirrors import requests, watching
from support.kubernetes.others import NAMESPACE_NAME, Pods
from support.kubernetes.server import FakeApiServer
from support.kubernetes.verbs import Ask

NODES = Resource("v1", "nodes")
SECRETS = Resource("v1", "secrets", NAMESPACE_NAME)


async def test_it_begins_with_what_is_there(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("a", labels={"k": "1"})
    pods.create("b")

    async with new_mirror() as mirror:
        assert mirror.told == [("added", "a"), ("added", "b")]
        assert mirror.names == {"a", "b"}
        assert mirror.labels("a") == {"k": "1"}


async def test_it_is_in_step_before_anything_is_there(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    async with new_mirror() as mirror:
        assert mirror.names == set()
        await watching(server)
        pods.create("a")
        await mirror.has_told(("added", "a"))


async def test_it_reads_all_pages(
    new_mirror: Any, pods: Pods, server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflectors, "PAGE", 10)
    names = {f"pod-{number:03}" for number in range(35)}
    for name in names:
        pods.create(name)

    async with new_mirror() as mirror:
        assert mirror.names == names
        assert len(mirror.told) == 35
        assert requests(server, "list") == 4


async def test_pages_that_expire_are_read_again_from_the_start(
    new_mirror: Any, pods: Pods, server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflectors, "PAGE", 10)
    for number in range(25):
        pods.create(f"pod-{number:03}")
    plan = server.faults.plan(
        Refuse(410, "Expired", "too old"), verb="list", when=lambda ask: "continue" in ask.params
    )

    async with new_mirror() as mirror:
        assert plan.met == 1
        assert len(mirror.told) == 25


async def test_it_follows_what_is_made_changed_and_removed(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    async with new_mirror() as mirror:
        pods.create("a")
        pods.label("a", k="1")
        pods.create("b")
        pods.delete("a")

        await mirror.has_told(
            ("added", "a"), ("changed", "a"), ("added", "b"), ("changed", "a"), ("deleted", "a")
        )
        assert mirror.names == {"b"}
        assert requests(server, "list") == 1


async def test_what_is_told_can_be_seen_in_the_mirror_at_that_moment(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    async with new_mirror() as mirror:
        pods.create("a")
        pods.create("b")
        pods.delete("a")

        await mirror.has_told(("added", "a"), ("added", "b"), ("changed", "a"), ("deleted", "a"))
        assert mirror.states == [{"a"}, {"a", "b"}, {"a", "b"}, {"b"}]


async def test_it_sees_only_what_is_selected(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("ours", labels={"role": "session"})
    pods.create("other")

    async with new_mirror(selector="role") as mirror:
        assert mirror.names == {"ours"}
        pods.label("other", role="session")
        pods.label("ours", role=None)

        await mirror.has_told(("added", "ours"), ("added", "other"), ("deleted", "ours"))


async def test_it_mirrors_nodes_and_the_metadata_of_secrets(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    node = {"metadata": {"name": "n"}, "status": {"allocatable": {"cpu": "4"}}}
    secret = {"metadata": {"name": "s", "annotations": {"k": "v"}}, "data": {"k": "MQ=="}}
    async with (
        new_mirror(resource=NODES, kind=Node) as nodes,
        new_mirror(resource=SECRETS, kind=Metadata) as secrets,
    ):
        server.act(Ask("create", NODE, body=node))
        server.act(Ask("create", SECRET, NAMESPACE_NAME, body=secret))

        await nodes.has_told(("added", "n"))
        await secrets.has_told(("added", "s"))
        assert nodes.reflector.objects["n"].status.allocatable.cpu == "4"
        assert secrets.reflector.objects["s"].metadata.annotations == {"k": "v"}


async def test_bookmarks_move_its_version_on_and_keep_it_young(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    async with new_mirror(selector="role") as mirror:
        await watching(server)
        before = mirror.version
        pods.create("unseen")

        await mirror.knows(lambda: mirror.version > before, "a bookmark")
        assert mirror.told == []
        assert mirror.reflector.age_seconds < 5


async def test_a_version_that_bookmarks_moved_on_outlives_a_compaction(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    async with new_mirror(selector="role") as mirror:
        await watching(server)
        before = mirror.version
        pods.create("unseen")
        await mirror.knows(lambda: mirror.version > before, "a bookmark")
        server.store.compact()
        server.cut_watches("pods")
        await watching(server)
        pods.create("seen", labels={"role": "session"})

        await mirror.has_told(("added", "seen"))
        assert requests(server, "list") == 1


@pytest.mark.parametrize("server", [3600.0], indirect=True)
async def test_changes_move_its_version_on_without_any_bookmark(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("a")
    async with new_mirror() as mirror:
        await watching(server)
        pods.label("a", k="1")
        pods.create("b")
        pods.delete("b")
        await mirror.knows(lambda: mirror.told[-1:] == [("deleted", "b")], "what happened")
        server.store.compact()
        server.cut_watches("pods")
        await watching(server)
        pods.create("c")

        await mirror.knows(lambda: mirror.told[-1:] == [("added", "c")], "what came after")
        assert requests(server, "list") == 1


async def test_after_a_broken_watch_it_goes_on_where_it_was(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("a")
    async with new_mirror() as mirror:
        await watching(server)
        lost = server.faults.plan(LoseRequest(), verb="watch", times=3)
        assert server.cut_watches("pods") == 1
        pods.label("a", k="1")
        pods.create("b")
        pods.delete("b")
        await lost.has_been_met(3)

        await mirror.has_told(
            ("added", "a"), ("changed", "a"), ("added", "b"), ("changed", "b"), ("deleted", "b")
        )
        assert requests(server, "list") == 1
