"""The work of a task session: one task after the other, each to a result or a clear failure."""

import asyncio
import json
import time
from contextlib import aclosing
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from slipway_common.contracts.internal import Assignment
from slipway_common.contracts.problems import Code, ProblemError, problem
from slipway_common.contracts.sessions import EndReason
from slipway_common.contracts.views import InterruptScope, Progress
from slipway_common.text import storable_json, storable_message
from slipway_runner.conversation import EngineRefusedError, Line
from slipway_runner.engine import Engine
from slipway_runner.home import Home
from slipway_runner.log import SessionLog
from slipway_runner.records import Ending
from slipway_runner.run import Call, Run, stated

WAIT_SECONDS = 5.0
REPORT_SECONDS = 0.5
"""How often progress is told, and a wish to interrupt is heard."""

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
    """One task: the engine works, home is told how it goes, and its wishes are obeyed."""

    def __init__(
        self, home: Home, engine: Engine, log: SessionLog, assignment: Assignment, *, grace: float
    ) -> None:
        self._home = home
        self._engine = engine
        self._log = log
        self._task = assignment
        self._task_id: UUID = assignment.task_id
        self._grace = grace
        self._progress: Progress | None = None
        self._asked: set[InterruptScope] = set()

    async def run(self) -> None:
        try:
            body = await self._home.task_request(self._task_id)
            await self._home.progress(self._task_id, None)
            call = Call(
                id=self._task_id,
                service=self._task.service,
                body=body,
                limit_seconds=float(self._task.time_limit_seconds),
                grace_seconds=self._grace,
            )
            try:
                async with Run.begin(self._engine, call, note=self._log.add) as run:
                    await self._follow(run)
            except EngineRefusedError as refusal:
                await self._home.fail(self._task_id, _storable(refusal.problem))
        except ProblemError as error:
            if error.slug not in _OVER:
                raise
            # Somebody else has it, or it was given up: nothing of ours counts any more.
            self._log.add(f"task {self._task_id}: {error}")

    async def _follow(self, run: Run) -> None:
        talk = asyncio.create_task(self._talk_to_home(run))
        try:
            async with aclosing(run.lines()) as lines:
                async for line in lines:
                    match line["type"]:
                        case "progress":
                            self._note(line)
                        case "log":
                            self._log.add(str(line.get("text", "")))
                        case _:
                            talk.cancel()
                            await asyncio.wait({talk})
                            await self._tell(line)
        finally:
            talk.cancel()
            await asyncio.gather(talk, return_exceptions=True)

    def _note(self, line: Line) -> None:
        try:
            self._progress = Progress.model_validate(storable_json(line))
        except ValidationError as error:
            # What an app says of its progress is its own affair; the run goes on.
            self._log.add(f"progress that cannot be shown: {error.errors()[0]['msg']}")

    async def _tell(self, last: Line) -> None:
        if self._progress is not None:
            await self._home.progress(self._task_id, self._progress)
        if last["type"] == "result":
            await self._home.complete(
                self._task_id, json.dumps(last["value"]).encode(), outcome=last["outcome"]
            )
        else:
            await self._home.fail(self._task_id, _storable(last.get("problem")))

    async def _talk_to_home(self, run: Run) -> None:
        """Tell progress and hear wishes; each is obeyed once."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            try:
                instruction = await self._home.progress(self._task_id, self._progress)
            except ProblemError as error:
                if error.slug in _OVER:
                    await self._ask(run, "execution")
                continue
            if instruction.interrupt is not None:
                await self._ask(run, instruction.interrupt)

    async def _ask(self, run: Run, scope: InterruptScope) -> None:
        if scope not in self._asked:
            self._asked.add(scope)
            await run.interrupt(scope)


def _storable(found: Any) -> dict[str, Any]:
    """The engine's own problem, in a form that can be stored and shown."""
    shown: dict[str, Any] = storable_json(found) if isinstance(found, dict) else {}
    kind, title = shown.get("type"), shown.get("title")
    if not isinstance(kind, str) or not isinstance(title, str):
        return stated(problem(Code.TASK_FAILED, "The engine gave no reason."))
    return shown | {
        "type": kind[:200],
        "title": title[:200],
        "detail": storable_message(str(shown.get("detail", ""))),
    }
