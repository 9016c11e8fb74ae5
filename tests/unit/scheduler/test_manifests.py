"""What is made for a session: the same to the letter as in ``tests/data/pods``, and no more.

After a change that is meant, ``UPDATE_GOLDEN=1 pytest tests/unit/scheduler/test_manifests.py``
writes those files anew; what has changed in them is then part of the change to be read.
"""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_common.contracts.sessions import ExternalService, Resources, SessionKind, SessionWanted
from slipway_common.errors import PermanentError
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.manifests import (
    Manifest,
    Template,
    member_pod,
    member_secret,
    session_pod,
    session_secret,
)
from slipway_scheduler.units.pods import pool_of
from slipway_scheduler.warm.condition import START_SECONDS
from support.kubernetes.restricted import violations

GOLDEN = Path(__file__).parents[2] / "data" / "pods"
UPDATE = "UPDATE_GOLDEN"

TEMPLATE = Template(
    namespace="slipway-sessions",
    image="registry.example/slipway-runner:1.0.0",
    gateway_url="http://gateway.slipway.svc:8082",
)
IN_POOLS = replace(TEMPLATE, node_pools={"standard": "general", "large": "memory"})
SECRET_UID = "0c1c9d3a-55a7-44fd-9c6e-8a7f1b6f0000"
LARGE = Resources(profile="large", memory_mib=16384, cpu_millis=4000, processes=512, disk_mib=20480)
SERVICE = ExternalService(
    image="registry.example/notebook:7.2@sha256:0f",
    port=8888,
    command=("start-notebook", "--no-browser"),
    environment={"THEME": "light", "CACHE": "off"},
    resources=Resources(profile="notebook", memory_mib=4096, cpu_millis=2000),
)


def wanted(kind: SessionKind = SessionKind.WEBUI, **more: Any) -> SessionWanted:
    return SessionWanted.model_validate(
        {
            "account_id": "acc00000-0000-4000-8000-000000000001",
            "session_id": "5e551011-0000-4000-8000-000000000001",
            "kind": kind,
            "app_name": "depots",
            "app_version": "1.2.3",
            "runtime": "1.0.0.1-linux64-x64",
            "admitted_at": "2026-03-02T09:00:00Z",
        }
        | more
    )


def pod_of(session: SessionWanted, template: Template = TEMPLATE) -> Manifest:
    return session_pod(session, template, secret_uid=SECRET_UID, pool=pool_of(session))


def member(template: Template = TEMPLATE, resources: Resources | None = None) -> Manifest:
    return member_pod(
        "member-0123456789abcdef0123",
        template,
        secret_uid=SECRET_UID,
        account_id=UUID("acc00000-0000-4000-8000-000000000001"),
        pool="0f" * 16,
        resources=resources or Resources(),
        revision="r1",
        start_seconds=START_SECONDS,
    )


EXTERNAL_SESSION = wanted(
    SessionKind.EXTERNAL,
    runtime="",
    app_name="notebook",
    app_version="7.2",
    external=SERVICE.model_dump(),
    resources=SERVICE.resources.model_dump(),
)
CASES: dict[str, Manifest] = {
    "webui": pod_of(wanted()),
    "solve": pod_of(wanted(SessionKind.SOLVE, idle_seconds=60)),
    "task": pod_of(wanted(SessionKind.TASK, max_seconds=3600, start_timeout_seconds=60)),
    "external": pod_of(EXTERNAL_SESSION),
    "webui-large-in-its-node-pool": pod_of(wanted(resources=LARGE.model_dump()), IN_POOLS),
    "webui-behind-a-stronger-wall": pod_of(wanted(), replace(TEMPLATE, runtime_class="gvisor")),
    "webui-without-disk-limits": pod_of(wanted(), replace(TEMPLATE, disk_limits=False)),
    "external-in-its-node-pool-without-disk-limits": pod_of(
        EXTERNAL_SESSION, replace(TEMPLATE, disk_limits=False, node_pools={"notebook": "general"})
    ),
    "member": member(),
    "member-large-in-its-node-pool": member(IN_POOLS, LARGE),
    "secret-of-a-session": session_secret(
        wanted(), TEMPLATE, token="token", unit="member-01/0c1c9d3a-55a7-44fd-9c6e-8a7f1b6f0001"
    ),
    "secret-of-a-member": member_secret(
        "member-01", TEMPLATE, token="token", activation_key=b"\x01" * 32
    ),
}


def written(manifest: Manifest) -> str:
    return json.dumps(manifest, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("name", CASES)
def test_a_manifest_is_as_it_was_agreed(name: str) -> None:
    path = GOLDEN / f"{name}.json"
    if os.environ.get(UPDATE) == "1":
        path.write_text(written(CASES[name]))

    assert written(CASES[name]) == path.read_text()


def test_nothing_is_kept_that_no_manifest_is_held_to() -> None:
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(CASES)


@pytest.mark.parametrize("name", [name for name in CASES if CASES[name]["kind"] == "Pod"])
def test_a_pod_keeps_to_the_restricted_profile_and_mounts_no_token(name: str) -> None:
    pod = CASES[name]

    assert violations(pod) == []
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["enableServiceLinks"] is False
    containers = [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]
    for container in containers:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["resources"]["limits"] == container["resources"]["requests"]


def test_a_session_is_not_to_be_moved_and_a_member_is() -> None:
    autoscaler = "cluster-autoscaler.kubernetes.io/safe-to-evict"

    assert CASES["webui"]["metadata"]["annotations"][autoscaler] == "false"
    assert CASES["member"]["metadata"]["annotations"][autoscaler] == "true"


def test_a_profile_without_a_node_pool_goes_to_any_node() -> None:
    spec = pod_of(wanted(), replace(TEMPLATE, node_pools={"large": "memory"}))["spec"]

    assert "nodeSelector" not in spec
    assert {each["effect"] for each in spec["tolerations"]} == {"NoExecute"}


def test_kubernetes_itself_ends_what_is_past_its_limit_when_no_scheduler_does() -> None:
    session = wanted(max_seconds=3600, start_timeout_seconds=60)

    assert pod_of(session)["spec"]["activeDeadlineSeconds"] > 3660


def test_the_container_of_an_external_session_gets_its_own_figures_and_the_runner_few() -> None:
    spec = CASES["external"]["spec"]
    [runner], [external] = spec["containers"], spec["initContainers"]

    assert external["resources"]["limits"]["memory"] == "4096Mi"
    assert runner["resources"]["limits"]["memory"] == "256Mi"
    assert external["restartPolicy"] == "Always"
    assert "env" in external
    assert all(each["name"] != "SLIPWAY_RUNNER_TOKEN_FILE" for each in external["env"])
    mounted = {mount["name"] for mount in external["volumeMounts"]}
    assert mounted == {"external"}


def test_only_an_external_session_brings_a_container_of_its_own() -> None:
    odd = wanted(external=SERVICE.model_dump())

    assert "initContainers" not in pod_of(odd)["spec"]


def test_a_container_that_wants_the_runners_own_port_cannot_run_beside_it() -> None:
    clash = SERVICE.model_copy(update={"port": 8080}).model_dump()

    with pytest.raises(PermanentError, match="8080"):
        pod_of(wanted(SessionKind.EXTERNAL, runtime="", external=clash))


# Whatever users choose


CANARY = "canary7f3a"
_HOSTILE = st.text(max_size=20).map(lambda text: f"{text}{CANARY}{text}")
_PROFILES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True)
_FIGURES = st.integers(1, 2**31 - 1)
_RESOURCES = st.builds(
    Resources,
    profile=_PROFILES,
    memory_mib=_FIGURES,
    cpu_millis=_FIGURES,
    processes=_FIGURES,
    disk_mib=_FIGURES,
)
_SESSIONS = st.builds(
    SessionWanted,
    account_id=st.uuids(version=4),
    session_id=st.uuids(version=4),
    kind=st.sampled_from([SessionKind.WEBUI, SessionKind.SOLVE, SessionKind.TASK]),
    app_name=_HOSTILE,
    app_version=_HOSTILE,
    runtime=_HOSTILE,
    resources=_RESOURCES,
    start_timeout_seconds=st.integers(1, 2**40),
    max_seconds=st.integers(1, 2**40),
    idle_seconds=st.integers(1, 2**40),
    admitted_at=st.just(wanted().admitted_at),
)


@given(session=_SESSIONS)
def test_of_what_users_choose_only_ids_and_figures_are_in_a_manifest(
    session: SessionWanted,
) -> None:
    pod = pod_of(session, IN_POOLS)
    secret = session_secret(session, TEMPLATE, token="token", unit="session-1")

    for manifest in (pod, secret):
        assert CANARY not in json.dumps(manifest)
    plain = pod_of(
        session.model_copy(update={"app_name": "x", "app_version": "x"}),
        IN_POOLS,
    )
    assert plain == pod


@given(session=_SESSIONS)
def test_whatever_users_choose_the_pod_is_shaped_alike_and_can_be_admitted(
    session: SessionWanted,
) -> None:
    pod = pod_of(session)

    assert _shape(pod) == _shape(CASES[session.kind])
    assert violations(pod) == []
    for value in pod["metadata"]["labels"].values():
        assert len(value) <= 63
    assert len(pod["metadata"]["name"]) <= 63
    probe = pod["spec"]["containers"][0]["startupProbe"]
    for figure in (pod["spec"]["activeDeadlineSeconds"], probe["failureThreshold"]):
        assert 1 <= figure < 2**31


def _shape(value: Any) -> Any:
    """The same with every text and figure taken out."""
    match value:
        case dict():
            return {key: _shape(each) for key, each in value.items()}
        case list():
            return [_shape(each) for each in value]
        case _:
            return type(value).__mro__[-2]


def test_what_a_pod_is_allowed_to_say_is_a_list_that_somebody_read() -> None:
    """Every path of every manifest; a new one has to be added here, and thought about."""
    found: set[str] = set()
    for manifest in CASES.values():
        if manifest["kind"] == "Pod":
            found |= set(_paths(manifest["spec"]))

    assert found == {
        "activeDeadlineSeconds",
        "automountServiceAccountToken",
        "containers.env.name",
        "containers.env.value",
        "containers.image",
        "containers.imagePullPolicy",
        "containers.name",
        "containers.ports.containerPort",
        "containers.ports.name",
        "containers.ports.protocol",
        "containers.resources.limits.cpu",
        "containers.resources.limits.ephemeral-storage",
        "containers.resources.limits.memory",
        "containers.resources.requests.cpu",
        "containers.resources.requests.ephemeral-storage",
        "containers.resources.requests.memory",
        "containers.securityContext.allowPrivilegeEscalation",
        "containers.securityContext.capabilities.drop",
        "containers.securityContext.readOnlyRootFilesystem",
        "containers.startupProbe.failureThreshold",
        "containers.startupProbe.httpGet.path",
        "containers.startupProbe.httpGet.port",
        "containers.startupProbe.periodSeconds",
        "containers.startupProbe.timeoutSeconds",
        "containers.terminationMessagePath",
        "containers.volumeMounts.mountPath",
        "containers.volumeMounts.name",
        "containers.volumeMounts.readOnly",
        "enableServiceLinks",
        "initContainers.command",
        "initContainers.env.name",
        "initContainers.env.value",
        "initContainers.image",
        "initContainers.imagePullPolicy",
        "initContainers.name",
        "initContainers.resources.limits.cpu",
        "initContainers.resources.limits.ephemeral-storage",
        "initContainers.resources.limits.memory",
        "initContainers.resources.requests.cpu",
        "initContainers.resources.requests.ephemeral-storage",
        "initContainers.resources.requests.memory",
        "initContainers.restartPolicy",
        "initContainers.securityContext.allowPrivilegeEscalation",
        "initContainers.securityContext.capabilities.drop",
        "initContainers.securityContext.readOnlyRootFilesystem",
        "initContainers.volumeMounts.mountPath",
        "initContainers.volumeMounts.name",
        f"nodeSelector.{labels.prefixed('pool')}",
        "priorityClassName",
        "restartPolicy",
        "runtimeClassName",
        "securityContext.fsGroup",
        "securityContext.fsGroupChangePolicy",
        "securityContext.runAsGroup",
        "securityContext.runAsNonRoot",
        "securityContext.runAsUser",
        "securityContext.seccompProfile.type",
        "serviceAccountName",
        "terminationGracePeriodSeconds",
        "tolerations.effect",
        "tolerations.key",
        "tolerations.operator",
        "tolerations.tolerationSeconds",
        "tolerations.value",
        f"topologySpreadConstraints.labelSelector.matchLabels.{labels.ROLE}",
        "topologySpreadConstraints.maxSkew",
        "topologySpreadConstraints.topologyKey",
        "topologySpreadConstraints.whenUnsatisfiable",
        "volumes.emptyDir",
        "volumes.emptyDir.sizeLimit",
        "volumes.name",
        "volumes.projected.defaultMode",
        "volumes.projected.sources.secret.name",
    }


def _paths(value: Any, path: str = "") -> list[str]:
    match value:
        case dict() if value:
            return [
                found
                for key, each in value.items()
                for found in _paths(each, f"{path}.{key}".lstrip("."))
            ]
        case list() if value and isinstance(value[0], dict):
            return [found for each in value for found in _paths(each, path)]
        case _:
            return [path]


# Members


def test_a_claim_gives_a_member_all_that_makes_a_session() -> None:
    session, waiting = CASES["webui"]["metadata"], CASES["member"]["metadata"]

    assert session["labels"].keys() - waiting["labels"].keys() == {labels.SESSION, labels.KIND}
    assert waiting["labels"][labels.ROLE] == labels.MEMBER_ROLE
    assert waiting["finalizers"] == []
    assert session["finalizers"] == [labels.FINALIZER]


def test_a_member_has_the_resources_of_the_sessions_that_it_can_become() -> None:
    session = pod_of(wanted(resources=LARGE.model_dump()), IN_POOLS)["spec"]
    waiting = CASES["member-large-in-its-node-pool"]["spec"]

    assert waiting["containers"][0]["resources"] == session["containers"][0]["resources"]
    assert waiting["nodeSelector"] == session["nodeSelector"]
    assert waiting["tolerations"] == session["tolerations"]
