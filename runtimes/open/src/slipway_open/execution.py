"""One run of one procedure: a thread that works, and the lines it has told so far.

The thread hands every line to the event loop, and only the loop touches what is kept here, so
that any number of readers see the same lines in the same order.
"""

import asyncio
import logging
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from typing import Any

from slipway_open.app import Service
from slipway_open.control import RunControl, Scope
from slipway_open.failures import format_failure, interrupted_problem, problem_of
from slipway_open.lines import FailureLine, LogLine, Outcome, ProgressLine, ResultLine, RunLine
from slipway_open.problems import InputInvalidError, ProblemType, RunEnded
from slipway_open.run import Run

logger = logging.getLogger(__name__)

# A chatty solver on a long run must not fill the memory: a reader that comes late gets the
# last of the log and a thinned curve, and every reader that is there gets every line.
MOST_LOG_LINES = 2_000
MOST_PROGRESS_LINES = 2_000


class Execution:
    def __init__(
        self,
        *,
        run_id: str,
        service: Service,
        values: Mapping[str, Any],
        app_files: Collection[str],
        on_line: Callable[["Execution", RunLine], None],
        prints_log: bool = False,
        value_before: Mapping[str, Any] | None = None,
    ) -> None:
        self.run_id = run_id
        self.service = service
        self.values = dict(values)
        self.control = RunControl()
        self.progress: list[ProgressLine] = []
        self.log: list[str] = []
        self.end: ResultLine | FailureLine | None = None
        self._began = time.monotonic()
        self._finished: float | None = None
        self._app_files = app_files
        self._on_line = on_line
        self._prints_log = prints_log
        self._value_before = value_before
        self._loop = asyncio.get_running_loop()
        self._readers: set[asyncio.Queue[RunLine]] = set()
        self._ended = asyncio.Event()
        # A daemon: native code that does not answer must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name=f"run-{run_id}", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def elapsed(self) -> float:
        """Seconds from the start until now, or until the end."""
        return (self._finished or time.monotonic()) - self._began

    @property
    def cancelled(self) -> bool:
        """True if the procedure was ended because a person wanted it."""
        return (
            self.control.ended
            and isinstance(self.end, FailureLine)
            and self.end.problem.type is ProblemType.INTERRUPTED
        )

    @property
    def value(self) -> Mapping[str, Any] | None:
        """What there is to show; a run that was cancelled leaves what was there before it."""
        if isinstance(self.end, ResultLine):
            return self.end.value
        return self._value_before if self.cancelled else None

    def interrupt(self, scope: Scope) -> None:
        if self.end is None:
            self.control.interrupt(scope)

    async def wait(self) -> None:
        await self._ended.wait()

    def lines(self) -> AsyncIterator[RunLine]:
        """Give each line that is told from now on, up to and with the last one."""
        queue: asyncio.Queue[RunLine] = asyncio.Queue()
        self._readers.add(queue)
        return self._read(queue)

    async def _read(self, queue: asyncio.Queue[RunLine]) -> AsyncIterator[RunLine]:
        try:
            while True:
                line = await queue.get()
                yield line
                if isinstance(line, ResultLine | FailureLine):
                    return
        finally:
            self._readers.discard(queue)

    def _work(self) -> None:
        """Body of the thread; whatever happens, the last line is a result or a failure."""
        self._emit(self._call())

    def _call(self) -> ResultLine | FailureLine:
        try:
            inputs = self.service.validate(self.values)
            run = Run(emit=self._emit, control=self.control)
            value = self.service.call(run, inputs)
            self.control.check()
        except RunEnded:
            return FailureLine(
                problem=interrupted_problem("The procedure was ended before it had a result.")
            )
        except Exception as error:
            if self.control.ended:
                return FailureLine(
                    problem=interrupted_problem("The procedure was ended before it had a result.")
                )
            if not isinstance(error, InputInvalidError):
                logger.warning("%s failed\n%s", self.run_id, self._traceback(error))
            return FailureLine(problem=problem_of(error, self._app_files))
        except BaseException as error:
            # SystemExit and the like: the model ends its run with it, never the engine.
            logger.warning("%s failed\n%s", self.run_id, self._traceback(error))
            return FailureLine(
                problem=problem_of(RuntimeError(f"the model raised {error!r}"), self._app_files)
            )
        outcome = Outcome.INTERRUPTED if self.control.cut_short else Outcome.COMPLETED
        return ResultLine(outcome=outcome, value=value)

    def _traceback(self, error: BaseException) -> str:
        return format_failure(error, self._app_files)

    def _emit(self, line: RunLine) -> None:
        if self._prints_log and isinstance(line, LogLine):
            print_line(line.text)
        # The loop is closed only when the engine is ending, and then nobody reads.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._keep, line)

    def _keep(self, line: RunLine) -> None:
        match line:
            case ProgressLine():
                self.progress.append(line)
                if len(self.progress) > MOST_PROGRESS_LINES:
                    # Every second point of the older half: the curve keeps its shape.
                    half = MOST_PROGRESS_LINES // 2
                    self.progress[:half] = self.progress[:half:2]
            case LogLine():
                self.log.append(line.text)
                del self.log[:-MOST_LOG_LINES]
            case ResultLine() | FailureLine():
                self._finished = time.monotonic()
                self.end = line
                self._ended.set()
        for queue in self._readers:
            queue.put_nowait(line)
        self._on_line(self, line)


def print_line(text: str) -> None:
    """Write to the session's log, also where the model has put its own stream for ``stdout``."""
    # Some of it is said inside native code, where an exception would end the process.
    with suppress(OSError, ValueError):
        if sys.__stdout__ is not None:
            sys.__stdout__.write(text + "\n")
