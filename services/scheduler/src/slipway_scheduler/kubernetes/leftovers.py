"""Secrets whose pod never came to be or is long gone: left by whoever died between two writes."""

from datetime import timedelta

import structlog

from slipway_common.contracts.base import utc_now
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.limits import Rank
from slipway_scheduler.kubernetes.objects import Meta, Pod
from slipway_scheduler.kubernetes.reflector import STALE_SECONDS, Reflector

logger = structlog.get_logger(__name__)

CUT_OFF = timedelta(minutes=10)
"""Longer than anything takes between a secret and its pod: what is younger may be in the making."""


class LeftoverSecrets:
    def __init__(self, api: KubernetesApi, *, namespace: str, pods: Reflector[Pod]) -> None:
        self._api = api
        self._secrets = Resource("v1", "secrets", namespace)
        self._pods = pods

    async def step(self) -> None:
        if not self._pods.synced.is_set() or self._pods.age_seconds > STALE_SECONDS:
            return  # a pod that is not seen may be there all the same
        now = utc_now()
        for found in await self._api.list_metadata(self._secrets, selector=labels.ROLE):
            made = found.metadata.creation_timestamp
            if made is None or now - made < CUT_OFF or self._is_used(found.metadata):
                continue
            logger.info("removing a secret without a pod", name=found.metadata.name)
            await self._api.delete(
                self._secrets, found.metadata.name, uid=found.metadata.uid, rank=Rank.REFILL
            )

    def _is_used(self, secret: Meta) -> bool:
        """A member's secret bears the name of its pod, a session's says which pod is its unit."""
        named = secret.annotations.get(labels.UNIT, secret.name).partition("/")[0]
        return named in self._pods.objects
