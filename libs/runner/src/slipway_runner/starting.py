"""Fetches what a session was granted, and starts an engine on it, or uses the one that waits."""

import asyncio
import os
from contextlib import AsyncExitStack
from dataclasses import dataclass
from uuid import UUID

from slipway_common.contracts.internal import PackageGrant, RunnerGrant
from slipway_common.errors import PermanentError
from slipway_runner import orphans, packages
from slipway_runner.engine import Engine
from slipway_runner.handover import SessionApp
from slipway_runner.home import Home
from slipway_runner.log import SessionLog
from slipway_runner.member import Prepared
from slipway_runner.packages import Parcel
from slipway_runner.runtime import Runtime, unpack
from slipway_runner.settings import Settings


class GrantError(PermanentError):
    """What was granted is not what this runner was started for."""


@dataclass(frozen=True, slots=True)
class Start:
    settings: Settings
    session_id: UUID
    home: Home
    log: SessionLog
    granted: RunnerGrant
    prepared: Prepared | None
    """What a member has already; None of a runner that was started for its session."""

    async def engine(self, stack: AsyncExitStack) -> Engine:
        """Return it once it is healthy; it ends with the stack."""
        if self.prepared is None:
            engine = await self._from_nothing(stack)
        else:
            self.prepared.check(self.granted.grant)
            engine = await self._from_member(self.prepared, stack)
        await engine.wait_until_ready(within_seconds=self.settings.start_seconds)
        return engine

    async def _from_nothing(self, stack: AsyncExitStack) -> Engine:
        app, archive = await asyncio.gather(self._fetch_app(), self._fetch_runtime())
        await self.home.say("Unpacking the runtime")
        runtime = await asyncio.to_thread(unpack, archive, self.settings.folder / "runtime")
        await self.home.say("Loading the app")
        return await self._start(runtime, app, stack)

    async def _from_member(self, prepared: Prepared, stack: AsyncExitStack) -> Engine:
        """Quickly: somebody has been promised that it would be."""
        app = await self._fetch_app()
        if prepared.engine is None:
            return await self._start(prepared.runtime, app, stack)
        try:
            prepared.engine.take(app)
        finally:
            os.close(app.descriptor)
        return prepared.engine

    async def _start(self, runtime: Runtime, app: SessionApp, stack: AsyncExitStack) -> Engine:
        try:
            engine = await Engine.start(runtime, app=app, folder=self.settings.folder, log=self.log)
        finally:
            os.close(app.descriptor)
        stack.push_async_callback(engine.stop)
        stack.enter_context(orphans.let_go(but=engine.pid))
        return engine

    async def _fetch_app(self) -> SessionApp:
        parcel = self._parcel("app", self.granted.grant.app, self.granted.app_key)
        descriptor = await packages.fetch(parcel, lambda: self.home.package("app"))
        return SessionApp(descriptor, self.session_id, self.granted.grant.kind)

    async def _fetch_runtime(self) -> int:
        parcel = self._parcel("runtime", self.granted.grant.runtime, self.granted.runtime_key)
        return await packages.fetch(parcel, lambda: self.home.package("runtime"))

    def _parcel(self, what: str, grant: PackageGrant | None, key: str | None) -> Parcel:
        if grant is None or key is None:
            raise GrantError(f"The session was granted no {what}.")
        return Parcel(what, grant, self.granted.grant.account_id, key)
