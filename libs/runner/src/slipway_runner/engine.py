"""The engine as a child process: started with the app in memory, asked over its own socket."""

import asyncio
import ctypes
import json
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import aiohttp
import structlog

from slipway_common.errors import PermanentError
from slipway_runner.log import SessionLog
from slipway_runner.runtime import Runtime

logger = structlog.get_logger(__name__)

START_SECONDS = 150.0
LOOK_SECONDS = 0.05
LONGEST_SOCKET_PATH = 80
"""The kernel takes 107 bytes, and an engine may bind under a longer name first."""

STOP_SECONDS = 5.0
LAST_LINES_SECONDS = 1.0
MAX_LINE_BYTES = 256 * 1024 * 1024
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ")
_PR_SET_PDEATHSIG = 1
_BASE = "http://engine"


class EngineError(PermanentError):
    """The engine cannot do its work; the message is for the session's user."""


# Found before any fork: between fork and exec nothing may be loaded that takes a lock.
_prctl = ctypes.CDLL(None).prctl


def _die_with_parent() -> None:
    """An engine whose runner is gone serves nobody, and nobody would end it."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _parse(line: bytearray) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise EngineError("The engine said something that cannot be understood.") from error
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise EngineError("The engine said something that cannot be understood.")
    return found


def _socket_path(folder: Path) -> Path:
    """In the session's folder, unless that is too deep for the address of a Unix socket."""
    path = folder / "engine.sock"
    if len(str(path)) <= LONGEST_SOCKET_PATH:
        return path
    return Path(tempfile.mkdtemp(prefix="slipway-")) / "engine.sock"


class Engine:
    def __init__(
        self, process: asyncio.subprocess.Process, socket: Path, folder: Path, log: SessionLog
    ) -> None:
        self._socket = socket
        self._folder = folder
        self._process = process
        self._log = log
        self.given_up: str | None = None
        self._readers = [
            asyncio.create_task(self._read(stream))
            for stream in (process.stdout, process.stderr)
            if stream is not None
        ]
        self.http = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    @classmethod
    async def start(
        cls,
        runtime: Runtime,
        *,
        app: int,
        folder: Path,
        session_id: UUID,
        kind: str,
        log: SessionLog,
    ) -> "Engine":
        scratch = folder / "scratch"
        scratch.mkdir(exist_ok=True)
        socket = _socket_path(folder)
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        environment |= {
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "PYTHONPATH": os.pathsep.join(str(path) for path in runtime.python_path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "SLIPWAY_ENGINE_SOCKET": str(socket),
            "SLIPWAY_APP_FD": str(app),
            "SLIPWAY_SESSION_ID": str(session_id),
            "SLIPWAY_SESSION_KIND": kind,
        }
        process = await asyncio.create_subprocess_exec(
            *runtime.command,
            cwd=scratch,
            env=environment,
            pass_fds=(app,),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=64 * 1024,
            preexec_fn=_die_with_parent,
        )
        return cls(process, socket, folder, log)

    async def wait_until_ready(self) -> None:
        """Raise EngineError with the app's own problem if it cannot be loaded."""
        try:
            async with asyncio.timeout(START_SECONDS):
                while not await self._healthy():
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError as error:
            raise EngineError("The app did not get ready in time.") from error

    async def _healthy(self) -> bool:
        if self._process.returncode is not None:
            raise EngineError(f"The engine ended while it was starting.\n{self._log.tail()}")
        try:
            async with self.http.get(
                f"{_BASE}/_slipway/health", timeout=aiohttp.ClientTimeout(total=5)
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        if answer.status == 500:
            problem = json.loads(content)
            raise EngineError(f"{problem.get('title')}: {problem.get('detail')}")
        return answer.status == 200

    async def run(
        self, service: str, body: bytes, *, task_id: UUID
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the lines of a run; the last one is its result or failure."""
        try:
            async for line in self._lines(service, body, task_id=task_id):
                yield line
        except (aiohttp.ClientError, OSError) as error:
            raise EngineError("The engine broke off a procedure.") from error

    async def _lines(
        self, service: str, body: bytes, *, task_id: UUID
    ) -> AsyncIterator[dict[str, Any]]:
        async with self.http.post(
            f"{_BASE}/_slipway/procedures/{service}",
            data=body,
            headers={"Content-Type": "application/json", "Slipway-Task-Id": str(task_id)},
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            if answer.status != 200:
                problem = json.loads(await answer.read())
                yield {"type": "failure", "problem": problem}
                return
            line = bytearray()
            async for chunk in answer.content.iter_any():
                # Only what is new is looked at: a result may come in very many chunks.
                *whole, rest = chunk.split(b"\n")
                for part in whole:
                    line += part
                    yield _parse(line)
                    line.clear()
                line += rest
                if len(line) > MAX_LINE_BYTES:
                    raise EngineError("The result is too large.")

    async def interrupt(self, scope: Literal["solve", "execution"]) -> None:
        async with self.http.post(
            f"{_BASE}/_slipway/interrupt",
            json={"scope": scope},
            timeout=aiohttp.ClientTimeout(total=5),
        ):
            return

    async def wait(self) -> int:
        return await self._process.wait()

    async def stop(self) -> None:
        """Ask it to end, then make it."""
        if self._process.returncode is None:
            self._process.terminate()
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._process.wait()
            except TimeoutError:
                self.kill()
                await self._process.wait()
        # A child of the app may hold the pipes open for as long as it likes.
        _, left = await asyncio.wait(self._readers, timeout=LAST_LINES_SECONDS)
        for reader in left:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self.http.close()
        if not self._socket.is_relative_to(self._folder):
            shutil.rmtree(self._socket.parent, ignore_errors=True)

    def give_up(self, why: str) -> None:
        """Kill an engine that hears nothing; its end is then no failure of the platform."""
        self.given_up = why
        self.kill()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def _read(self, stream: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await stream.readuntil(b"\n")
            except asyncio.IncompleteReadError as end:
                if end.partial:
                    self._log.add(end.partial.decode(errors="replace"))
                return
            except asyncio.LimitOverrunError as overrun:
                line = await stream.readexactly(overrun.consumed)
            self._log.add(line.decode(errors="replace"))
