"""Every field that a pod of ours may have, and what may stand in it; all else is found.

The list is written by hand from what a session needs, and not from what makes the pods: a field
that comes into a manifest must be allowed here before it passes.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Allowed: TypeAlias = "Value | Each | Mapping[str, Allowed]"


@dataclass(frozen=True, slots=True)
class Value:
    """One value, of which something must hold."""

    holds: Callable[[Any], bool]


@dataclass(frozen=True, slots=True)
class Each:
    """A list, each member of which is allowed by this."""

    member: Allowed


def text(pattern: str = r"(?s).*") -> Value:
    return Value(lambda found: isinstance(found, str) and re.fullmatch(pattern, found) is not None)


def exactly(*values: Any) -> Value:
    # A truth value is no number here: True would be 1.
    return Value(
        lambda found: any(
            found == value and isinstance(found, bool) is isinstance(value, bool)
            for value in values
        )
    )


def number(least: int, most: int = 2**31 - 1) -> Value:
    return Value(lambda found: type(found) is int and least <= found <= most)


UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
NAME = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"
LABEL = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
SCRATCH = r"/session|/tmp|/var/run/slipway"
FIGURES: Allowed = {
    "cpu": text(r"[0-9]+m"),
    "memory": text(r"[0-9]+Mi"),
    "ephemeral-storage": text(r"[0-9]+Mi"),
}
CONTAINER: Mapping[str, Allowed] = {
    "name": text(NAME),
    "image": text(r"(?s).+"),
    "imagePullPolicy": exactly("Always", "IfNotPresent", "Never"),
    "command": Each(text()),
    "env": Each({"name": text(r"[A-Za-z_][A-Za-z0-9_]*"), "value": text()}),
    "resources": {"requests": FIGURES, "limits": FIGURES},
    "securityContext": {
        "allowPrivilegeEscalation": exactly(False),
        "readOnlyRootFilesystem": exactly(True),
        "capabilities": {"drop": Each(exactly("ALL"))},
    },
    "volumeMounts": Each(
        {"name": text(NAME), "mountPath": text(SCRATCH), "readOnly": exactly(True)}
    ),
}
RUNNER: Mapping[str, Allowed] = {
    **CONTAINER,
    "ports": Each(
        {"name": text(NAME), "containerPort": number(1024, 65535), "protocol": exactly("TCP")}
    ),
    "terminationMessagePath": exactly("/dev/termination-log"),
    "startupProbe": {
        "httpGet": {"path": text(r"/_slipway/ready\?wait=[0-9]+"), "port": number(1024, 65535)},
        "periodSeconds": number(1),
        "timeoutSeconds": number(1),
        "failureThreshold": number(1),
    },
}
POD: Mapping[str, Allowed] = {
    "apiVersion": exactly("v1"),
    "kind": exactly("Pod"),
    "metadata": {
        "name": text(rf"session-{UUID}|member-[0-9a-f]+"),
        "namespace": text(NAME),
        "labels": {
            "slipway.dev/role": exactly("session", "member"),
            "slipway.dev/session": text(UUID),
            "slipway.dev/account": text(UUID),
            "slipway.dev/kind": exactly("webui", "solve", "task", "external"),
            "slipway.dev/warm-pool": text(LABEL),
        },
        "annotations": {
            "cluster-autoscaler.kubernetes.io/safe-to-evict": exactly("true", "false"),
            "karpenter.sh/do-not-disrupt": exactly("true"),
            "slipway.dev/revision": text(),
        },
        "finalizers": Each(exactly("slipway.dev/concluded")),
        "ownerReferences": Each(
            {
                "apiVersion": exactly("v1"),
                "kind": exactly("Secret"),
                "name": text(rf"session-{UUID}|member-[0-9a-f]+"),
                "uid": text(UUID),
            }
        ),
    },
    "spec": {
        "restartPolicy": exactly("Never"),
        "serviceAccountName": text(NAME),
        "automountServiceAccountToken": exactly(False),
        "enableServiceLinks": exactly(False),
        "priorityClassName": text(NAME),
        "runtimeClassName": text(NAME),
        "terminationGracePeriodSeconds": number(0),
        "activeDeadlineSeconds": number(1),
        "nodeSelector": {"slipway.dev/pool": text(LABEL)},
        "securityContext": {
            "runAsNonRoot": exactly(True),
            "runAsUser": number(1),
            "runAsGroup": number(1),
            "fsGroup": number(1),
            "fsGroupChangePolicy": exactly("OnRootMismatch"),
            "seccompProfile": {"type": exactly("RuntimeDefault")},
        },
        "tolerations": Each(
            {
                "key": exactly(
                    "node.kubernetes.io/not-ready",
                    "node.kubernetes.io/unreachable",
                    "slipway.dev/pool",
                ),
                "operator": exactly("Exists", "Equal"),
                "value": text(LABEL),
                "effect": exactly("NoExecute", "NoSchedule"),
                "tolerationSeconds": number(0),
            }
        ),
        "topologySpreadConstraints": Each(
            {
                "maxSkew": number(1),
                "topologyKey": exactly("topology.kubernetes.io/zone"),
                "whenUnsatisfiable": exactly("ScheduleAnyway"),
                "labelSelector": {"matchLabels": {"slipway.dev/role": exactly("session")}},
            }
        ),
        "containers": Each(RUNNER),
        "initContainers": Each({**CONTAINER, "restartPolicy": exactly("Always")}),
        "volumes": Each(
            {
                "name": text(NAME),
                "emptyDir": {"sizeLimit": text(r"[0-9]+Mi")},
                "projected": {
                    "defaultMode": exactly(0o440),
                    "sources": Each({"secret": {"name": text(NAME)}}),
                },
            }
        ),
    },
}
REQUIRED = (
    ("spec", "automountServiceAccountToken"),
    ("spec", "enableServiceLinks"),
    ("spec", "securityContext", "runAsNonRoot"),
    ("spec", "securityContext", "seccompProfile", "type"),
    ("spec", "containers"),
    ("metadata", "labels", "slipway.dev/role"),
    ("metadata", "ownerReferences"),
)
"""What must not be left out, for what Kubernetes puts in its place is not what we want."""


def disallowed(pod: Mapping[str, Any]) -> list[str]:
    """Return the path of each field that is not allowed, or whose value is not, or that lacks."""
    found = list(_disallowed(pod, POD, ""))
    found += [f"{'.'.join(path)} is missing" for path in REQUIRED if not _has(pod, path)]
    return found


def _disallowed(found: Any, allowed: Allowed, path: str) -> Iterator[str]:
    match allowed:
        case Value():
            if not allowed.holds(found):
                yield f"{path}={str(found)[:80]!r}"
        case Each():
            if not isinstance(found, list):
                yield f"{path} is no list"
                return
            for index, member in enumerate(found):
                yield from _disallowed(member, allowed.member, f"{path}[{index}]")
        case _:
            if not isinstance(found, Mapping):
                yield f"{path} is no object"
                return
            for key, value in found.items():
                inner = f"{path}.{key}".removeprefix(".")
                if key in allowed:
                    yield from _disallowed(value, allowed[key], inner)
                else:
                    yield inner


def _has(pod: Any, path: tuple[str, ...]) -> bool:
    for key in path:
        if not isinstance(pod, Mapping) or key not in pod:
            return False
        pod = pod[key]
    return bool(pod) or pod is False
