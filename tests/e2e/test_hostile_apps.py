"""Apps are hostile: whatever one does, it ends as a sentence, and the next one works."""

from pathlib import Path

import psutil
import pytest

from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import SessionState, TaskView
from support.demo import Demo, Person
from support.waiting import wait_for


def finished(demo: Demo, service: str, body: dict | None = None) -> TaskView:
    task = demo.client.tasks.start("probe", service, body or {})
    return wait_for(
        lambda: found if (found := demo.client.tasks.get(task.id)).state.over else None,
        seconds=60,
        what=f"the end of {service}",
    )


@pytest.fixture(scope="module")
def colleague(demo: Demo) -> Person:
    demo.client.users.create("colleague", password="a colleague's long password")
    return demo.log_on("demo", "colleague", "a colleague's long password")


def test_characters_that_cannot_be_stored_are_replaced(demo: Demo) -> None:
    raised = finished(demo, "nul")
    assert raised.state is TaskState.FAILED
    assert raised.problem is not None
    assert raised.problem["type"] == "urn:slipway:problem:procedure-failed"
    assert "before" in raised.problem["detail"]

    muttered = finished(demo, "mutters")
    assert muttered.state is TaskState.COMPLETED
    assert muttered.progress is not None
    assert "before" in (muttered.progress.message or "")


def test_an_app_that_fails_to_load_with_such_characters_gives_its_place_back(
    demo: Demo, probe: Path
) -> None:
    broken = demo.copy_of(
        probe,
        version="1.0.0",
        name="nulled",
        **{"app = App(": 'raise RuntimeError("a\\0b")\napp = App('},
    )
    demo.publish_app(broken)

    session = demo.client.sessions.launch("nulled")

    failed = wait_for(
        lambda: found if (found := demo.client.sessions.get(session.id)).state.over else None
    )
    assert failed.state is SessionState.FAILED


def test_an_engine_that_leaves_a_child_behind_ends_its_session(demo: Demo) -> None:
    left = finished(demo, "leaves")

    assert left.state is TaskState.FAILED
    assert demo.client.tasks.run("probe", "echo", {"text": "after"}) == {"text": "after"}


def test_what_an_app_started_ends_with_its_session(demo: Demo) -> None:
    task = finished(demo, "spawns")
    pid = demo.client.tasks.response(task.id)["pid"]
    assert psutil.pid_exists(pid)

    demo.client.sessions.stop(task.session_id)

    wait_for(
        lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE,
        what="the child to be gone",
    )


def test_a_large_result_comes_whole(demo: Demo) -> None:
    task = finished(demo, "large", {"mebi": 32})

    assert task.state is TaskState.COMPLETED
    with demo.http() as http:
        answer = http.get(f"/tasks/{task.id}/response")
    assert len(answer.json()["text"]) == 32 * 1024**2


def test_two_users_never_share_a_task_session(demo: Demo, colleague: Person) -> None:
    mine = finished(demo, "echo", {"text": "mine"})
    theirs = colleague.client.tasks.start("probe", "echo", {"text": "theirs"})
    wait_for(lambda: colleague.client.tasks.get(theirs.id).state.over)

    their_session = colleague.client.tasks.get(theirs.id).session_id
    assert their_session != mine.session_id
    with demo.http() as http:
        ticket = http.post(f"/sessions/{mine.session_id}/ticket")
    assert ticket.status_code == 403
    with demo.http(colleague.key) as http:
        assert http.get(f"/sessions/{mine.session_id}/log").status_code == 404


def test_many_quick_tasks_leave_no_session_waiting(demo: Demo) -> None:
    tasks = [demo.client.tasks.start("probe", "echo", {"text": str(n)}) for n in range(25)]
    wait_for(
        lambda: all(demo.client.tasks.get(task.id).state.over for task in tasks),
        seconds=60,
        what="25 tasks",
    )

    states = [session.state for session in demo.client.sessions.list(open_only=True)]

    assert SessionState.QUEUED not in states
    assert len(states) <= 10


def test_a_task_is_run_though_its_waiting_session_was_stopped(demo: Demo) -> None:
    busy = demo.make_account("busy", limit=1)
    archive = demo.running.stack.state.folder / "dist" / "1.0.0.1-linux64-x64.zip"
    demo.judged(busy.client.packages.publish_runtime(archive).id, by=busy)
    demo.publish_app(demo.repository / "tests/data/apps/probe", by=busy)
    only = busy.client.sessions.launch("probe")
    wait_for(lambda: busy.client.sessions.get(only.id).state is SessionState.RUNNING)
    task = busy.client.tasks.start("probe", "echo", {"text": "patient"})
    waiting = wait_for(
        lambda: [s for s in busy.client.sessions.list() if s.state is SessionState.QUEUED]
    )

    busy.client.sessions.stop(waiting[0].id)
    busy.client.sessions.stop(only.id)

    wait_for(lambda: busy.client.tasks.get(task.id).state.over, what="the task")
    assert busy.client.tasks.response(task.id) == {"text": "patient"}
