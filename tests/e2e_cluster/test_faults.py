"""Faults and harmful apps on a real node: what must end does, with its reason."""

import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from e2e_cluster.pods_demo import Pods, reach
from slipway_common.contracts.views import SessionState, SessionView
from support.demo import Demo
from support.running_cluster import RunningCluster
from support.waiting import wait_for

RUNNING, ENDED, FAILED = SessionState.RUNNING, SessionState.ENDED, SessionState.FAILED

GRACE_SECONDS = 10
NODE_SECONDS = 90
"""A node that hangs is noticed after 20 s, and given up after 20 more."""

NOSY = """
class Door(BaseModel):
    url: str


@app.service("looks", title="Looks for a way out")
def looks(run: Run, inputs: Door) -> dict[str, object]:
    import pathlib
    import ssl
    import urllib.error
    import urllib.request

    anybody = ssl._create_unverified_context()

    def asked(path: str) -> int:
        try:
            with urllib.request.urlopen(inputs.url + path, timeout=10, context=anybody) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def writable(folder: str) -> bool:
        return os.access(folder, os.W_OK)

    status = pathlib.Path("/proc/self/status").read_text()
    return {
        "answers": [
            asked("/api/v1/namespaces/slipway-sessions/" + kind) for kind in ("pods", "secrets")
        ],
        "tokens": [str(found) for found in pathlib.Path("/").glob("var/run/secrets/**/token")],
        "writable": [each for each in ("/", "/etc", "/opt", "/usr") if writable(each)],
        "user": os.getuid(),
        "capabilities": status.partition("CapEff:")[2].split()[0],
        "privileges": status.partition("NoNewPrivs:")[2].split()[0],
    }


"""


def launched(demo: Demo, app: str = "probe") -> SessionView:
    return reach(demo, demo.client.sessions.launch(app), RUNNING)


def is_gone(pods: Pods, session: SessionView) -> bool:
    return pods.of(session.id) is None and not pods.secrets_of(session.id)


async def times_over(demo: Demo, session: SessionView) -> int:
    """How often it was noted to be over, and its place given back."""
    [row] = await demo.sql(
        "SELECT count(*) FROM session_transitions"
        " WHERE session_id = $1 AND state IN ('ended', 'failed')",
        session.id,
    )
    count: int = row["count"]
    return count


async def test_a_stop_is_carried_out_though_all_services_were_killed_after_it(
    demo: Demo, pods: Pods
) -> None:
    session = launched(demo)
    demo.running.kill("scheduler")
    demo.client.sessions.stop(session.id)
    for service in ("accounts", "gateway", "packager"):
        demo.running.kill(service)
    pod = pods.of(session.id)
    assert pod is not None
    assert "deletionTimestamp" not in pod["metadata"]

    for service in ("accounts", "gateway", "packager", "scheduler"):
        demo.running.restart(service)
    began = time.monotonic()

    ended = reach(demo, session, ENDED, seconds=GRACE_SECONDS + 30)
    assert ended.reason == "stopped"
    wait_for(lambda: is_gone(pods, session), what="the end of pod and secret")
    print(f"ended, and gone, {time.monotonic() - began:.1f} s after the services were back")
    assert await times_over(demo, session) == 1


@pytest.mark.timeout(400)
async def test_sessions_on_a_node_that_hangs_fail_and_what_returns_of_them_is_ended(
    demo: Demo, pods: Pods, cluster: RunningCluster
) -> None:
    sessions = [launched(demo) for _ in range(2)]
    addresses = [pod["status"]["podIP"] for session in sessions if (pod := pods.of(session.id))]
    assert all(map(answers, addresses))
    cluster.call(cluster.cluster.pause("node"))
    began = time.monotonic()
    try:
        for session in sessions:
            failed = reach(demo, session, FAILED, seconds=NODE_SECONDS)
            assert failed.reason == "node-lost"
        print(f"failed {time.monotonic() - began:.1f} s after their node hung")
    finally:
        cluster.call(cluster.cluster.resume("node"))

    for session, address in zip(sessions, addresses, strict=True):
        wait_for(lambda of=session: is_gone(pods, of), seconds=60, what="the end of the pod")
        wait_for(lambda at=address: not answers(at), seconds=60, what="the end of its containers")
        assert await times_over(demo, session) == 1
    # The node is used again.
    after = reach(demo, demo.client.sessions.launch("probe"), RUNNING, seconds=120)
    demo.client.sessions.stop(after.id)
    reach(demo, after, ENDED)


def answers(address: str) -> bool:
    """Whether a runner still listens there."""
    try:
        return httpx2.get(f"http://{address}:8080/_slipway/live", timeout=2).status_code == 200
    except httpx2.TransportError:
        return False


def test_an_app_finds_no_way_into_the_cluster_and_no_rights_in_its_container(
    demo: Demo, probe: Path, cluster: RunningCluster
) -> None:
    """The network here lets it through to the API server, which gives it nothing."""
    before = "class Size(BaseModel):"
    nosy = demo.copy_of(probe, version="1.0.0", name="nosy", **{before: NOSY + before})
    manifest = nosy / "slipway.toml"
    manifest.write_text(manifest.read_text() + '\n[[services]]\nname = "looks"\n')
    demo.publish_app(nosy)

    found: Any = demo.client.tasks.run("nosy", "looks", {"url": cluster.cluster.api.server})

    assert set(found["answers"]) <= {401, 403}
    assert found["tokens"] == []
    assert found["writable"] == []
    assert found["user"] == 10001
    assert int(found["capabilities"], 16) == 0
    assert found["privileges"] == "1"
