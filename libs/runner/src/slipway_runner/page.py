"""A session's page: whatever comes goes on to whoever serves it, its engine or a container."""

import aiohttp
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.websockets import WebSocket
from typing_extensions import override
from yarl import URL

from slipway_common.web.forwarding import (
    Target,
    UnsafePathError,
    forward_http,
    forward_websocket,
)
from slipway_runner.front import Room


class Page(Room):
    def __init__(self, http: aiohttp.ClientSession, *, base: str) -> None:
        self._http = http
        self._target = Target(base=URL(base), headers={})

    @override
    async def respond(self, request: Request) -> Response:
        try:
            return await forward_http(request, self._http, self._target)
        except UnsafePathError:
            return PlainTextResponse("bad path", status_code=400)
        except TimeoutError:
            return PlainTextResponse("the app does not answer", status_code=504)
        except aiohttp.ClientError:
            return PlainTextResponse("the app is gone", status_code=502)

    @override
    async def converse(self, websocket: WebSocket) -> None:
        try:
            await forward_websocket(websocket, self._http, self._target)
        except (UnsafePathError, aiohttp.ClientError, TimeoutError):
            await websocket.close()
