"""The room of a solve session: no page, only procedures that its user calls one by one."""

import asyncio
import json
import math
import re
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from typing import Any
from uuid import uuid4

from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket
from typing_extensions import override

from slipway_common.contracts.problems import PREFIX, Code, Problem, ProblemError, problem
from slipway_common.contracts.views import InterruptRequest
from slipway_runner.conversation import EngineError, EngineRefusedError, Line
from slipway_runner.engine import Engine
from slipway_runner.front import Room
from slipway_runner.log import SessionLog
from slipway_runner.run import GIVE_UP_SECONDS, Call, Run, is_last, stated

LIMIT_HEADER = "Time-Limit-Seconds"
DEFAULT_LIMIT_SECONDS = 3600.0
MAX_BODY_BYTES = 64 * 1024 * 1024
STALLED_SECONDS = 30.0
"""A caller that does not even take the last words of its procedure counts as gone after this."""

_PROCEDURE = re.compile(r"/procedures/([A-Za-z0-9_-]{1,64})")
_MEDIA_TYPE = "application/problem+json"


class Procedures(Room):
    def __init__(self, engine: Engine, log: SessionLog, *, grace_seconds: float) -> None:
        self._engine = engine
        self._log = log
        self._grace_seconds = grace_seconds
        self._current: Call | None = None
        self._run: Run | None = None

    @override
    async def respond(self, request: Request) -> Response:
        path = request.scope["path"]
        called = _PROCEDURE.fullmatch(path)
        try:
            if request.method == "POST" and called is not None:
                return await self._call(request, called[1])
            if request.method == "POST" and path == "/interrupt":
                return await self._interrupt(request)
            raise problem(Code.NOT_FOUND)
        except ProblemError as error:
            return _refusal(error.problem.status, error.problem.model_dump(exclude_none=True))
        except ClientDisconnect:
            return Response(status_code=400)  # which nobody will read

    @override
    async def converse(self, websocket: WebSocket) -> None:
        await websocket.close()

    async def _call(self, request: Request, service: str) -> Response:
        call = Call(
            id=uuid4(),
            service=service,
            body=await _body(request),
            limit_seconds=_limit(request),
            grace_seconds=self._grace_seconds,
        )
        if self._current is not None:
            busy = Problem(type=PREFIX + "busy", title="Another procedure is running", status=409)
            raise ProblemError(busy)
        async with AsyncExitStack() as stack:
            self._current = call
            stack.callback(self._free, call)
            try:
                self._run = await stack.enter_async_context(
                    Run.begin(self._engine, call, note=self._log.add)
                )
            except EngineRefusedError as refusal:
                return _refusal(refusal.status, dict(refusal.problem))
            except EngineError as error:
                raise problem(Code.TASK_FAILED, str(error)) from error
            self._log.add(f"run {call.id}: {service}")
            return RunStream(self._run, call, self._told(self._run, call), ending=stack.pop_all())
        raise AssertionError("the stack swallows nothing")

    def _free(self, call: Call) -> None:
        if self._current is call:
            self._current = self._run = None

    async def _told(self, run: Run, call: Call) -> AsyncGenerator[Line, None]:
        """What the engine tells, and in the end always an outcome."""
        try:
            async with aclosing(run.lines()) as lines:
                async for line in lines:
                    if line["type"] == "log":
                        self._log.add(str(line.get("text", "")))
                    if is_last(line):
                        # Before it is told: whoever has it may call the next procedure.
                        self._free(call)
                        yield line
                        return
                    yield line
        except EngineError as error:
            yield {"type": "failure", "problem": stated(problem(Code.TASK_FAILED, str(error)))}

    async def _interrupt(self, request: Request) -> Response:
        try:
            wish = InterruptRequest.model_validate_json(await _body(request))
        except ValidationError as error:
            detail = 'Send {"scope": "solve"} or {"scope": "execution"}.'
            raise problem(Code.INVALID_REQUEST, detail) from error
        if self._run is not None:
            await self._run.interrupt(wish.scope)
        return Response(status_code=202)


class RunStream(Response):
    """Lines as they come. Who calls a procedure owns it: when they are gone, it is to end."""

    def __init__(
        self, run: Run, call: Call, lines: AsyncGenerator[Line, None], *, ending: AsyncExitStack
    ) -> None:
        super().__init__(media_type="application/x-ndjson", headers={"Cache-Control": "no-store"})
        del self.headers["content-length"]
        self._run = run
        self._call = call
        self._lines = lines
        self._ending = ending

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        longest = self._call.limit_seconds + self._call.grace_seconds + GIVE_UP_SECONDS
        async with self._ending:
            sending = asyncio.create_task(self._send(send))
            leaving = asyncio.create_task(_left(receive))
            tasks = {sending, leaving}
            try:
                await asyncio.wait(
                    tasks,
                    timeout=longest + STALLED_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if not sending.done():
                    # Its lines go on, to nobody: so it is known when it has ended.
                    ending = asyncio.create_task(
                        self._run.abandon(within_seconds=self._call.grace_seconds)
                    )
                    tasks.add(ending)
                    await asyncio.wait({sending, ending}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._lines) as lines:
            async for line in lines:
                body = json.dumps(line).encode() + b"\n"
                await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue


def _limit(request: Request) -> float:
    try:
        limit = float(request.headers.get(LIMIT_HEADER, DEFAULT_LIMIT_SECONDS))
    except ValueError:
        limit = math.nan
    if not 0 < limit < math.inf:
        raise problem(Code.INVALID_REQUEST, f"{LIMIT_HEADER} is a number of seconds above zero.")
    return limit


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise problem(Code.TOO_LARGE)
    return bytes(body)


def _refusal(status: int, content: dict[str, Any]) -> Response:
    return JSONResponse(content, status_code=status, media_type=_MEDIA_TYPE)
