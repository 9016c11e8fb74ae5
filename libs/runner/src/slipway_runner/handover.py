"""How an engine that was started ahead gets its app: by a socket, once there is one.

The engine connects when it has loaded all that it can without an app. Then one line of JSON goes
over, with the app's descriptor, and the engine closes the connection once it has loaded that app,
or cannot.
"""

import asyncio
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from slipway_common.contracts.sessions import SessionKind


@dataclass(frozen=True, slots=True)
class SessionApp:
    """An app in a sealed memory file, and the session that it is for."""

    descriptor: int
    session_id: UUID
    kind: SessionKind


class Handover:
    def __init__(self, path: Path) -> None:
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        mask = os.umask(0o177)
        try:
            self._listener.bind(str(path))
        finally:
            os.umask(mask)
        self._listener.listen(1)
        self._engine: socket.socket | None = None

    async def wait_for_engine(self) -> None:
        """Return once the engine can take an app; nobody else is listened to from then on."""
        self._engine, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        self._listener.close()

    def give(self, app: SessionApp) -> None:
        """Raise OSError if the engine is gone."""
        assert self._engine is not None
        line = json.dumps({"session": str(app.session_id), "kind": app.kind}) + "\n"
        socket.send_fds(self._engine, [line.encode()], [app.descriptor])

    async def wait_until_loaded(self) -> None:
        """Return when the engine has loaded the app, or cannot, or is gone."""
        assert self._engine is not None
        loop = asyncio.get_running_loop()
        try:
            while await loop.sock_recv(self._engine, 1024):
                continue
        except ConnectionError:
            return

    def close(self) -> None:
        self._listener.close()
        if self._engine is not None:
            self._engine.close()
