"""From a session to the objects that run it: pure, and built from nothing but what is named here.

What users choose reaches a manifest only as a label value that is an id, or as a figure; images,
commands and destinations come from the operator.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from slipway_common.contracts.sessions import Resources, SessionKind, SessionWanted
from slipway_common.errors import PermanentError
from slipway_scheduler.kubernetes import labels

RUNNER = "runner"
EXTERNAL = "external"
PORT = 8080
USER = 10001
FOLDER = "/session"
SECRETS = "/var/run/slipway"
TERMINATION = "/dev/termination-log"
TOKEN_KEY = "token"  # noqa: S105  # its name, not its value
ACTIVATION_KEY = "activation"

LIMIT_MARGIN_SECONDS = 120
"""Past its time limit Kubernetes itself ends a pod, should no scheduler be there to do it."""

MOST = 2**31 - 1
"""Kubernetes' figures of 32 bits take no more; that is many years of seconds."""

FRONT = Resources(memory_mib=256, cpu_millis=100, disk_mib=256)
"""What the runner needs that stands in front of an external service."""

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Template:
    """What the operator decides about every pod."""

    namespace: str
    image: str
    gateway_url: str
    pull_policy: str = "IfNotPresent"
    service_account: str = "slipway-session"
    priority_class: str = "slipway-session"
    runtime_class: str | None = None
    stop_grace: timedelta = timedelta(seconds=10)
    task_grace: timedelta = timedelta(seconds=30)
    node_lost_after: timedelta = timedelta(seconds=20)
    """How long a pod stays on a node that is not ready before Kubernetes gives it up, too."""

    disk_limits: bool = True
    """False where the nodes do not account for scratch space."""

    node_pools: Mapping[str, str] = field(default_factory=dict)
    """Resource profile to node pool; a profile that is not named goes to any node."""


def unit_name(session_id: UUID) -> str:
    """Of the pod that is made for a session, and of the session's secret."""
    return f"session-{session_id}"


def session_secret(wanted: SessionWanted, template: Template, *, token: str, unit: str) -> Manifest:
    """The session's token; ``unit`` commits it to one pod before anything is done to that."""
    return _secret(
        unit_name(wanted.session_id),
        template,
        role=labels.SESSION_ROLE,
        content={TOKEN_KEY: token},
        also={
            labels.SESSION: str(wanted.session_id),
            labels.ACCOUNT: str(wanted.account_id),
        },
        annotations={labels.UNIT: unit},
    )


def session_pod(
    wanted: SessionWanted, template: Template, *, secret_uid: str, pool: str
) -> Manifest:
    """PermanentError if no pod can run it."""
    name = unit_name(wanted.session_id)
    environment = {
        "SESSION_ID": str(wanted.session_id),
        "IDLE_SECONDS": str(wanted.idle_seconds),
    }
    external = wanted.external if wanted.kind is SessionKind.EXTERNAL else None
    if external is not None:
        if external.port == PORT:
            raise PermanentError(f"port {PORT} is the runner's own, beside which it is to listen")
        environment["EXTERNAL_PORT"] = str(external.port)
    resources = wanted.resources if external is None else FRONT
    runner = _runner(
        template,
        resources=resources,
        environment=environment,
        start_seconds=wanted.start_timeout_seconds,
    )
    profile = wanted.resources.profile
    spec = _spec(template, runner, secret=name, profile=profile, resources=resources)
    spec["activeDeadlineSeconds"] = deadline_seconds(wanted)
    if external is not None:
        spec["initContainers"] = [
            {
                "name": EXTERNAL,
                "image": external.image,
                "imagePullPolicy": template.pull_policy,
                # Runs beside the runner, is started again when it fails, and ends with it.
                "restartPolicy": "Always",
                **({"command": list(external.command)} if external.command else {}),
                "env": [
                    {"name": key, "value": value}
                    for key, value in sorted(external.environment.items())
                ],
                "resources": _resources(external.resources, template),
                "securityContext": _container_security(),
                "volumeMounts": [{"name": "external", "mountPath": "/tmp"}],  # noqa: S108
            }
        ]
        spec["volumes"].append(
            {"name": "external", "emptyDir": _empty(external.resources, template)}
        )
    return _pod(
        name,
        template,
        owner=("Secret", name, secret_uid),
        role=labels.SESSION_ROLE,
        also=session_labels(wanted) | {labels.POOL: pool},
        annotations=session_annotations(),
        finalizers=[labels.FINALIZER],
        spec=spec,
    )


def deadline_seconds(wanted: SessionWanted, *, after: float = 0) -> int:
    """When Kubernetes ends the pod, counted from its start, which was so many seconds before."""
    limit = wanted.max_seconds + wanted.start_timeout_seconds + LIMIT_MARGIN_SECONDS
    return min(limit + max(int(after), 0), MOST)


def session_labels(wanted: SessionWanted) -> dict[str, str]:
    return {
        labels.SESSION: str(wanted.session_id),
        labels.ACCOUNT: str(wanted.account_id),
        labels.KIND: wanted.kind,
    }


def session_annotations() -> dict[str, str]:
    """A node with a live session is nobody's to take away."""
    return {
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }


def member_secret(name: str, template: Template, *, token: str, activation_key: bytes) -> Manifest:
    return _secret(
        name,
        template,
        role=labels.MEMBER_ROLE,
        content={TOKEN_KEY: token, ACTIVATION_KEY: activation_key.hex()},
        also={},
        annotations={},
    )


def member_pod(
    name: str,
    template: Template,
    *,
    secret_uid: str,
    account_id: UUID,
    pool: str,
    resources: Resources,
    revision: str,
    start_seconds: int,
) -> Manifest:
    """A pod that waits, with its runtime at hand, to become a session of this account."""
    runner = _runner(
        template,
        resources=resources,
        environment={
            "MEMBER": name,
            "ACTIVATION_KEY_FILE": f"{SECRETS}/{ACTIVATION_KEY}",
        },
        start_seconds=start_seconds,
    )
    return _pod(
        name,
        template,
        owner=("Secret", name, secret_uid),
        role=labels.MEMBER_ROLE,
        also={labels.ACCOUNT: str(account_id), labels.POOL: pool},
        annotations={
            "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
            labels.REVISION: revision,
        },
        finalizers=[],
        spec=_spec(template, runner, secret=name, profile=resources.profile, resources=resources),
    )


def _secret(
    name: str,
    template: Template,
    *,
    role: str,
    content: Mapping[str, str],
    also: Mapping[str, str],
    annotations: Mapping[str, str],
) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": template.namespace,
            "labels": {labels.ROLE: role, **also},
            "annotations": dict(annotations),
        },
        "type": "Opaque",
        "immutable": True,
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in content.items()},
    }


def _pod(
    name: str,
    template: Template,
    *,
    owner: tuple[str, str, str],
    role: str,
    also: Mapping[str, str],
    annotations: Mapping[str, str],
    finalizers: list[str],
    spec: Manifest,
) -> Manifest:
    kind, owner_name, uid = owner
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": template.namespace,
            "labels": {labels.ROLE: role, **also},
            "annotations": dict(annotations),
            "finalizers": finalizers,
            "ownerReferences": [{"apiVersion": "v1", "kind": kind, "name": owner_name, "uid": uid}],
        },
        "spec": spec,
    }


def _spec(
    template: Template, runner: Manifest, *, secret: str, profile: str, resources: Resources
) -> Manifest:
    """``resources``: the runner's own."""
    pool = template.node_pools.get(profile)
    placed: Manifest = {}
    if pool is not None:
        placed = {"nodeSelector": {labels.prefixed("pool"): pool}}
    lost = int(template.node_lost_after.total_seconds())
    tolerations: list[Manifest] = [
        {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute",
         "tolerationSeconds": lost}
        for what in ("not-ready", "unreachable")
    ]  # fmt: skip
    if pool is not None:
        tolerations.append(
            {"key": labels.prefixed("pool"), "operator": "Equal", "value": pool,
             "effect": "NoSchedule"}
        )  # fmt: skip
    if template.runtime_class is not None:
        placed["runtimeClassName"] = template.runtime_class
    return {
        "restartPolicy": "Never",
        "serviceAccountName": template.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": template.priority_class,
        "terminationGracePeriodSeconds": int(template.stop_grace.total_seconds()),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "tolerations": tolerations,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {labels.ROLE: labels.SESSION_ROLE}},
            }
        ],
        "containers": [runner],
        "volumes": [
            {"name": "work", "emptyDir": _empty(resources, template)},
            {
                "name": "secrets",
                "projected": {
                    "defaultMode": 0o440,
                    "sources": [{"secret": {"name": secret}}],
                },
            },
        ],
        **placed,
    }


def _runner(
    template: Template, *, resources: Resources, environment: Mapping[str, str], start_seconds: int
) -> Manifest:
    values = {
        "GATEWAY_URL": template.gateway_url,
        "TOKEN_FILE": f"{SECRETS}/{TOKEN_KEY}",
        "FOLDER": FOLDER,
        "TERMINATION_FILE": TERMINATION,
        "TASK_GRACE_SECONDS": str(template.task_grace.total_seconds()),
        "LISTEN_HOST": "0.0.0.0",  # noqa: S104  # the pod's own address, behind its policy
        "LISTEN_PORT": str(PORT),
        # What it needs before and after comes out of the same time.
        "START_SECONDS": str(max(start_seconds * 5 // 6, 1)),
        **environment,
    }
    return {
        "name": RUNNER,
        "image": template.image,
        "imagePullPolicy": template.pull_policy,
        "env": [
            {"name": f"SLIPWAY_RUNNER_{name}", "value": value}
            for name, value in sorted(values.items())
        ],
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "resources": _resources(resources, template),
        "securityContext": _container_security(),
        "terminationMessagePath": TERMINATION,
        # The answer is held until there is one: what is ready is seen at once.
        "startupProbe": {
            "httpGet": {"path": "/_slipway/ready?wait=20", "port": PORT},
            "periodSeconds": 1,
            "timeoutSeconds": 25,
            "failureThreshold": min(max(start_seconds, 1), MOST),
        },
        "volumeMounts": [
            {"name": "work", "mountPath": FOLDER},
            {"name": "secrets", "mountPath": SECRETS, "readOnly": True},
        ],
    }


def _container_security() -> Manifest:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _resources(resources: Resources, template: Template) -> Manifest:
    figures = {"cpu": f"{resources.cpu_millis}m", "memory": f"{resources.memory_mib}Mi"}
    if template.disk_limits:
        figures["ephemeral-storage"] = f"{resources.disk_mib}Mi"
    return {"requests": dict(figures), "limits": figures}


def _empty(resources: Resources, template: Template) -> Manifest:
    return {"sizeLimit": f"{resources.disk_mib}Mi"} if template.disk_limits else {}
