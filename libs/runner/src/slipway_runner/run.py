"""One run of a procedure under a time limit: for whoever asks for it, the same rules.

At the limit the solver is stopped and its best result kept; a procedure that gives none in its
grace is asked to end; one that hears nothing goes down with its engine.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from slipway_common.contracts.problems import Code, ProblemError, problem
from slipway_common.contracts.views import InterruptScope
from slipway_runner.conversation import EngineError, Line
from slipway_runner.engine import Engine

logger = structlog.get_logger(__name__)

GIVE_UP_SECONDS = 5.0
"""A procedure that gave no result in its grace is asked to end, and killed after this time."""

BEYOND_LIMIT = "A procedure went on beyond its time limit."


@dataclass(frozen=True, slots=True)
class Call:
    """What is to be run."""

    id: UUID
    service: str
    body: bytes
    limit_seconds: float
    grace_seconds: float


class Run:
    def __init__(
        self, engine: Engine, call: Call, lines: AsyncIterator[Line], note: Callable[[str], None]
    ) -> None:
        self._engine = engine
        self._call = call
        self._lines = lines
        self._note = note
        self._timed_out = False

    @classmethod
    @asynccontextmanager
    async def begin(
        cls, engine: Engine, call: Call, *, note: Callable[[str], None]
    ) -> AsyncIterator["Run"]:
        """Raise EngineRefusedError if the engine does not begin it; ``note`` writes the log."""
        async with engine.talk.procedure(call.service, call.body, run_id=call.id) as lines:
            yield cls(engine, call, lines, note)

    async def lines(self) -> AsyncGenerator[Line, None]:
        """Yield what the engine tells; the last line is the outcome, and always comes.

        Whoever has dealt with the last line lets us go on: what must end then, ends then.
        Raise EngineError if the engine breaks off, or had to be killed.
        """
        clock = asyncio.create_task(self._keep_time())
        following = asyncio.create_task(self._next())
        try:
            while True:
                await asyncio.wait({following, clock}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    clock.result()
                    break
                line = self._judged(following.result())
                yield line
                if is_last(line):
                    return
                following = asyncio.create_task(self._next())
            try:
                yield self._out_of_time()
            finally:
                self._engine.give_up(BEYOND_LIMIT)
            raise EngineError(BEYOND_LIMIT)
        finally:
            for task in (clock, following):
                task.cancel()
            await asyncio.gather(clock, following, return_exceptions=True)

    async def interrupt(self, scope: InterruptScope) -> None:
        self._note(f"run {self._call.id}: interrupt {scope}")
        try:
            await self._engine.talk.interrupt(scope, run_id=self._call.id)
        except EngineError:
            # An engine that does not even answer this is killed when its time is up.
            logger.warning("the engine did not take the interrupt", scope=scope)

    async def abandon(self, *, within_seconds: float) -> None:
        """Nobody waits for it any more: ask it to end, and free the session of it if it does not.

        Somebody has to go on reading its lines meanwhile.
        """
        await self.interrupt("execution")
        await asyncio.sleep(within_seconds)
        self._engine.give_up("A procedure went on after its caller had left.")

    async def _next(self) -> Line:
        async for line in self._lines:
            return line
        raise EngineError("The engine ended a procedure without a result.")

    async def _keep_time(self) -> None:
        await asyncio.sleep(self._call.limit_seconds)
        self._timed_out = True
        await self.interrupt("solve")
        await asyncio.sleep(self._call.grace_seconds)
        await self.interrupt("execution")
        await asyncio.sleep(GIVE_UP_SECONDS)

    def _judged(self, line: Line) -> Line:
        """What came after the limit is what was there at the limit, or too late."""
        match line["type"]:
            case "result" if self._timed_out:
                return line | {"outcome": "interrupted"}
            case "failure" if self._timed_out:
                return self._out_of_time()
            case _:
                return line

    def _out_of_time(self) -> Line:
        detail = f"It may take {self._call.limit_seconds:.0f} seconds, and had no result by then."
        return {"type": "failure", "problem": stated(problem(Code.TASK_TIME_LIMIT, detail))}


def stated(error: ProblemError) -> dict[str, Any]:
    """A problem as it stands in a line."""
    found: dict[str, Any] = error.problem.model_dump(exclude_none=True)
    return found


def is_last(line: Line) -> bool:
    return line["type"] not in {"progress", "log"}
