"""The main job with everything in pods: the four services from their manifests, and sessions."""

import json
from collections import Counter

import pytest

from e2e_cluster.deployed import NAMESPACE, SESSIONS, Deployed
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import SessionState, SessionView, TaskView
from slipway_scheduler.kubernetes import labels
from support.kubectl import Manifest
from support.rights import NEEDED, SCHEDULER
from support.running_cluster import RunningCluster
from support.waiting import wait_for
from support.workloads import SERVICES

pytestmark = pytest.mark.timeout(900)
"""A cluster and four services have to start first, on a machine that does other things as well."""


SIGNS_OF_LIFE = {
    "accounts": "slipway_outbox_backlog",
    "gateway": "slipway_upload_bytes_total",
    "packager": "slipway_package_seconds_count",
    "scheduler": "slipway_sessions_wanted",
}
"""Service → a metric that is there as long as it lives, and that no other service tells."""


def running(deployed: Deployed, session: SessionView) -> SessionView:
    def look() -> SessionView | None:
        found = deployed.client.sessions.get(session.id)
        assert not found.state.over, (found.reason, found.message)
        return found if found.state is SessionState.RUNNING else None

    return wait_for(look, seconds=120, what="a session that runs")


def pod_of(deployed: Deployed, session: SessionView) -> Manifest:
    (pod,) = deployed.pods(selector=f"{labels.SESSION}={session.id}")
    return pod


def stop(deployed: Deployed, session: SessionView) -> None:
    deployed.client.sessions.stop(session.id)
    wait_for(
        lambda: deployed.client.sessions.get(session.id).state.over, seconds=60, what="its end"
    )


def gone(deployed: Deployed) -> bool:
    """Whether nothing of any session is left."""
    secrets = deployed.kubectl.list("secrets", namespace=SESSIONS)
    return not deployed.pods() and not secrets


def test_an_app_is_launched_in_a_pod_and_reached_through_the_gateway_s_service(
    deployed: Deployed,
) -> None:
    session = deployed.client.sessions.launch("depots")
    found = running(deployed, session)

    pod = pod_of(deployed, session)
    host, page = deployed.open_session(deployed.client.sessions.ticket(session.id).url)

    assert page.status_code == 200
    assert "Depots" in page.text
    assert host == f"{session.id}.sessions.localhost"
    assert found.node == pod["spec"]["nodeName"]
    assert pod["spec"]["serviceAccountName"] == "slipway-session"
    stop(deployed, session)
    assert deployed.client.sessions.get(session.id).reason == "stopped"
    wait_for(lambda: gone(deployed), seconds=60, what="the end of all pods and secrets")


def test_a_task_is_solved_in_a_pod(deployed: Deployed) -> None:
    task = deployed.client.tasks.start("depots", "solve", {"most_cities": 20})

    def over() -> TaskView | None:
        found = deployed.client.tasks.get(task.id)
        return found if found.state.over else None

    done = wait_for(over, seconds=180, what="the end of the task")

    assert (done.state, done.outcome) == (TaskState.COMPLETED, "completed")
    assert deployed.client.tasks.response(task.id)["depots"]
    assert done.session_id is not None
    session = deployed.client.sessions.get(done.session_id)
    assert pod_of(deployed, session)["status"]["phase"] == "Running"
    stop(deployed, session)
    wait_for(lambda: gone(deployed), seconds=60, what="the end of all pods and secrets")


def test_the_containers_run_as_the_manifests_say(deployed: Deployed) -> None:
    for service in SERVICES:
        script = (
            "import os; print(os.getuid(), os.access('/', os.W_OK)); "
            "print(open('/proc/self/status').read())"
        )
        said = deployed.in_service(service, "/opt/slipway/bin/python", "-c", script)

        assert said.startswith("10001 False")
        effective = next(line for line in said.splitlines() if line.startswith("CapEff"))
        assert int(effective.split()[1], 16) == 0
        assert "Seccomp:\t2" in said
        assert "NoNewPrivs:\t1" in said


def test_only_the_scheduler_finds_a_token_of_the_api_server(deployed: Deployed) -> None:
    place = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    script = f"import os; print(os.path.exists('{place}'))"

    found = {
        service: deployed.in_service(service, "/opt/slipway/bin/python", "-c", script).strip()
        for service in SERVICES
    }

    assert found == dict.fromkeys(SERVICES, "False") | {"scheduler": "True"}


def test_no_secret_stands_in_an_environment_or_an_argument(deployed: Deployed) -> None:
    secrets = {
        path.read_text().strip()
        for path in deployed.running.stack.secrets.folder.iterdir()
        if path.is_file() and "runner-verification" not in path.name and path.suffix != ".pem"
    }
    script = "print(open('/proc/1/environ').read(), open('/proc/1/cmdline').read())"
    for service in SERVICES:
        said = deployed.in_service(service, "/opt/slipway/bin/python", "-c", script)
        assert not any(secret in said for secret in secrets)


def test_an_operator_makes_an_account_from_a_password_that_is_in_no_argument(
    deployed: Deployed,
) -> None:
    password = "a password that came by a pipe"
    deployed.in_service(
        "accounts",
        *("/opt/slipway/bin/python", "-m", "slipway_accounts"),
        *("create-account", "acme", "--admin", "ann", "--password-file", "/dev/stdin"),
        *("--session-limit", "2"),
        stdin=password,
    )

    person = deployed.log_on("acme", "ann", password)

    assert list(person.client.sessions.list()) == []
    person.client.close()


def test_metrics_are_served_where_the_annotations_say(deployed: Deployed) -> None:
    for pod in deployed.pods(NAMESPACE):
        notes = pod["metadata"]["annotations"]
        url = f"http://127.0.0.1:{notes['prometheus.io/port']}/metrics"
        script = f"import urllib.request as r; print(r.urlopen('{url}').read().decode())"
        service = pod["metadata"]["labels"]["app.kubernetes.io/name"]

        said = deployed.in_service(service, "/opt/slipway/bin/python", "-c", script)

        told = {each for each, metric in SIGNS_OF_LIFE.items() if metric in said}
        assert told == {service}


@pytest.mark.parametrize("service", ["scheduler", "gateway", "accounts"])
def test_a_new_release_of_a_service_is_not_noticed(deployed: Deployed, service: str) -> None:
    """Restarted as for a new release, while a session is in use and somebody looks at it."""
    session = deployed.client.sessions.launch("depots")
    running(deployed, session)
    before = pod_of(deployed, session)["metadata"]["uid"]
    kind = "statefulset" if service == "scheduler" else "deployment"

    deployed.kubectl.run("rollout", "restart", f"{kind}/slipway-{service}", namespace=NAMESPACE)
    answers = Counter[int]()
    while not deployed.is_rolled_out(service):
        with deployed.http() as http:
            answers[http.get(f"/sessions/{session.id}").status_code] += 1

    assert set(answers) == {200}
    assert pod_of(deployed, session)["metadata"]["uid"] == before
    _, page = deployed.open_session(deployed.client.sessions.ticket(session.id).url)
    assert "Depots" in page.text
    stop(deployed, session)
    wait_for(lambda: gone(deployed), seconds=60, what="the end of all pods and secrets")


def test_sessions_are_reached_while_kafka_is_away(deployed: Deployed) -> None:
    session = deployed.client.sessions.launch("depots")
    running(deployed, session)

    deployed.running.kill("kafka")
    # By then the kubelet has asked all of them, and more than once.
    wait_for(lambda: not deployed.is_ready("scheduler"), seconds=90, what="an unready scheduler")
    _, page = deployed.open_session(deployed.client.sessions.ticket(session.id).url)

    assert "Depots" in page.text
    assert deployed.is_ready("gateway")
    assert deployed.is_ready("accounts")
    deployed.running.restart("kafka")
    for service in SERVICES:
        wait_for(lambda name=service: deployed.is_ready(name), seconds=90, what=f"{service} ready")
    stop(deployed, session)
    wait_for(lambda: gone(deployed), seconds=60, what="the end of all pods and secrets")


def test_the_scheduler_asked_for_what_its_rights_name_and_was_refused_nothing(
    deployed: Deployed, cluster: RunningCluster
) -> None:
    """By the API server's own record of all that happened above."""
    lines = cluster.cluster.audit_log.read_text().splitlines()
    asked = [one for one in map(json.loads, lines) if one["user"]["username"] == SCHEDULER]
    done = {
        (
            one["verb"],
            one["objectRef"].get("apiGroup", ""),
            one["objectRef"]["resource"],
            one["objectRef"].get("namespace"),
        )
        for one in asked
        if "objectRef" in one
    }

    assert [one for one in asked if one["responseStatus"].get("code") in {401, 403}] == []
    assert done <= {(one.verb, one.group, one.resource, one.namespace) for one in NEEDED}
    assert {("create", "", "pods", SESSIONS), ("create", "", "secrets", SESSIONS)} <= done
