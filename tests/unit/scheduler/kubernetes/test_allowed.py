"""The two judges of pods find what is wrong with one; each seeded wrong is found by name."""

import copy
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from slipway_common.contracts.base import utc_now
from slipway_common.contracts.sessions import (
    ExternalService,
    Resources,
    SessionKind,
    SessionWanted,
)
from slipway_scheduler.kubernetes.manifests import Template, member_pod, session_pod
from support.kubernetes.allowed import disallowed
from support.kubernetes.restricted import violations

ACCOUNT = UUID("acc00000-0000-4000-8000-000000000001")
SESSION = UUID("5e551011-0000-4000-8000-000000000001")
SECRET = "0c1c9d3a-55a7-44fd-9c6e-8a7f1b6f0000"
TEMPLATE = Template(
    namespace="sessions",
    image="runner:1",
    gateway_url="http://gateway",
    runtime_class="gvisor",
    node_pools={"standard": "general"},
)
Change = Callable[[dict[str, Any]], Any]


def wanted(kind: SessionKind) -> SessionWanted:
    external = ExternalService(image="notebook:1", port=8888, command=("a",), environment={"A": ""})
    return SessionWanted(
        account_id=ACCOUNT,
        session_id=SESSION,
        kind=kind,
        app_name="depots",
        app_version="1",
        runtime="1.0.0.1-linux64-x64",
        external=external if kind is SessionKind.EXTERNAL else None,
        admitted_at=utc_now(),
    )


def pod(kind: SessionKind = SessionKind.EXTERNAL) -> dict[str, Any]:
    return session_pod(wanted(kind), TEMPLATE, secret_uid=SECRET, pool="0f" * 16)


def member() -> dict[str, Any]:
    return member_pod(
        "member-0123456789",
        TEMPLATE,
        secret_uid=SECRET,
        account_id=ACCOUNT,
        pool="0f" * 16,
        resources=Resources(),
        revision="r1",
        start_seconds=60,
    )


@pytest.mark.parametrize("kind", SessionKind)
def test_a_sessions_pod_is_allowed_and_restricted(kind: SessionKind) -> None:
    assert disallowed(pod(kind)) == []
    assert violations(pod(kind)) == []


def test_a_member_is_allowed_and_restricted() -> None:
    assert disallowed(member()) == []
    assert violations(member()) == []


def runner(found: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = found["spec"]["containers"][0]
    return container


def external(found: dict[str, Any]) -> dict[str, Any]:
    container: dict[str, Any] = found["spec"]["initContainers"][0]
    return container


TOKEN = {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}
FROM_SECRET = {"secretKeyRef": {"name": "other", "key": "token"}}
HOST_PROBE = {"httpGet": {"path": "/", "port": 80, "host": "169.254.169.254"}}

SEEDED: dict[str, tuple[str, bool, Change]] = {
    # What is done → the path at which it is found, and whether ``restricted`` finds it as well.
    "a path of the host": (
        "spec.volumes[3].hostPath",
        True,
        lambda p: p["spec"]["volumes"].append({"name": "v", "hostPath": {"path": "/"}}),
    ),
    "a claim on a disk": (
        "spec.volumes[3].persistentVolumeClaim",
        False,
        lambda p: p["spec"]["volumes"].append(
            {"name": "v", "persistentVolumeClaim": {"claimName": "c"}}
        ),
    ),
    "a token of its own": (
        "spec.volumes[1].projected.sources[1].serviceAccountToken",
        False,
        lambda p: p["spec"]["volumes"][1]["projected"]["sources"].append(TOKEN),
    ),
    "a token that is mounted": (
        "spec.automountServiceAccountToken='True'",
        False,
        lambda p: p["spec"].update(automountServiceAccountToken=True),
    ),
    "a secret as a volume": (
        "spec.volumes[3].secret",
        False,
        lambda p: p["spec"]["volumes"].append({"name": "v", "secret": {"secretName": "s"}}),
    ),
    "a secret in the environment": (
        "spec.containers[0].env[0].valueFrom",
        False,
        lambda p: runner(p)["env"][0].update(valueFrom=FROM_SECRET),
    ),
    "an environment from a secret": (
        "spec.containers[0].envFrom",
        False,
        lambda p: runner(p).update(envFrom=[{"secretRef": {"name": "other"}}]),
    ),
    "privileges": (
        "spec.containers[0].securityContext.privileged",
        True,
        lambda p: runner(p)["securityContext"].update(privileged=True),
    ),
    "privileges beside": (
        "spec.initContainers[0].securityContext.privileged",
        True,
        lambda p: external(p)["securityContext"].update(privileged=True),
    ),
    "a way to privileges": (
        "spec.containers[0].securityContext.allowPrivilegeEscalation='True'",
        True,
        lambda p: runner(p)["securityContext"].update(allowPrivilegeEscalation=True),
    ),
    "a capability": (
        "spec.containers[0].securityContext.capabilities.add",
        True,
        lambda p: runner(p)["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
    ),
    "a harmless capability": (
        "spec.containers[0].securityContext.capabilities.add",
        False,
        lambda p: runner(p)["securityContext"]["capabilities"].update(add=["NET_BIND_SERVICE"]),
    ),
    "some capabilities kept": (
        "spec.containers[0].securityContext.capabilities.drop[0]='NET_RAW'",
        True,
        lambda p: runner(p)["securityContext"]["capabilities"].update(drop=["NET_RAW"]),
    ),
    "a root file system to write": (
        "spec.containers[0].securityContext.readOnlyRootFilesystem='False'",
        False,
        lambda p: runner(p)["securityContext"].update(readOnlyRootFilesystem=False),
    ),
    "root": (
        "spec.securityContext.runAsUser='0'",
        True,
        lambda p: p["spec"]["securityContext"].update(runAsUser=0),
    ),
    "root in one container": (
        "spec.initContainers[0].securityContext.runAsUser",
        True,
        lambda p: external(p)["securityContext"].update(runAsUser=0),
    ),
    "root as a truth value": (
        "spec.securityContext.runAsUser='True'",
        False,
        lambda p: p["spec"]["securityContext"].update(runAsUser=True),
    ),
    "any user": (
        "spec.securityContext.runAsNonRoot is missing",
        True,
        lambda p: p["spec"]["securityContext"].pop("runAsNonRoot"),
    ),
    "any system call": (
        "spec.securityContext.seccompProfile.type='Unconfined'",
        True,
        lambda p: p["spec"]["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    ),
    "no word on system calls": (
        "spec.securityContext.seccompProfile.type is missing",
        True,
        lambda p: p["spec"]["securityContext"].pop("seccompProfile"),
    ),
    "any system call in one container": (
        "spec.containers[0].securityContext.seccompProfile",
        True,
        lambda p: runner(p)["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    ),
    "a kernel setting": (
        "spec.securityContext.sysctls",
        True,
        lambda p: p["spec"]["securityContext"].update(
            sysctls=[{"name": "kernel.msgmax", "value": "1"}]
        ),
    ),
    "a label of SELinux": (
        "spec.securityContext.seLinuxOptions",
        True,
        lambda p: p["spec"]["securityContext"].update(seLinuxOptions={"type": "spc_t"}),
    ),
    "another profile of AppArmor": (
        "spec.containers[0].securityContext.appArmorProfile",
        True,
        lambda p: runner(p)["securityContext"].update(appArmorProfile={"type": "Unconfined"}),
    ),
    "an unmasked proc": (
        "spec.containers[0].securityContext.procMount",
        True,
        lambda p: runner(p)["securityContext"].update(procMount="Unmasked"),
    ),
    "the network of the host": (
        "spec.hostNetwork",
        True,
        lambda p: p["spec"].update(hostNetwork=True),
    ),
    "the processes of the host": ("spec.hostPID", True, lambda p: p["spec"].update(hostPID=True)),
    "the memory of the host": ("spec.hostIPC", True, lambda p: p["spec"].update(hostIPC=True)),
    "a port of the host": (
        "spec.containers[0].ports[0].hostPort",
        True,
        lambda p: runner(p)["ports"][0].update(hostPort=8080),
    ),
    "a probe of another host": (
        "spec.containers[0].livenessProbe",
        True,
        lambda p: runner(p).update(livenessProbe=HOST_PROBE),
    ),
    "a probe that runs a command": (
        "spec.containers[0].startupProbe.exec",
        False,
        lambda p: runner(p)["startupProbe"].update(exec={"command": ["sh"]}),
    ),
    "a hook that calls another host": (
        "spec.containers[0].lifecycle",
        True,
        lambda p: runner(p).update(lifecycle={"preStop": HOST_PROBE}),
    ),
    "processes in common": (
        "spec.shareProcessNamespace",
        False,
        lambda p: p["spec"].update(shareProcessNamespace=True),
    ),
    "a container for debugging": (
        "spec.ephemeralContainers",
        True,
        lambda p: p["spec"].update(ephemeralContainers=[{"name": "debug", "image": "i"}]),
    ),
    "a container more that is not confined": (
        "spec.containers[1].args",
        True,
        lambda p: p["spec"]["containers"].append({"name": "more", "image": "i", "args": []}),
    ),
    "an account with rights": (
        "spec.serviceAccount",
        False,
        lambda p: p["spec"].update(serviceAccount="admin"),
    ),
    "a node that is named": (
        "spec.nodeName",
        False,
        lambda p: p["spec"].update(nodeName="control-plane"),
    ),
    "a scheduler of another": (
        "spec.schedulerName",
        False,
        lambda p: p["spec"].update(schedulerName="mine"),
    ),
    "every taint tolerated": (
        "spec.tolerations[3].key='None'",
        False,
        lambda p: p["spec"]["tolerations"].append({"key": None, "operator": "Exists"}),
    ),
    "a container that starts again": (
        "spec.restartPolicy='Always'",
        False,
        lambda p: p["spec"].update(restartPolicy="Always"),
    ),
    "names of services": (
        "spec.enableServiceLinks='True'",
        False,
        lambda p: p["spec"].update(enableServiceLinks=True),
    ),
    "no word on names of services": (
        "spec.enableServiceLinks is missing",
        False,
        lambda p: p["spec"].pop("enableServiceLinks"),
    ),
    "names of hosts": (
        "spec.hostAliases",
        False,
        lambda p: p["spec"].update(hostAliases=[{"ip": "1.2.3.4", "hostnames": ["gateway"]}]),
    ),
    "servers of names": (
        "spec.dnsConfig",
        False,
        lambda p: p["spec"].update(dnsConfig={"nameservers": ["1.2.3.4"]}),
    ),
    "a password for images": (
        "spec.imagePullSecrets",
        False,
        lambda p: p["spec"].update(imagePullSecrets=[{"name": "s"}]),
    ),
    "no limit of scratch space, but memory": (
        "spec.volumes[0].emptyDir.medium",
        False,
        lambda p: p["spec"]["volumes"][0]["emptyDir"].update(medium="Memory"),
    ),
    "a mount where it does not belong": (
        "spec.containers[0].volumeMounts[0].mountPath='/etc'",
        False,
        lambda p: runner(p)["volumeMounts"][0].update(mountPath="/etc"),
    ),
    "a mount that others see": (
        "spec.containers[0].volumeMounts[0].mountPropagation",
        False,
        lambda p: runner(p)["volumeMounts"][0].update(mountPropagation="Bidirectional"),
    ),
    "a device": (
        "spec.containers[0].resources.limits.vendor.example/gpu",
        False,
        lambda p: runner(p)["resources"]["limits"].update({"vendor.example/gpu": "1"}),
    ),
    "a label of somebody else": (
        "metadata.labels.app",
        False,
        lambda p: p["metadata"]["labels"].update(app="gateway"),
    ),
    "a label with a text of a user": (
        "metadata.labels.slipway.dev/session='depots'",
        False,
        lambda p: p["metadata"]["labels"].update({"slipway.dev/session": "depots"}),
    ),
    "an annotation of somebody else": (
        "metadata.annotations.container.apparmor.security.beta.kubernetes.io/runner",
        True,
        lambda p: p["metadata"]["annotations"].update(
            {"container.apparmor.security.beta.kubernetes.io/runner": "unconfined"}
        ),
    ),
    "an owner of another kind": (
        "metadata.ownerReferences[0].kind='Node'",
        False,
        lambda p: p["metadata"]["ownerReferences"][0].update(kind="Node"),
    ),
    "no owner": (
        "metadata.ownerReferences is missing",
        False,
        lambda p: p["metadata"].pop("ownerReferences"),
    ),
    "a finalizer of somebody else": (
        "metadata.finalizers[1]='kubernetes'",
        False,
        lambda p: p["metadata"]["finalizers"].append("kubernetes"),
    ),
    "an object in place of a text": (
        "spec.containers[0].env[0].value=",
        False,
        lambda p: runner(p)["env"][0].update(value={"a": "b"}),
    ),
    "a process of the host on Windows": (
        "spec.securityContext.windowsOptions",
        True,
        lambda p: p["spec"]["securityContext"].update(windowsOptions={"hostProcess": True}),
    ),
}


@pytest.mark.parametrize("seeded", SEEDED)
def test_what_is_not_allowed_is_found(seeded: str) -> None:
    path, _, change = SEEDED[seeded]
    changed = pod()

    change(changed)

    found = disallowed(changed)
    assert any(line.startswith(path) for line in found), found


@pytest.mark.parametrize("seeded", SEEDED)
def test_what_the_profile_forbids_is_found_and_nothing_else(seeded: str) -> None:
    _, restricted, change = SEEDED[seeded]
    changed = pod()

    change(changed)

    assert bool(violations(changed)) is restricted


def test_what_is_empty_is_not_allowed() -> None:
    assert disallowed({})
    assert disallowed({"spec": None, "metadata": []})


def test_a_judge_changes_nothing() -> None:
    judged = pod()
    before = copy.deepcopy(judged)

    disallowed(judged)
    violations(judged)

    assert judged == before
