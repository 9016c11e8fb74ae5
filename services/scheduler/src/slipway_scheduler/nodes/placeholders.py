"""Placeholders: pods that keep room free, and give way to a session at once.

One that had to give way is made again under its own name, waits, and so asks for the next node.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.errors import (
    ConflictError,
    NotFoundError,
    QuotaError,
    RefusedError,
)
from slipway_scheduler.kubernetes.labels import PLACEHOLDER_ROLE, ROLE
from slipway_scheduler.kubernetes.limits import Rank
from slipway_scheduler.kubernetes.objects import Pod
from slipway_scheduler.nodes.orders import Orders
from slipway_scheduler.nodes.specs import POOL_LABEL, PoolSpec

logger = structlog.get_logger(__name__)

USER = 65532


@dataclass(frozen=True, slots=True)
class PlaceholderStyle:
    """What all placeholders have in common."""

    image: str
    namespace: str
    priority_class: str = "slipway-placeholder"
    pull_policy: str = "IfNotPresent"


@dataclass(frozen=True, slots=True)
class Changes:
    make: tuple[str, ...]
    """Names."""

    remove: tuple[Pod, ...]


def changes(spec: PoolSpec, pods: Iterable[Pod], *, now: datetime) -> Changes:
    """``pods`` are all that there are of the session namespace, or more."""
    count = 0 if spec.placeholders is None else spec.placeholders.wanted(now)
    names = [f"slipway-placeholder-{spec.name}-{number}" for number in range(count)]
    mine = {pod.metadata.name: pod for pod in pods if _belongs(pod, spec.name)}
    over = {"Succeeded", "Failed"}
    remove = tuple(
        pod
        for name, pod in sorted(mine.items())
        if not pod.terminating and (name not in names or pod.status.phase in over)
    )
    return Changes(tuple(name for name in names if name not in mine), remove)


class PlaceholderKeeper:
    def __init__(
        self,
        api: KubernetesApi,
        orders: Orders,
        style: PlaceholderStyle,
        *,
        specs: Iterable[PoolSpec],
    ) -> None:
        self._api = api
        self._orders = orders
        self._style = style
        self._specs = tuple(specs)
        self._resource = Resource("v1", "pods", style.namespace)
        self._refused = ""

    async def keep(self, pods: Iterable[Pod], *, now: datetime) -> None:
        """Make what is missing, and delete what is too much or over."""
        mine = [pod for pod in pods if pod.metadata.labels.get(ROLE) == PLACEHOLDER_ROLE]
        for spec in self._specs:
            plan = changes(spec, mine, now=now)
            if plan.make or plan.remove:
                await self._orders.write(spec.name)
                await self._carry_out(spec, plan)

    async def _carry_out(self, spec: PoolSpec, plan: Changes) -> None:
        for pod in plan.remove:
            with suppress(NotFoundError, ConflictError):
                await self._api.delete(
                    self._resource, pod.metadata.name, uid=pod.metadata.uid, rank=Rank.NODE
                )
        try:
            for name in plan.make:
                with suppress(ConflictError):  # the mirror does not show it yet, or it is ending
                    body = manifest(spec, name, self._style)
                    await self._api.create(self._resource, body, rank=Rank.NODE)
        except (QuotaError, RefusedError) as error:
            if str(error) != self._refused:
                self._refused = str(error)
                logger.warning("no placeholder was taken", pool=spec.name, reason=str(error))


def manifest(spec: PoolSpec, name: str, style: PlaceholderStyle) -> dict[str, Any]:
    assert spec.placeholders is not None
    room = spec.placeholders.room
    size = {"cpu": f"{room.millicores}m", "memory": str(room.memory)}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": style.namespace,
            "labels": {ROLE: PLACEHOLDER_ROLE, POOL_LABEL: spec.name},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "nodeSelector": {POOL_LABEL: spec.name},
            "priorityClassName": style.priority_class,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [
                {
                    "key": POOL_LABEL,
                    "operator": "Equal",
                    "value": spec.name,
                    "effect": "NoSchedule",
                }
            ],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER,
                "runAsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "pause",
                    "image": style.image,
                    "imagePullPolicy": style.pull_policy,
                    "resources": {"requests": size, "limits": size},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                }
            ],
        },
    }


def _belongs(pod: Pod, pool: str) -> bool:
    labels = pod.metadata.labels
    return labels.get(ROLE) == PLACEHOLDER_ROLE and labels.get(POOL_LABEL) == pool
