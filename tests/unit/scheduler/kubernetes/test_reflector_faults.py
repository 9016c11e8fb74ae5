"""The mirror when the server forgets, falls silent, goes away or talks nonsense: it ends up as the
server is, and tells each change once.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from slipway_scheduler.kubernetes import reflector as reflectors
from slipway_scheduler.kubernetes.api import Resource
from slipway_scheduler.kubernetes.objects import Node
from support.kubernetes.faults import Expire, Refuse, Say, Silence
from support.kubernetes.mirrors import requests, watching
from support.kubernetes.others import Pods
from support.kubernetes.server import FakeApiServer
from support.waiting import eventually

NODES = Resource("v1", "nodes")


async def forget_while_it_does_not_look(
    server: FakeApiServer, change: Callable[[], None], *, said: str
) -> None:
    """Cut the watch, change things, and forget that; then let it ask from where it was."""
    away = server.faults.plan(Refuse(503, "ServiceUnavailable", "away"), verb="watch", times=None)
    server.cut_watches("pods")
    await away.has_been_met()
    change()
    server.store.compact()
    if said == "as status":
        server.faults.plan(Refuse(410, "Expired", "too old resource version: 1 (2)"), verb="watch")
    away.call_off()


@pytest.mark.parametrize("said", ["as status", "in the stream"])
async def test_what_was_forgotten_is_listed_and_only_the_difference_is_told(
    new_mirror: Any, pods: Pods, server: FakeApiServer, said: str
) -> None:
    for name in ("stays", "goes", "changes", "is replaced".replace(" ", "-")):
        pods.create(name)

    def change() -> None:
        pods.delete("goes")
        pods.label("changes", k="1")
        pods.delete("is-replaced")
        pods.create("is-replaced")
        pods.create("comes")
        pods.create("came-and-went")
        pods.delete("came-and-went")

    async with new_mirror() as mirror:
        await watching(server)
        mirror.told.clear()
        await forget_while_it_does_not_look(server, change, said=said)

        await mirror.knows(lambda: len(mirror.told) >= 5, "the difference")
        assert mirror.told[0] == ("deleted", "goes")
        assert sorted(mirror.told[1:]) == [
            ("added", "comes"),
            ("added", "is-replaced"),
            ("changed", "changes"),
            ("deleted", "is-replaced"),
        ]
        assert mirror.told.index(("deleted", "is-replaced")) < mirror.told.index(
            ("added", "is-replaced")
        )
        assert mirror.names == {"stays", "changes", "is-replaced", "comes"}
        assert requests(server, "list") == 2
        await watching(server)
        pods.delete("stays")
        await mirror.knows(lambda: mirror.told[-1] == ("deleted", "stays"), "what came after")


async def test_twenty_that_died_unseen_are_all_told(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    for number in range(30):
        pods.create(f"pod-{number}")

    def change() -> None:
        for number in range(20):
            pods.delete(f"pod-{number}")

    async with new_mirror() as mirror:
        await watching(server)
        mirror.told.clear()
        await forget_while_it_does_not_look(server, change, said="in the stream")

        await mirror.knows(lambda: len(mirror.told) == 20, "twenty deaths")
        assert set(mirror.told) == {("deleted", f"pod-{number}") for number in range(20)}


async def test_a_version_that_is_expired_for_no_reason_changes_nothing(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("a")
    async with new_mirror() as mirror:
        await watching(server)
        plan = server.faults.plan(Expire(), verb="watch", times=3)
        server.cut_watches("pods")
        await plan.has_been_met(3)
        await watching(server)
        pods.create("b")

        await mirror.has_told(("added", "a"), ("added", "b"))


async def test_a_watch_that_falls_silent_is_noticed_and_everything_listed(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("a")
    async with new_mirror(silence=0.5) as mirror:
        await watching(server)
        silent = server.faults.plan(Silence(), verb="watch")
        server.cut_watches("pods")
        await silent.has_been_met()
        pods.create("b")
        pods.delete("a")

        await mirror.has_told(("added", "a"), ("deleted", "a"), ("added", "b"))


async def test_an_open_watch_that_stalls_is_noticed(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    async with new_mirror(silence=0.5) as mirror:
        await watching(server)
        with server.faults.stalled("pods"):
            pods.create("a")
            await mirror.has_told(("added", "a"))


async def test_a_silent_mirror_is_known_by_its_age(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("a")
    async with new_mirror() as mirror:
        await watching(server)
        await mirror.knows(lambda: mirror.reflector.age_seconds < 0.3, "a bookmark")
        with server.faults.stalled("pods"):
            pods.create("b")
            await mirror.knows(lambda: mirror.reflector.age_seconds > 1, "an old mirror")
        await mirror.knows(lambda: mirror.reflector.age_seconds < 0.3, "a young mirror")


async def test_a_kind_of_which_nothing_is_ever_told_stays_known(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    """No bookmark comes of a kind of which nothing has changed since the watch began."""
    async with new_mirror(resource=NODES, kind=Node, silence=0.3) as mirror:
        await watching(server, plural="nodes")
        heard: list[float] = []
        for _ in range(50):
            heard.append(mirror.reflector.age_seconds)
            await asyncio.sleep(0.05)

        assert max(heard) < 1.5


async def test_events_that_come_late_come_in_order(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    async with new_mirror() as mirror:
        await watching(server)
        server.faults.event_delay = 0.05
        pods.create("a")
        pods.label("a", k="1")
        pods.label("a", k="2")
        pods.delete("a")

        await mirror.has_told(
            ("added", "a"), ("changed", "a"), ("changed", "a"), ("changed", "a"), ("deleted", "a")
        )


async def test_events_that_come_twice_are_told_once(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    async with new_mirror() as mirror:
        await watching(server)
        server.faults.events_come_twice = True
        pods.create("a")
        pods.label("a", k="1")
        pods.delete("a")
        pods.create("b")

        await mirror.has_told(
            ("added", "a"), ("changed", "a"), ("changed", "a"), ("deleted", "a"), ("added", "b")
        )


async def test_a_server_that_was_away_is_found_again_and_nothing_is_missed(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("a")
    async with new_mirror() as mirror:
        await watching(server)
        await server.go_away()
        pods.delete("a")
        pods.create("b")
        assert mirror.names == {"a"}
        await server.come_back()

        await mirror.has_told(("added", "a"), ("changed", "a"), ("deleted", "a"), ("added", "b"))


async def test_a_server_that_is_away_at_first_is_waited_for(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("a")
    plan = server.faults.plan(Refuse(503, "ServiceUnavailable", "away"), verb="list", times=3)

    async with new_mirror() as mirror:
        assert plan.met == 3
        assert mirror.names == {"a"}


@pytest.mark.parametrize(
    "content",
    [
        b'{"type":"MODIFIED","object":{"metadata":{"na\n',
        b"<html>502 Bad Gateway</html>\n",
        b"\n",
        b"null\n",
        b'{"type":"ADDED"}\n',
        b'{"type":"ADDED","object":[]}\n',
        b'{"type":"ADDED","object":{"metadata":{"name":7}}}\n',
        b'{"type":"ERROR","object":{"code":"none"}}\n',
        b'{"type":"ERROR","object":[]}\n',
        b"\xff\xfe\x00\n",
    ],
    ids=["cut", "html", "empty", "null", "no object", "a list", "wrong types", "no status",
         "no object of an error", "no text"],
)  # fmt: skip
async def test_a_line_that_cannot_be_read_ends_the_watch_and_not_the_mirror(
    new_mirror: Any, pods: Pods, server: FakeApiServer, content: bytes
) -> None:
    pods.create("a")
    async with new_mirror() as mirror:
        await watching(server)
        plan = server.faults.plan(Say(content), verb="watch", times=2)
        server.cut_watches("pods")
        await plan.has_been_met(2)
        pods.create("b")

        await mirror.has_told(("added", "a"), ("added", "b"))


async def test_a_line_that_ends_with_its_connection_is_no_change(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("a")
    async with new_mirror() as mirror:
        await watching(server)
        half = b'{"type":"DELETED","object":{"metadata":{"name":"a"}}'
        plan = server.faults.plan(Say(half, then_end=True), verb="watch")
        server.cut_watches("pods")
        await plan.has_been_met()
        pods.create("b")

        await mirror.has_told(("added", "a"), ("added", "b"))


async def test_a_line_that_is_too_long_to_be_read_is_listed_instead(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    async with new_mirror() as mirror:
        await watching(server)
        endless = b'{"type":"ADDED","object":{"metadata":{"name":"' + b"x" * 6 * 2**20
        plan = server.faults.plan(Say(endless), verb="watch")
        server.cut_watches("pods")
        await plan.has_been_met()
        pods.create("a")

        await mirror.has_told(("added", "a"))
        assert requests(server, "list") == 2


async def test_a_list_that_cannot_be_read_is_asked_for_again(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("a")
    plan = server.faults.plan(Refuse(200, plain=True, message="<html>"), verb="list", times=2)

    async with new_mirror() as mirror:
        assert plan.met == 2
        assert mirror.told == [("added", "a")]


async def test_a_server_that_ends_every_watch_at_once_is_not_stormed(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    pods.create("a")
    plan = server.faults.plan(Say(b"", then_end=True), verb="watch", times=None)
    async with new_mirror() as mirror:
        loop = asyncio.get_running_loop()
        await plan.has_been_met(1)
        began, before = loop.time(), plan.met
        await asyncio.sleep(1)

        # The pause has grown to a tenth of a second here, and to ten seconds outside of tests.
        assert plan.met - before < 60 * (loop.time() - began)
        plan.call_off()
        pods.create("b")
        await mirror.has_told(("added", "a"), ("added", "b"))


async def test_a_pause_that_grew_in_bad_times_is_short_again_after_good_ones(
    new_mirror: Any, pods: Pods, server: FakeApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reflectors, "BACKOFF_SECONDS", (0.01, 3600))
    async with new_mirror() as mirror:
        for number in range(30):
            await watching(server)
            pods.create(f"pod-{number}")
            await mirror.knows(lambda: len(mirror.told) == number + 1, "the change")  # noqa: B023
            server.cut_watches("pods")

        assert requests(server, "list") == 1


async def test_a_broken_watch_leaves_no_connection_behind(
    new_mirror: Any, pods: Pods, server: FakeApiServer
) -> None:
    async with new_mirror():
        await watching(server)
        plan = server.faults.plan(Say(b"unreadable\n"), verb="watch", times=20)
        server.cut_watches("pods")
        await plan.has_been_met(20)
        await watching(server)

        async def one_is_left() -> bool:
            return server.watches("pods") == 1

        await eventually(one_is_left, what="one watch")
