"""The fake API server: real sockets, HTTP in the real one's paths and shapes, faults on demand.

What the real one can show is held to the real one by the contract tests.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from aiohttp import web

from support.kubernetes import answers, door
from support.kubernetes.answers import Refusal
from support.kubernetes.collector import Collector
from support.kubernetes.faults import (
    Effect,
    Expire,
    Faults,
    HalfAnswer,
    LoseAnswer,
    LoseRequest,
    Refuse,
    Say,
    Silence,
    Slow,
)
from support.kubernetes.kinds import Kind
from support.kubernetes.recorder import Recorder
from support.kubernetes.store import Object, Store
from support.kubernetes.verbs import Ask, perform
from support.kubernetes.watches import Watch

LOOPBACK = "127.0.0.1"
BOOKMARK_SECONDS = 60.0
LARGEST_BODY = 4 * 2**20


@dataclass(frozen=True, slots=True, eq=False)
class _Stream:
    request: web.Request
    kind: Kind


class FakeApiServer:
    """Keeps its objects in memory, for as long as it lives; ``folder`` gets its audit log."""

    def __init__(self, folder: Path, *, bookmark_seconds: float = BOOKMARK_SECONDS) -> None:
        self.store = Store()
        self.faults = Faults()
        self.audit = folder / "audit.log"
        self.port = 0
        self._folder = folder
        self._bookmark_seconds = bookmark_seconds
        self._recorder = Recorder(self.audit)
        self._streams: set[_Stream] = set()
        self._runner: web.AppRunner | None = None

    @classmethod
    @asynccontextmanager
    async def run(
        cls, folder: Path, *, bookmark_seconds: float = BOOKMARK_SECONDS
    ) -> AsyncIterator[Self]:
        server = cls(folder, bookmark_seconds=bookmark_seconds)
        with server._recorder:
            await server.come_back()
            collector = asyncio.create_task(Collector(server.store, server.act).run())
            try:
                yield server
            finally:
                collector.cancel()
                await asyncio.gather(collector, return_exceptions=True)
                await server.go_away()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def kubeconfig(self, user: str = "scheduler") -> Path:
        """Write how this user reaches the server; any name is a user with every right."""
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "fake", "cluster": {"server": self.url}}],
            "users": [{"name": user, "user": {"token": door.token_of(user)}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": user}}],
            "current-context": "fake",
        }
        path = self._folder / f"kubeconfig-{user}.json"
        path.write_text(json.dumps(content))
        return path

    async def come_back(self) -> None:
        """Listen, on the port of before."""
        application = web.Application(client_max_size=LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(
            application, handler_cancellation=True, shutdown_timeout=0.5, access_log=None
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def go_away(self) -> None:
        """Refuse connections, and cut those that there are; what is kept stays kept."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in list(runner.sites):
            await site.stop()
        assert runner.server is not None
        for connection in list(runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()

    def cut_watches(self, plural: str) -> int:
        """Cut the connections of all watches of a kind; return how many there were."""
        found = [stream for stream in self._streams if stream.kind.plural == plural]
        for stream in found:
            door.cut(stream.request)
        return len(found)

    def watches(self, plural: str) -> int:
        """How many are open."""
        return sum(stream.kind.plural == plural for stream in self._streams)

    def act(self, ask: Ask) -> Object:
        """Do it and write it down; Refusal if it is refused."""
        received = datetime.now(UTC)
        try:
            code, found = perform(self.store, ask)
        except Refusal as refusal:
            self._recorder.write(ask, refusal.code, refusal.status, received=received)
            raise
        self._recorder.write(ask, code, found, received=received)
        return found

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        try:
            ask = await door.understand(request)
        except Refusal as refusal:
            return door.answer(refusal.code, refusal.status)
        if ask is None:
            return web.Response(status=404, text="404 page not found\n")
        effect = self.faults.met_by(ask)
        if isinstance(effect, Refuse):
            return door.refused(effect)
        if isinstance(effect, LoseRequest):
            door.cut(request)
            return web.Response()
        if ask.verb == "watch":
            return await self._stream(request, ask, effect)
        return await self._do(request, ask, effect)

    async def _do(
        self, request: web.Request, ask: Ask, effect: Effect | None
    ) -> web.StreamResponse:
        try:
            code, content = 201 if ask.verb == "create" else 200, self.act(ask)
        except Refusal as refusal:
            code, content = refusal.code, refusal.status
        if isinstance(effect, LoseAnswer):
            door.cut(request)
        if isinstance(effect, HalfAnswer):
            return await door.half(request, content)
        if isinstance(effect, Slow):
            await asyncio.sleep(effect.seconds)
        return door.answer(code, content)

    async def _stream(
        self, request: web.Request, ask: Ask, effect: Effect | None
    ) -> web.StreamResponse:
        received = datetime.now(UTC)
        try:
            watch = Watch(self.store, self.faults, ask, bookmark_seconds=self._bookmark_seconds)
        except Refusal as refusal:
            self._recorder.write(ask, refusal.code, refusal.status, received=received)
            return door.answer(refusal.code, refusal.status)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        stream = _Stream(request, ask.kind)
        self._streams.add(stream)
        try:
            await response.prepare(request)
            if isinstance(effect, Silence):
                await asyncio.Event().wait()
            if isinstance(effect, Say):
                await response.write(effect.content)
            if isinstance(effect, Expire):
                status = answers.expired_watch(1, self.store.revision).status
                await response.write(door.line({"type": "ERROR", "object": status}))
            elif not (isinstance(effect, Say) and effect.then_end):
                async for event in watch.events():
                    await response.write(door.line(event))
        except ConnectionError:
            return response  # whoever watched has gone
        finally:
            self._streams.discard(stream)
            self._recorder.write(ask, 200, {}, received=received)
        return response
