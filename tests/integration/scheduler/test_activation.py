"""Telling a member which session it is, over real HTTP: the runner's own door, and strangers.

Whatever answers at the address of a pod that is gone gets nothing that it can read, and nothing
that it answers makes a session of it.
"""

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientSession, web

from slipway_common import process
from slipway_common.contracts.internal import Activation
from slipway_common.crypto import activation
from slipway_common.errors import TransientError
from slipway_runner.doorstep import Doorstep
from slipway_runner.front import Front
from slipway_runner.readiness import Readiness, State
from slipway_runner.use import GroupMeter
from slipway_scheduler.units import activation as activation_module
from slipway_scheduler.units.activation import Activations, StrangerError
from support.waiting import eventually

ROOT_KEY = bytes(range(32))
TOKEN = "canary-token-7f3a"
_hosts = count(2)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def new_address() -> str:
    """Of this machine, and of nobody else's."""
    host = f"127.92.7.{next(_hosts)}"
    with socket.create_server((host, 0)) as found:
        return f"{host}:{found.getsockname()[1]}"


@dataclass
class Member:
    """A runner that waits, with its own door in front."""

    name: str
    address: str
    readiness: Readiness
    doorstep: Doorstep

    @property
    def key(self) -> bytes:
        return activation.member_key(ROOT_KEY, self.name)


@asynccontextmanager
async def waiting_member(
    name: str = "member-1", *, address: str = "", waits: bool = True
) -> AsyncIterator[Member]:
    readiness = Readiness()
    key = activation.member_key(ROOT_KEY, name)
    doorstep = Doorstep(name, key=key, readiness=readiness)
    front = Front(readiness, GroupMeter(), doorstep=doorstep)
    host, _, port = (address or new_address()).partition(":")
    listener = socket.create_server((host, int(port)))
    async with process.serve_on(front, listener, drain_seconds=1):
        waiting = asyncio.create_task(doorstep.wait()) if waits else None
        await asyncio.sleep(0)
        try:
            yield Member(name, f"{host}:{port}", readiness, doorstep)
        finally:
            readiness.become(State.OVER)  # lets go of whoever asks
            if waiting is not None:
                waiting.cancel()
                await asyncio.gather(waiting, return_exceptions=True)


@dataclass
class Stranger:
    """Whoever has the address now."""

    address: str
    heard: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


@asynccontextmanager
async def stranger(answer: Handler, *, address: str = "") -> AsyncIterator[Stranger]:
    found = Stranger(address or new_address())

    async def serve(request: web.Request) -> web.StreamResponse:
        found.paths.append(request.path)
        found.heard.append(await request.read())
        return await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", serve)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    host, _, port = found.address.partition(":")
    await web.TCPSite(runner, host, int(port), reuse_address=True).start()
    try:
        yield found
    finally:
        await runner.cleanup()


def says(status: int = 200, text: str = "ready", **headers: str) -> Handler:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, text=text, headers=headers)

    return answer


@pytest.fixture
async def activations() -> AsyncIterator[Activations]:
    made = Activations(ROOT_KEY)
    yield made
    await made.close()


@pytest.fixture
def told() -> Activation:
    return Activation(session_id=uuid4(), token=TOKEN, idle_seconds=60)


@pytest.fixture
def answered() -> list[None]:
    return []


@pytest.fixture
def activate(activations: Activations, told: Activation, answered: list[None]) -> Any:
    async def do(
        address: str,
        *,
        member: str = "member-1",
        uid: str = "uid-1",
        session: Activation = told,
        by: Activations = activations,
    ) -> None:
        await by.activate(
            uid,
            member=member,
            address=address,
            session=session,
            on_answer=lambda: answered.append(None),
        )

    return do


async def until(condition: Callable[[], bool], what: str) -> None:
    async def holds() -> bool:
        return condition()

    await eventually(holds, seconds=10, what=what)


# The member that is meant


async def test_a_member_hears_which_session_it_is_and_is_heard_of_when_that_answers(
    activations: Activations, activate, answered: list[None]
) -> None:
    async with waiting_member() as member:
        await activate(member.address)
        assert activations.is_told("uid-1")
        assert not activations.answers("uid-1")
        assert answered == []

        member.readiness.become(State.READY)

        await until(lambda: activations.answers("uid-1"), "an answer of the session")
        assert answered == [None]


async def test_a_member_may_hear_it_again_from_the_same_or_another_scheduler(
    activations: Activations, activate, answered: list[None]
) -> None:
    async with waiting_member() as member, AsyncExitStack() as stack:
        await activate(member.address)
        await activate(member.address)
        other = Activations(ROOT_KEY)
        stack.push_async_callback(other.close)
        await activate(member.address, by=other)
        member.readiness.become(State.READY)

        await until(lambda: activations.answers("uid-1") and other.answers("uid-1"), "both")
        assert answered == [None, None]  # one of each


async def test_a_member_that_does_not_wait_yet_is_asked_again(
    activations: Activations, activate
) -> None:
    async with waiting_member(waits=False) as member:
        with pytest.raises(TransientError):
            await activate(member.address)
        assert not activations.is_told("uid-1")

        waiting = asyncio.create_task(member.doorstep.wait())
        await asyncio.sleep(0)
        await activate(member.address)
        heard = await waiting

        assert heard.token == TOKEN
        assert activations.is_told("uid-1")


async def test_where_nobody_listens_it_is_asked_again(activations: Activations, activate) -> None:
    with pytest.raises(TransientError):
        await activate(new_address())

    assert not activations.is_told("uid-1")


# Other sessions, other members, other keys


async def test_a_member_that_became_one_session_never_becomes_another(
    activations: Activations, activate, told: Activation
) -> None:
    async with waiting_member() as member:
        await activate(member.address)
        other = told.model_copy(update={"session_id": uuid4(), "token": "other"})

        with pytest.raises(StrangerError):
            await activate(member.address, session=other, uid="uid-2")

        assert not activations.is_told("uid-2")
        await activate(member.address)  # its own it says again


async def test_a_message_that_is_sent_again_makes_no_second_session(
    activate, told: Activation
) -> None:
    """Whoever records what travels can make nothing of it, at this member or at another."""
    key = activation.member_key(ROOT_KEY, "member-1")
    recorded = activation.seal(key, told.model_dump_json().encode(), member="member-1")
    async with waiting_member() as member, waiting_member("member-2") as other:
        await activate(member.address)

        first = await post(member.address, recorded)
        second = await post(other.address, recorded)

        assert first == (200, activation.acknowledgement(member.key, told.session_id))
        assert second[0] == 403
        assert other.readiness.ready


async def test_a_scheduler_with_another_root_key_makes_no_session_of_anybody(
    activate, told: Activation
) -> None:
    async with waiting_member() as member, AsyncExitStack() as stack:
        wrong = Activations(ROOT_KEY[::-1])
        stack.push_async_callback(wrong.close)

        with pytest.raises(StrangerError):
            await activate(member.address, by=wrong)

        assert member.readiness.ready
        await activate(member.address)


async def test_what_is_meant_for_one_member_another_at_its_address_does_not_take(
    activations: Activations, activate
) -> None:
    async with waiting_member("member-2") as other:
        with pytest.raises(StrangerError):
            await activate(other.address, member="member-1")

        assert other.readiness.ready
        assert not activations.is_told("uid-1")


async def post(address: str, body: bytes) -> tuple[int, str]:
    async with (
        ClientSession() as http,
        http.post(f"http://{address}/_slipway/activate", data=body) as answer,
    ):
        return answer.status, await answer.text()


# Strangers


async def test_a_pod_that_got_the_address_reads_nothing_and_becomes_nothing(
    activations: Activations, activate, told: Activation
) -> None:
    async with waiting_member() as member:
        address = member.address
    async with stranger(says(200, "ready"), address=address) as found:
        with pytest.raises(StrangerError):
            await activate(address)

        [heard] = found.heard
        for secret in (TOKEN.encode(), str(told.session_id).encode(), told.session_id.bytes):
            assert secret not in heard
        own = activation.member_key(ROOT_KEY, "member-2")
        for key in (own, b"\0" * 32):
            with pytest.raises(activation.NotForUsError):
                activation.unseal(key, heard, member="member-1")
        assert not activations.is_told("uid-1")
        assert found.paths == ["/_slipway/activate"]


def acknowledged_by(member: str, session_id: UUID) -> str:
    return activation.acknowledgement(activation.member_key(ROOT_KEY, member), session_id)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (200, ""),
        (200, "ok"),
        (200, "0" * 64),
        (200, acknowledged_by("member-2", UUID(int=1))),
        (200, "x" * 5000),
        (403, "not for you"),
        (409, "another session"),
    ],
)
async def test_an_answer_that_only_the_member_can_give_is_asked_for(
    activations: Activations, activate, status: int, text: str
) -> None:
    async with stranger(says(status, text)) as found:
        with pytest.raises(StrangerError):
            await activate(found.address)

    assert not activations.is_told("uid-1")


async def test_an_answer_for_another_session_is_none(
    activations: Activations, activate, told: Activation
) -> None:
    async with stranger(says(200, acknowledged_by("member-1", uuid4()))) as found:
        with pytest.raises(StrangerError):
            await activate(found.address)
    right = acknowledged_by("member-1", told.session_id)
    async with stranger(says(200, f"{right}\n")) as found:
        with pytest.raises(StrangerError):
            await activate(found.address)


@pytest.mark.parametrize("status", [201, 301, 302, 303, 307, 308, 400, 404, 500, 503])
async def test_what_says_neither_yes_nor_no_is_asked_again(
    activations: Activations, activate, told: Activation, status: int
) -> None:
    right = acknowledged_by("member-1", told.session_id)
    async with stranger(says(status, right)) as found:
        with pytest.raises(TransientError):
            await activate(found.address)

    assert not activations.is_told("uid-1")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_nobody_sends_us_elsewhere(activate, status: int) -> None:
    """From here one reaches what no pod can reach."""
    async with stranger(says(200, "secret")) as inside:
        target = f"http://{inside.address}/admin"
        async with stranger(says(status, "", Location=target)) as found:
            with pytest.raises(TransientError):
                await activate(found.address)

        assert inside.paths == []


async def test_nobody_sends_us_elsewhere_while_we_wait_for_the_session(
    activations: Activations, activate, told: Activation
) -> None:
    right = acknowledged_by("member-1", told.session_id)
    async with stranger(says(200, "ready")) as inside:

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path.endswith("/activate"):
                return web.Response(text=right)
            return web.Response(status=302, headers={"Location": f"http://{inside.address}/"})

        async with stranger(answer) as found:
            await activate(found.address)
            await until(lambda: len(found.paths) > 2, "a few questions")

        assert inside.paths == []
    assert not activations.answers("uid-1")


async def test_an_answer_without_end_is_not_listened_to(activate) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 65536)
        except ConnectionError:
            return response

    async with stranger(answer) as found, asyncio.timeout(5):
        with pytest.raises(StrangerError):
            await activate(found.address)


async def test_an_answer_that_would_grow_is_not_unpacked(activate) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)

    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=bomb, headers={"Content-Encoding": "gzip"})

    async with stranger(answer) as found, asyncio.timeout(5):
        with pytest.raises(StrangerError):
            await activate(found.address)


@pytest.mark.parametrize("how", ["silent", "trickling"])
async def test_who_takes_too_long_is_asked_again_later(
    activate, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(activation_module, "CALL_SECONDS", 0.5)

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        if how == "trickling":
            await response.prepare(request)
        try:
            for _ in range(100):
                await asyncio.sleep(0.1)
                if how == "trickling":
                    await response.write(b"x")
        except ConnectionError:
            pass
        return response

    async with stranger(answer) as found, asyncio.timeout(5):
        with pytest.raises(TransientError):
            await activate(found.address)


async def test_who_speaks_no_http_is_asked_again_later(activate) -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n" * 3)
        writer.close()

    host = new_address().partition(":")[0]
    server = await asyncio.start_server(babble, host, 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        with pytest.raises(TransientError):
            await activate(f"{host}:{port}")


# What is forgotten


async def test_a_pod_that_is_gone_is_asked_no_more(
    activations: Activations, activate, told: Activation, answered: list[None]
) -> None:
    right = acknowledged_by("member-1", told.session_id)

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/activate"):
            return web.Response(text=right)
        return web.Response(status=503)

    async with stranger(answer) as found:
        await activate(found.address)
        await until(lambda: len(found.paths) > 2, "a few questions")
        activations.forget("uid-1")
        await asyncio.sleep(0.05)
        asked = len(found.paths)
        await asyncio.sleep(0.4)

        assert len(found.paths) == asked
    assert not activations.is_told("uid-1")
    assert answered == []


async def test_a_pod_that_is_forgotten_while_it_is_told_stays_forgotten(
    activations: Activations, activate, told: Activation
) -> None:
    right = acknowledged_by("member-1", told.session_id)
    asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        asked.set()
        await may_answer.wait()
        return web.Response(text=right)

    async with stranger(answer) as found:
        telling = asyncio.create_task(activate(found.address))
        await asked.wait()
        activations.forget("uid-1")
        may_answer.set()
        await telling
        await asyncio.sleep(0.2)

        assert found.paths == ["/_slipway/activate"]
    assert not activations.is_told("uid-1")
    assert not activations.answers("uid-1")


async def test_another_pod_is_another_matter(activations: Activations, activate) -> None:
    async with waiting_member() as one, waiting_member("member-2") as other:
        await activate(one.address)
        await activate(other.address, member="member-2", uid="uid-2")
        activations.forget("uid-1")
        other.readiness.become(State.READY)

        await until(lambda: activations.answers("uid-2"), "an answer of the other")
        assert not activations.answers("uid-1")


async def test_whoever_ends_waits_for_nobody(told: Activation, answered: list[None]) -> None:
    async with waiting_member() as member, asyncio.timeout(5):
        activations = Activations(ROOT_KEY)
        await activations.activate(
            "uid-1",
            member="member-1",
            address=member.address,
            session=told,
            on_answer=lambda: answered.append(None),
        )

        await activations.close()

    assert answered == []
