"""The contract of an engine that is started ahead of its app, on the real open engine."""

import asyncio
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from integration.runner.conftest import MODEL, app_archive
from support.waiting import eventually


class Engine:
    """An engine process and the two sockets that it was told of."""

    def __init__(
        self, process: asyncio.subprocess.Process, listener: socket.socket, folder: Path
    ) -> None:
        self.process = process
        self.folder = folder
        self.http = aiohttp.ClientSession(
            "http://engine", connector=aiohttp.UnixConnector(str(folder / "engine.sock"))
        )
        self._listener = listener

    async def connection(self) -> socket.socket:
        async with asyncio.timeout(30):
            found, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        found.setblocking(False)
        return found

    async def status(self, path: str) -> int:
        async with self.http.get(path) as answer:
            await answer.read()
            return answer.status

    def output(self) -> str:
        return (self.folder / "output").read_text()


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    async with AsyncExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.setblocking(False)
        listener.bind(str(tmp_path / "app.sock"))
        listener.listen()
        with (tmp_path / "output").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "slipway_open",
                cwd=tmp_path,
                env={
                    "SLIPWAY_ENGINE_SOCKET": str(tmp_path / "engine.sock"),
                    "SLIPWAY_APP_SOCKET": str(tmp_path / "app.sock"),
                },
                stdout=output,
                stderr=output,
            )
        running = Engine(process, listener, tmp_path)
        stack.push_async_callback(running.http.close)
        yield running
        if process.returncode is None:
            process.kill()
        await process.wait()


def give(connection: socket.socket, archive: bytes, *, kind: str = "webui") -> None:
    descriptor = os.memfd_create("app")
    os.write(descriptor, archive)
    line = json.dumps({"session": "session-1", "kind": kind}) + "\n"
    socket.send_fds(connection, [line.encode()], [descriptor])
    os.close(descriptor)


async def closed(connection: socket.socket) -> bool:
    async with asyncio.timeout(30):
        return await asyncio.get_running_loop().sock_recv(connection, 1) == b""


async def test_it_loads_what_is_heavy_and_then_says_that_it_waits(engine: Engine) -> None:
    with await engine.connection():
        maps = Path(f"/proc/{engine.process.pid}/maps").read_text()

        assert "highspy" in maps
        assert "numpy" in maps
        assert await engine.status("/_slipway/health") == 503
        assert await engine.status("/") == 404


async def test_it_serves_the_app_once_it_has_it(engine: Engine) -> None:
    with await engine.connection() as connection:
        give(connection, app_archive(MODEL))

        assert await closed(connection)
        assert await engine.status("/_slipway/health") == 200
        assert await engine.status("/") == 200
        async with engine.http.post("/_slipway/procedures/echo", json={}) as answer:
            last = json.loads((await answer.text()).splitlines()[-1])
    assert last["value"] == {"text": "", "session": "session-1", "kind": "webui"}


async def test_only_a_session_with_a_page_has_one(engine: Engine) -> None:
    with await engine.connection() as connection:
        give(connection, app_archive(MODEL), kind="task")

        assert await closed(connection)
        assert await engine.status("/_slipway/health") == 200
        assert await engine.status("/") == 404


async def test_an_app_that_cannot_be_loaded_is_told_at_once(engine: Engine) -> None:
    with await engine.connection() as connection:
        give(connection, app_archive("raise ValueError('no such model')"))

        assert await closed(connection)
        assert await engine.status("/_slipway/health") == 500


async def test_it_ends_when_it_is_told_to_while_it_waits(engine: Engine) -> None:
    with await engine.connection():
        began = time.monotonic()
        engine.process.send_signal(signal.SIGTERM)

        async with asyncio.timeout(10):
            assert await engine.process.wait() == 0
        assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b'{"session": "1", "kind": "webui"}\n',
        b"x" * 5000,
    ],
    ids=["nothing", "no descriptor", "too much"],
)
async def test_it_ends_when_there_will_be_no_app(engine: Engine, line: bytes) -> None:
    with await engine.connection() as connection:
        if line:
            await asyncio.get_running_loop().sock_sendall(connection, line)
        connection.shutdown(socket.SHUT_WR)

        async with asyncio.timeout(10):
            assert await engine.process.wait() == 1
    assert "app" in engine.output()
    assert "Traceback" not in engine.output()


async def test_an_engine_with_neither_says_what_is_missing(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "slipway_open",
        env={"SLIPWAY_ENGINE_SOCKET": str(tmp_path / "engine.sock")},
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()

    assert process.returncode == 1
    assert b"SLIPWAY_APP_FD" in said


async def test_what_came_in_pieces_is_one_line(engine: Engine) -> None:
    with await engine.connection() as connection:
        descriptor = os.memfd_create("app")
        os.write(descriptor, app_archive(MODEL))
        socket.send_fds(connection, [b'{"session": "s",'], [descriptor])
        os.close(descriptor)
        await asyncio.get_running_loop().sock_sendall(connection, b' "kind": "solve"}\n')

        assert await closed(connection)

        async def is_ready() -> bool:
            return await engine.status("/_slipway/health") == 200

        await eventually(is_ready)
