"""The work of a task session: one task after the other, each to a result or a clear failure."""

import asyncio
import time
from typing import Any, Literal
from uuid import UUID

import structlog
from pydantic import ValidationError

from slipway_common.contracts.internal import Assignment
from slipway_common.contracts.problems import Code, ProblemError, problem
from slipway_common.contracts.sessions import EndReason
from slipway_common.contracts.views import InterruptScope, Progress
from slipway_common.text import storable_json, storable_message
from slipway_runner.engine import Engine, EngineError
from slipway_runner.home import Home
from slipway_runner.log import SessionLog
from slipway_runner.records import Ending

logger = structlog.get_logger(__name__)

WAIT_SECONDS = 5.0
REPORT_SECONDS = 0.5
"""How often progress is told, and a wish to interrupt is heard."""

GIVE_UP_SECONDS = 5.0
"""A procedure that gave no result in its grace is asked to end, and killed after this time."""

_OVER = {"task-over", "not-found", "session-over"}


class TaskLoop:
    def __init__(
        self,
        home: Home,
        engine: Engine,
        log: SessionLog,
        *,
        idle_seconds: float,
        grace_seconds: float,
    ) -> None:
        self._grace_seconds = grace_seconds
        self._home = home
        self._engine = engine
        self._log = log
        self._idle_seconds = idle_seconds

    async def run(self) -> Ending:
        """Work until there has been nothing to do for a while."""
        idle_since = time.monotonic()
        while True:
            left = self._idle_seconds - (time.monotonic() - idle_since)
            if left <= 0:
                return Ending(EndReason.IDLE, "There were no more tasks.")
            try:
                assignment = await self._home.next_task(wait=min(WAIT_SECONDS, max(left, 1)))
            except ProblemError as error:
                return Ending(EndReason.FINISHED, str(error))
            if assignment is None:
                continue
            self._log.add(f"task {assignment.task_id}: {assignment.service}")
            await TaskRun(
                self._home, self._engine, self._log, assignment, grace=self._grace_seconds
            ).run()
            idle_since = time.monotonic()


class TaskRun:
    """One task: the engine works, home is told how it goes, wishes and limits are obeyed."""

    def __init__(
        self, home: Home, engine: Engine, log: SessionLog, assignment: Assignment, *, grace: float
    ) -> None:
        self._grace = grace
        self._home = home
        self._engine = engine
        self._log = log
        self._task_id: UUID = assignment.task_id
        self._service = assignment.service
        self._limit = float(assignment.time_limit_seconds)
        self._progress: Progress | None = None
        self._asked: set[InterruptScope] = set()
        self._timed_out = False

    async def run(self) -> None:
        try:
            body = await self._home.task_request(self._task_id)
            await self._home.progress(self._task_id, None)
            reporter = asyncio.create_task(self._report())
            try:
                last = await self._follow(body)
            finally:
                reporter.cancel()
                await asyncio.gather(reporter, return_exceptions=True)
            await self._tell(last)
        except ProblemError as error:
            if error.slug not in _OVER:
                raise
            # Somebody else has it, or it was given up: nothing of ours counts any more.
            self._log.add(f"task {self._task_id}: {error}")

    async def _follow(self, body: bytes) -> dict[str, Any]:
        last: dict[str, Any] | None = None
        async for line in self._engine.run(self._service, body, task_id=self._task_id):
            match line["type"]:
                case "progress":
                    self._note(line)
                case "log":
                    self._log.add(str(line.get("text", "")))
                case _:
                    last = line
        if last is None:
            raise EngineError("The engine ended a procedure without a result.")
        return last

    def _note(self, line: dict[str, Any]) -> None:
        try:
            self._progress = Progress.model_validate(storable_json(line))
        except ValidationError as error:
            # What an app says of its progress is its own affair; the run goes on.
            self._log.add(f"progress that cannot be shown: {error.errors()[0]['msg']}")

    async def _tell(self, last: dict[str, Any]) -> None:
        import json

        if self._progress is not None:
            await self._home.progress(self._task_id, self._progress)
        if last["type"] == "result":
            outcome = "interrupted" if self._timed_out else last["outcome"]
            await self._home.complete(
                self._task_id, json.dumps(last["value"]).encode(), outcome=outcome
            )
        elif self._timed_out:
            await self._home.fail(self._task_id, self._time_limit_problem())
        else:
            await self._home.fail(self._task_id, _stated(last))

    def _time_limit_problem(self) -> dict[str, Any]:
        detail = f"It may take {self._limit:.0f} seconds, and had no result by then."
        return problem(Code.TASK_TIME_LIMIT, detail).problem.model_dump(exclude_none=True)

    async def _report(self) -> None:
        """Tell progress and hear wishes, and keep the time whether home answers or not."""
        talk = asyncio.create_task(self._talk_to_home())
        try:
            await self._keep_time()
        finally:
            talk.cancel()
            await asyncio.gather(talk, return_exceptions=True)

    async def _talk_to_home(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            try:
                instruction = await self._home.progress(self._task_id, self._progress)
            except ProblemError as error:
                if error.slug in _OVER:
                    await self._ask("execution")
                continue
            if instruction.interrupt is not None:
                await self._ask(instruction.interrupt)

    async def _keep_time(self) -> None:
        """Stop the solver at the limit, the procedure after its grace, the engine at last."""
        await asyncio.sleep(self._limit)
        self._timed_out = True
        await self._ask("solve")
        await asyncio.sleep(self._grace)
        await self._ask("execution")
        await asyncio.sleep(GIVE_UP_SECONDS)
        await self._home.fail(self._task_id, self._time_limit_problem())
        self._engine.give_up("A task went on beyond its time limit.")

    async def _ask(self, scope: Literal["solve", "execution"]) -> None:
        if scope in self._asked:
            return
        self._asked.add(scope)
        self._log.add(f"task {self._task_id}: interrupt {scope}")
        try:
            await self._engine.interrupt(scope)
        except (OSError, TimeoutError):
            # An engine that does not even answer this is killed when its time is up.
            logger.warning("the engine did not take the interrupt", scope=scope)


def _stated(last: dict[str, Any]) -> dict[str, Any]:
    """The engine's own problem, in a form that can be stored and shown."""
    stated = last.get("problem")
    found: dict[str, Any] = storable_json(stated) if isinstance(stated, dict) else {}
    kind, title = found.get("type"), found.get("title")
    if not isinstance(kind, str) or not isinstance(title, str):
        return problem(Code.TASK_FAILED, "The engine gave no reason.").problem.model_dump()
    return found | {
        "type": kind[:200],
        "title": title[:200],
        "detail": storable_message(str(found.get("detail", ""))),
    }
