"""What every request passes through."""

import time
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from slipway_common.contracts.problems import Code, problem
from slipway_common.metrics import web as metrics
from slipway_common.web.problems import respond


class Measured:
    """Counts answers and their time by the route's pattern, never by the address itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        status = 0

        async def note_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, note_status)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            metrics.requests.labels(scope["method"], route, status).inc()
            metrics.request_seconds.labels(route).observe(time.perf_counter() - started)


class BodyRefusals:
    """The web framework refuses a body that is too large in plain text; callers get a problem."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused = False

        async def pass_on(message: Message) -> None:
            nonlocal refused
            if message["type"] == "http.response.start":
                refused = message["status"] == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and any(
                    name.lower() == b"content-type" and value.startswith(b"text/plain")
                    for name, value in message["headers"]
                )
            if not refused:
                await send(message)

        await self._app(scope, receive, pass_on)
        if refused:
            metrics.refusals.labels("body").inc()
            refusal = problem(Code.TOO_LARGE, "Such a request takes at most 1 MiB.")
            await respond(refusal.problem)(scope, receive, send)
