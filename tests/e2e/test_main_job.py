"""The main job, on real parts: publish, launch, solve, result."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from slipway_client import SlipwayProblem
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import PackageState, SessionState, SessionView
from support.demo import Demo
from support.waiting import wait_for


def state_of(demo: Demo, session: SessionView, *wanted: SessionState) -> SessionView | None:
    found = demo.client.sessions.get(session.id)
    return found if found.state in wanted else None


def launched(demo: Demo, app: str = "probe") -> SessionView:
    session = demo.client.sessions.launch(app)
    return wait_for(
        lambda: state_of(demo, session, SessionState.RUNNING), what=f"{app} to be running"
    )


def test_an_app_is_launched_opened_and_stopped(demo: Demo) -> None:
    session = launched(demo)
    ticket = demo.client.sessions.ticket(session.id)

    host, page = demo.open_session(ticket.url)
    assert "Probe" in page.text
    assert host == f"{session.id}.sessions.localhost"

    demo.client.sessions.stop(session.id)
    ended = wait_for(lambda: state_of(demo, session, SessionState.ENDED), what="the end")
    assert ended.reason == "stopped"
    assert [step.state for step in ended.steps][:2] == ["requested", "queued"]


def test_a_task_gives_the_result_of_an_independent_solve(demo: Demo) -> None:
    result = demo.client.tasks.run("probe", "optimum", {})

    # Items 8/5, 11/8 and 14/9 in a room of 20: the best pair is 8 + 11, worth 13.
    assert result == {"value": 13.0}


def test_a_task_session_is_used_again_while_it_is_idle(demo: Demo) -> None:
    first = demo.client.tasks.start("probe", "echo", {"text": "one"})
    wait_for(lambda: demo.client.tasks.get(first.id).state.over)
    second = demo.client.tasks.start("probe", "echo", {"text": "two"})
    wait_for(lambda: demo.client.tasks.get(second.id).state.over)

    sessions = {demo.client.tasks.get(task.id).session_id for task in (first, second)}
    assert len(sessions) == 1
    assert demo.client.tasks.response(second.id) == {"text": "two"}


def test_an_interrupted_task_keeps_its_best_result(demo: Demo) -> None:
    task = demo.client.tasks.start("probe", "slow", {"seconds": 300})
    wait_for(lambda: demo.client.tasks.get(task.id).progress, what="progress")

    demo.client.tasks.interrupt(task.id)

    done = wait_for(lambda: over(demo, task.id), what="the end of the task")
    assert done.state is TaskState.COMPLETED
    assert done.outcome == "interrupted"
    assert demo.client.tasks.response(task.id)["best"] > 0


def test_the_time_limit_stops_the_solve_and_keeps_its_best_result(demo: Demo) -> None:
    task = demo.client.tasks.start(
        "probe", "slow", {"seconds": 300}, time_limit=timedelta(seconds=1)
    )

    done = wait_for(lambda: over(demo, task.id), what="the end of the task")

    assert done.outcome == "interrupted"
    assert demo.client.tasks.response(task.id)["best"] > 0


def over(demo: Demo, task_id):
    task = demo.client.tasks.get(task_id)
    return task if task.state.over else None


def test_the_log_of_a_session_can_be_read_while_it_runs(demo: Demo) -> None:
    session = launched(demo)

    log = wait_for(lambda: demo.client.sessions.log(session.id), what="a log")

    assert "loaded" in log
    demo.client.sessions.stop(session.id)


def test_live_events_tell_a_launch_from_start_to_end(demo: Demo) -> None:
    session = demo.client.sessions.launch("probe")

    seen = []
    for view in demo.client.sessions.watch(session.id):
        seen.append(view)
        if view.state is SessionState.RUNNING and len(seen) > 1:
            demo.client.sessions.stop(session.id)
    revisions = [view.revision for view in seen]
    assert revisions == sorted(set(revisions))
    assert seen[-1].state is SessionState.ENDED
    assert SessionState.RUNNING in {view.state for view in seen}


def test_the_same_key_launches_one_session(demo: Demo) -> None:
    with demo.http(headers={"Idempotency-Key": "launch-once"}) as http:
        answers = [http.post("/sessions", json={"app": "probe"}) for _ in range(3)]
        other = http.post("/sessions", json={"app": "depots"})

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert other.status_code == 422
    assert other.json()["type"] == "urn:slipway:problem:idempotency-key-reused"
    demo.client.sessions.stop(answers[0].json()["id"])


def test_publishing_the_same_bytes_again_is_not_an_error(demo: Demo, runtime_archive: Path) -> None:
    again = demo.client.packages.publish_runtime(runtime_archive)

    assert again.state is PackageState.READY


def test_another_archive_of_a_published_version_is_refused(demo: Demo, probe: Path) -> None:
    with pytest.raises(SlipwayProblem) as refused:
        demo.publish_app(probe)

    assert refused.value.slug == "version-exists"


def test_depots_is_solved_within_its_limits(demo: Demo) -> None:
    inputs = {"region": "British Isles", "most_cities": 12, "candidates": 6, "max_depots": 3}
    result = demo.client.tasks.run("depots", "solve", inputs)

    assert result["gap"] is None or result["gap"] < 0.05
    assert 1 <= len(result["depots"]) <= 3
    for depot in result["depots"]:
        assert depot["load"] <= depot["capacity"] * (1 + 1e-6)
    assert sum(depot["load"] for depot in result["depots"]) == pytest.approx(result["demand"])
    json.dumps(result)
