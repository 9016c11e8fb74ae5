"""Every error leaves a server as ``application/problem+json``, and none as a traceback."""

import time
from collections.abc import Callable
from http import HTTPStatus

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from slipway_common.contracts.problems import Code, Problem, ProblemError, problem
from slipway_common.crypto.keys import UnknownKeyError
from slipway_common.errors import PermanentError, TransientError

logger = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"

LACKS_KEY = "The platform lacks the key of this account; its operator has to bring it."

LACKS_KEY_EVERY_SECONDS = 60.0
"""How often the log tells of the same key, however often somebody asks for it."""

_OF_STATUS = {
    HTTPStatus.NOT_FOUND: Code.NOT_FOUND,
    HTTPStatus.UNAUTHORIZED: Code.UNAUTHENTICATED,
    HTTPStatus.FORBIDDEN: Code.FORBIDDEN,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Code.TOO_LARGE,
}


def respond(found: Problem) -> JSONResponse:
    headers = {"Cache-Control": "no-store"}
    if found.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "1"
    if found.status == HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = "5"
    return JSONResponse(
        found.model_dump(exclude_none=True),
        status_code=found.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


async def on_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return respond(error.problem)


async def on_invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    if any(fault["type"] == "json_invalid" or fault["loc"] == ("body",) for fault in faults):
        hint = "Send a JSON object, with Content-Type: application/json."
        return respond(problem(Code.NOT_JSON, hint).problem)
    errors = [
        {"path": "/" + "/".join(str(part) for part in fault["loc"]), "message": fault["msg"]}
        for fault in faults[:20]
    ]
    detail = "; ".join(f"{e['path'].removeprefix('/body')}: {e['message']}" for e in errors[:3])
    return respond(problem(Code.INVALID_REQUEST, detail, errors=errors).problem)


async def on_http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    code = _OF_STATUS.get(HTTPStatus(error.status_code))
    if code is not None:
        return respond(problem(code).problem)
    status = HTTPStatus(error.status_code)
    return respond(Problem(type="about:blank", title=status.phrase, status=error.status_code))


async def on_transient(_: Request, error: Exception) -> Response:
    logger.warning("unavailable", reason=str(error))
    return respond(problem(Code.UNAVAILABLE).problem)


class MissingKeys:
    """Nothing of an account can be read without its key, until its operator has brought it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}

    async def on_missing(self, request: Request, error: Exception) -> Response:
        reason, now = str(error), self._clock()
        if now - self._told.get(reason, float("-inf")) >= LACKS_KEY_EVERY_SECONDS:
            self._told[reason] = now
            logger.error("lacks a key", path=request.url.path, reason=reason)
        return respond(problem(Code.UNAVAILABLE, LACKS_KEY).problem)


async def on_permanent(request: Request, error: Exception) -> Response:
    # What we foresaw needs no trace.
    reason = f"{type(error).__name__}: {error}"
    logger.error("request failed", path=request.url.path, reason=reason)
    return respond(problem(Code.INTERNAL).problem)


async def on_unexpected(request: Request, error: Exception) -> Response:
    logger.error("request failed", path=request.url.path, exc_info=error)
    return respond(problem(Code.INTERNAL).problem)


def install(app: FastAPI) -> None:
    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(RequestValidationError, on_invalid)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(TransientError, on_transient)
    app.add_exception_handler(UnknownKeyError, MissingKeys().on_missing)
    app.add_exception_handler(PermanentError, on_permanent)
    app.add_exception_handler(Exception, on_unexpected)
