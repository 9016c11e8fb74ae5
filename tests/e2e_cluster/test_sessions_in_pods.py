"""The main job with sessions in real pods: publish, launch, solve, stop, on a real kubelet."""

from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from e2e_cluster.pods_demo import Pods, reach
from slipway_client import SlipwayProblem
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import SessionState, TaskView
from support.demo import Demo
from support.waiting import wait_for

RUNNING, ENDED, FAILED = SessionState.RUNNING, SessionState.ENDED, SessionState.FAILED


def task_over(demo: Demo, task: TaskView, *, seconds: float = 90) -> TaskView:
    return wait_for(
        lambda: found if (found := demo.client.tasks.get(task.id)).state.over else None,
        seconds=seconds,
        what="the end of the task",
    )


def test_an_app_runs_in_a_pod_of_its_own_and_leaves_nothing_behind(demo: Demo, pods: Pods) -> None:
    session = demo.client.sessions.launch("probe")
    running = reach(demo, session, RUNNING)

    pod = pods.of(session.id)
    assert pod is not None
    assert pod["status"]["phase"] == "Running"
    assert pod["spec"]["automountServiceAccountToken"] is False
    host, page = demo.open_session(demo.client.sessions.ticket(session.id).url)
    assert "Probe" in page.text
    assert host == f"{session.id}.sessions.localhost"
    assert running.node == pod["spec"]["nodeName"]

    demo.client.sessions.stop(session.id)
    ended = reach(demo, session, ENDED)
    assert ended.reason == "stopped"
    wait_for(lambda: pods.of(session.id) is None, what="the end of the pod")
    wait_for(lambda: not pods.secrets_of(session.id), what="the end of the secret")


def test_a_pod_that_waits_becomes_the_session_and_is_replaced(demo: Demo, pods: Pods) -> None:
    [waiting, *_] = wait_for(pods.waiting, seconds=60, what="a pod that waits")
    names = {pod["metadata"]["name"] for pod in pods.waiting()}

    session = demo.client.sessions.launch("probe")
    reach(demo, session, RUNNING)

    pod = pods.of(session.id)
    assert pod is not None
    assert pod["metadata"]["name"] in names
    assert pod["metadata"]["namespace"] == waiting["metadata"]["namespace"]
    _, page = demo.open_session(demo.client.sessions.ticket(session.id).url)
    assert "Probe" in page.text
    wait_for(
        lambda: {each["metadata"]["name"] for each in pods.waiting()} - names,
        seconds=60,
        what="another pod that waits",
    )
    demo.client.sessions.stop(session.id)
    reach(demo, session, ENDED)


def test_a_task_is_solved_in_a_pod_and_its_session_used_again(demo: Demo, pods: Pods) -> None:
    assert demo.client.tasks.run("probe", "optimum", {}) == {"value": 13.0}

    first = task_over(demo, demo.client.tasks.start("probe", "echo", {"text": "one"}))
    second = task_over(demo, demo.client.tasks.start("probe", "echo", {"text": "two"}))

    assert first.session_id == second.session_id
    assert first.session_id is not None
    assert pods.of(first.session_id) is not None


def test_a_time_limit_keeps_the_incumbent(demo: Demo) -> None:
    task = demo.client.tasks.start(
        "probe", "slow", {"seconds": 300}, time_limit=timedelta(seconds=2)
    )

    done = task_over(demo, task)

    assert (done.state, done.outcome) == (TaskState.COMPLETED, "interrupted")
    assert demo.client.tasks.response(task.id)["best"] > 0


def test_a_solve_session_runs_procedures_one_by_one_and_has_no_page(demo: Demo) -> None:
    session = demo.client.sessions.launch("probe", kind="solve")
    reach(demo, session, RUNNING)
    address = httpx2.URL(demo.client.sessions.ticket(session.id).url)
    with httpx2.Client(
        base_url=demo.url, headers={"Host": address.netloc.decode()}, timeout=30
    ) as http:
        entered = http.get(address.raw_path.decode())
        cookie = {"Cookie": entered.headers["set-cookie"].partition(";")[0]}

        answer = http.post("/procedures/optimum", json={}, headers=cookie)
        page = http.get("/", headers=cookie)

    assert answer.status_code == 200, answer.text
    assert '"value": 13.0' in answer.text.splitlines()[-1]
    assert page.status_code == 404
    demo.client.sessions.stop(session.id)
    reach(demo, session, ENDED)


def test_an_allowed_container_is_served_behind_the_same_door(demo: Demo, pods: Pods) -> None:
    session = demo.client.sessions.launch_service("pages")
    reach(demo, session, RUNNING)

    _, page = demo.open_session(demo.client.sessions.ticket(session.id).url)

    assert "Directory listing" in page.text
    pod = pods.of(session.id)
    assert pod is not None
    assert [each["name"] for each in pod["spec"]["initContainers"]] == ["external"]
    demo.client.sessions.stop(session.id)
    reach(demo, session, ENDED)


def test_an_image_that_cannot_be_had_fails_in_seconds_with_its_reason(demo: Demo) -> None:
    session = demo.client.sessions.launch_service("nowhere")

    failed = reach(demo, session, FAILED, seconds=45)

    assert failed.reason == "image-unavailable"
    assert "image" in failed.message


def test_a_service_that_is_not_on_the_list_is_refused(demo: Demo) -> None:
    with pytest.raises(SlipwayProblem) as refused:
        demo.client.sessions.launch_service("something-else")

    assert refused.value.slug == "service-not-offered"


def test_use_is_measured_against_the_limits_of_the_pod(demo: Demo) -> None:
    session = demo.client.sessions.launch("probe")
    reach(demo, session, RUNNING)

    use = demo.client.sessions.use(session.id)

    assert use.memory_limit_mib == 1024
    assert 10 < use.memory_mib < 1024
    assert use.processes >= 2
    demo.client.sessions.stop(session.id)
    ended = reach(demo, session, ENDED)
    assert ended.peak_memory_mib is not None
    assert ended.peak_memory_mib > 10


def test_an_app_that_needs_more_memory_than_it_may_ends_as_out_of_memory(
    demo: Demo, probe: Path
) -> None:
    greedy = demo.copy_of(
        probe,
        version="1.0.0",
        name="greedy",
        **{"app = App(": "ballast = bytearray(600 * 1024 * 1024)\napp = App("},
    )
    manifest = greedy / "slipway.toml"
    text = manifest.read_text()
    manifest.write_text(text.replace('name = "greedy"', 'name = "greedy"\nprofile = "tight"'))
    demo.publish_app(greedy)

    session = demo.client.sessions.launch("greedy")
    failed = reach(demo, session, FAILED)

    assert failed.reason == "out-of-memory"


def test_a_pod_that_somebody_deletes_ends_its_session_with_a_reason(demo: Demo, pods: Pods) -> None:
    session = demo.client.sessions.launch("probe")
    reach(demo, session, RUNNING)
    pods.delete(session.id)

    over = reach(demo, session, FAILED, ENDED)

    assert over.reason in {"evicted", "stopped"}
    wait_for(lambda: pods.of(session.id) is None, what="the end of the pod")


def test_a_session_outlives_its_scheduler(demo: Demo, pods: Pods) -> None:
    session = demo.client.sessions.launch("probe")
    reach(demo, session, RUNNING)
    before = pods.of(session.id)
    assert before is not None

    demo.running.kill("scheduler")
    _, page = demo.open_session(demo.client.sessions.ticket(session.id).url)
    demo.running.restart("scheduler")

    assert "Probe" in page.text
    after = pods.of(session.id)
    assert after is not None
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    demo.client.sessions.stop(session.id)
    reach(demo, session, ENDED)


@pytest.mark.parametrize(
    "failpoint",
    [
        "scheduler.before-start",
        "scheduler.after-secret",
        "scheduler.after-start",
        "scheduler.before-running",
        "scheduler.after-running",
    ],
)
def test_killed_at_the_worst_moment_of_a_launch_there_is_one_pod_and_it_runs(
    demo: Demo, pods: Pods, failpoint: str
) -> None:
    demo.running.arm(failpoint)
    session = demo.client.sessions.launch("probe")
    wait_for(lambda: demo.running.has_ended("scheduler"), what="the kill")
    demo.running.disarm()
    demo.running.restart("scheduler")

    reach(demo, session, RUNNING)

    mine = [
        pod
        for pod in pods.all()
        if pod["metadata"]["labels"].get("slipway.dev/session") == str(session.id)
    ]
    assert len(mine) == 1
    demo.client.sessions.stop(session.id)
    reach(demo, session, ENDED)
