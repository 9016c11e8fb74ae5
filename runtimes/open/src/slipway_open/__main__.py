"""Starts the engine: reads what the runner gave, serves the socket, loads the app meanwhile."""

import asyncio
import io
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from typing_extensions import override

from slipway_open.ahead import AppSocket, load_heavy_modules
from slipway_open.archive import AppArchive
from slipway_open.control import Scope
from slipway_open.engine import Engine
from slipway_open.server import build_application
from slipway_open.settings import (
    EngineSettings,
    SessionApp,
    SessionKind,
    SettingsError,
    read_settings,
    remember,
)
from slipway_open.web import PageRoutes

# The runner allows five: the rest is for the process to be gone.
SECONDS_TO_END = 3


class EngineServer(uvicorn.Server):
    """Ends the run before it waits for the connections, which would wait for the run."""

    def __init__(self, config: uvicorn.Config, *, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._leave)
        yield

    def _leave(self) -> None:
        self._engine.interrupt(Scope.EXECUTION)
        self.should_exit = True


def open_socket(path: Path) -> socket.socket:
    """Listen where the runner connects; only its own user may.

    The path appears when it can be connected to, and not a moment before.
    """
    preliminary = path.with_name(f"{path.name}~")
    preliminary.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(preliminary))
    finally:
        os.umask(mask)
    listener.listen(128)
    preliminary.rename(path)
    return listener


async def serve(settings: EngineSettings) -> None:
    engine = Engine()
    application = build_application(engine)
    config = uvicorn.Config(
        application,
        loop="asyncio",
        http="h11",
        ws="websockets-sansio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=SECONDS_TO_END,
    )
    server = EngineServer(config, engine=engine)
    listener = open_socket(settings.socket_path)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    loading = asyncio.create_task(load(settings.app, engine, application))
    # Told to end, it does not wait for an app, of which there may never be one.
    await asyncio.wait({serving, loading}, return_when=asyncio.FIRST_COMPLETED)
    if loading.done():
        loading.result()
    await serving


async def load(app: SessionApp | Path, engine: Engine, application: Starlette) -> None:
    """Load the app that is there, or the one that comes."""
    if isinstance(app, SessionApp):
        await load_app(app, engine, application)
        return
    await asyncio.to_thread(load_heavy_modules)
    with closing(await AppSocket.connect(app)) as runner:
        received = await runner.receive()
        remember(received)
        await load_app(received, engine, application)


async def load_app(app: SessionApp, engine: Engine, application: Starlette) -> None:
    if app.kind is SessionKind.WEBUI:
        application.router.routes.extend(PageRoutes(engine).routes())
    await engine.load(lambda: AppArchive.from_descriptor(app.descriptor))


def main() -> None:
    # What a model prints is a line of the session's log now, not when a buffer is full.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    try:
        asyncio.run(serve(read_settings()))
    except SettingsError as error:
        sys.exit(str(error))
    sys.stdout.flush()
    sys.stderr.flush()
    # A procedure that does not answer may still be in native code on its thread, and that must
    # not call into an interpreter that is being taken down.
    os._exit(0)


if __name__ == "__main__":
    main()
