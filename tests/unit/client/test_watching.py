import asyncio
import time
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.responses import JSONResponse

from slipway_client import AsyncSlipway, Slipway, SlipwayProblem, UnreachableError
from slipway_client.portal import Portal
from slipway_common.contracts.problems import Code
from unit.client.conftest import QUICK
from unit.client.fake_platform import (
    CUT,
    HOLD,
    KEY,
    FakePlatform,
    FakeServer,
    package_view,
    refusal,
    session_view,
    task_view,
)


def changes(view: dict, *states: str) -> list[dict]:
    return [{**view, "state": state, "revision": at} for at, state in enumerate(states, start=1)]


def test_watch_ends_with_the_session(client: Slipway, platform: FakePlatform) -> None:
    session = session_view("requested")
    platform.add("sessions", session, changes(session, "queued", "starting", "running", "ended"))

    states = [view.state for view in client.sessions.watch(session["id"])]

    assert states == ["queued", "starting", "running", "ended"]


def test_watch_resumes_where_it_was_cut_and_never_goes_back(
    client: Slipway, platform: FakePlatform
) -> None:
    session = session_view("requested")
    queued, starting, running, ended = changes(session, "queued", "starting", "running", "ended")
    platform.add(
        "sessions", session, [queued, starting, CUT], [queued, starting, running], [running, ended]
    )

    revisions = [view.revision for view in client.sessions.watch(session["id"])]

    assert revisions == [1, 2, 3, 4]
    asked = platform.of("GET", f"/sessions/{session['id']}/events")
    assert [seen.headers.get("last-event-id") for seen in asked] == [None, "2", "3"]


def test_watch_goes_on_from_what_was_seen(client: Slipway, platform: FakePlatform) -> None:
    task = task_view("queued")
    platform.add("tasks", task, changes(task, "queued", "assigned", "completed"))

    revisions = [view.revision for view in client.tasks.watch(task["id"], after=2)]

    assert revisions == [3]
    assert platform.seen[0].headers["last-event-id"] == "2"


def test_watch_outlives_an_absent_platform(client: Slipway, platform: FakePlatform) -> None:
    package = package_view("processing")
    platform.add("packages", package, changes(package, "processing", "ready")[1:])
    path = f"/packages/{package['id']}/events"
    platform.script(
        "GET", path, refusal(Code.UNAVAILABLE, Retry_After="0"), refusal(Code.UNAVAILABLE)
    )

    states = [view.state for view in client.packages.watch(package["id"], after=1)]

    assert states == ["ready"]
    assert platform.count("GET", path) == 3


def test_watch_gives_up_on_a_feed_that_tells_nothing(
    client: Slipway, platform: FakePlatform
) -> None:
    session = session_view("queued")
    platform.add("sessions", session, *[[] for _ in range(9)])

    with pytest.raises(UnreachableError, match="keeps ending"):
        list(client.sessions.watch(session["id"]))

    assert platform.count("GET", f"/sessions/{session['id']}/events") == QUICK.attempts


def test_watch_of_what_does_not_exist_is_a_problem(client: Slipway) -> None:
    with pytest.raises(SlipwayProblem) as caught:
        list(client.sessions.watch("nothing"))

    assert caught.value.status == 404


def test_watch_can_be_left(client: Slipway, platform: FakePlatform) -> None:
    session = session_view("queued")
    platform.add("sessions", session, [*changes(session, "queued"), HOLD])

    for view in client.sessions.watch(session["id"]):
        assert view.state == "queued"
        break

    assert client.me().user == "ann"


async def test_watch_is_an_asynchronous_iterator_as_well(
    server: FakeServer, platform: FakePlatform
) -> None:
    task = task_view("queued")
    platform.add(
        "tasks", task, [*changes(task, "running"), CUT], changes(task, "x", "completed")[1:]
    )

    async with AsyncSlipway(server.url, api_key=KEY, retries=QUICK) as client:
        states = [view.state async for view in client.tasks.watch(task["id"])]

    assert states == ["running", "completed"]


def test_log_is_followed_to_its_last_line(client: Slipway, platform: FakePlatform) -> None:
    session = session_view("ended")
    platform.add("sessions", session)
    platform.script(
        "GET", f"/sessions/{session['id']}", JSONResponse({**session, "state": "running"})
    )
    platform.logs[session["id"]] = ["one\n", "one\ntwo\n"]

    pieces = list(client.sessions.follow(session["id"]))

    assert pieces == ["one\n", "two\n"]


def test_interrupt_while_a_call_is_handed_over_leaves_nothing_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def endless() -> AsyncGenerator[None, None]:
        await asyncio.sleep(60)
        yield

    hand_over = asyncio.run_coroutine_threadsafe

    def interrupted(*args: Any) -> None:
        hand_over(*args)
        time.sleep(0.1)
        raise KeyboardInterrupt

    portal, feed = Portal(), endless()
    monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        portal.call(anext(feed))
    monkeypatch.undo()

    portal.call(feed.aclose())
    portal.close()
