"""What a session shows to the outside: its room to the gateway, and to others if it is ready.

It listens from the first moment on. Whether it is ready it tells to anybody, as it must to those
who probe it; everything else only to who shows the session's secret.
"""

import asyncio
import hmac
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from pydantic import ValidationError
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from slipway_common.crypto.activation import NotForUsError
from slipway_runner.doorstep import Doorstep, NotYetError, TakenError
from slipway_runner.readiness import Readiness, State
from slipway_runner.use import Meter

SECRET_HEADER = "Slipway-Session-Secret"  # noqa: S105  # its name, not its value
RESERVED = "/_slipway"
MAX_WAIT_SECONDS = 25.0
MAX_ACTIVATION_BYTES = 16 * 1024


class Room(Protocol):
    """What is behind the door of a session."""

    async def respond(self, request: Request) -> Response: ...

    async def converse(self, websocket: WebSocket) -> None: ...


class Front:
    """ASGI app that lets in only who shows this session's secret.

    Pods share a network, and an address may be used again by another session.
    """

    def __init__(
        self, readiness: Readiness, meter: Meter, *, doorstep: Doorstep | None = None
    ) -> None:
        self._readiness = readiness
        self._meter = meter
        self._doorstep = doorstep
        self._room: Room | None = None
        self._secret = b""
        self._open = 0
        self._last_used = time.monotonic()

    def open(self, room: Room, *, secret: str) -> None:
        """From now on the session answers."""
        self._room = room
        self._secret = secret.encode()
        self._last_used = time.monotonic()
        self._readiness.become(State.READY)

    def close(self) -> None:
        """From now on it never will again."""
        self._room = None
        self._readiness.become(State.OVER)

    @property
    def idle_seconds(self) -> float:
        """Since the last request; one that goes on, or an open WebSocket, is use."""
        return 0.0 if self._open else time.monotonic() - self._last_used

    @contextmanager
    def _used(self) -> Iterator[None]:
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1
            self._last_used = time.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "websocket":
                await self._websocket(WebSocket(scope, receive, send))
            case "http" if scope["path"].startswith(RESERVED):
                response = await self._answer(Request(scope, receive))
                await response(scope, receive, send)
            case "http":
                await self._http(scope, receive, send)
            case _:
                return

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if self._room is None:
            await _NOT_READY(scope, receive, send)
        elif not self._knows(request):
            await _NOT_FOR_YOU(scope, receive, send)
        else:
            with self._used():
                response = await self._room.respond(request)
                await response(scope, receive, send)

    async def _websocket(self, websocket: WebSocket) -> None:
        reserved = websocket.scope["path"].startswith(RESERVED)
        if self._room is None or reserved or not self._knows(websocket):
            await websocket.close()
            return
        with self._used():
            await self._room.converse(websocket)

    def _knows(self, connection: HTTPConnection) -> bool:
        shown = connection.headers.get(SECRET_HEADER, "").encode()
        return hmac.compare_digest(shown, self._secret)

    async def _answer(self, request: Request) -> Response:
        """What is asked of the runner itself, and is never use."""
        match request.method, request.scope["path"].removeprefix(RESERVED):
            case "GET", "/live":
                return PlainTextResponse("live")
            case "GET", "/ready":
                return await self._ready(request)
            case "POST", "/activate" if self._doorstep is not None:
                return await self._activate(request, self._doorstep)
        if self._room is None:
            return _NOT_READY
        if not self._knows(request):
            return _NOT_FOR_YOU
        match request.method, request.scope["path"].removeprefix(RESERVED):
            case "GET", "/use":
                use = await asyncio.to_thread(self._meter.read)
                return Response(use.model_dump_json(), media_type="application/json")
            case _:
                return PlainTextResponse("no such page", status_code=404)

    async def _ready(self, request: Request) -> Response:
        try:
            wait = float(request.query_params.get("wait", "0"))
        except ValueError:
            wait = math.nan
        if not 0 <= wait < math.inf:
            return PlainTextResponse("bad wait", status_code=400)
        if await self._readiness.known(within_seconds=min(wait, MAX_WAIT_SECONDS)):
            return PlainTextResponse("ready")
        return _NOT_READY

    async def _activate(self, request: Request, doorstep: Doorstep) -> Response:
        message = bytearray()
        async for chunk in request.stream():
            message += chunk
            if len(message) > MAX_ACTIVATION_BYTES:
                return PlainTextResponse("too large", status_code=413)
        try:
            return PlainTextResponse(doorstep.hear(bytes(message)))
        except NotForUsError:
            return _NOT_FOR_YOU
        except ValidationError:
            return PlainTextResponse("not understood", status_code=400)
        except NotYetError:
            return _NOT_READY
        except TakenError:
            return PlainTextResponse("another session", status_code=409)


_NOT_READY = PlainTextResponse("not ready", status_code=503)
_NOT_FOR_YOU = PlainTextResponse("not for you", status_code=403)
