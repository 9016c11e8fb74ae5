"""An engine that is started before there is an app for it.

It loads what every app would have to wait for, connects to the runner to say so, and is handed
the app there. When it has loaded the app, or cannot, it closes that connection.
"""

import asyncio
import json
import socket
from pathlib import Path

from slipway_open.settings import SessionApp, SettingsError, kind_of

# The runner sends one short line; what is longer is not from it.
LONGEST_LINE = 4096


def load_heavy_modules() -> None:
    """Import what takes longest, and what most apps use."""
    import numpy  # noqa: F401, ICN001

    import slipway_open.solver  # noqa: F401


class AppSocket:
    """The connection to the runner; closed when there is no more to say."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @classmethod
    async def connect(cls, path: Path) -> "AppSocket":
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, str(path))
        return cls(connection)

    async def receive(self) -> SessionApp:
        """Wait for the app, for as long as it takes; SettingsError if none will come."""
        line = bytearray()
        descriptors: list[int] = []
        while not line.endswith(b"\n"):
            await self._until_readable()
            data, found, _, _ = socket.recv_fds(self._connection, LONGEST_LINE, 1)
            line += data
            descriptors += found
            if not data or len(line) > LONGEST_LINE:
                raise SettingsError("the runner went away without an app")
        if len(descriptors) != 1:
            raise SettingsError("the runner sent no app")
        fields = json.loads(line)
        return SessionApp(
            descriptor=descriptors[0],
            session_id=str(fields["session"]),
            kind=kind_of(fields["kind"]),
        )

    async def _until_readable(self) -> None:
        loop = asyncio.get_running_loop()
        readable = asyncio.Event()
        loop.add_reader(self._connection, readable.set)
        try:
            await readable.wait()
        finally:
            loop.remove_reader(self._connection)

    def close(self) -> None:
        self._connection.close()
