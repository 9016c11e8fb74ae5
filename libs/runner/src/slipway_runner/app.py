"""The runner, from the first breath to the last words."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from slipway_common import process
from slipway_common.contracts.problems import ProblemError
from slipway_common.contracts.sessions import EndReason, SessionKind
from slipway_common.errors import SlipwayError
from slipway_runner import lifeline, packages, records
from slipway_runner.engine import Engine, EngineError
from slipway_runner.front import Front
from slipway_runner.home import Home
from slipway_runner.log import SessionLog
from slipway_runner.records import Ending
from slipway_runner.runtime import Runtime, unpack
from slipway_runner.settings import Settings
from slipway_runner.work import TaskLoop

logger = structlog.get_logger(__name__)

LOG_SECONDS = 2.0
LAST_WORDS_SECONDS = 4.0
"""For the last upload of the log: shorter than the grace that whoever stops us gives."""


async def run(settings: Settings) -> None:
    records.write_unit(settings.unit_file)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    log = SessionLog()
    home = Home(settings.gateway_url, settings.token_file.read_text().strip())
    try:
        ending = await _until_over(settings, home, log, stopped)
        log.add(f"session over: {ending.reason} {ending.message}")
        with contextlib.suppress(SlipwayError, TimeoutError):
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await home.store_log(log.content())
    finally:
        await home.close()
    records.write_termination(settings.termination_file, ending)


async def _until_over(
    settings: Settings, home: Home, log: SessionLog, stopped: asyncio.Event
) -> Ending:
    """Serve until something ends the session; whatever comes first says why."""
    ends = [
        asyncio.create_task(_stopped(stopped)),
        asyncio.create_task(_serve(settings, home, log)),
    ]
    if settings.lifeline is not None:
        ends.append(asyncio.create_task(_cut_off(settings)))
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in ends if task in done).result()
    finally:
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


async def _stopped(stopped: asyncio.Event) -> Ending:
    await stopped.wait()
    return Ending(EndReason.STOPPED)


async def _cut_off(settings: Settings) -> Ending:
    assert settings.lifeline is not None
    await lifeline.wait_for_end(settings.lifeline)
    return Ending(EndReason.LOST, "The platform was shut down.")


async def _serve(settings: Settings, home: Home, log: SessionLog) -> Ending:
    try:
        async with AsyncExitStack() as stack:
            engine, secret, kind = await _start(settings, home, log, stack)
            front = Front(engine.http, secret=secret)
            listener = socket.create_server((settings.listen_host, settings.listen_port))
            stack.callback(listener.close)
            await stack.enter_async_context(process.serve_on(front, listener, drain_seconds=1))
            host, port = listener.getsockname()[:2]
            records.write_ready(settings.ready_file, address=f"{host}:{port}")
            log.add("session ready")
            return await _until_done(settings, home, log, engine, front, kind)
    except (EngineError, packages.PackageDamagedError, ProblemError) as error:
        return Ending(EndReason.APP_FAILED, str(error))
    except Exception as error:
        # Whatever an app makes us trip over must end as a sentence, not as a silence.
        logger.exception("the session failed")
        return Ending(EndReason.APP_FAILED, f"The session failed: {type(error).__name__}.")


async def _start(
    settings: Settings, home: Home, log: SessionLog, stack: AsyncExitStack
) -> tuple[Engine, str, SessionKind]:
    granted = await home.claim()
    grant = granted.grant
    await stack.enter_async_context(_uploading(home, log))
    app, archive = await asyncio.gather(
        packages.fetch(home, "app", grant.app, granted.app_key, account_id=grant.account_id),
        packages.fetch(
            home, "runtime", grant.runtime, granted.runtime_key, account_id=grant.account_id
        ),
    )
    await home.say("Unpacking the runtime")
    runtime: Runtime = await asyncio.to_thread(unpack, archive, settings.folder / "runtime")
    await home.say("Loading the app")
    engine = await Engine.start(
        runtime,
        app=app,
        folder=settings.folder,
        session_id=settings.session_id,
        kind=grant.kind,
        log=log,
    )
    stack.push_async_callback(engine.stop)
    await engine.wait_until_ready()
    return engine, granted.session_secret, grant.kind


async def _until_done(
    settings: Settings,
    home: Home,
    log: SessionLog,
    engine: Engine,
    front: Front,
    kind: SessionKind,
) -> Ending:
    died = asyncio.create_task(_engine_died(engine, log))
    use = asyncio.create_task(
        TaskLoop(
            home,
            engine,
            log,
            idle_seconds=settings.idle_seconds,
            grace_seconds=settings.task_grace_seconds,
        ).run()
        if kind is SessionKind.TASK
        else _until_idle(front, settings.idle_seconds)
    )
    try:
        done, _ = await asyncio.wait({died, use}, return_when=asyncio.FIRST_COMPLETED)
        if died in done:
            return died.result()
        try:
            return use.result()
        except EngineError:
            # A conversation that broke off is best explained by the engine's own end.
            await asyncio.wait({died}, timeout=1)
            if died.done():
                return died.result()
            raise
    finally:
        for task in (died, use):
            task.cancel()
        await asyncio.gather(died, use, return_exceptions=True)


async def _engine_died(engine: Engine, log: SessionLog) -> Ending:
    code = await engine.wait()
    if engine.given_up is not None:
        return Ending(EndReason.FINISHED, engine.given_up)
    if code == -signal.SIGKILL:
        return Ending(
            EndReason.OUT_OF_MEMORY,
            "The app was killed, most likely because it used up its memory.",
        )
    return Ending(EndReason.APP_FAILED, f"The app ended by itself (code {code}).\n{log.tail()}")


async def _until_idle(front: Front, idle_seconds: float) -> Ending:
    while (left := idle_seconds - front.idle_seconds) > 0:
        await asyncio.sleep(min(left, 5) + 0.05)
    return Ending(EndReason.IDLE, f"Nobody used it for {idle_seconds / 60:.0f} minutes.")


@asynccontextmanager
async def _uploading(home: Home, log: SessionLog) -> AsyncIterator[None]:
    async def upload() -> None:
        sent = -1
        while True:
            await asyncio.sleep(LOG_SECONDS)
            if log.revision != sent:
                sent = log.revision
                with contextlib.suppress(ProblemError):
                    await home.store_log(log.content())

    task = asyncio.create_task(upload())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
