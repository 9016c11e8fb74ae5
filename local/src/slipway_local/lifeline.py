"""A socket that says nothing: whoever is connected knows that the stack is alive.

Session processes outlive the scheduler that started them, but must not outlive
the stack. They hold a connection to this socket, and end when it closes, however
the stack came to its end.
"""

import asyncio
from pathlib import Path

from slipway_local.errors import LocalError
from slipway_local.files import PRIVATE_FILE

LONGEST_PATH = 99
"""Of a Unix socket, in bytes; the systems differ, and none takes less."""


class Lifeline:
    def __init__(self, path: Path) -> None:
        if len(str(path).encode()) > LONGEST_PATH:
            raise LocalError(f"the path of the lifeline socket is too long: {path}")
        self.path = path
        self._server: asyncio.Server | None = None
        self._held: set[asyncio.StreamWriter] = set()

    @property
    def held(self) -> int:
        """How many connections are open."""
        return len(self._held)

    async def open(self) -> None:
        if self._server is None:
            self.path.unlink(missing_ok=True)
            self._server = await asyncio.start_unix_server(self._hold, self.path)
            self.path.chmod(PRIVATE_FILE)

    async def close(self) -> None:
        """Let go of everyone."""
        if self._server is None:
            return
        self._server.close()
        for writer in list(self._held):
            writer.transport.abort()
        await self._server.wait_closed()
        self._server = None
        self.path.unlink(missing_ok=True)

    async def _hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._held.add(writer)
        try:
            while await reader.read(1024):
                pass  # nothing that is said here means anything
        except OSError:
            pass  # gone without a word
        finally:
            self._held.discard(writer)
            writer.close()
