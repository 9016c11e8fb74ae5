import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from slipway_scheduler.kubernetes import reflector as reflectors
from slipway_scheduler.kubernetes.api import Connection, KubernetesApi
from slipway_scheduler.kubernetes.limits import WriteLimiter
from support.kubernetes.mirrors import Mirror
from support.kubernetes.others import Pods
from support.kubernetes.server import FakeApiServer


@pytest.fixture
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[FakeApiServer]:
    """Its parameter, where a test gives one, are the seconds between bookmarks."""
    seconds = getattr(request, "param", 0.2)
    async with FakeApiServer.run(tmp_path, bookmark_seconds=seconds) as running:
        yield running


@pytest.fixture
def pods(server: FakeApiServer) -> Pods:
    return Pods(server)


@pytest.fixture
async def connection(server: FakeApiServer) -> AsyncIterator[Connection]:
    opened = await Connection.open(server.kubeconfig(), connections=8)
    yield opened
    await opened.close()


@pytest.fixture
async def new_api(
    server: FakeApiServer,
) -> AsyncIterator[Callable[[WriteLimiter], Awaitable[KubernetesApi]]]:
    async with AsyncExitStack() as stack:

        async def make(limiter: WriteLimiter) -> KubernetesApi:
            return await KubernetesApi.open(server.kubeconfig(), stack, limiter=limiter)

        yield make


@pytest.fixture
def new_mirror(connection: Connection, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reflectors, "BACKOFF_SECONDS", (0.01, 0.1))

    @asynccontextmanager
    async def run(**more: Any) -> AsyncIterator[Mirror]:
        mirror = Mirror(connection, **more)
        running = asyncio.create_task(mirror.reflector.run())
        try:
            async with asyncio.timeout(10):
                await mirror.reflector.synced.wait()
            yield mirror
            assert not running.done(), running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    return run
