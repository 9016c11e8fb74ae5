"""The stages of KWOK: when a fake node or pod becomes what, and after how long."""

from collections.abc import Mapping, Sequence
from typing import Any

from slipway_local.cluster.fakes import (
    BOOT_SECONDS,
    EXIT_CODE,
    RUN_SECONDS,
    START_SECONDS,
    STOP_SECONDS,
)

HEARTBEAT_MILLISECONDS = 60_000

_READY = '.status.conditions[]? | select(.type == "Ready") | .status'

# Creation is noted in whole seconds, rounded down: one second more is never too early.
_BOOTED = (
    f'(.metadata.annotations["{BOOT_SECONDS}"] // "0") | tonumber'
    " | if . == 0 then null else (. | ceil) + 1 end"
)
_BOOT_END = (
    ".metadata.creationTimestamp as $born"
    f" | ({_BOOTED}) as $took"
    ' | if $took == null then "0s" else ($born | fromdateiso8601) + $took | todateiso8601 end'
)

# What is left out stays as it was, such as the time of the last transition.
_NODE_BEATS = """
conditions:
{{ range .status.conditions }}
- type: {{ .type | Quote }}
  lastHeartbeatTime: {{ Now | Quote }}
{{ end }}
"""

_NODE_UP = """
conditions:
{{ range NodeConditions }}
- type: {{ .type | Quote }}
  status: {{ .status | Quote }}
  reason: {{ .reason | Quote }}
  message: {{ .message | Quote }}
  lastHeartbeatTime: {{ Now | Quote }}
  lastTransitionTime: {{ Now | Quote }}
{{ end }}
addresses:
- type: Hostname
  address: {{ .metadata.name | Quote }}
{{ with NodeIP }}
- type: InternalIP
  address: {{ . | Quote }}
{{ end }}
nodeInfo:
  architecture: amd64
  operatingSystem: linux
  kubeletVersion: {{ printf "kwok-%s" Version | Quote }}
  kubeProxyVersion: ""
  containerRuntimeVersion: {{ printf "kwok-%s" Version | Quote }}
  kernelVersion: ""
  osImage: ""
  machineID: ""
  bootID: ""
  systemUUID: ""
phase: Running
"""

_POD_UP = """
{{ $now := Now }}
phase: Running
startTime: {{ $now | Quote }}
{{ $node := .spec.nodeName }}
{{ range $index, $address := NodeIPsWith $node }}
{{ if eq $index 0 }}
hostIP: {{ $address | Quote }}
hostIPs:
{{ end }}
- ip: {{ $address | Quote }}
{{ end }}
{{ $host := .spec.hostNetwork | default false }}
{{ with .metadata }}{{ range $index, $address := PodIPsWith $node $host .uid .name .namespace }}
{{ if eq $index 0 }}
podIP: {{ $address | Quote }}
podIPs:
{{ end }}
- ip: {{ $address | Quote }}
{{ end }}{{ end }}
conditions:
{{ range $type := list "PodReadyToStartContainers" "Initialized" "ContainersReady" "Ready" }}
- type: {{ $type }}
  status: "True"
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
{{ range .spec.readinessGates }}
- type: {{ .conditionType | Quote }}
  status: "True"
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
{{ with .spec.initContainers }}
initContainerStatuses:
{{ range . }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  restartCount: 0
  ready: true
  {{ if eq (.restartPolicy | default "") "Always" }}
  started: true
  state: {running: {startedAt: {{ $now | Quote }}}}
  {{ else }}
  started: false
  state:
    terminated:
      exitCode: 0
      reason: Completed
      startedAt: {{ $now | Quote }}
      finishedAt: {{ $now | Quote }}
  {{ end }}
{{ end }}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  restartCount: 0
  ready: true
  started: true
  state: {running: {startedAt: {{ $now | Quote }}}}
{{ end }}
"""

_POD_OVER = """
{{ $now := Now }}
{{ $began := .status.startTime | default $now }}
{{ $code := index (.metadata.annotations | default dict) "EXIT_CODE" | default "0" }}
{{ if .metadata.deletionTimestamp }}{{ $code = "143" }}{{ end }}
{{ $good := eq $code "0" }}
phase: {{ if $good }}Succeeded{{ else }}Failed{{ end }}
conditions:
{{ range $type := list "ContainersReady" "Ready" }}
- type: {{ $type }}
  status: "False"
  reason: PodCompleted
  lastTransitionTime: {{ $now | Quote }}
{{ end }}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: ""
  restartCount: 0
  ready: false
  started: false
  state:
    terminated:
      exitCode: {{ $code }}
      reason: {{ if $good }}Completed{{ else }}Error{{ end }}
      startedAt: {{ $began | Quote }}
      finishedAt: {{ $now | Quote }}
{{ end }}
""".replace("EXIT_CODE", EXIT_CODE)


def stages() -> list[dict[str, Any]]:
    """What KWOK shall do: for each stage, to what, when, and after how long."""
    return [
        _stage(
            "node-boots",
            "Node",
            [_unlike(_READY, "True")],
            delay={"durationFrom": {"jq": {"expression": _BOOT_END}}},
            steps=[_patch(_NODE_UP)],
        ),
        _stage(
            "node-beats",
            "Node",
            [_like(_READY, "True")],
            delay={
                "durationMilliseconds": HEARTBEAT_MILLISECONDS,
                "jitterDurationMilliseconds": HEARTBEAT_MILLISECONDS + 5_000,
            },
            steps=[_patch(_NODE_BEATS)],
        ),
        _stage(
            "pod-starts",
            "Pod",
            [_absent(".metadata.deletionTimestamp"), _like(".status.phase", "Pending")],
            delay=_after(START_SECONDS),
            steps=[_patch(_POD_UP)],
        ),
        _stage(
            "pod-ends",
            "Pod",
            [
                _absent(".metadata.deletionTimestamp"),
                _like(".status.phase", "Running"),
                _present(f'.metadata.annotations["{RUN_SECONDS}"]'),
            ],
            delay=_after(RUN_SECONDS),
            steps=[_patch(_POD_OVER)],
        ),
        _stage(
            "pod-stops",
            "Pod",
            [_present(".metadata.deletionTimestamp"), _like(".status.phase", "Running")],
            delay=_after(STOP_SECONDS),
            steps=[_patch(_POD_OVER)],
        ),
        _stage(
            "pod-goes",
            "Pod",
            [_present(".metadata.deletionTimestamp"), _unlike(".status.phase", "Running")],
            delay=None,
            steps=[{"delete": True}],
        ),
    ]


def _stage(
    name: str,
    kind: str,
    when: Sequence[Mapping[str, Any]],
    *,
    delay: Mapping[str, Any] | None,
    steps: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": [{"jq": condition} for condition in when]},
            **({} if delay is None else {"delay": delay}),
            "steps": steps,
        },
    }


def _after(annotation: str) -> dict[str, Any]:
    expression = f'(.metadata.annotations["{annotation}"] // "0") + "s"'
    return {"durationFrom": {"jq": {"expression": expression}}}


def _patch(status: str) -> dict[str, Any]:
    return {
        "patch": {
            "subresource": "status",
            "root": "status",
            "type": "strategic",
            "template": status,
        }
    }


def _like(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": [value]}


def _unlike(key: str, value: str) -> dict[str, Any]:
    return {"key": key, "operator": "NotIn", "values": [value]}


def _present(key: str) -> dict[str, Any]:
    return {"key": key, "operator": "Exists"}


def _absent(key: str) -> dict[str, Any]:
    return {"key": key, "operator": "DoesNotExist"}
