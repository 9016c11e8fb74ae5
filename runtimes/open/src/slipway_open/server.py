"""The engine's HTTP contract with the runner: health, procedures, interrupt."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Send
from starlette.types import Scope as ConnectionScope
from typing_extensions import override

from slipway_open.control import Scope
from slipway_open.engine import Broken, Engine, Loading, Ready
from slipway_open.execution import Execution
from slipway_open.lines import RunLine
from slipway_open.problems import (
    PROBLEM_MEDIA_TYPE,
    Problem,
    ProblemType,
    RequestRefusedError,
)

LARGEST_BODY = 64 * 1024 * 1024


class InterruptRequest(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    scope: Scope


class RunStream(StreamingResponse):
    """The lines of a run, each flushed as it comes.

    Who started the run by this request owns it: when that client is gone, nobody will read the
    result, so the run is ended, and the engine is free for the next one.
    """

    def __init__(self, execution: Execution) -> None:
        self._execution = execution
        super().__init__(_ndjson(execution.lines()), media_type="application/x-ndjson")
        self.headers["cache-control"] = "no-store"

    @override
    async def __call__(self, scope: ConnectionScope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self.stream_response(send))
        leaving = asyncio.ensure_future(self.listen_for_disconnect(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._execution.interrupt(Scope.EXECUTION)
            leaving.cancel()
            if not sending.done():
                sending.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)


async def _ndjson(lines: AsyncIterator[RunLine]) -> AsyncIterator[str]:
    async for line in lines:
        yield line.to_json() + "\n"


class EngineRoutes:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/_slipway/health", self.health),
            Route("/_slipway/procedures/{name}", self.procedure, methods=["POST"]),
            Route("/_slipway/interrupt", self.interrupt, methods=["POST"]),
        ]

    async def health(self, request: Request) -> Response:  # noqa: ARG002
        match self._engine.state:
            case Loading():
                return JSONResponse({"status": "loading"}, status_code=503)
            case Broken(problem):
                return problem_response(problem)
            case Ready(app=app):
                services = [
                    {
                        "name": service.name,
                        "title": service.title,
                        "inputSchema": service.input_schema,
                    }
                    for service in app.services.values()
                ]
                return JSONResponse({"status": "ready", "services": services})

    async def procedure(self, request: Request) -> Response:
        service = self._engine.service(request.path_params["name"])
        values = await read_object(request)
        run_id = request.headers.get("slipway-task-id")
        return RunStream(self._engine.start(service, values, run_id=run_id))

    async def interrupt(self, request: Request) -> Response:
        values = await read_object(request)
        try:
            wish = InterruptRequest.model_validate(values)
        except ValidationError as error:
            raise RequestRefusedError(
                400,
                ProblemType.BODY_MALFORMED,
                'The body of an interrupt is {"scope": "solve"} or {"scope": "execution"}',
            ) from error
        self._engine.interrupt(wish.scope, run_id=request.headers.get("slipway-task-id"))
        return Response(status_code=202)


async def read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise RequestRefusedError(
                413, ProblemType.BODY_TOO_LARGE, f"The body is larger than {LARGEST_BODY} bytes"
            )
    return bytes(body)


async def read_object(request: Request) -> dict[str, Any]:
    """Read the JSON object of the body; an empty body is an empty object."""
    body = await read_body(request)
    if not body:
        return {}
    try:
        value = json.loads(body, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise RequestRefusedError(
            400, ProblemType.BODY_MALFORMED, "The body is not JSON", str(error)
        ) from error
    if not isinstance(value, dict):
        raise RequestRefusedError(400, ProblemType.BODY_MALFORMED, "The body is not a JSON object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def problem_response(problem: Problem) -> Response:
    return Response(
        problem.to_json(), status_code=problem.status or 500, media_type=PROBLEM_MEDIA_TYPE
    )


async def on_refused(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, RequestRefusedError)
    return problem_response(error.problem)


async def on_http_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    assert isinstance(error, HTTPException)
    return problem_response(
        Problem(type=ProblemType.NOT_FOUND, title=error.detail, status=error.status_code)
    )


def build_application(engine: Engine) -> Starlette:
    return Starlette(
        routes=EngineRoutes(engine).routes(),
        exception_handlers={RequestRefusedError: on_refused, HTTPException: on_http_error},
    )
