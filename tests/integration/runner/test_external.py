"""An external session: a container beside the runner, which stands at its door."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from integration.runner.conftest import StartRunner, _free_port
from integration.runner.home import SECRET, PlayedHome
from slipway_common.contracts.sessions import SessionKind

HEADERS = {"Slipway-Session-Secret": SECRET}


@asynccontextmanager
async def container(port: int) -> AsyncIterator[list[dict[str, str]]]:
    """Listens where a container would; gives the headers of each request that came."""
    seen: list[dict[str, str]] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        seen.append(dict(request.headers))
        if request.path == "/live":
            socket = web.WebSocketResponse()
            await socket.prepare(request)
            async for message in socket:
                await socket.send_str(f"heard {message.data}")
            return socket
        return web.Response(text=f"{request.method} {request.path_qs} {await request.text()}")

    app = web.Application()
    app.add_routes([web.route("*", "/{path:.*}", answer)])
    running = web.AppRunner(app, shutdown_timeout=0.1)
    await running.setup()
    await web.TCPSite(running, "127.0.0.1", port).start()
    try:
        yield seen
    finally:
        await running.cleanup()


@pytest.fixture
def port() -> int:
    return _free_port()


@pytest.fixture
def start(home: PlayedHome, start_runner: StartRunner, port: int) -> Callable:
    def make(**settings: object):
        session = home.session(SessionKind.EXTERNAL)
        return start_runner(session, EXTERNAL_PORT=port, **settings)

    return make


async def test_it_is_ready_when_the_port_takes_connections(
    home: PlayedHome, start: Callable, port: int
) -> None:
    async with start() as runner:
        await runner.until_live()
        held = asyncio.create_task(runner.get("/_slipway/ready?wait=20", secret=None))
        short, _ = await runner.get("/_slipway/ready?wait=0.5", secret=None)
        assert not held.done()

        async with container(port):
            status, _ = await held

    assert (short, status) == (503, 200)
    assert not [call for call in home.calls if "packages" in call]


async def test_requests_and_websockets_go_through(start: Callable, port: int) -> None:
    async with container(port) as seen, start() as runner:
        await runner.until_ready()

        status, body = await runner.post("/some/where?x=1", b"hello")
        async with runner.http.ws_connect(runner.url + "/live", headers=HEADERS) as live:
            await live.send_str("you")
            heard = await live.receive_str(timeout=5)

    assert (status, body) == (200, "POST /some/where?x=1 hello")
    assert heard == "heard you"
    assert not any(SECRET in headers.values() for headers in seen)


async def test_a_stranger_is_not_let_through(start: Callable, port: int) -> None:
    async with container(port) as seen, start() as runner:
        await runner.until_ready()

        assert (await runner.get("/", secret=None))[0] == 403
        assert (await runner.get("/_slipway/nothing"))[0] == 404
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await runner.http.ws_connect(runner.url + "/live")

    assert seen == []


async def test_a_port_that_never_opens_ends_it_with_a_sentence(start: Callable, port: int) -> None:
    async with start(START_SECONDS=1) as runner:
        await runner.until_live()
        status, _ = await runner.get("/_slipway/ready?wait=20", secret=None)
        ending = await runner.until_gone()

    assert status == 503
    assert ending["reason"] == "app-failed"
    assert str(port) in ending["message"]


async def test_a_port_that_stays_shut_ends_it(start: Callable, port: int) -> None:
    async with start(EXTERNAL_REFUSED_SECONDS=1) as runner:
        async with container(port):
            await runner.until_ready()

        ending = await runner.until_gone()

    assert ending["reason"] == "app-failed"
    assert "took no connection" in ending["message"]


async def test_a_container_that_comes_back_is_waited_for(start: Callable, port: int) -> None:
    async with start(EXTERNAL_REFUSED_SECONDS=4) as runner:
        async with container(port):
            await runner.until_ready()
        assert (await runner.get("/"))[0] == 502

        async with container(port):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(runner.process.wait(), 5)

            assert (await runner.get("/"))[0] == 200


async def test_nobody_uses_it(start: Callable, port: int) -> None:
    async with container(port), start(IDLE_SECONDS=1) as runner:
        await runner.until_ready()

        assert (await runner.until_gone())["reason"] == "idle"


async def test_another_kind_of_session_is_not_served(
    session_of, start_runner: StartRunner, port: int
) -> None:
    async with start_runner(session_of(SessionKind.WEBUI), EXTERNAL_PORT=port) as runner:
        ending = await runner.until_gone()

    assert ending["reason"] == "app-failed"
    assert "another kind" in ending["message"]


async def test_an_external_session_needs_a_port(
    home: PlayedHome, start_runner: StartRunner
) -> None:
    async with start_runner(home.session(SessionKind.EXTERNAL)) as runner:
        ending = await runner.until_gone()

    assert ending["reason"] == "app-failed"
    assert "another kind" in ending["message"]
