"""Why a pod ended: pure. Our own reason counts first, then the cluster's, then its runner's words.

What an app can write is taken for nothing more than it is: no text of its breaks us, or whoever
reads us.
"""

import json
from collections.abc import Mapping
from typing import Any

from slipway_common.contracts.sessions import EndReason
from slipway_common.text import storable_message
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.manifests import EXTERNAL, RUNNER
from slipway_scheduler.kubernetes.objects import ContainerStatus, Pod
from slipway_scheduler.models import Termination

LARGEST_FIGURE = 2**31 - 1
"""Of what a runner says that it used; more fits into no table."""

NODE_LOST = Termination(EndReason.NODE_LOST, "The machine that it ran on does not answer any more.")
ASKED_TO_END = Termination(EndReason.STOPPED)
OUT_OF_MEMORY = Termination(EndReason.OUT_OF_MEMORY, "It used up the memory that it may use.")
PREEMPTED = Termination(EndReason.EVICTED, "Something more important needed its place.")

_SAID_BY_RUNNERS = frozenset(
    {EndReason.STOPPED, EndReason.FINISHED, EndReason.IDLE, EndReason.APP_FAILED,
     EndReason.OUT_OF_MEMORY, EndReason.LOST}
)  # fmt: skip
"""An app could write in its runner's name; of what the cluster decides it knows nothing."""

_REFUSED_BY_NODE = frozenset(
    {"NodeAffinity", "UnexpectedAdmissionError", "OutOfcpu", "OutOfmemory", "OutOfpods",
     "OutOfephemeral-storage"}
)  # fmt: skip


def status_of(pod: Pod, container: str) -> ContainerStatus | None:
    both = (*pod.status.container_statuses, *pod.status.init_container_statuses)
    return next((status for status in both if status.name == container), None)


def sentence(what: str, detail: str) -> str:
    """What happened, and the first line of what the cluster says about it."""
    line = detail.strip().partition("\n")[0][:300]
    return storable_message(f"{what} {line}".strip())


def termination_of(pod: Pod, *, lost: bool) -> Termination | None:
    """None: it ended without a word, and nobody else has one. ``lost``: its node is silent."""
    status = status_of(pod, RUNNER)
    ended = None if status is None else status.state.terminated
    said = None if ended is None else _read(ended.message)
    if said is not None and said.reason not in _SAID_BY_RUNNERS:
        said = None
    why = _ending(pod) or _by_cluster(pod, lost=lost) or _by_memory(pod, said)
    if why is not None:
        return _with_use(why, said)
    if said is not None:
        return said
    if pod.terminating:
        return ASKED_TO_END  # and was too slow to say so
    if ended is not None:
        return Termination(
            EndReason.APP_FAILED, f"Its runner ended without a word (code {ended.exit_code})."
        )
    return None


def _ending(pod: Pod) -> Termination | None:
    note = pod.metadata.annotations.get(labels.ENDING)
    return None if note is None else _read(note) or ASKED_TO_END


def _by_cluster(pod: Pod, *, lost: bool) -> Termination | None:
    status = pod.status
    if status.reason == "Evicted":
        return Termination(EndReason.EVICTED, sentence("Its machine ran short.", status.message))
    if status.reason == "DeadlineExceeded":
        return Termination(EndReason.TIME_LIMIT, "It ran for as long as it may.")
    disruption = status.condition("DisruptionTarget")
    # One that was announced and called off again leaves its mark for minutes.
    came_about = pod.terminating or status.phase == "Failed"
    if disruption is not None and disruption.holds and came_about:
        match disruption.reason:
            case "DeletionByTaintManager" | "DeletionByPodGC":
                return NODE_LOST
            case "PreemptionByScheduler":
                return PREEMPTED
            case _:
                return Termination(EndReason.EVICTED, "Its machine was drained.")
    if status.reason in {"NodeLost", "NodeShutdown", "Terminated", "Shutdown"} or lost:
        return NODE_LOST
    if status.reason == "Preempting":
        return PREEMPTED
    if status.reason in _REFUSED_BY_NODE:
        what = "Its machine would not take it."
        return Termination(EndReason.EVICTED, sentence(what, status.message))
    return None


def _by_memory(pod: Pod, said: Termination | None) -> Termination | None:
    """The kernel's mark stays on a container of which it ever killed a process.

    A runner that outlived that says how it ended, and only a failure is explained by it.
    """
    if said is not None and said.reason is not EndReason.APP_FAILED:
        return None
    for name in (RUNNER, EXTERNAL):
        status = status_of(pod, name)
        states = () if status is None else (status.state.terminated, status.last_state.terminated)
        if any(state is not None and state.reason == "OOMKilled" for state in states):
            return OUT_OF_MEMORY
    return None


def _with_use(why: Termination, said: Termination | None) -> Termination:
    if said is None:
        return why
    return Termination(why.reason, why.message, said.peak_memory_mib, said.cpu_seconds)


def _read(text: str) -> Termination | None:
    """None of what neither we nor a runner would have written."""
    try:
        found = json.loads(text)
        reason = EndReason(found["reason"])
    except (ValueError, KeyError, TypeError, RecursionError):  # the last: a thousand brackets
        return None
    message = found.get("message")
    peak, seconds = _figure(found, "peakMemoryMib"), _figure(found, "cpuSeconds")
    return Termination(
        reason,
        storable_message(message) if isinstance(message, str) else "",
        None if peak is None else int(peak),
        None if seconds is None else float(seconds),
    )


def _figure(found: Mapping[str, Any], name: str) -> float | None:
    value = found.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if 0 <= value <= LARGEST_FIGURE else None
