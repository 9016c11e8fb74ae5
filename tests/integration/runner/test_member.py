"""A runner that waits in a pool, and becomes one session and no other."""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from integration.runner.conftest import (
    MODEL,
    RunnerProcess,
    StartRunner,
    app_archive,
    runtime_archive,
)
from integration.runner.home import PlayedHome, PlayedSession, Stored
from slipway_common.contracts.internal import Activation
from slipway_common.contracts.sessions import SessionKind
from slipway_common.crypto import activation

MEMBER = "member-1"
KEY = os.urandom(32)


@pytest.fixture
def start_member(
    home: PlayedHome, runtime: Stored, start_runner: StartRunner, tmp_path: Path
) -> Callable:
    def make(held: Stored = runtime, **settings: object):
        key_file = tmp_path / "activation-key"
        key_file.write_text(KEY.hex() + "\n")
        token = home.member(held)
        return start_runner(token=token, MEMBER=MEMBER, ACTIVATION_KEY_FILE=key_file, **settings)

    return make


def message_for(
    session: PlayedSession,
    *,
    key: bytes = KEY,
    member: str = MEMBER,
    idle_seconds: int = 900,
) -> bytes:
    told = Activation(session_id=session.id, token=session.token, idle_seconds=idle_seconds)
    return activation.seal(key, told.model_dump_json().encode(), member=member)


async def activate(runner: RunnerProcess, message: bytes) -> tuple[int, str]:
    return await runner.post(
        "/_slipway/activate", message, secret=None, Content_Type="application/octet-stream"
    )


@pytest.mark.parametrize("kind", [SessionKind.WEBUI, SessionKind.SOLVE, SessionKind.TASK])
@pytest.mark.parametrize("preload", [True, False])
async def test_a_member_becomes_the_session_that_it_is_told(
    kind: SessionKind, preload: bool, home: PlayedHome, app: Stored, start_member: Callable
) -> None:
    held = home.store(runtime_archive(preload=preload))
    session = home.session(kind, app=app, runtime=held)
    async with start_member(held) as runner:
        await runner.until_ready()
        assert (await runner.get("/"))[0] == 503

        status, answer = await activate(runner, message_for(session))
        ready, _ = await runner.get("/_slipway/ready?wait=20", secret=None)

        assert (status, answer) == (200, activation.acknowledgement(KEY, session.id))
        assert ready == 200
        assert session.claim is not None
        assert (await runner.get("/", secret=None))[0] == 403
        assert (await runner.get("/_slipway/use"))[0] == 200
        page, _ = await runner.get("/")
        assert page == (200 if kind is SessionKind.WEBUI else 404)
        if kind is SessionKind.SOLVE:
            _, body = await runner.post("/procedures/echo")
            assert str(session.id) in body
            assert '"kind": "solve"' in body

        runner.process.terminate()
        assert (await runner.until_gone())["reason"] == "stopped"
    assert session.token not in session.log + runner.output()
    assert "session ready" in session.log
    fetched = [call for call in home.calls if "runtime" in call]
    assert fetched == ["/runner/v1/member/runtime"]


async def test_from_its_activation_on_it_is_ready_when_its_app_is(
    home: PlayedHome, app: Stored, runtime: Stored, start_member: Callable
) -> None:
    session = home.session(SessionKind.WEBUI, app=app, runtime=runtime)
    async with start_member() as runner:
        await runner.until_ready()
        home.opened.clear()
        await activate(runner, message_for(session))

        held = asyncio.create_task(runner.get("/_slipway/ready?wait=20", secret=None))
        assert (await runner.get("/_slipway/ready", secret=None))[0] == 503
        assert (await runner.get("/"))[0] == 503
        assert not held.done()
        home.opened.set()

        assert (await held)[0] == 200


async def test_it_is_told_twice_and_becomes_one(
    home: PlayedHome, app: Stored, runtime: Stored, start_member: Callable
) -> None:
    session = home.session(SessionKind.WEBUI, app=app, runtime=runtime)
    other = home.session(SessionKind.WEBUI, app=app, runtime=runtime)
    async with start_member() as runner:
        await runner.until_ready()

        answers = await asyncio.gather(
            *(activate(runner, message_for(session)) for _ in range(5)),
        )
        refused, _ = await activate(runner, message_for(other))
        await runner.until_ready()
        late = await activate(runner, message_for(session))

    assert {*answers, late} == {(200, activation.acknowledgement(KEY, session.id))}
    assert refused == 409
    assert other.claim is None


async def test_of_two_sessions_one_gets_it(
    home: PlayedHome, app: Stored, runtime: Stored, start_member: Callable
) -> None:
    sessions = [home.session(SessionKind.WEBUI, app=app, runtime=runtime) for _ in range(4)]
    async with start_member() as runner:
        await runner.until_ready()

        answers = await asyncio.gather(
            *(activate(runner, message_for(session)) for session in sessions)
        )
        await runner.until_ready()

    assert sorted(status for status, _ in answers) == [200, 409, 409, 409]
    claimed = [session.claim is not None for session in sessions]
    assert claimed == [status == 200 for status, _ in answers]


async def test_what_was_not_made_for_it_changes_nothing(
    home: PlayedHome, app: Stored, runtime: Stored, start_member: Callable
) -> None:
    session = home.session(SessionKind.WEBUI, app=app, runtime=runtime)
    good = message_for(session)
    async with start_member() as runner:
        await runner.until_ready()

        for message in (
            b"",
            b"short",
            message_for(session, key=os.urandom(32)),
            message_for(session, member="member-2"),
            good[:-1] + bytes([good[-1] ^ 1]),
            good[:-1],
        ):
            assert (await activate(runner, message))[0] == 403
        assert (await activate(runner, bytes(16 * 1024 + 1)))[0] == 413
        senseless = activation.seal(KEY, b'{"token": "secret-canary"}', member=MEMBER)
        assert (await activate(runner, senseless))[0] == 400

        assert (await runner.get("/_slipway/ready", secret=None))[0] == 200
        assert session.claim is None
        assert "canary" not in runner.output()
        assert (await activate(runner, good))[0] == 200


async def test_a_session_of_another_runtime_finds_it_stale(
    home: PlayedHome, app: Stored, start_member: Callable
) -> None:
    newer = home.store(runtime_archive(preload=True, note="newer"))
    session = home.session(SessionKind.WEBUI, app=app, runtime=newer)
    async with start_member() as runner:
        await runner.until_ready()

        status, _ = await activate(runner, message_for(session))
        ready, _ = await runner.get("/_slipway/ready?wait=20", secret=None)
        ending = await runner.until_gone()

    assert (status, ready) == (200, 503)
    assert ending["reason"] == "app-failed"
    assert "stale" in ending["message"]


async def test_a_session_that_has_its_runner_already_is_given_up(
    home: PlayedHome, app: Stored, runtime: Stored, start_member: Callable
) -> None:
    session = home.session(SessionKind.WEBUI, app=app, runtime=runtime)
    session.claim = str(uuid4())
    async with start_member() as runner:
        await runner.until_ready()
        await activate(runner, message_for(session))

        ending = await runner.until_gone()

    assert ending["reason"] == "lost"


@pytest.mark.parametrize("preload", [True, False])
async def test_an_idle_member_ends_at_once(
    preload: bool, home: PlayedHome, start_member: Callable
) -> None:
    async with start_member(home.store(runtime_archive(preload=preload))) as runner:
        await runner.until_ready()
        began = time.monotonic()

        runner.process.terminate()
        ending = await runner.until_gone()

    assert ending["reason"] == "stopped"
    assert time.monotonic() - began < 2.5


async def test_a_member_that_nobody_needs_ends(start_member: Callable) -> None:
    async with start_member(MEMBER_SECONDS=0.5) as runner:
        ending = await runner.until_gone()

    assert ending["reason"] == "idle"


async def test_a_member_whose_engine_dies_ends(start_member: Callable) -> None:
    async with start_member() as runner:
        await runner.until_ready()

        os.kill(runner.engine(), signal.SIGKILL)
        ending = await runner.until_gone()

    assert ending["reason"] == "app-failed"


async def test_a_member_whose_token_counts_no_more_ends(
    home: PlayedHome, start_member: Callable
) -> None:
    starting = start_member()
    home.members.clear()
    async with starting as runner:
        assert (await runner.until_gone())["reason"] == "lost"


async def test_it_is_not_ready_before_it_has_its_runtime(
    home: PlayedHome, app: Stored, runtime: Stored, start_member: Callable
) -> None:
    session = home.session(SessionKind.WEBUI, app=app, runtime=runtime)
    home.opened.clear()
    async with start_member() as runner:
        await runner.until_live()

        assert (await runner.get("/_slipway/ready?wait=0.2", secret=None))[0] == 503
        assert (await activate(runner, message_for(session)))[0] == 503


async def test_the_session_keeps_its_own_idle_time(
    home: PlayedHome, app: Stored, runtime: Stored, start_member: Callable
) -> None:
    session = home.session(SessionKind.WEBUI, app=app, runtime=runtime)
    async with start_member() as runner:
        await runner.until_ready()

        await activate(runner, message_for(session, idle_seconds=1))

        assert (await runner.until_gone())["reason"] == "idle"


async def test_an_app_that_cannot_be_loaded_says_why(
    home: PlayedHome, runtime: Stored, start_member: Callable
) -> None:
    broken = home.store(app_archive(MODEL + "\nraise ValueError('no such model')"))
    session = home.session(SessionKind.WEBUI, app=broken, runtime=runtime)
    async with start_member() as runner:
        await runner.until_ready()

        await activate(runner, message_for(session))
        ready, _ = await runner.get("/_slipway/ready?wait=20", secret=None)
        ending = await runner.until_gone()

    assert ready == 503
    assert "no such model" in ending["message"]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"MEMBER": "one", "SESSION_ID": UUID(int=1), "ACTIVATION_KEY_FILE": "/nowhere"},
        {"MEMBER": "one"},
        {"SESSION_ID": UUID(int=1), "ACTIVATION_KEY_FILE": "/nowhere"},
    ],
    ids=["neither", "both", "a member without a key", "a session with a key"],
)
async def test_a_runner_is_one_of_the_two(settings: dict, start_runner: StartRunner) -> None:
    async with start_runner(**settings) as runner, asyncio.timeout(20):
        assert await runner.process.wait() == 1


async def test_only_the_engine_hears_of_the_app(
    home: PlayedHome, app: Stored, runtime: Stored, start_member: Callable
) -> None:
    """Nothing of a member's own reaches what the app can see."""
    session = home.session(SessionKind.WEBUI, app=app, runtime=runtime)
    async with start_member() as runner:
        await runner.until_ready()
        await activate(runner, message_for(session))
        await runner.until_ready()

        environment = Path(f"/proc/{runner.engine()}/environ").read_text()
        assert "SLIPWAY_RUNNER" not in environment
        assert KEY.hex() not in environment
