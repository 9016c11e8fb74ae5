"""The process above a stack: starts it, brings back what crashes, stops it on a signal."""

import asyncio
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from slipway_local.errors import LocalError
from slipway_local.external import External
from slipway_local.part import Progress, Report
from slipway_local.processes import (
    become_subreaper,
    end_adopted,
    identity_of,
    reap_adopted,
)
from slipway_local.stack import Stack
from slipway_local.status import PartStatus, Phase, Status, write_status

logger = logging.getLogger(__name__)

WATCH_SECONDS = 0.2
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 60.0
"""One that has run for so long is forgiven its earlier crashes."""

ORPHAN_GRACE_SECONDS = 3.0


@dataclass(slots=True)
class Record:
    """What the supervisor remembers of one part."""

    detail: str = ""
    restarts: int = 0
    failures: int = 0
    """In a row, which is what the pause before the next attempt grows with."""

    started_at: float = 0.0


def pause_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row; 1 is the first."""
    longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(failures - 1, 16))
    return random.uniform(longest / 2, longest)  # noqa: S311 - spreads load, guards nothing


class Supervisor:
    def __init__(
        self,
        stack: Stack,
        *,
        progress: Report | None = None,
        ready: Callable[[Status], None] | None = None,
    ) -> None:
        """``ready`` is called once, when everything has started."""
        self._stack = stack
        self._progress = progress
        self._ready = ready
        self._phase = Phase.STARTING
        self._error = ""
        self._records = {name: Record() for name in stack.names}
        self._revivals: dict[str, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._owns_folder = False

    async def run(self) -> None:
        """Run the stack until a signal comes; raise LocalError if it does not start."""
        become_subreaper()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        try:
            if await self._start():
                self._phase = Phase.READY
                self._write()
                if self._ready is not None:
                    self._ready(self._status())
                await self._watch()
        finally:
            await self._stop()

    async def _start(self) -> bool:
        """Start the stack; False if a signal came first."""
        start = asyncio.create_task(self._stack.start(self._hear))
        stop = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not start.done():
            start.cancel()
        try:
            await start
        except asyncio.CancelledError:
            return False
        except Exception as error:
            self._error = str(error) if isinstance(error, LocalError) else repr(error)
            raise
        return True

    async def _watch(self) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), WATCH_SECONDS)
            reap_adopted()
            for name in self._stack.note_crashes():
                logger.warning("%s has ended by itself", name)
                self._revivals[name] = asyncio.create_task(self._bring_back(name))

    async def _bring_back(self, name: str) -> None:
        record = self._records[name]
        if time.monotonic() - record.started_at > STEADY_SECONDS:
            record.failures = 0
        while True:
            record.failures += 1
            await asyncio.sleep(pause_seconds(record.failures))
            record.restarts += 1
            try:
                await self._stack.revive(name)
            except Exception:
                logger.exception("could not bring %s back", name)
            else:
                logger.info("%s is back", name)
                return

    async def _stop(self) -> None:
        # From the second signal on they change nothing: the stop has its own time limits.
        if self._owns_folder:
            self._phase = Phase.STOPPING
            self._write()
        for task in self._revivals.values():
            task.cancel()
        await asyncio.gather(*self._revivals.values(), return_exceptions=True)
        await self._stack.stop()
        await end_adopted(ORPHAN_GRACE_SECONDS)
        if self._owns_folder:
            if self._error:
                self._phase = Phase.FAILED
                self._write()
            else:
                self._stack.state.status_file.unlink(missing_ok=True)

    def _hear(self, progress: Progress) -> None:
        # The stack speaks only once the folder is its own.
        self._owns_folder = True
        record = self._records[progress.name]
        record.detail = progress.detail
        record.started_at = time.monotonic()
        self._write()
        if self._progress is not None:
            self._progress(progress)

    def _write(self) -> None:
        write_status(self._stack.state.status_file, self._status())

    def _status(self) -> Status:
        parts = []
        for name, state in self._stack.states.items():
            part = self._stack.part(name)
            record = self._records[name]
            parts.append(
                PartStatus(
                    name=name,
                    state=state,
                    detail=record.detail,
                    address=part.shown_address,
                    pid=part.pid,
                    log="" if isinstance(part, External) else str(part.log),
                    restarts=record.restarts,
                )
            )
        return Status(
            phase=self._phase,
            supervisor=identity_of(os.getpid()),
            error=self._error,
            parts=tuple(parts),
            exports=self._stack.exports(),
        )


def run_supervisor(
    stack: Stack,
    *,
    progress: Report | None = None,
    ready: Callable[[Status], None] | None = None,
) -> None:
    """Run until a signal comes; the caller's process becomes the supervisor."""

    async def supervise() -> None:
        await Supervisor(stack, progress=progress, ready=ready).run()

    asyncio.run(supervise())
