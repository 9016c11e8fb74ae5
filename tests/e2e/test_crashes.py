"""SIGKILL at the worst moment of publish and of launch: the job still ends right, exactly once."""

import itertools
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import pytest

from slipway_client.pack import pack, sealed_file
from slipway_common.contracts.views import PackageState, SessionState
from support.demo import Demo
from support.waiting import wait_for

versions = (f"2.0.{number}" for number in itertools.count())

PUBLISH_POINTS = [
    "gateway.upload-before-commit",
    "gateway.upload-stored",
    "gateway.upload-published",
    "packager.upload-read",
    "packager.read-whole",
    "packager.before-commit",
    "packager.after-commit",
    "packager.before-outcome",
    "packager.after-outcome",
    "accounts.before-publish-commit",
    "accounts.after-publish-commit",
    "relay.acknowledged",
]
LAUNCH_POINTS = [
    "gateway.launch-remembered",
    "gateway.launch-published",
    "gateway.claim-granted",
    "accounts.before-launch-commit",
    "accounts.before-admission-commit",
    "accounts.after-admission-commit",
    "relay.acknowledged",
    "scheduler.before-start",
    "scheduler.after-start",
    "scheduler.before-running",
    "scheduler.after-running",
]


def service_of(failpoint: str) -> str:
    service = failpoint.partition(".")[0]
    return "accounts" if service == "relay" else service


def persistently(
    request: Callable[[httpx2.Client], httpx2.Response], demo: Demo
) -> httpx2.Response:
    """Do what a good client does: the same request again, until it is answered for good."""

    def attempt() -> httpx2.Response | None:
        try:
            with demo.http() as http:
                answer = request(http)
        except httpx2.TransportError:
            return None
        return None if answer.status_code >= 500 else answer

    return wait_for(attempt, seconds=60, what="an answer")


@pytest.fixture(scope="module")
def client_thread():
    with ThreadPoolExecutor(max_workers=1) as pool:
        yield pool


def crash_during(demo: Demo, service: str, work: Future[httpx2.Response]) -> httpx2.Response:
    """Wait for the service to die by its failpoint, start it again, and wait for the work."""
    wait_for(lambda: demo.running.has_ended(service), what=f"{service} to die")
    demo.running.disarm()
    demo.running.restart(service)
    return work.result(90)


@pytest.fixture
def sealed_probe(demo: Demo, probe: Path) -> tuple[str, bytes]:
    version = next(versions)
    with pack(demo.copy_of(probe, version=version)) as packed, sealed_file() as file:
        packed.seal(demo.client.seal(), file)
        file.seek(0)
        return version, file.read()


async def assert_published_once(demo: Demo, version: str, answer: httpx2.Response) -> None:
    assert answer.status_code in {200, 202}
    package = demo.judged(uuid.UUID(answer.json()["id"]))
    assert package.state is PackageState.READY
    rows = await demo.sql(
        "SELECT state FROM packages WHERE name = 'probe' AND version = $1", version
    )
    assert [row["state"] for row in rows] == ["ready"]
    events = await demo.sql(
        "SELECT count(*) FROM outbox WHERE topic = 'slipway.catalogue.v1'"
        " AND convert_from(payload, 'utf8')::jsonb ->> 'version' = $1",
        version,
    )
    assert events[0]["count"] == 1


@pytest.mark.parametrize("failpoint", PUBLISH_POINTS)
async def test_publish_survives_a_kill_at(
    demo: Demo,
    sealed_probe: tuple[str, bytes],
    client_thread: ThreadPoolExecutor,
    failpoint: str,
) -> None:
    version, content = sealed_probe
    service = service_of(failpoint)
    demo.running.arm(failpoint)

    work = client_thread.submit(
        persistently, lambda http: http.put(f"/apps/probe/{version}", content=content), demo
    )
    answer = crash_during(demo, service, work)

    await assert_published_once(demo, version, answer)


@pytest.mark.parametrize("part", ["kafka", "postgres"])
async def test_publish_survives_a_kill_of(
    demo: Demo,
    sealed_probe: tuple[str, bytes],
    client_thread: ThreadPoolExecutor,
    part: str,
) -> None:
    version, content = sealed_probe
    demo.running.kill(part)

    work = client_thread.submit(
        persistently, lambda http: http.put(f"/apps/probe/{version}", content=content), demo
    )
    demo.running.restart(part)

    await assert_published_once(demo, version, work.result(90))


def processes_of(session_id: str) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cwd", "cmdline"])
        if (process.info["cwd"] or "").endswith(session_id)
        and "slipway_runner" in (process.info["cmdline"] or [])
    ]


async def assert_runs_once(demo: Demo, key: str, answer: httpx2.Response) -> None:
    assert answer.status_code == 202, answer.text
    session_id = answer.json()["id"]
    running = wait_for(
        lambda: (
            found
            if (found := demo.client.sessions.get(session_id)).state is not SessionState.REQUESTED
            and found.state in {SessionState.RUNNING, SessionState.FAILED}
            else None
        ),
        seconds=60,
        what="the session to run",
    )
    assert running.state is SessionState.RUNNING, running
    assert len(processes_of(session_id)) == 1
    rows = await demo.sql("SELECT subject FROM idempotency_keys WHERE key = $1", key)
    assert [str(row["subject"]) for row in rows] == [session_id]
    demo.client.sessions.stop(session_id)
    wait_for(lambda: demo.client.sessions.get(session_id).state.over, what="the end")
    wait_for(lambda: not processes_of(session_id), what="its processes to be gone")
    counted = await demo.sql(
        "SELECT count(*) FROM session_transitions WHERE session_id = $1 AND state = 'ended'",
        uuid.UUID(session_id),
    )
    assert counted[0]["count"] == 1


@pytest.mark.parametrize("failpoint", LAUNCH_POINTS)
async def test_launch_survives_a_kill_at(
    demo: Demo, client_thread: ThreadPoolExecutor, failpoint: str
) -> None:
    key = f"{failpoint}-{uuid.uuid4()}"
    service = service_of(failpoint)
    demo.running.arm(failpoint)

    work = client_thread.submit(
        persistently,
        lambda http: http.post(
            "/sessions", json={"app": "probe"}, headers={"Idempotency-Key": key}
        ),
        demo,
    )
    answer = crash_during(demo, service, work)

    await assert_runs_once(demo, key, answer)


@pytest.mark.parametrize("part", ["kafka", "postgres"])
async def test_launch_survives_a_kill_of(
    demo: Demo, client_thread: ThreadPoolExecutor, part: str
) -> None:
    key = f"{part}-{uuid.uuid4()}"
    demo.running.kill(part)

    work = client_thread.submit(
        persistently,
        lambda http: http.post(
            "/sessions", json={"app": "probe"}, headers={"Idempotency-Key": key}
        ),
        demo,
    )
    demo.running.restart(part)

    await assert_runs_once(demo, key, work.result(90))


def test_a_running_session_serves_on_while_the_control_plane_is_down(demo: Demo) -> None:
    session = demo.client.sessions.launch("probe")
    wait_for(lambda: demo.client.sessions.get(session.id).state is SessionState.RUNNING)
    ticket = demo.client.sessions.ticket(session.id)
    for part in ("scheduler", "kafka"):
        demo.running.kill(part)

    _, page = demo.open_session(ticket.url)

    assert page.status_code == 200
    for part in ("kafka", "scheduler"):
        demo.running.restart(part)
    demo.client.sessions.stop(session.id)
    wait_for(lambda: demo.client.sessions.get(session.id).state.over, seconds=60)


def test_a_session_whose_process_dies_is_told_as_failed_and_gives_its_place_back(
    demo: Demo,
) -> None:
    session = demo.client.sessions.launch("probe")
    wait_for(lambda: demo.client.sessions.get(session.id).state is SessionState.RUNNING)

    for process in processes_of(str(session.id)):
        process.kill()

    failed = wait_for(
        lambda: found if (found := demo.client.sessions.get(session.id)).state.over else None
    )
    assert failed.state is SessionState.FAILED
    assert failed.reason == "lost"


def test_a_process_that_nobody_wants_is_removed_when_the_scheduler_comes_back(demo: Demo) -> None:
    session = demo.client.sessions.launch("probe")
    wait_for(lambda: demo.client.sessions.get(session.id).state is SessionState.RUNNING)
    demo.running.kill("scheduler")
    demo.client.sessions.stop(session.id)
    wait_for(lambda: demo.client.sessions.get(session.id).state is SessionState.STOPPING)
    assert processes_of(str(session.id))

    demo.running.restart("scheduler")

    wait_for(lambda: demo.client.sessions.get(session.id).state is SessionState.ENDED)
    wait_for(lambda: not processes_of(str(session.id)), what="the orphan to be gone")
