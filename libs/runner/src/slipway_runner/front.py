"""What a session shows to the outside: its engine's pages, to the gateway and to nobody else."""

import hmac
import time

import aiohttp
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from yarl import URL

from slipway_common.web.forwarding import (
    Target,
    UnsafePathError,
    forward_http,
    forward_websocket,
)

SECRET_HEADER = "Slipway-Session-Secret"  # noqa: S105  # its name, not its value
RESERVED = "/_slipway"


class Front:
    """ASGI app that lets in only who shows this session's secret.

    Pods share a network, and an address may be used again by another session.
    """

    def __init__(self, engine: aiohttp.ClientSession, *, secret: str) -> None:
        self._engine = engine
        self._secret = secret.encode()
        self._target = Target(base=URL("http://engine"), headers={})
        self._open = 0
        self._last_used = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        """Since the last request; an open WebSocket is use."""
        return 0.0 if self._open else time.monotonic() - self._last_used

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"}:
            return
        self._open += 1
        try:
            if scope["type"] == "websocket":
                await self._websocket(WebSocket(scope, receive, send))
            else:
                request = Request(scope, receive)
                response = await self._respond(request)
                await response(scope, receive, send)
        finally:
            self._open -= 1
            self._last_used = time.monotonic()

    def _let_in(self, connection: HTTPConnection) -> bool:
        shown = connection.headers.get(SECRET_HEADER, "").encode()
        return hmac.compare_digest(shown, self._secret)

    async def _respond(self, request: Request) -> Response:
        if not self._let_in(request):
            return PlainTextResponse("not for you", status_code=403)
        if request.url.path.startswith(RESERVED):
            return PlainTextResponse("no such page", status_code=404)
        try:
            return await forward_http(request, self._engine, self._target)
        except UnsafePathError:
            return PlainTextResponse("bad path", status_code=400)
        except TimeoutError:
            return PlainTextResponse("the engine does not answer", status_code=504)
        except aiohttp.ClientError:
            return PlainTextResponse("the engine is gone", status_code=502)

    async def _websocket(self, websocket: WebSocket) -> None:
        if not self._let_in(websocket) or websocket.url.path.startswith(RESERVED):
            await websocket.close()
            return
        try:
            await forward_websocket(websocket, self._engine, self._target)
        except (UnsafePathError, aiohttp.ClientError, TimeoutError):
            await websocket.close()
