"""What condition a member is in: pure, from its pod alone."""

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime, timedelta
from uuid import UUID

from slipway_common.contracts.sessions import EndReason, Resources
from slipway_scheduler.kubernetes import labels, manifests
from slipway_scheduler.kubernetes.endings import status_of, termination_of
from slipway_scheduler.kubernetes.manifests import RUNNER, Template
from slipway_scheduler.kubernetes.objects import Pod
from slipway_scheduler.kubernetes.observation import fault_of, placed_at
from slipway_scheduler.warm.members import is_free

START_SECONDS = 180
"""A member that is not ready so long after it was placed never will be."""

_BY_ITSELF = frozenset(EndReason) - {
    EndReason.STOPPED,
    EndReason.FINISHED,
    EndReason.IDLE,
    EndReason.EVICTED,
    EndReason.NODE_LOST,
}
"""Ends that speak against the template, and not against a machine."""


def is_member(pod: Pod) -> bool:
    return pod.metadata.labels.get(labels.ROLE) == labels.MEMBER_ROLE and not pod.terminating


def is_retired(pod: Pod) -> bool:
    """It is no member any more, and whoever retired it has not come to delete it."""
    return pod.metadata.labels.get(labels.ROLE) == labels.RETIRED_ROLE and not pod.terminating


def is_broken(pod: Pod, *, now: datetime) -> bool:
    """It is of no use, and never will be."""
    if pod.status.phase in {"Failed", "Succeeded"}:
        return True
    if fault_of(pod, lost=False, now=now) is not None:
        return True
    placed = placed_at(pod)
    late = placed is not None and now - placed > timedelta(seconds=START_SECONDS)
    return late and not was_ever_ready(pod) and not is_free(pod)


def is_at_fault(pod: Pod) -> bool:
    """Of one that is broken: another one of its kind would break just so."""
    if pod.status.phase not in {"Failed", "Succeeded"}:
        return True
    ended = termination_of(pod, lost=False)
    return ended is None or ended.reason in _BY_ITSELF


def was_ever_ready(pod: Pod) -> bool:
    runner = status_of(pod, RUNNER)
    return runner is not None and bool(runner.started)


def least_useful_first(pods: Iterable[Pod]) -> list[Pod]:
    """Those that are not ready yet, then the youngest."""
    return sorted(pods, key=lambda pod: (is_free(pod), -_made_at(pod)))


def revision_of(template: Template, resources: Resources) -> str:
    """Of all that makes members of a pool what they are, and this code with it."""
    body = manifests.member_pod(
        "member",
        template,
        secret_uid="",
        account_id=UUID(int=0),
        pool="",
        resources=resources,
        revision="",
        start_seconds=START_SECONDS,
    )
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def _made_at(pod: Pod) -> float:
    made = pod.metadata.creation_timestamp
    return 0.0 if made is None else made.timestamp()
