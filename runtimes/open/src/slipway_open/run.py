"""What a procedure gets into its hands: its log, its progress, a solver, and the user's wishes."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

from slipway_open.control import RunControl
from slipway_open.lines import Activity, LogLine, ProgressLine, RunLine, finite

if TYPE_CHECKING:
    # Loading the solver takes as long as starting the engine; an app pays when it uses it.
    import highspy

    from slipway_open.solver import Solved, SolverView, SolverWatch


class Run:
    """One run of a procedure. Every call raises ``RunEnded`` when the user has cancelled it."""

    def __init__(
        self,
        *,
        emit: Callable[[RunLine], None],
        control: RunControl,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._emit = emit
        self._control = control
        self._clock = clock
        self._began = clock()
        self._fraction: float | None = None
        self._message: str | None = None
        self._watch: SolverWatch | None = None

    def log(self, text: str) -> None:
        """Add a line to the log of the run."""
        self._control.check()
        self._write_log(text)

    def progress(self, fraction: float | None = None, message: str | None = None) -> None:
        """Tell how far the procedure is; ``fraction`` is between 0 and 1, None if unknown."""
        self._control.check()
        if fraction is not None:
            fraction = min(1.0, max(0.0, fraction))
        self._fraction, self._message = fraction, message
        self._emit(
            ProgressLine(
                state=Activity.RUNNING,
                fraction=finite(fraction),
                message=message,
                elapsed=self.elapsed.total_seconds(),
            )
        )

    @property
    def elapsed(self) -> timedelta:
        return timedelta(seconds=round(self._clock() - self._began, 3))

    def stop_requested(self) -> bool:
        """For a loop of one's own: True, once, when the user wants to stop and keep the best."""
        self._control.check()
        return self._control.take_solve_interrupt()

    def highs(self) -> highspy.Highs:
        """Give an empty model whose solve reports progress and can be interrupted."""
        self._control.check()
        return self._solver_watch().new_model()

    def solve(
        self,
        model: highspy.Highs,
        *,
        time_limit: timedelta | None = None,
        gap: float | None = None,
    ) -> Solved:
        """Solve a model of ``highs()`` until it is optimal, a limit ends it or the user does.

        In all three cases the best solution is in the model. ``gap`` is the relative gap that
        counts as optimal. Raises ``InfeasibleError`` if there is no solution at all, and
        ``NoSolutionError`` if the search was ended before it had found one.
        """
        self._control.check()
        self._report(None)
        return self._solver_watch().solve(model, time_limit=time_limit, gap=gap)

    def _solver_watch(self) -> SolverWatch:
        if self._watch is None:
            from slipway_open.solver import SolverWatch

            self._watch = SolverWatch(
                control=self._control, report=self._report, log=self._write_log, clock=self._clock
            )
        return self._watch

    def _write_log(self, text: str) -> None:
        self._emit(LogLine(text=text))

    def _report(self, view: SolverView | None) -> None:
        self._emit(
            ProgressLine(
                state=Activity.SOLVING,
                fraction=self._fraction,
                message=self._message,
                objective=view.objective if view else None,
                bound=view.bound if view else None,
                gap=view.gap if view else None,
                elapsed=self.elapsed.total_seconds(),
            )
        )
