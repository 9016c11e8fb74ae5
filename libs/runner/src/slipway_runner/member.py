"""A runner that waits in a pool: it has its runtime at hand, and its engine started ahead."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from slipway_common.contracts.internal import Activation, Grant
from slipway_common.contracts.sessions import EndReason
from slipway_common.errors import PermanentError
from slipway_runner import orphans, packages
from slipway_runner.conversation import EngineError
from slipway_runner.doorstep import Doorstep
from slipway_runner.engine import Engine
from slipway_runner.home import Home
from slipway_runner.log import SessionLog
from slipway_runner.packages import Parcel
from slipway_runner.records import Ending
from slipway_runner.runtime import Runtime, unpack
from slipway_runner.settings import Settings


class StaleError(PermanentError):
    """What the member has is not what its session needs."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What there is before there is a session."""

    account_id: UUID
    sha256: str
    runtime: Runtime
    engine: Engine | None
    """None if the runtime has none that can be started without an app."""

    def check(self, grant: Grant) -> None:
        """Raise StaleError unless the session is one that this can become."""
        wanted = None if grant.runtime is None else grant.runtime.sha256
        if (grant.account_id, wanted) != (self.account_id, self.sha256):
            raise StaleError("The waiting runner was stale: the session needs another runtime.")


async def prepare(
    settings: Settings, home: Home, log: SessionLog, stack: AsyncExitStack
) -> Prepared:
    """Fetch and unpack the runtime, and start its engine if that can wait for an app."""
    granted = await home.claim_as_member()
    grant = granted.grant
    archive = await packages.fetch(
        Parcel("runtime", grant.runtime, grant.account_id, granted.runtime_key),
        home.member_runtime,
    )
    runtime = await asyncio.to_thread(unpack, archive, settings.folder / "runtime")
    engine = None
    if runtime.preload:
        engine = await Engine.start_ahead(runtime, folder=settings.folder, log=log)
        stack.push_async_callback(engine.stop)
        stack.enter_context(orphans.let_go(but=engine.pid))
        await engine.wait_until_it_can_take_an_app(within_seconds=settings.start_seconds)
    return Prepared(
        account_id=grant.account_id, sha256=grant.runtime.sha256, runtime=runtime, engine=engine
    )


async def wait_for_session(
    doorstep: Doorstep, engine: Engine | None, *, within_seconds: float | None
) -> Activation | Ending:
    """Wait to become a session; an ending if nobody needs us in that time."""
    heard = asyncio.create_task(doorstep.wait())
    waits: set[asyncio.Task[Any]] = {heard}
    if engine is not None:
        waits.add(asyncio.create_task(engine.wait()))
    try:
        done, _ = await asyncio.wait(
            waits, timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        for task in waits:
            task.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        if engine is not None and heard.cancelled():
            engine.kill()  # it has nothing to finish
    if heard in done:
        return heard.result()
    if done:
        raise EngineError("The engine ended while it waited for an app.")
    return Ending(EndReason.IDLE, "Nobody needed this runner.")
