"""Progress of the solver, interrupts, and how a procedure ends."""

import asyncio
import contextlib
import json
import math
from datetime import timedelta
from types import SimpleNamespace

import highspy
import pytest
from pydantic import BaseModel

from slipway_open import App, InfeasibleError, NoSolutionError, Run
from slipway_open.control import RunControl, Scope
from slipway_open.execution import Execution
from slipway_open.lines import FailureLine, LogLine, ProgressLine, ResultLine
from slipway_open.problems import ProblemType, RunEnded
from slipway_open.solver import SolverView, SolverWatch, relative_gap, view_of


@pytest.mark.parametrize(
    ("objective", "bound", "gap"),
    [
        (100.0, 90.0, 0.1),
        (-100.0, -110.0, 0.1),
        (0.0, 0.0, 0.0),
        (0.0, 1.0, None),
        (None, 5.0, None),
    ],
)
def test_gap_is_relative_to_the_objective(objective, bound, gap) -> None:
    assert relative_gap(objective, bound) == gap


def test_infinity_of_the_solver_means_none() -> None:
    view = view_of(SimpleNamespace(mip_primal_bound=math.inf, mip_dual_bound=-math.inf))

    assert view == SolverView()
    assert view.gap is None


def test_solver_is_heard_at_a_pace_for_people() -> None:
    now = 0.0
    heard: list[SolverView] = []
    watch = SolverWatch(control=RunControl(), report=heard.append, log=str, clock=lambda: now)
    event = SimpleNamespace(data_out=SimpleNamespace(mip_primal_bound=5.0, mip_dual_bound=1.0))

    for step in range(1000):
        now = step / 1000
        event.data_out.mip_dual_bound = 1 + now
        watch._on_search(event)

    assert 9 <= len(heard) <= 11


def test_log_of_the_solver_is_cut_into_lines() -> None:
    lines: list[str] = []
    watch = SolverWatch(control=RunControl(), report=lambda _view: None, log=lines.append)

    for message in ("first\nsec", "ond\n", "\n", "third\n"):
        watch._on_log(SimpleNamespace(message=message))

    assert lines == ["first", "second", "third"]


def test_interrupt_of_a_solve_is_used_up_by_one() -> None:
    control = RunControl()
    control.interrupt(Scope.SOLVE)

    assert [control.take_solve_interrupt(), control.take_solve_interrupt()] == [True, False]
    assert control.cut_short
    control.check()


def new_run(control: RunControl | None = None) -> tuple[Run, list]:
    lines: list = []
    return Run(emit=lines.append, control=control or RunControl()), lines


def test_infeasible_model_is_said_to_be_infeasible() -> None:
    run, _ = new_run()
    model = run.highs()
    x = model.addBinary()
    y = model.addBinary()
    model.addConstr(x + y >= 3)

    with pytest.raises(InfeasibleError):
        run.solve(model)


def test_unbounded_model_is_not_taken_for_infeasible() -> None:
    run, _ = new_run()
    model = run.highs()
    x = model.addVariable(lb=0)
    y = model.addVariable(lb=0)
    model.addConstr(x - y <= 1)
    model.setObjective(x + y, highspy.ObjSense.kMaximize)

    with pytest.raises(ValueError, match="unbounded"):
        run.solve(model)


def test_linear_model_has_an_objective_and_no_gap() -> None:
    run, lines = new_run()
    model = run.highs()
    x = model.addVariable(lb=2)
    model.setObjective(3 * x)

    solved = run.solve(model)

    assert (solved.objective, solved.bound, solved.gap) == (6, None, None)
    assert [line for line in lines if isinstance(line, ProgressLine)][-1].objective == 6


def test_time_limit_counts_from_the_start_of_each_solve() -> None:
    run, _ = new_run()
    model = run.highs()
    x = model.addVariables(30, lb=0, ub=1)
    model.setObjective(x.sum(), highspy.ObjSense.kMaximize)
    for _ in range(3):
        assert run.solve(model, time_limit=timedelta(seconds=5)).objective == 30


def test_linear_model_can_be_interrupted() -> None:
    control = RunControl()
    run, _ = new_run(control)
    model = run.highs()
    x = model.addVariables(400, lb=0, ub=10)
    for row in range(300):
        weights = [(row * 7 + column * 13) % 29 + 1 for column in range(400)]
        model.addConstr(sum(w * x[c] for c, w in enumerate(weights[:40])) >= 50 + row)
    model.setObjective(x.sum())
    model.setOptionValue("presolve", "off")
    control.interrupt(Scope.SOLVE)

    with pytest.raises(NoSolutionError) as caught:
        run.solve(model)
    assert caught.value.interrupted


def test_cancelled_run_raises_at_its_next_call() -> None:
    control = RunControl()
    run, _ = new_run(control)
    control.interrupt(Scope.EXECUTION)

    for call in (lambda: run.log("x"), run.progress, run.highs, run.stop_requested):
        with pytest.raises(RunEnded):
            call()


async def end_of(procedure, *, interrupts=()) -> tuple[list, ResultLine | FailureLine]:
    app = App(title="Test")
    app.service("work")(procedure)
    execution = Execution(
        run_id="1",
        service=app.services["work"],
        values={},
        app_files=set(),
        on_line=lambda *_: None,
    )
    for scope in interrupts:
        execution.interrupt(scope)
    lines = execution.lines()
    execution.start()
    async with asyncio.timeout(10):
        told = [line async for line in lines]
    return told[:-1], told[-1]


async def test_lines_come_in_order_and_the_result_is_last() -> None:
    def work(run: Run) -> dict[str, int]:
        run.progress(0.5, "half")
        run.log("done")
        return {"answer": 42}

    told, end = await end_of(work)

    assert [type(line) for line in told] == [ProgressLine, LogLine]
    assert end == ResultLine(outcome="completed", value={"answer": 42})


async def test_loop_of_ones_own_can_be_stopped_and_keeps_its_best() -> None:
    def work(run: Run) -> dict[str, int]:
        rounds = 0
        while not run.stop_requested():
            rounds += 1
        return {"rounds": rounds}

    _, end = await end_of(work, interrupts=[Scope.SOLVE])

    assert end.outcome == "interrupted"


async def test_wish_to_stop_that_stopped_nothing_is_no_interruption() -> None:
    _, end = await end_of(lambda _run: {}, interrupts=[Scope.SOLVE])

    assert end.outcome == "completed"


async def test_model_that_catches_everything_cannot_catch_the_end() -> None:
    def work(run: Run) -> dict[str, int]:
        while True:
            with contextlib.suppress(Exception):
                run.log("still here")

    _, end = await end_of(work, interrupts=[Scope.EXECUTION])

    assert end.problem.type is ProblemType.INTERRUPTED


@pytest.mark.parametrize(
    "value", [[1, 2], None, {"what": object()}], ids=["list", "none", "object"]
)
async def test_result_that_is_no_json_object_fails(value) -> None:
    _, end = await end_of(lambda _run: value)

    assert end.problem.type is ProblemType.PROCEDURE_FAILED


async def test_exit_of_the_model_ends_the_run_only() -> None:
    def work(run: Run) -> dict[str, int]:
        raise SystemExit(3)

    _, end = await end_of(work)

    assert end.problem.type is ProblemType.PROCEDURE_FAILED


async def test_text_that_cannot_be_sent_is_replaced() -> None:
    def work(run: Run) -> dict[str, object]:
        run.log("a\ud800b\0c")
        run.progress(math.nan, "\udfff")
        return {"text": "\ud800", "\0": ["\udc00"]}

    told, end = await end_of(work)

    lines = [json.loads(line.to_json()) for line in (*told, end)]
    assert lines[0]["text"] == "a?b\N{REPLACEMENT CHARACTER}c"
    assert lines[1]["message"] == "?"
    assert lines[2]["value"] == {"text": "?", "\N{REPLACEMENT CHARACTER}": ["?"]}


async def test_exception_with_text_that_cannot_be_sent_is_a_failure() -> None:
    class StrangeError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no words")

    def surrogate(run: Run) -> dict[str, int]:
        raise ValueError("half \ud800\0")

    def wordless(run: Run) -> dict[str, int]:
        raise StrangeError

    for work, detail in ((surrogate, "ValueError: half ?"), (wordless, "StrangeError")):
        _, end = await end_of(work)
        assert json.loads(end.to_json())["problem"]["detail"].startswith(detail)


class Measured(BaseModel):
    value: float


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("typed", [False, True])
async def test_result_that_is_not_finite_fails_by_its_key(number, typed) -> None:
    row = Measured(value=number) if typed else {"value": number}

    _, end = await end_of(lambda _run: {"rows": [{"value": 1.0}, row]})

    assert end.problem.type is ProblemType.PROCEDURE_FAILED
    assert "no finite number at /rows/1/value" in end.problem.detail


async def test_message_that_is_far_too_long_is_cut() -> None:
    def work(run: Run) -> dict[str, int]:
        run.log("ü" * 100_000)
        raise ValueError("x" * 100_000)

    told, end = await end_of(work)

    assert told[0].text == "ü" * 4096 + "…"
    assert len(end.problem.detail) == 8193
