"""The app's web page: the document, its data, the live channel, and the form without script.

All who have the page open see the same run. The page needs nothing but this server, and every
address in it is relative.
"""

import asyncio
import logging
from collections.abc import Mapping
from importlib import resources
from typing import Any

from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from slipway_open.app import Service
from slipway_open.control import Scope
from slipway_open.document import document
from slipway_open.engine import Engine, Ready
from slipway_open.execution import Execution
from slipway_open.forms import form_fields, read_form
from slipway_open.lines import FailureLine, Outcome, ProgressLine, ResultLine, RunLine
from slipway_open.problems import (
    InputInvalidError,
    Problem,
    ProblemType,
    RequestRefusedError,
)
from slipway_open.server import problem_response, read_body

logger = logging.getLogger(__name__)

ASSETS: Mapping[str, str] = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "format.js": "text/javascript; charset=utf-8",
    "form.js": "text/javascript; charset=utf-8",
    "plot.js": "text/javascript; charset=utf-8",
    "map.js": "text/javascript; charset=utf-8",
    "result.js": "text/javascript; charset=utf-8",
}
ICON_TYPES: Mapping[str, str] = {".svg": "image/svg+xml", ".png": "image/png"}

# frame-ancestors is left to the gateway, which knows where the page may be shown.
SECURITY_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}

# A tab that cannot follow is given the whole state anew, in place of an ever longer queue.
LONGEST_QUEUE = 500


class PageRoutes:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.index),
            Route("/page.json", self.description),
            Route("/state", self.state),
            Route("/run", self.run, methods=["POST"]),
            Route("/interrupt", self.interrupt, methods=["POST"]),
            Route("/icon", self.icon),
            Route("/assets/{name}", self.asset),
            WebSocketRoute("/live", self.live),
        ]

    async def index(self, request: Request) -> Response:  # noqa: ARG002
        return self._document(self._engine.loaded())

    async def description(self, request: Request) -> Response:  # noqa: ARG002
        """Give what does not change while the app runs: the views and the initial value."""
        ready = self._engine.loaded()
        page = ready.app.page
        return JSONResponse(
            {
                "views": page.model_dump(mode="json", exclude={"initial"}),
                "services": [service.name for service in services_of(ready)],
                "initial": ready.initial,
            },
            headers=dict(SECURITY_HEADERS),
        )

    async def state(self, request: Request) -> Response:  # noqa: ARG002
        self._engine.loaded()
        return JSONResponse(snapshot(self._engine.execution), headers={"cache-control": "no-store"})

    async def run(self, request: Request) -> Response:
        """Start a run from the form. Script gets JSON, a plain form the page again."""
        refuse_other_sites(request)
        ready = self._engine.loaded()
        service = self._chosen(ready, request)
        wants_json = "application/json" in request.headers.get("accept", "")
        values = read_form(form_fields(service.input_schema), await read_body(request))
        try:
            service.validate(values)
            self._engine.start(service, values, prints_log=True)
        except InputInvalidError as error:
            fields = {field.name for field in form_fields(service.input_schema)}
            # What is wrong with no field of the form has no other place to stand.
            others = [entry for entry in error.errors if entry.path[1:].split("/")[0] not in fields]
            problem = Problem(
                type=ProblemType.INPUT_INVALID,
                title="The input is not valid" if others else "Please correct the marked values",
                detail="; ".join(f"{entry.path} {entry.message}".strip() for entry in others)
                or None,
                errors=tuple(error.errors),
                status=422,
            )
        except RequestRefusedError as refusal:
            problem = refusal.problem
        else:
            if wants_json:
                return Response(status_code=202)
            return RedirectResponse("./", status_code=303)
        if wants_json:
            return problem_response(problem)
        return self._document(ready, service=service, values=values, problem=problem)

    async def interrupt(self, request: Request) -> Response:
        refuse_other_sites(request)
        scope = Scope.EXECUTION if request.query_params.get("scope") == "execution" else Scope.SOLVE
        self._engine.interrupt(scope)
        if "application/json" in request.headers.get("accept", ""):
            return Response(status_code=202)
        return RedirectResponse("./", status_code=303)

    async def icon(self, request: Request) -> Response:  # noqa: ARG002
        ready = self._engine.loaded()
        name = ready.manifest.icon
        suffix = name[name.rfind(".") :].lower() if name else ""
        if name not in ready.archive.names or suffix not in ICON_TYPES:
            raise RequestRefusedError(404, ProblemType.NOT_FOUND, "The app has no icon")
        # An icon is data, also when somebody opens it: an SVG may carry script.
        headers = {**SECURITY_HEADERS, "content-security-policy": "default-src 'none'; sandbox"}
        return Response(ready.archive.read(name), media_type=ICON_TYPES[suffix], headers=headers)

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in ASSETS:
            raise RequestRefusedError(404, ProblemType.NOT_FOUND, "There is no such file")
        content = resources.files("slipway_open").joinpath("assets", name).read_bytes()
        return Response(content, media_type=ASSETS[name], headers=dict(SECURITY_HEADERS))

    async def live(self, socket: WebSocket) -> None:
        """Send the state, then each change; what the page wants, it posts."""
        try:
            refuse_other_sites(socket)
            self._engine.loaded()
        except RequestRefusedError as refusal:
            await socket.close(code=1008, reason=refusal.problem.title)
            return
        await socket.accept()
        changes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

        def follow(execution: Execution, line: RunLine | None) -> None:
            if changes.qsize() > LONGEST_QUEUE:
                while not changes.empty():
                    changes.get_nowait()
                line = None
            changes.put_nowait(snapshot(execution) if line is None else change(execution, line))

        stop_following = self._engine.watch(follow)
        changes.put_nowait(snapshot(self._engine.execution))
        sending = asyncio.create_task(send_all(socket, changes))
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            pass
        finally:
            stop_following()
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    def _chosen(self, ready: Ready, request: Request) -> Service:
        offered = {service.name: service for service in services_of(ready)}
        name = request.query_params.get("service", next(iter(offered), ""))
        if name not in offered:
            raise RequestRefusedError(
                404, ProblemType.SERVICE_UNKNOWN, f"The page has no service {name!r}"
            )
        return offered[name]

    def _document(
        self,
        ready: Ready,
        *,
        service: Service | None = None,
        values: Mapping[str, Any] | None = None,
        problem: Problem | None = None,
    ) -> Response:
        state = snapshot(self._engine.execution)
        if values is None and self._engine.execution is not None:
            service, values = self._engine.execution.service, self._engine.execution.values
        text = document(
            ready,
            services=services_of(ready),
            state=state,
            chosen=service,
            values=values or {},
            problem=problem,
        )
        headers = dict(SECURITY_HEADERS)
        headers["cache-control"] = "no-store"
        return Response(
            # Values that were sent may hold what UTF-8 does not have.
            text.encode("utf-8", "replace"),
            status_code=problem.status or 200 if problem else 200,
            media_type="text/html",
            headers=headers,
        )


async def send_all(socket: WebSocket, changes: asyncio.Queue[dict[str, Any]]) -> None:
    while True:
        await socket.send_json(await changes.get())


def services_of(ready: Ready) -> list[Service]:
    """Give the services that the page offers, in its order."""
    names = ready.app.page.services
    if names is None:
        return list(ready.app.services.values())
    return [ready.app.services[name] for name in names]


def refuse_other_sites(connection: HTTPConnection) -> None:
    """The session's cookie would let any page in the browser start a run; only ours may."""
    if connection.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise RequestRefusedError(
            403, ProblemType.ORIGIN_REFUSED, "Only the app's own page may do this"
        )


def state_of(execution: Execution | None) -> str:
    """Give the word that stands in ``data-state`` of the page."""
    if execution is None:
        return "idle"
    match execution.end:
        case None:
            return execution.progress[-1].state.value if execution.progress else "running"
        case ResultLine(outcome=Outcome.COMPLETED):
            return "completed"
        case ResultLine():
            return "interrupted"
        case FailureLine():
            return "cancelled" if execution.cancelled else "failed"


def snapshot(execution: Execution | None) -> dict[str, Any]:
    """Give the whole state, for a tab that has just come."""
    message: dict[str, Any] = {"type": "snapshot", "state": state_of(execution)}
    if execution is None:
        return message
    message |= {
        "run": execution.run_id,
        "service": execution.service.name,
        "title": execution.service.title,
        "elapsed": round(execution.elapsed, 3),
        "points": [curve_point(line) for line in execution.progress],
        "log": execution.log,
    }
    if execution.progress:
        message["progress"] = execution.progress[-1].model_dump(mode="json", exclude_none=True)
    return message | outcome(execution)


def outcome(execution: Execution) -> dict[str, Any]:
    """Give what the page shows of a run that is over: a value, or what went wrong."""
    if execution.value is not None:
        return {"value": execution.value}
    if isinstance(execution.end, FailureLine) and not execution.cancelled:
        return {"problem": execution.end.problem.model_dump(mode="json", exclude_none=True)}
    return {}


def change(execution: Execution, line: RunLine) -> dict[str, Any]:
    """Give one line as a message; the run's id tells a tab that it has missed a start."""
    message = {"run": execution.run_id, "now": state_of(execution), "type": line.type}
    if isinstance(line, ResultLine | FailureLine):
        return message | outcome(execution)
    return message | line.model_dump(mode="json", exclude_none=True)


def curve_point(line: ProgressLine) -> list[float | None]:
    return [line.elapsed, line.objective, line.bound, line.gap]
