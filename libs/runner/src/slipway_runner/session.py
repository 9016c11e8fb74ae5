"""One session, from its grant to the reason why it is over."""

import asyncio
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import aiohttp

from slipway_common.contracts.internal import RunnerGrant
from slipway_common.contracts.sessions import EndReason, SessionKind
from slipway_common.text import span
from slipway_runner import external, records
from slipway_runner.conversation import BASE, EngineError
from slipway_runner.engine import Engine
from slipway_runner.front import Front, Room
from slipway_runner.home import Home
from slipway_runner.log import SessionLog, sent_home
from slipway_runner.member import Prepared
from slipway_runner.page import Page
from slipway_runner.procedures import Procedures
from slipway_runner.records import Ending
from slipway_runner.settings import Settings
from slipway_runner.starting import GrantError, Start
from slipway_runner.work import TaskLoop

LOOK_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Order:
    """Which session it is to be."""

    session_id: UUID
    idle_seconds: float


class Session:
    def __init__(
        self,
        settings: Settings,
        order: Order,
        *,
        home: Home,
        log: SessionLog,
        front: Front,
        address: str,
        prepared: Prepared | None = None,
    ) -> None:
        self._settings = settings
        self._order = order
        self._home = home
        self._log = log
        self._front = front
        self._address = address
        self._prepared = prepared

    async def run(self) -> Ending:
        """Serve until the session is over by itself."""
        async with AsyncExitStack() as stack:
            granted = await self._home.claim()
            await stack.enter_async_context(sent_home(self._log, self._home))
            port = self._settings.external_port
            if (granted.grant.kind is SessionKind.EXTERNAL) != (port is not None):
                raise GrantError("The session is of another kind than its runner was started for.")
            if port is not None:
                return await self._run_container(port, granted, stack)
            return await self._run_app(granted, stack)
        raise AssertionError("the stack swallows nothing")

    async def _run_app(self, granted: RunnerGrant, stack: AsyncExitStack) -> Ending:
        start = Start(
            settings=self._settings,
            session_id=self._order.session_id,
            home=self._home,
            log=self._log,
            granted=granted,
            prepared=self._prepared,
        )
        engine = await start.engine(stack)
        kind = granted.grant.kind
        self._open(self._room(kind, engine), granted, stack)
        died = asyncio.create_task(self._engine_died(engine))
        use = asyncio.create_task(self._until_unused(kind, engine))
        try:
            await asyncio.wait({died, use}, return_when=asyncio.FIRST_COMPLETED)
            if use.done() and isinstance(use.exception(), EngineError):
                # A conversation that broke off is best explained by the engine's own end.
                await asyncio.wait({died}, timeout=1)
            return died.result() if died.done() else use.result()
        finally:
            await _cancel(died, use)

    async def _run_container(
        self, port: int, granted: RunnerGrant, stack: AsyncExitStack
    ) -> Ending:
        await external.wait_until_open(port, within_seconds=self._settings.start_seconds)
        http = await stack.enter_async_context(
            aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        )
        room = Page(http, base=f"http://{external.LOCALHOST}:{port}")
        self._open(room, granted, stack)
        return await _first(self._container_lost(port), self._until_idle())

    def _open(self, room: Room, granted: RunnerGrant, stack: AsyncExitStack) -> None:
        self._front.open(room, secret=granted.session_secret)
        stack.callback(self._front.close)
        if self._settings.ready_file is not None:
            records.write_ready(self._settings.ready_file, address=self._address)
        self._log.add("session ready")

    def _room(self, kind: SessionKind, engine: Engine) -> Room:
        if kind is SessionKind.SOLVE:
            return Procedures(engine, self._log, grace_seconds=self._settings.task_grace_seconds)
        return Page(engine.talk.http, base=BASE)

    async def _until_unused(self, kind: SessionKind, engine: Engine) -> Ending:
        if kind is not SessionKind.TASK:
            return await self._until_idle()
        loop = TaskLoop(
            self._home,
            engine,
            self._log,
            idle_seconds=self._order.idle_seconds,
            grace_seconds=self._settings.task_grace_seconds,
        )
        return await loop.run()

    async def _until_idle(self) -> Ending:
        idle_seconds = self._order.idle_seconds
        while (left := idle_seconds - self._front.idle_seconds) > 0:
            await asyncio.sleep(min(left, LOOK_SECONDS) + 0.05)
        return Ending(EndReason.IDLE, f"Nobody used it for {span(idle_seconds)}.")

    async def _engine_died(self, engine: Engine) -> Ending:
        code = await engine.wait()
        if engine.given_up is not None:
            return Ending(EndReason.FINISHED, engine.given_up)
        if code == -signal.SIGKILL:
            return Ending(
                EndReason.OUT_OF_MEMORY,
                "The app was killed, most likely because it used up its memory.",
            )
        return Ending(
            EndReason.APP_FAILED, f"The app ended by itself (code {code}).\n{self._log.tail()}"
        )

    async def _container_lost(self, port: int) -> Ending:
        refused_seconds = self._settings.external_refused_seconds
        await external.wait_until_lost(port, refused_seconds=refused_seconds)
        return Ending(
            EndReason.APP_FAILED,
            f"The service took no connection on its port {port} for {refused_seconds:.0f} seconds.",
        )


async def _first(*coroutines: Coroutine[Any, Any, Ending]) -> Ending:
    tasks = [asyncio.create_task(each) for each in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(task.result() for task in tasks if task.done())
    finally:
        await _cancel(*tasks)


async def _cancel(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
