"""Life of a service's process: start, serve until told to stop, close in reverse order."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import structlog
import uvicorn
from typing_extensions import override

logger = structlog.get_logger(__name__)

Main = Callable[[AsyncExitStack], Awaitable[None]]
"""Builds the service on the stack and returns once it is ready."""


class _Server(uvicorn.Server):
    """uvicorn without its own signal handlers: one place decides when the process ends."""

    @override
    @contextmanager
    def capture_signals(self) -> Any:
        yield


@asynccontextmanager
async def serve(app: Any, *, host: str, port: int, drain_seconds: int = 10) -> AsyncIterator[None]:
    """Serve an ASGI app inside this block; on leaving it, finish what is under way."""
    with socket.create_server((host, port), backlog=2048) as listener:
        async with serve_on(app, listener, drain_seconds=drain_seconds):
            yield


@asynccontextmanager
async def serve_on(app: Any, listener: socket.socket, *, drain_seconds: int) -> AsyncIterator[None]:
    """As ``serve``, on a socket that listens already."""
    server = _Server(
        uvicorn.Config(
            app,
            http="httptools",
            loop="none",
            ws="websockets-sansio",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=drain_seconds,
            timeout_keep_alive=65,
            ws_max_size=16 * 1024 * 1024,
            proxy_headers=False,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                await task
                raise RuntimeError("the web server ended before it had started")
            await asyncio.sleep(0.01)
        yield
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def background(*coroutines: Any) -> AsyncIterator[None]:
    """Run loops beside the block; they are told to stop by their owners, and then awaited.

    A loop that ends by an error takes the process down: half a service is worse than none.
    """
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    for task in tasks:
        task.add_done_callback(_end_process_on_error)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _end_process_on_error(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        logger.error("a background loop died", exc_info=task.exception())
        signal.raise_signal(signal.SIGTERM)


def run(main: Main) -> None:
    """Run a service until SIGTERM or SIGINT."""
    import uvloop

    async def _run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        async with AsyncExitStack() as stack:
            await main(stack)
            logger.info("ready")
            await stop.wait()
            logger.info("stopping")

    uvloop.run(_run())
