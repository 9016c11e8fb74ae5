"""Each session on a host name of its own: a ticket becomes a cookie, then bytes flow.

The target comes from the session's row and is asked for again whenever the row changes; it never
comes from the request. A session shows no page to anybody whose cookie was not made for it.
"""

import asyncio
import contextlib
import time
from uuid import UUID

import aiohttp
import structlog
from starlette.requests import HTTPConnection, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from yarl import URL

from slipway_common.contracts.internal import Route
from slipway_common.contracts.problems import Code, ProblemError, problem
from slipway_common.contracts.views import SessionState
from slipway_common.errors import TransientError
from slipway_common.metrics import gateway, web
from slipway_common.web import problems
from slipway_common.web.forwarding import (
    Target,
    UnsafePathError,
    forward_http,
    forward_websocket,
)
from slipway_gateway.access import SessionAccess
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.changes import Changes
from slipway_gateway.pages import Pages
from slipway_gateway.runners import SessionSecrets
from slipway_gateway.sessions import ENTER_PATH

logger = structlog.get_logger(__name__)

RESERVED = "/_slipway/"
ROUTE_SECONDS = 2.0
WATCH_SECONDS = 15.0


class SessionProxy:
    """ASGI app for ``<session id>.<sessions host>``."""

    def __init__(
        self,
        accounts: AccountsClient,
        access: SessionAccess,
        changes: Changes,
        secrets: SessionSecrets,
        pages: Pages,
        *,
        sessions_host: str,
        secure: bool,
    ) -> None:
        self._accounts = accounts
        self._access = access
        self._changes = changes
        self._secrets = secrets
        self._pages = pages
        self._suffix = f".{sessions_host}"
        self._secure = secure
        self._cookie = "__Host-slipway_session" if secure else "slipway_session"
        self._routes: dict[UUID, tuple[Route, float]] = {}
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=15),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self._http.close()

    def serves(self, connection: HTTPConnection) -> bool:
        return _host(connection).endswith(self._suffix)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._websocket(WebSocket(scope, receive, send))
            return
        request = Request(scope, receive)
        try:
            response = await self._respond(request)
        except ProblemError as error:
            response = self._refuse(request, error)
        except TransientError:
            response = self._refuse(request, problem(Code.UNAVAILABLE))
        await response(scope, receive, send)

    def _session_of(self, connection: HTTPConnection) -> UUID:
        label = _host(connection).removesuffix(self._suffix)
        try:
            session_id = UUID(label)
        except ValueError as error:
            raise problem(Code.NOT_FOUND) from error
        if str(session_id) != label:
            raise problem(Code.NOT_FOUND)
        return session_id

    async def _respond(self, request: Request) -> Response:
        session_id = self._session_of(request)
        if request.url.path.startswith(RESERVED):
            if request.url.path == ENTER_PATH and request.method == "GET":
                return await self._enter(session_id, request)
            raise problem(Code.NOT_FOUND)
        await self._admit(session_id, request)
        route = await self._route(session_id)
        try:
            return await forward_http(request, self._http, self._target(route))
        except UnsafePathError as error:
            web.refusals.labels("path").inc()
            raise problem(Code.INVALID_REQUEST, "The path is not one that we pass on.") from error
        except TimeoutError as error:
            raise problem(Code.SESSION_TIMEOUT, "Its app may be busy, or hang.") from error
        except aiohttp.ClientError as error:
            self._routes.pop(session_id, None)
            raise problem(Code.SESSION_UNREACHABLE, "It may just have ended.") from error

    async def _enter(self, session_id: UUID, request: Request) -> Response:
        ticket = request.query_params.get("ticket", "")
        token = await self._accounts.redeem_ticket(session_id, ticket)
        # On to an address without the ticket, which nobody then finds in a history or a referrer.
        response = RedirectResponse("/", status_code=303)
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["Cache-Control"] = "no-store"
        response.set_cookie(
            self._cookie, token, httponly=True, secure=self._secure, samesite="lax", path="/"
        )
        return response

    async def _admit(self, session_id: UUID, connection: HTTPConnection) -> UUID:
        token = connection.cookies.get(self._cookie, "")
        credential = await self._access.credential(session_id, token) if token else None
        if credential is None:
            web.refusals.labels("session-cookie").inc()
            raise problem(Code.UNAUTHENTICATED, "Open the session from the portal.")
        return credential

    async def _route(self, session_id: UUID) -> Route:
        known = self._routes.get(session_id)
        if known is None or known[1] <= time.monotonic():
            route = await self._accounts.route(session_id)
            self._routes[session_id] = known = (route, time.monotonic() + ROUTE_SECONDS)
        route = known[0]
        if route.state.over:
            self._routes.pop(session_id, None)
            raise problem(Code.SESSION_OVER, "Launch the app again from the portal.")
        if route.state is not SessionState.RUNNING or route.address is None:
            raise problem(Code.SESSION_NOT_READY)
        return route

    def _target(self, route: Route) -> Target:
        return Target(
            base=URL(f"http://{route.address}"),
            headers={"Slipway-Session-Secret": self._secrets.of(route.session_id)},
        )

    async def _websocket(self, websocket: WebSocket) -> None:
        closing = asyncio.Event()
        try:
            session_id = self._session_of(websocket)
            self._require_own_origin(websocket)
            credential = await self._admit(session_id, websocket)
            route = await self._route(session_id)
            watcher = asyncio.create_task(self._watch(session_id, credential, closing))
            try:
                with gateway.proxied_connections.track_inprogress():
                    await forward_websocket(
                        websocket, self._http, self._target(route), closing=closing
                    )
            finally:
                watcher.cancel()
        except (ProblemError, UnsafePathError, TransientError, aiohttp.ClientError, TimeoutError):
            # Before the upgrade this is a plain 403, which tells a stranger nothing.
            await websocket.close()

    def _require_own_origin(self, websocket: WebSocket) -> None:
        scheme = "https" if self._secure else "http"
        if websocket.headers.get("origin") != f"{scheme}://{websocket.headers['host']}":
            web.refusals.labels("origin").inc()
            raise problem(Code.CROSS_SITE)

    async def _watch(self, session_id: UUID, credential: UUID, closing: asyncio.Event) -> None:
        """Close a connection whose session is over, or whose user's log-on counts no more."""
        with self._changes.watch("sessions", session_id) as changed:
            while True:
                changed.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(changed.wait(), WATCH_SECONDS)
                if self._access.is_revoked(credential):
                    break
                self._routes.pop(session_id, None)
                try:
                    await self._route(session_id)
                except ProblemError:
                    break
                except TransientError:
                    continue
        closing.set()

    def _refuse(self, request: Request, error: ProblemError) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return self._pages.problem(request, error.problem)
        return problems.respond(error.problem)


def _host(connection: HTTPConnection) -> str:
    """As it was sent, but for the case and for the dot that a full name may end with."""
    name, colon, port = connection.headers.get("host", "").lower().partition(":")
    return name.rstrip(".") + colon + port
