"""The runner, from the first breath to the last words."""

import asyncio
import contextlib
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import structlog

from slipway_common import process
from slipway_common.contracts.problems import ProblemError
from slipway_common.contracts.sessions import EndReason
from slipway_common.errors import PermanentError, SlipwayError
from slipway_runner import lifeline, member, orphans, records, use
from slipway_runner.doorstep import Doorstep
from slipway_runner.front import Front
from slipway_runner.home import Home
from slipway_runner.log import SessionLog
from slipway_runner.readiness import Readiness
from slipway_runner.records import Ending
from slipway_runner.session import Order, Session
from slipway_runner.settings import Settings

logger = structlog.get_logger(__name__)

STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
LAST_WORDS_SECONDS = 4.0
"""For the last upload of the log: shorter than the grace that whoever stops us gives."""


async def run(settings: Settings) -> None:
    if settings.unit_file is not None:
        records.write_unit(settings.unit_file)
    stopped = asyncio.Event()
    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    # What came before there was anybody to hear it comes now.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)
    await Runner(settings).run(stopped)


class Runner:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._meter = use.meter()
        orphans.adopt()
        self._log = SessionLog()
        self._readiness = Readiness()
        self._doorstep = _doorstep(settings, self._readiness)
        self._front = Front(self._readiness, self._meter, doorstep=self._doorstep)
        self._home: Home | None = None
        """Of the session; None of a member that has become none."""

    async def run(self, stopped: asyncio.Event) -> None:
        async with AsyncExitStack() as stack:
            listener = socket.create_server(
                (self._settings.listen_host, self._settings.listen_port)
            )
            stack.callback(listener.close)
            await stack.enter_async_context(
                process.serve_on(self._front, listener, drain_seconds=1)
            )
            host, port = listener.getsockname()[:2]
            ending = await self._until_over(stopped, address=f"{host}:{port}")
            self._front.close()
        self._log.add(f"session over: {ending.reason} {ending.message}")
        if self._home is not None:
            with contextlib.suppress(SlipwayError, TimeoutError):
                async with asyncio.timeout(LAST_WORDS_SECONDS):
                    await self._home.store_log(self._log.content())
            await self._home.close()
        self._record(ending)

    async def _until_over(self, stopped: asyncio.Event, *, address: str) -> Ending:
        """Serve until something ends the session; whatever comes first says why."""
        ends = [
            asyncio.create_task(_stopped(stopped)),
            asyncio.create_task(self._live(address)),
        ]
        if self._settings.lifeline is not None:
            ends.append(asyncio.create_task(_cut_off(self._settings.lifeline)))
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            ending = next(task for task in ends if task in done).result()
            # Already now, should the rest take longer than whoever stops us has patience.
            self._record(ending)
            return ending
        finally:
            for task in ends:
                task.cancel()
            await asyncio.gather(*ends, return_exceptions=True)

    def _record(self, ending: Ending) -> None:
        records.write_termination(self._settings.termination_file, ending, use=self._meter.read())

    async def _live(self, address: str) -> Ending:
        try:
            if self._doorstep is None:
                assert self._settings.session_id is not None
                order = Order(self._settings.session_id, self._settings.idle_seconds)
                self._home = Home(self._settings.gateway_url, _token(self._settings))
                return await self._session(order, self._home, address, prepared=None).run()
            return await self._live_as_member(self._doorstep, address)
        except ProblemError as error:
            # The platform has refused something, for which the app is not to blame.
            return Ending(EndReason.LOST, str(error))
        except PermanentError as error:
            return Ending(EndReason.APP_FAILED, str(error))
        except Exception as error:
            # Whatever an app makes us trip over must end as a sentence, not as a silence.
            logger.exception("the session failed")
            return Ending(EndReason.APP_FAILED, f"The session failed: {type(error).__name__}.")

    async def _live_as_member(self, doorstep: Doorstep, address: str) -> Ending:
        async with AsyncExitStack() as stack:
            home = Home(self._settings.gateway_url, _token(self._settings))
            try:
                prepared = await member.prepare(self._settings, home, self._log, stack)
            finally:
                await home.close()
            heard = await member.wait_for_session(
                doorstep, prepared.engine, within_seconds=self._settings.member_seconds or None
            )
            if isinstance(heard, Ending):
                return heard
            order = Order(heard.session_id, heard.idle_seconds)
            self._home = Home(self._settings.gateway_url, heard.token)
            return await self._session(order, self._home, address, prepared=prepared).run()
        raise AssertionError("the stack swallows nothing")

    def _session(
        self, order: Order, home: Home, address: str, *, prepared: member.Prepared | None
    ) -> Session:
        return Session(
            self._settings,
            order,
            home=home,
            log=self._log,
            front=self._front,
            address=address,
            prepared=prepared,
        )


def _doorstep(settings: Settings, readiness: Readiness) -> Doorstep | None:
    if settings.member is None or settings.activation_key_file is None:
        return None
    key = bytes.fromhex(settings.activation_key_file.read_text().strip())
    return Doorstep(settings.member, key=key, readiness=readiness)


def _token(settings: Settings) -> str:
    return settings.token_file.read_text().strip()


async def _stopped(stopped: asyncio.Event) -> Ending:
    await stopped.wait()
    return Ending(EndReason.STOPPED)


async def _cut_off(line: Path) -> Ending:
    await lifeline.wait_for_end(line)
    return Ending(EndReason.LOST, "The platform was shut down.")
