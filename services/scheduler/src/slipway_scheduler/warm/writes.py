"""What is written about members: they are made, retired and deleted, and counted on the server."""

import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta

import msgspec

from slipway_scheduler.kubernetes import labels, manifests
from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.errors import (
    ConflictError,
    NotFoundError,
    QuotaError,
    RefusedError,
)
from slipway_scheduler.kubernetes.limits import Rank
from slipway_scheduler.kubernetes.manifests import Template
from slipway_scheduler.kubernetes.objects import Metadata, Pod
from slipway_scheduler.warm.condition import START_SECONDS, is_retired, revision_of
from slipway_scheduler.warm.members import PoolKey

TOKEN_LIFETIME_MARGIN = timedelta(hours=24)

_METADATA = msgspec.json.Decoder(Metadata)
_ROLE = "/metadata/labels/" + labels.ROLE.replace("/", "~1")


def new_name() -> str:
    """Never used again: keys are derived from it."""
    return f"member-{secrets.token_hex(10)}"


class MemberWrites:
    def __init__(
        self,
        api: KubernetesApi,
        template: Template,
        *,
        member_token: Callable[[str, PoolKey, timedelta], str],
        key_of: Callable[[str], bytes],
    ) -> None:
        self._api = api
        self._template = template
        self._member_token = member_token
        self._key_of = key_of
        self._pods = Resource("v1", "pods", template.namespace)
        self._secrets = Resource("v1", "secrets", template.namespace)

    def revision(self, key: PoolKey) -> str:
        return revision_of(self._template, key.resources)

    async def names_on_server(self, key: PoolKey) -> set[str]:
        """Of its members that are not about to end."""
        selector = f"{labels.ROLE}={labels.MEMBER_ROLE},{labels.POOL}={key.name}"
        found = await self._api.list_metadata(self._pods, selector=selector)
        return {each.metadata.name for each in found if each.metadata.deletion_timestamp is None}

    async def make_secret(self, name: str, key: PoolKey, *, max_age: timedelta) -> str:
        """Return its uid: the pod that is made next belongs to it."""
        token = self._member_token(name, key, max_age + TOKEN_LIFETIME_MARGIN)
        body = manifests.member_secret(
            name, self._template, token=token, activation_key=self._key_of(name)
        )
        made = await self._api.create(self._secrets, body, rank=Rank.REFILL)
        return _METADATA.decode(made).metadata.uid

    async def make_pod(self, name: str, key: PoolKey, *, secret_uid: str) -> None:
        """Where it is refused, its secret goes, too."""
        body = manifests.member_pod(
            name,
            self._template,
            secret_uid=secret_uid,
            account_id=key.account_id,
            pool=key.name,
            resources=key.resources,
            revision=self.revision(key),
            start_seconds=START_SECONDS,
        )
        try:
            await self._api.create(self._pods, body, rank=Rank.REFILL)
        except (QuotaError, RefusedError):
            with suppress(NotFoundError, ConflictError):
                await self._api.delete(self._secrets, name, uid=secret_uid, rank=Rank.REFILL)
            raise

    async def remove(self, pods: Iterable[Pod]) -> None:
        for pod in pods:
            # A claim may come in between: then it is a session, and not ours to delete.
            with suppress(NotFoundError, ConflictError):
                if not is_retired(pod):
                    await self._retire(pod)
                await self._delete(pod)

    async def _retire(self, pod: Pod) -> None:
        await self._api.patch(
            self._pods,
            pod.metadata.name,
            [
                {"op": "test", "path": "/metadata/uid", "value": pod.metadata.uid},
                {"op": "test", "path": _ROLE, "value": labels.MEMBER_ROLE},
                {"op": "replace", "path": _ROLE, "value": labels.RETIRED_ROLE},
            ],
            rank=Rank.REFILL,
        )

    async def _delete(self, pod: Pod) -> None:
        with suppress(NotFoundError, ConflictError):
            await self._api.delete(
                self._pods, pod.metadata.name, uid=pod.metadata.uid, rank=Rank.REFILL
            )
        for owner in pod.metadata.owner_references:
            with suppress(NotFoundError, ConflictError):
                await self._api.delete(self._secrets, owner.name, uid=owner.uid, rank=Rank.REFILL)
