"""How the containers of a pod go, and what its status says of it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from support.kubernetes.defaults import timestamp

Object = dict[str, Any]

KILLED = 137
TERMINATED = 143


@dataclass(frozen=True, slots=True)
class Course:
    """From its placing to its end."""

    start_seconds: float = 0.05
    trouble: str = ""
    """What keeps it from ever starting, as the kubelet names it; such as ``ImagePullBackOff``."""

    ends_after: float | None = None
    """Seconds after its start, by itself; None: when it is told to."""

    exit_code: int = 0
    reason: str = ""
    """Of an end by itself; such as ``OOMKilled``."""

    message: str = ""
    """What it leaves in its termination file."""

    obeys: bool = True
    """False: it ends only when it is killed."""

    def end(self, *, told: bool) -> tuple[int, str]:
        if not told:
            return self.exit_code, self.reason or ("Error" if self.exit_code else "Completed")
        return (0, "Completed") if self.obeys else (KILLED, "Error")


def waiting(pod: Object, trouble: str) -> Object:
    reason = trouble or "ContainerCreating"
    words = {"message": f"it is: {trouble}"} if trouble else {}
    state = {"waiting": {"reason": reason, **words}}
    return {
        "phase": "Pending",
        "startTime": timestamp(),
        "newConditions": [{"kind": "Ready", "status": "False", "reason": "ContainersNotReady"}],
        **_statuses(pod, lambda _: state, ready=False, started=False),
    }


def running(pod: Object, address: str) -> Object:
    state = {"running": {"startedAt": timestamp()}}
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "newConditions": [
            {"kind": "ContainersReady", "status": "True"},
            {"kind": "Ready", "status": "True"},
        ],
        **_statuses(pod, lambda _: state, ready=True, started=True),
    }


def ended(pod: Object, course: Course, *, code: int, reason: str) -> Object:
    """The message is that of its first container; the others end with it."""
    first = pod["spec"]["containers"][0]["name"]

    def state(name: str) -> Object:
        left = {"message": course.message} if name == first and course.message else {}
        return {
            "terminated": {
                "exitCode": code,
                "reason": reason,
                "finishedAt": timestamp(),
                **left,
            }
        }

    return {
        "phase": "Failed" if code else "Succeeded",
        "newConditions": [{"kind": "Ready", "status": "False", "reason": "PodCompleted"}],
        **_statuses(pod, state, ready=False, started=False),
    }


def _statuses(
    pod: Object, state: Callable[[str], Object], *, ready: bool, started: bool
) -> dict[str, list[Object]]:
    def of(part: str) -> list[Object]:
        return [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "state": state(container["name"]),
                "lastState": {},
                "ready": ready,
                "started": started,
                "restartCount": 0,
            }
            for container in pod["spec"].get(part, [])
        ]

    return {"containerStatuses": of("containers"), "initContainerStatuses": of("initContainers")}
