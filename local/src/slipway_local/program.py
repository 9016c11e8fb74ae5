"""The one process behind a part: start it until it is ready, stop it, kill it."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from slipway_local.errors import PartError
from slipway_local.ports import LOOPBACK, is_free
from slipway_local.processes import Child, wait_until

READY_POLL_SECONDS = 0.03
PROBE_SECONDS = 5.0
PORT_SECONDS = 2.0


class Program:
    def __init__(self, name: str, *, log: Path, record: Path) -> None:
        self.name = name
        self.log = log
        self._record = record
        self._child: Child | None = None

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None and self._child.running else None

    async def start(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        ports: Sequence[int],
        ready: Callable[[], Awaitable[bool]],
        seconds: float,
        folder: Path | None = None,
        user: str | None = None,
    ) -> None:
        """Start the program and wait until ``ready`` says so; nothing if it runs already.

        ``ready`` may raise OSError, EOFError or TimeoutError for "not yet".
        """
        if self.pid is not None:
            return
        await self._wait_for_ports(ports)
        try:
            child = Child.spawn(
                command,
                environment=environment,
                log=self.log,
                folder=folder,
                user=user,
                record=self._record,
            )
        except OSError as error:
            raise PartError(self.name, f"cannot start {command[0]}: {error}") from error
        self._child = child
        try:
            await self._wait_for_readiness(child, ready, seconds)
        except BaseException:
            await child.kill(with_descendants=True)
            raise

    async def stop(self, *, signal_number: signal.Signals, grace: float) -> None:
        if self._child is not None:
            await self._child.stop(signal_number=signal_number, grace=grace)
            self._child = None

    async def kill(self, *, with_descendants: bool) -> None:
        if self._child is not None:
            await self._child.kill(with_descendants=with_descendants)
            self._child = None

    async def run_once(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        seconds: float,
        folder: Path | None = None,
        user: str | None = None,
        stdin: bytes | None = None,
    ) -> None:
        """Run a program to its end; anything but success is an error."""
        try:
            child = Child.spawn(
                command,
                environment=environment,
                log=self.log,
                folder=folder,
                user=user,
                stdin=stdin,
            )
        except OSError as error:
            raise PartError(self.name, f"cannot start {command[0]}: {error}") from error
        try:
            ended = await child.wait(seconds)
        finally:
            await child.kill(with_descendants=True)
        program = Path(command[0]).name
        if not ended:
            raise PartError(self.name, f"{program} did not end in {seconds:.0f} s", log=self.log)
        if child.returncode != 0:
            raise PartError(
                self.name, f"{program} ended with status {child.returncode}", log=self.log
            )

    async def _wait_for_ports(self, ports: Sequence[int]) -> None:
        # The sockets of one that was killed a moment ago may still be closing.
        for port in ports:
            if not await wait_until(lambda port=port: is_free(port), PORT_SECONDS):  # type: ignore[misc]
                raise PartError(
                    self.name,
                    f"port {port} is taken by another program; end that, or stop the stack and "
                    "start it again: it then chooses another port",
                )

    async def _wait_for_readiness(
        self, child: Child, ready: Callable[[], Awaitable[bool]], seconds: float
    ) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not child.running:
                raise PartError(
                    self.name, f"ended with status {child.returncode} at its start", log=self.log
                )
            try:
                async with asyncio.timeout(PROBE_SECONDS):
                    if await ready():
                        return
            except (OSError, EOFError, TimeoutError):
                pass  # not listening yet
            await asyncio.sleep(READY_POLL_SECONDS)
        raise PartError(self.name, f"not ready after {seconds:.0f} s", log=self.log)


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect to a port of this machine."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def exchange(port: int, request: bytes, length: int) -> bytes:
    """Send a request over a fresh connection and return the first bytes of the answer."""
    async with connection(port) as (reader, writer):
        writer.write(request)
        return await reader.readexactly(length)


async def http_status(port: int, path: str) -> int:
    """Return the status of a GET request to a port of this machine."""
    request = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n"
    answer = await exchange(port, request.encode(), len("HTTP/1.1 200"))
    return int(answer[-3:])
