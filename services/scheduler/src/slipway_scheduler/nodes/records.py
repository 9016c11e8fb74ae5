"""What is meant to happen to a pool, written down before it is done: one ConfigMap per pool.

This is the fence. A write names the version that it changes and the epoch of its leader, so it is
refused once a later leader has written; and a leader begins by writing its epoch everywhere.
"""

from datetime import datetime
from typing import Any

import msgspec
import structlog

from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.errors import ConflictError, NotFoundError
from slipway_scheduler.kubernetes.labels import prefixed
from slipway_scheduler.kubernetes.limits import Rank
from slipway_scheduler.leadership import EPOCH, FencedError, Leadership, LeadershipLostError
from slipway_scheduler.nodes.models import Asked

logger = structlog.get_logger(__name__)

LABEL = prefixed("node-pool")
KEY = "record.json"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    epoch: int = 0
    wanted: int | None = None
    """The size that was last asked for."""

    leaving: tuple[str, ...] = ()
    """Nodes that we keep cordoned; a cordon of somebody else's is left alone."""

    returning: tuple[str, ...] = ()
    """Of these, nodes whose cordon is being taken back."""

    removing: dict[str, datetime] = {}
    """Nodes whose removal was, or may have been, asked of the cloud, and when last."""

    operation: str = ""
    """What the cloud is doing for us, in its own words; asked about until it is over."""

    asked: tuple[Asked, ...] = ()
    """Nodes that are still to come, the oldest first."""

    late: int = 0
    """How many of them were already counted as failures."""

    came: tuple[str, ...] = ()
    """Nodes that were already counted as having come."""

    boots: tuple[float, ...] = ()
    """Seconds from asking to ready, the latest last."""

    failures: int = 0
    """In a row."""

    retry_at: datetime | None = None
    problem: str = ""
    full: bool = False
    """Pods wait, and no node may be added for them."""

    says: str = ""
    """Why nothing is done; for operators, as it may quote the cloud."""


class _Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    resource_version: str = ""
    annotations: dict[str, str] = {}


class _ConfigMap(msgspec.Struct):
    metadata: _Meta
    data: dict[str, str] = {}

    def record(self) -> Record:
        """A new one, of the same epoch, where somebody has written what is no record."""
        try:
            return msgspec.json.decode(self.data.get(KEY, ""), type=Record)
        except msgspec.MsgspecError as error:
            name = self.metadata.name
            logger.exception("cannot read a node pool's record", name=name, reason=str(error))
            epoch = self.metadata.annotations.get(EPOCH, "")
            return Record(epoch=int(epoch) if epoch.isdecimal() else 0)


class Records:
    """``rank`` is that of nodes: a session's pod goes first."""

    def __init__(self, api: KubernetesApi, *, namespace: str) -> None:
        self._api = api
        self._maps = Resource("v1", "configmaps", namespace)
        self._versions: dict[str, str] = {}

    async def read(self, pool: str) -> Record | None:
        found = await self._find(pool)
        return None if found is None else found.record()

    async def claim(self, pool: str, leadership: Leadership) -> Record:
        """Make the record ours, so that nothing of an earlier leader is accepted any more."""
        found = await self._find(pool)
        before = Record() if found is None else found.record()
        record = msgspec.structs.replace(before, epoch=leadership.epoch)
        _refuse(before, leadership)
        if found is not None:
            self._versions[pool] = found.metadata.resource_version
            return await self.write(pool, record, leadership)
        leadership.check()
        content = await self._api.create(self._maps, self._body(pool, record), rank=Rank.NODE)
        self._remember(pool, content)
        return record

    async def write(self, pool: str, record: Record, leadership: Leadership) -> Record:
        """FencedError if a later leader was here; ConflictError if anybody else changed it.

        After a ConflictError the record must be claimed again.
        """
        leadership.check()
        body = self._body(pool, record, version=self._versions[pool])
        try:
            content = await self._api.replace(self._maps, _name(pool), body, rank=Rank.NODE)
        except NotFoundError as error:
            raise LeadershipLostError(f"the record of pool {pool} is gone") from error
        except ConflictError:
            found = await self._find(pool)
            if found is not None:
                _refuse(found.record(), leadership)
            raise
        self._remember(pool, content)
        return record

    async def _find(self, pool: str) -> _ConfigMap | None:
        try:
            content = await self._api.get(self._maps, _name(pool))
        except NotFoundError:
            return None
        return msgspec.json.decode(content, type=_ConfigMap)

    def _remember(self, pool: str, content: bytes) -> None:
        written = msgspec.json.decode(content, type=_ConfigMap)
        self._versions[pool] = written.metadata.resource_version

    def _body(self, pool: str, record: Record, *, version: str | None = None) -> dict[str, Any]:
        metadata: dict[str, Any] = {
            "name": _name(pool),
            "namespace": self._maps.namespace,
            "labels": {LABEL: pool},
            "annotations": {EPOCH: str(record.epoch)},
        }
        if version is not None:
            metadata["resourceVersion"] = version
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {KEY: msgspec.json.encode(record).decode()},
        }


def _refuse(found: Record, leadership: Leadership) -> None:
    if found.epoch > leadership.epoch:
        raise FencedError(
            f"epoch {found.epoch} has written after our epoch {leadership.epoch}",
            epoch=found.epoch,
        )


def _name(pool: str) -> str:
    return f"slipway-node-pool-{pool}"
