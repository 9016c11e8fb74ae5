"""Server-sent events: the newest state of one thing, each time it changes, until it is over.

Every event is a whole view with its revision as id. So a client that lost some has lost nothing:
it gets the newest one, and never one that is older than what it has seen.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol
from uuid import UUID

from starlette.requests import Request
from starlette.responses import StreamingResponse

from slipway_common.contracts.problems import Problem, ProblemError
from slipway_common.contracts.views import PackageView, SessionView, TaskView
from slipway_common.errors import TransientError
from slipway_gateway.changes import Changes

KEEP_ALIVE_SECONDS = 10.0
"""Also how late a change is noticed whose hint was lost."""

LOOK_AGAIN_SECONDS = 1.0


class _View(Protocol):
    @property
    def revision(self) -> int: ...

    def model_dump_json(self) -> str: ...


def _over(view: _View) -> bool:
    match view:
        case SessionView() | TaskView():
            return view.state.over
        case PackageView():
            return view.state != "processing"
        case _:
            return False


def event_stream(
    request: Request,
    changes: Changes,
    *,
    table: str,
    row: UUID,
    name: str,
    look: Callable[[], Awaitable[_View]],
) -> StreamingResponse:
    last = request.headers.get("last-event-id", "0")
    seen = int(last) if last.isdecimal() and len(last) < 19 else 0
    return StreamingResponse(
        _events(changes, table=table, row=row, name=name, look=look, seen=seen),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _events(
    changes: Changes,
    *,
    table: str,
    row: UUID,
    name: str,
    look: Callable[[], Awaitable[_View]],
    seen: int,
) -> AsyncIterator[str]:
    with changes.watch(table, row) as changed:
        while True:
            changed.clear()
            pause = KEEP_ALIVE_SECONDS
            try:
                view = await look()
            except ProblemError as error:
                yield _problem(error.problem)
                return
            except TransientError:
                pause = LOOK_AGAIN_SECONDS
            else:
                if view.revision > seen:
                    seen = view.revision
                    yield f"event: {name}\nid: {seen}\ndata: {view.model_dump_json()}\n\n"
                if _over(view):
                    return
            try:
                await asyncio.wait_for(changed.wait(), pause)
            except TimeoutError:
                yield ": still here\n\n"


def _problem(problem: Problem) -> str:
    return f"event: problem\ndata: {problem.model_dump_json(exclude_none=True)}\n\n"
