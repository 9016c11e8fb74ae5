"""Ties a HiGHS model to a run: progress, log and interrupt while it solves.

The callbacks run on the solver's thread, inside its native code, where an exception would end
the process: they only copy numbers, and ask the solver to stop by its own flag.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

import highspy

from slipway_open.control import RunControl
from slipway_open.lines import finite
from slipway_open.problems import InfeasibleError, NoSolutionError

# The solver may report thousands of times a second; a person sees ten.
SHORTEST_PAUSE = 0.1
# Without news from the solver, the clock of the page should still move.
LONGEST_PAUSE = 0.5


class SolveStatus(StrEnum):
    OPTIMAL = "optimal"
    """Proven within the gap that was asked for."""

    INTERRUPTED = "interrupted"
    LIMIT = "limit"
    """The time, or another limit of the solver, ended the search."""


@dataclass(frozen=True, slots=True)
class Solved:
    """What a solve came to; there always is a feasible solution in the model."""

    status: SolveStatus
    objective: float
    bound: float | None
    gap: float | None
    """Relative; None for a model without integers."""

    duration: timedelta


@dataclass(frozen=True, slots=True)
class SolverView:
    """One look at the solver while it works."""

    objective: float | None = None
    bound: float | None = None

    @property
    def gap(self) -> float | None:
        return relative_gap(self.objective, self.bound)


def relative_gap(objective: float | None, bound: float | None) -> float | None:
    """Give the distance of the two, as a part of the objective; None if it has no meaning."""
    if objective is None or bound is None:
        return None
    distance = abs(objective - bound)
    if distance == 0:
        return 0.0
    return distance / abs(objective) if objective else None


def view_of(output: Any) -> SolverView:
    """Read what a callback of the mixed-integer solver carries; HiGHS says "none" by infinity."""
    return SolverView(
        objective=finite(output.mip_primal_bound), bound=finite(output.mip_dual_bound)
    )


class SolverWatch:
    """Reports on the models of one run, and stops their solves when asked to."""

    def __init__(
        self,
        *,
        control: RunControl,
        report: Callable[[SolverView], None],
        log: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._control = control
        self._report = report
        self._log = log
        self._clock = clock
        self._reported = SolverView()
        self._reported_at = float("-inf")
        self._partial_line = ""

    def new_model(self) -> highspy.Highs:
        model = highspy.Highs()  # type: ignore[no-untyped-call]
        # HiGHS calls back with the progress of its search only while output is on; the lines
        # go to the log of the run, so the console need not have them.
        model.setOptionValue("output_flag", True)
        model.setOptionValue("log_to_console", False)
        model.cbLogging += self._on_log
        model.cbMipLogging += self._on_search
        model.cbMipInterrupt += self._on_search
        model.cbMipInterrupt += self._on_check
        model.cbSimplexInterrupt += self._on_check
        model.cbIpmInterrupt += self._on_check
        return model

    def solve(
        self, model: highspy.Highs, *, time_limit: timedelta | None, gap: float | None
    ) -> Solved:
        """Solve to the end or to an interrupt; see ``Run.solve`` for what it raises."""
        if gap is not None:
            model.setOptionValue("mip_rel_gap", gap)
        if time_limit is not None:
            # The clock of a model goes on from one of its solves to the next.
            model.setOptionValue("time_limit", model.getRunTime() + time_limit.total_seconds())
        began = self._clock()
        self._reported = SolverView()
        model.solve()
        if model.getModelStatus() == highspy.HighsModelStatus.kUnboundedOrInfeasible:
            # Presolve has seen that there is no optimum; without it, the solver says why.
            model.setOptionValue("presolve", "off")
            model.solve()
            model.setOptionValue("presolve", "choose")
        self._control.check()
        return self._outcome(model, timedelta(seconds=self._clock() - began))

    def _outcome(self, model: highspy.Highs, duration: timedelta) -> Solved:
        code = model.getModelStatus()
        codes = highspy.HighsModelStatus
        if code == codes.kInfeasible:
            raise InfeasibleError("No solution satisfies all constraints of the model.")
        if code == codes.kUnbounded:
            raise ValueError("the objective of the model is unbounded")
        stopped = code == codes.kInterrupt and self._control.take_solve_interrupt()
        information = model.getInfo()
        if information.primal_solution_status != highspy.SolutionStatus.kSolutionStatusFeasible:
            raise _without_solution(model, interrupted=stopped)
        if code in {codes.kOptimal, codes.kModelEmpty}:
            status = SolveStatus.OPTIMAL
        else:
            status = SolveStatus.INTERRUPTED if stopped else SolveStatus.LIMIT
        objective = float(information.objective_function_value)
        has_integers = finite(information.mip_gap) is not None and bool(
            len(model.getLp().integrality_)
        )
        bound = finite(float(information.mip_dual_bound)) if has_integers else None
        seen = SolverView(objective=objective, bound=bound)
        self._report(seen)
        return Solved(
            status=status, objective=objective, bound=bound, gap=seen.gap, duration=duration
        )

    def _on_log(self, event: Any) -> None:
        *lines, self._partial_line = (self._partial_line + event.message).split("\n")
        for line in lines:
            if line.strip():
                self._log(line.rstrip())

    def _on_search(self, event: Any) -> None:
        self._tell(view_of(event.data_out))

    def _on_check(self, event: Any) -> None:
        if self._control.solver_must_stop:
            event.interrupt()
        self._tell(self._reported)

    def _tell(self, view: SolverView) -> None:
        pause = SHORTEST_PAUSE if view != self._reported else LONGEST_PAUSE
        now = self._clock()
        if now - self._reported_at >= pause:
            self._reported, self._reported_at = view, now
            self._report(view)


def _without_solution(model: highspy.Highs, *, interrupted: bool) -> Exception:
    if interrupted:
        return NoSolutionError(
            "The solve was interrupted before a solution was found.", interrupted=True
        )
    codes = highspy.HighsModelStatus
    code = model.getModelStatus()
    limits = {codes.kTimeLimit, codes.kIterationLimit, codes.kSolutionLimit, codes.kMemoryLimit}
    if code in limits:
        return NoSolutionError(
            "A limit ended the solve before a solution was found.", interrupted=False
        )
    return RuntimeError(f"the solver ended without a solution: {model.modelStatusToString(code)}")
