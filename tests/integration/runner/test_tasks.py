"""The work of a task session, told to its home."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from integration.runner.conftest import StartRunner
from integration.runner.home import PlayedSession
from slipway_common.contracts.internal import Assignment
from slipway_common.contracts.sessions import SessionKind
from support.waiting import eventually


@pytest.fixture
def session(session_of) -> PlayedSession:
    return session_of(SessionKind.TASK)


def task_of(
    session: PlayedSession, service: str, body: dict[str, Any] | None = None, *, limit: int = 60
) -> UUID:
    task = Assignment(
        task_id=uuid4(), account_id=uuid4(), service=service, time_limit_seconds=limit
    )
    session.requests[task.task_id] = body or {}
    session.tasks.append(task)
    return task.task_id


async def outcome(session: PlayedSession, task_id: UUID) -> tuple[str, Any]:
    async def look() -> tuple[str, Any] | None:
        return session.outcomes.get(task_id)

    return await eventually(look, what="the outcome of a task")


async def test_one_task_after_the_other(session: PlayedSession, start_runner: StartRunner) -> None:
    echo = task_of(session, "echo", {"text": "hello"})
    unknown = task_of(session, "unknown")
    invalid = task_of(session, "echo", {"text": 5})
    async with start_runner(session) as runner:
        await runner.until_ready()

        state, value = await outcome(session, echo)
        assert (state, value["text"], value["kind"]) == ("completed", "hello", "task")
        assert (await outcome(session, unknown))[0] == "failed"
        refused = await outcome(session, invalid)
        runner.process.terminate()
        await runner.until_gone()

    assert refused[1]["type"] == "urn:slipway:problem:input-invalid"
    assert "echo of hello" in session.log


async def test_the_time_limit_keeps_the_best_result(
    session: PlayedSession, start_runner: StartRunner
) -> None:
    task = task_of(session, "best", limit=1)
    after = task_of(session, "echo")
    async with start_runner(session):
        state, value = await outcome(session, task)
        assert state == "interrupted"
        assert value["best"] > 0
        assert (await outcome(session, after))[0] == "completed"


async def test_what_hears_nothing_fails_before_its_session_goes(
    session: PlayedSession, start_runner: StartRunner
) -> None:
    task = task_of(session, "deaf", limit=1)
    after = task_of(session, "echo")
    async with start_runner(session) as runner:
        ending = await runner.until_gone()

    assert session.outcomes[task][1]["type"] == "urn:slipway:problem:task-time-limit"
    assert after not in session.outcomes
    assert ending["reason"] == "finished"


async def test_a_session_without_tasks_ends(
    session: PlayedSession, start_runner: StartRunner
) -> None:
    async with start_runner(session, IDLE_SECONDS=1) as runner:
        assert (await runner.until_gone())["reason"] == "idle"
