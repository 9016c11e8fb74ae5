"""Whatever goes wrong on the way to a page is a page too, or the way to log on."""

from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import quote, urlsplit

import structlog
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive
from typing_extensions import override

from slipway_common.contracts.problems import Code, Problem, ProblemError, problem
from slipway_common.errors import TransientError
from slipway_common.web import problems
from slipway_gateway.identity import Caller, Identities
from slipway_gateway.pages import Link, Pages, redirect

logger = structlog.get_logger(__name__)

MAX_FORM_BYTES = 64 * 1024
MAX_NEXT_LENGTH = 1024

_NOT_PAGES = ("/api/", "/runner/", "/login", "/logout")
_LINKS = {
    Code.APP_NOT_FOUND.type: (Link("/apps", "See all apps"),),
    Code.SERVICE_NOT_OFFERED.type: (Link("/apps", "See what is offered"),),
    Code.SESSION_LIMIT.type: (Link("/sessions", "See your sessions"),),
    Code.SESSION_OVER.type: (Link("/apps", "See all apps"),),
    Code.KEY_EXPIRED.type: (Link("/account", "Go to your account"),),
}
_HOME = (Link("/apps", "Go to the apps"),)


class PageRoute(APIRoute):
    """A route of the portal: takes small forms only, and answers every error with a page."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_with_pages(request: Request) -> Response:
            try:
                return await handle(Request(request.scope, _limited(request.receive)))
            except Exception as error:
                return await respond(request, _found(request, error))

        return handle_with_pages


def _limited(receive: Receive) -> Receive:
    """Nobody needs to have logged on to send a form, so none may fill the memory."""
    received = 0

    async def limited() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_FORM_BYTES:
            raise problem(Code.TOO_LARGE, "No form of ours is as large as this.")
        return message

    return limited


def _found(request: Request, error: Exception) -> Problem:
    match error:
        case ProblemError():
            return error.problem
        case TransientError():
            logger.warning("unavailable", path=request.url.path, reason=str(error))
            return problem(Code.UNAVAILABLE).problem
        case RequestValidationError():
            if any(fault["loc"][0] == "path" for fault in error.errors()):
                return problem(Code.NOT_FOUND).problem
            fields = sorted({str(fault["loc"][-1]) for fault in error.errors()})
            return problem(
                Code.INVALID_REQUEST, f"This was not accepted: {', '.join(fields)}."
            ).problem
        case HTTPException():
            if isinstance(error.__cause__, ProblemError):
                return error.__cause__.problem
            return problem(Code.INVALID_REQUEST, "The form could not be read.").problem
        case _:
            logger.error("page failed", path=request.url.path, exc_info=error)
            return problem(Code.INTERNAL).problem


async def respond(request: Request, found: Problem, links: tuple[Link, ...] = ()) -> Response:
    if found.type == Code.UNAUTHENTICATED.type:
        return redirect(f"/login?next={quote(_next_of(request), safe='')}")
    pages: Pages = request.app.state.pages
    caller = None if found.status == Code.UNAVAILABLE.status else await _who(request)
    links = links or _LINKS.get(found.type, _HOME)
    return pages.failure(request, found, caller=caller, links=links)


async def on_http(request: Request, error: Exception) -> Response:
    """Where nothing is, people get a page and programs a problem."""
    assert isinstance(error, HTTPException)
    of_api = request.url.path.startswith(("/api/", "/runner/"))
    if of_api or "text/html" not in request.headers.get("accept", ""):
        return await problems.on_http(request, error)
    if error.status_code == Code.NOT_FOUND.status:
        return await respond(request, problem(Code.NOT_FOUND).problem)
    found = Problem(
        type="about:blank", title="This page cannot be opened like this", status=error.status_code
    )
    return await respond(request, found)


async def _who(request: Request) -> Caller | None:
    identities: Identities = request.app.state.identities
    try:
        return await identities.identify(request)
    except (ProblemError, TransientError):
        return None


def _next_of(request: Request) -> str:
    """The page that was asked for, or the page whose form was sent."""
    if request.method == "GET":
        query = request.url.query
        return request.url.path + (f"?{query}" if query else "")
    referrer = urlsplit(request.headers.get("referer", ""))
    return local_path(referrer.path + (f"?{referrer.query}" if referrer.query else ""))


def local_path(wanted: str) -> str:
    """``wanted`` if it can only be a page of this portal, else the first page.

    Browsers drop tabs and line ends from addresses and take a backslash for a slash, so an
    address with any of these is none of ours.
    """
    strange = any(character <= " " or character in "\\\x7f" for character in wanted)
    if strange or not wanted.isascii() or len(wanted) > MAX_NEXT_LENGTH:
        return "/"
    if not wanted.startswith("/") or wanted.startswith("//"):
        return "/"
    if wanted.startswith(_NOT_PAGES):
        return "/"
    return wanted
