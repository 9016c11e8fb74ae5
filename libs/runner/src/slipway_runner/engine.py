"""The engine as a child process: started with its app, or ahead of it, and ended with us."""

import asyncio
import shutil
from pathlib import Path

from slipway_runner import child
from slipway_runner.conversation import Conversation, EngineError
from slipway_runner.handover import Handover, SessionApp
from slipway_runner.log import SessionLog
from slipway_runner.runtime import Runtime

LOOK_SECONDS = 0.02
RARE_LOOK_SECONDS = 0.5
"""At an engine that tells by itself when it is worth a look."""

STOP_SECONDS = 5.0
LAST_LINES_SECONDS = 1.0


class Engine:
    def __init__(
        self,
        process: asyncio.subprocess.Process,
        conversation: Conversation,
        *,
        handover: Handover | None,
        sockets: Path | None,
        log: SessionLog,
    ) -> None:
        """``sockets`` is a folder of the engine's own, which goes with it."""
        self.talk = conversation
        self.given_up: str | None = None
        self._process = process
        self._handover = handover
        self._loaded: asyncio.Task[None] | None = None
        self._log = log
        self._sockets = sockets
        self._readers = [
            asyncio.create_task(self._read(stream))
            for stream in (process.stdout, process.stderr)
            if stream is not None
        ]

    @classmethod
    async def start(
        cls, runtime: Runtime, *, app: SessionApp, folder: Path, log: SessionLog
    ) -> "Engine":
        sockets = child.sockets_folder(folder)
        process = await child.start(
            runtime,
            folder=folder,
            environment={
                "SLIPWAY_ENGINE_SOCKET": str(sockets / child.ENGINE_SOCKET),
                "SLIPWAY_APP_FD": str(app.descriptor),
                "SLIPWAY_SESSION_ID": str(app.session_id),
                "SLIPWAY_SESSION_KIND": app.kind,
            },
            descriptors=[app.descriptor],
        )
        return cls._of(process, sockets, folder=folder, handover=None, log=log)

    @classmethod
    async def start_ahead(cls, runtime: Runtime, *, folder: Path, log: SessionLog) -> "Engine":
        """Start an engine that is given its app later; only some runtimes have one that can."""
        sockets = child.sockets_folder(folder)
        handover = Handover(sockets / child.APP_SOCKET)
        process = await child.start(
            runtime,
            folder=folder,
            environment={
                "SLIPWAY_ENGINE_SOCKET": str(sockets / child.ENGINE_SOCKET),
                "SLIPWAY_APP_SOCKET": str(sockets / child.APP_SOCKET),
            },
        )
        return cls._of(process, sockets, folder=folder, handover=handover, log=log)

    @classmethod
    def _of(
        cls,
        process: asyncio.subprocess.Process,
        sockets: Path,
        *,
        folder: Path,
        handover: Handover | None,
        log: SessionLog,
    ) -> "Engine":
        return cls(
            process,
            Conversation(sockets / child.ENGINE_SOCKET),
            handover=handover,
            sockets=None if sockets == folder else sockets,
            log=log,
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait_until_it_can_take_an_app(self, *, within_seconds: float) -> None:
        assert self._handover is not None
        connected = asyncio.create_task(self._handover.wait_for_engine())
        ended = asyncio.create_task(self._process.wait())
        try:
            await asyncio.wait(
                {connected, ended}, timeout=within_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if ended.done():
                raise self._ended_early()
            if not connected.done():
                raise EngineError("The engine did not get ready in time.")
        finally:
            connected.cancel()
            ended.cancel()
            await asyncio.gather(connected, ended, return_exceptions=True)
        # The first question takes longest, on both sides; later there is a user who waits.
        await self.talk.is_healthy()

    def take(self, app: SessionApp) -> None:
        """Give an engine that was started ahead its app."""
        assert self._handover is not None
        try:
            self._handover.give(app)
        except OSError as error:
            raise EngineError("The engine was gone before it had its app.") from error
        self._loaded = asyncio.create_task(self._handover.wait_until_loaded())

    async def wait_until_ready(self, *, within_seconds: float) -> None:
        """Raise EngineError with the app's own problem if it cannot be loaded."""
        try:
            async with asyncio.timeout(within_seconds):
                await self._pause()
                while not await self._is_healthy():
                    await self._pause()
        except TimeoutError as error:
            raise EngineError("The app did not get ready in time.") from error

    async def _is_healthy(self) -> bool:
        if self._process.returncode is not None:
            raise self._ended_early()
        return await self.talk.is_healthy()

    async def _pause(self) -> None:
        """Until the next look is due, or the engine tells that it is worth one."""
        if self._loaded is None or self._loaded.done():
            await asyncio.sleep(LOOK_SECONDS)
        else:
            await asyncio.wait({self._loaded}, timeout=RARE_LOOK_SECONDS)

    def _ended_early(self) -> EngineError:
        return EngineError(f"The engine ended while it was starting.\n{self._log.tail()}")

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
        if self._loaded is not None:
            left.add(self._loaded)
        for task in left:
            task.cancel()
        await asyncio.gather(*self._readers, *left, return_exceptions=True)
        if self._handover is not None:
            self._handover.close()
        await self.talk.close()
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)

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
