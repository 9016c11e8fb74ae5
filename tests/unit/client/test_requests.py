import asyncio
import time
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from uuid import UUID

import pytest
from starlette.responses import HTMLResponse, RedirectResponse, Response

from slipway_client import (
    AsyncSlipway,
    Slipway,
    SlipwayProblem,
    UnexpectedAnswerError,
    UnreachableError,
)
from slipway_common.contracts.problems import Code
from unit.client.conftest import QUICK
from unit.client.fake_platform import (
    KEY,
    LATER,
    PASSWORD,
    FakePlatform,
    FakeServer,
    app_view,
    dropped,
    package_view,
    refusal,
    session_view,
    task_view,
)


def test_key_goes_with_every_request(client: Slipway, platform: FakePlatform) -> None:
    me = client.me()

    assert (me.account, me.user) == ("acme", "ann")
    assert platform.seen[0].headers["authorization"] == f"Bearer {KEY}"


async def test_asynchronous_client_has_the_same_calls(
    server: FakeServer, platform: FakePlatform
) -> None:
    for number in range(3):
        platform.add("apps", {**app_view(f"app{number}", "1", str(UUID(int=1))), "id": str(number)})

    async with AsyncSlipway(server.url, api_key=KEY, retries=QUICK) as client:
        me = await client.me()
        apps = [app.name async for app in client.apps.list()]

    assert me.user == "ann"
    assert apps == ["app0", "app1", "app2"]


async def test_blocking_client_works_where_a_loop_runs_already(client: Slipway) -> None:
    assert client.me().user == "ann"
    assert asyncio.get_running_loop().is_running()


def test_list_goes_on_over_pages(client: Slipway, platform: FakePlatform) -> None:
    views = [platform.add("sessions", session_view("running")) for _ in range(5)]
    platform.add("sessions", session_view("ended"))

    found = [str(session.id) for session in client.sessions.list(open_only=True)]

    assert found == [view["id"] for view in views]
    assert [seen.query.get("cursor") for seen in platform.seen] == [None, "2", "4"]


def test_list_asks_for_no_page_that_nobody_reads(client: Slipway, platform: FakePlatform) -> None:
    for _ in range(5):
        platform.add("tasks", task_view("completed"))

    next(client.tasks.list())

    assert platform.count("GET", "/tasks") == 1


def test_problem_has_the_words_of_the_platform(client: Slipway, platform: FakePlatform) -> None:
    platform.script("GET", "/me", refusal(Code.FORBIDDEN, "Ask an admin."))

    with pytest.raises(SlipwayProblem) as caught:
        client.me()

    problem = caught.value
    assert problem.type == "urn:slipway:problem:forbidden"
    assert (problem.slug, problem.status, problem.detail) == ("forbidden", 403, "Ask an admin.")
    assert str(problem) == "Ask an admin."


def test_answer_of_somebody_else_is_a_problem_as_well(
    client: Slipway, platform: FakePlatform
) -> None:
    platform.script("GET", "/me", HTMLResponse("<h1>no</h1>", status_code=418))

    with pytest.raises(SlipwayProblem) as caught:
        client.me()

    assert (caught.value.type, caught.value.status) == ("about:blank", 418)


@pytest.mark.parametrize(
    "answer",
    [HTMLResponse("<h1>hello</h1>"), RedirectResponse("https://other.test/", status_code=308)],
    ids=["a page", "a redirect"],
)
def test_address_of_something_else_is_told(
    client: Slipway, platform: FakePlatform, answer: Response
) -> None:
    platform.script("GET", "/me", answer)

    with pytest.raises(UnexpectedAnswerError, match="address"):
        client.me()


@pytest.mark.parametrize("url", ["slipway.test", "ftp://slipway.test", "http://", "http://a:b:c"])
def test_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        Slipway(url)


@pytest.mark.parametrize(
    "fault",
    [
        dropped,
        lambda: refusal(Code.UNAVAILABLE),
        lambda: refusal(Code.SESSION_UNREACHABLE),
        lambda: refusal(Code.SESSION_TIMEOUT),
        lambda: Response(status_code=429, headers={"Retry-After": "0"}),
    ],
    ids=["dropped", "503", "502", "504", "429 that says when"],
)
def test_read_is_repeated(client: Slipway, platform: FakePlatform, fault) -> None:
    platform.script("GET", "/me", fault, fault)

    assert client.me().user == "ann"
    assert platform.count("GET", "/me") == 3


def test_retry_waits_as_long_as_it_is_told(client: Slipway, platform: FakePlatform) -> None:
    platform.script("GET", "/me", refusal(Code.UNAVAILABLE, Retry_After="1"))
    started = time.monotonic()

    client.me()

    assert time.monotonic() - started >= 1


@pytest.mark.parametrize(
    "answer",
    [
        lambda: Response(status_code=429),
        lambda: refusal(Code.UNAVAILABLE, Retry_After="3600"),
        lambda: refusal(Code.SESSION_LIMIT, Retry_After="0"),
        lambda: refusal(Code.INTERNAL),
        lambda: refusal(Code.NOT_FOUND),
    ],
    ids=["429 without a time", "too long", "limit of the account", "500", "404"],
)
def test_what_waiting_does_not_help_is_told_at_once(
    client: Slipway, platform: FakePlatform, answer
) -> None:
    platform.script("GET", "/me", answer)

    with pytest.raises(SlipwayProblem):
        client.me()

    assert platform.count("GET", "/me") == 1


def test_retries_are_bounded(client: Slipway, platform: FakePlatform) -> None:
    platform.script("GET", "/me", *[dropped] * 9)

    with pytest.raises(UnreachableError, match="broke"):
        client.me()

    assert platform.count("GET", "/me") == QUICK.attempts


def test_launch_is_repeated_with_the_same_key(client: Slipway, platform: FakePlatform) -> None:
    platform.add("sessions", session_view("requested"))
    platform.script("POST", "/sessions", dropped, refusal(Code.UNAVAILABLE))

    client.sessions.launch("depots")
    client.sessions.launch("depots", idempotency_key="mine")

    keys = [seen.headers["idempotency-key"] for seen in platform.of("POST", "/sessions")]
    assert len(set(keys[:3])) == 1
    assert keys[3] == "mine"
    assert platform.seen[0].json == {"app": "depots", "version": "latest"}


def test_what_must_not_happen_twice_is_sent_once(client: Slipway, platform: FakePlatform) -> None:
    platform.script("POST", "/api-keys", dropped)

    with pytest.raises(UnreachableError):
        client.keys.create("laptop", scopes=["read"])

    assert platform.count("POST", "/api-keys") == 1


def test_task_is_called_by_its_name(client: Slipway, platform: FakePlatform) -> None:
    platform.add("tasks", task_view("queued", app="my depots"))

    client.tasks.start(
        "my depots", "solve", {"demand": 3}, version="1+a", time_limit=timedelta(seconds=90)
    )

    [seen] = platform.seen
    assert seen.path == "/tasks/my depots/1+a/solve"
    assert seen.query == {"time_limit": "90"}
    assert seen.json == {"demand": 3}
    assert seen.headers["idempotency-key"]


def test_run_waits_for_the_result(client: Slipway, platform: FakePlatform) -> None:
    task = task_view("queued")
    platform.add("tasks", task, [{**task, "state": "completed", "revision": 2}])
    platform.results[task["id"]] = {"cost": 12.5}
    changes = []

    result = client.tasks.run("depots", "solve", on_change=changes.append)

    assert result == {"cost": 12.5}
    assert [change.state for change in changes] == ["completed"]


def test_run_raises_the_problem_of_the_task(client: Slipway, platform: FakePlatform) -> None:
    task = task_view("queued")
    platform.add("tasks", task, [{**task, "state": "failed", "revision": 2}])
    platform.results[task["id"]] = refusal(Code.TASK_FAILED, "demand is negative")

    with pytest.raises(SlipwayProblem, match="demand is negative"):
        client.tasks.run("depots", "solve")


def test_upload_is_streamed_with_its_digest(
    client: Slipway, platform: FakePlatform, tmp_path: Path
) -> None:
    platform.add("packages", package_view("processing"))
    path = tmp_path / "big.bin"
    path.write_bytes(b"slipway" * 500_000)
    told: list[tuple[int, int]] = []

    package = client.packages.publish_app(
        path, name="depots", version="2", progress=lambda sent, size: told.append((sent, size))
    )

    assert (package.name, package.version) == ("depots", "2")
    assert platform.seen[0].body == path.read_bytes()
    assert [sent for sent, _ in told] == [1048576, 2097152, 3145728, 3500000]
    assert {size for _, size in told} == {3500000}


def test_upload_starts_over_when_the_connection_breaks(
    client: Slipway, platform: FakePlatform
) -> None:
    platform.add("packages", package_view("processing"))
    platform.script("PUT", "/runtimes/1.0.0.1-linux64-x64", dropped, refusal(Code.UNAVAILABLE))
    content = b"r" * 2_500_000

    client.packages.publish_runtime(BytesIO(content), runtime_id="1.0.0.1-linux64-x64")

    assert [seen.body == content for seen in platform.seen] == [True] * 3


def test_password_leads_to_a_cookie_and_a_key(server: FakeServer, platform: FakePlatform) -> None:
    with Slipway(server.url, retries=QUICK) as client:
        principal = client.login(account="acme", user="ann", password=PASSWORD)
        key = client.keys.create("laptop", scopes=["read"], lifetime=timedelta(days=7))
        client.keys.revoke(key.id)
        client.logout()

    assert principal.admin
    assert key.key == KEY
    assert key.expires_at.year == int(LATER[:4])
    assert platform.of("POST", "/api-keys")[0].json["expires_in_days"] == 7
    assert platform.items["api-keys"] == {}


def test_users_are_listed_made_and_disabled(client: Slipway, platform: FakePlatform) -> None:
    made = client.users.create("bob", password="long enough, surely", publisher=True)
    client.users.disable(made.id)

    [bob] = client.users.list()

    assert (bob.name, bob.publisher, bob.disabled) == ("bob", True, True)


def test_closed_client_can_be_closed_again(server: FakeServer) -> None:
    client = Slipway(server.url)
    client.close()
    client.close()
