"""What is said to an engine over its own socket: how are you, run this, stop that."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp

from slipway_common.contracts.views import InterruptScope
from slipway_common.errors import PermanentError

CALL_SECONDS = 5.0
MAX_LINE_BYTES = 256 * 1024 * 1024
BASE = "http://engine"
BROKEN_OFF = "The engine broke off a procedure."

Line = dict[str, Any]
"""One line of a run, with its ``type``."""


class EngineError(PermanentError):
    """The engine cannot do its work; the message is for the session's user."""


class EngineRefusedError(EngineError):
    """The engine did not begin a procedure, and says why."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("title", "The engine refused a procedure.")))
        self.status = status
        self.problem = problem


class Conversation:
    def __init__(self, socket: Path) -> None:
        self.http = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(socket), limit=0),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self.http.close()

    async def is_healthy(self) -> bool:
        """Raise EngineError with the app's own problem if it cannot be loaded."""
        try:
            async with self.http.get(
                f"{BASE}/_slipway/health", timeout=aiohttp.ClientTimeout(total=CALL_SECONDS)
            ) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False
        if answer.status == 500:
            problem = json.loads(content)
            raise EngineError(f"{problem.get('title')}: {problem.get('detail')}")
        return answer.status == 200

    @asynccontextmanager
    async def procedure(
        self, service: str, body: bytes, *, run_id: UUID
    ) -> AsyncIterator[AsyncIterator[Line]]:
        """Begin a run, and give its lines; EngineRefusedError if the engine does not begin it.

        The run ends with the block, whatever it has come to.
        """
        try:
            async with self.http.post(
                f"{BASE}/_slipway/procedures/{service}",
                data=body,
                headers={"Content-Type": "application/json", "Slipway-Task-Id": str(run_id)},
                timeout=aiohttp.ClientTimeout(total=None),
            ) as answer:
                if answer.status != 200:
                    raise EngineRefusedError(answer.status, _parse(await answer.read()))
                yield _lines(answer.content)
        except (aiohttp.ClientError, OSError) as error:
            raise EngineError(BROKEN_OFF) from error

    async def interrupt(self, scope: InterruptScope, *, run_id: UUID) -> None:
        """Raise EngineError if the engine does not take it."""
        try:
            async with self.http.post(
                f"{BASE}/_slipway/interrupt",
                json={"scope": scope},
                headers={"Slipway-Task-Id": str(run_id)},
                timeout=aiohttp.ClientTimeout(total=CALL_SECONDS),
            ):
                return
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineError("The engine did not take the interrupt.") from error


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[Line]:
    line = bytearray()
    async for chunk in _chunks(content):
        # Only what is new is looked at: a result may come in very many chunks.
        *whole, rest = chunk.split(b"\n")
        for part in whole:
            line += part
            yield _parse(line)
            line.clear()
        line += rest
        if len(line) > MAX_LINE_BYTES:
            raise EngineError("The result is too large.")


async def _chunks(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    try:
        async for chunk in content.iter_any():
            yield chunk
    except (aiohttp.ClientError, OSError) as error:
        raise EngineError(BROKEN_OFF) from error


def _parse(line: bytes | bytearray) -> Line:
    try:
        found = json.loads(line)
    except ValueError as error:
        raise EngineError("The engine said something that cannot be understood.") from error
    if not isinstance(found, dict) or not isinstance(found.get("type"), str):
        raise EngineError("The engine said something that cannot be understood.")
    return found
