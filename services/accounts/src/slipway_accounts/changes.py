"""What has just changed, told to whoever waits: hints only, the rows are the truth."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import asyncpg
import structlog

from slipway_common.postgres.database import Database

logger = structlog.get_logger(__name__)

CHANNEL = "slipway_changes"
BACKLOG = 10_000
"""A listener that is further behind than this is told to look at everything again."""

EVERYTHING = "*"
"""Sent after a gap: hints were missed, so every waiter has to look."""


class Listener:
    def __init__(self) -> None:
        self._hints: asyncio.Queue[str] = asyncio.Queue(maxsize=BACKLOG)

    def tell(self, hint: str) -> None:
        if self._hints.full():
            while not self._hints.empty():
                self._hints.get_nowait()
            hint = EVERYTHING
        self._hints.put_nowait(hint)

    async def wait_for(self, table: str, *, timeout: float) -> None:
        """Return at the next hint about the table, or when the time is up."""
        try:
            async with asyncio.timeout(timeout):
                while True:
                    hint = await self._hints.get()
                    if hint == EVERYTHING or hint.startswith(f"{table} "):
                        return
        except TimeoutError:
            return

    async def hints(self) -> AsyncIterator[str]:
        while True:
            yield await self._hints.get()


class Changes:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._listeners: set[Listener] = set()

    @contextmanager
    def listen(self) -> Iterator[Listener]:
        listener = Listener()
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    async def run(self) -> None:
        """Pass notifications on until cancelled."""
        while True:
            try:
                await self._follow()
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
                logger.warning("lost the connection that tells of changes", exc_info=True)
            await asyncio.sleep(0.5)

    async def _follow(self) -> None:
        connection = await self._database.listen()
        try:
            await connection.add_listener(CHANNEL, self._on_notify)
            self._tell_all(EVERYTHING)
            while True:
                # A connection that died silently is only noticed by using it.
                await connection.fetchval("SELECT 1")
                await asyncio.sleep(5)
        finally:
            connection.terminate()

    def _on_notify(self, *arguments: Any) -> None:
        self._tell_all(str(arguments[3]))

    def _tell_all(self, hint: str) -> None:
        for listener in self._listeners:
            listener.tell(hint)
