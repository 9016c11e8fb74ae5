"""Who of several schedulers leads: a Lease says so, and a number that only ever rises.

Whoever leads stops by its own clock before anybody else may begin, even while a call hangs. But a
process can be paused between its last look at the clock and a write, so a Lease fences nothing:
what is written under it carries the epoch, and is refused where a higher one was seen.
"""

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self
from uuid import uuid4

import structlog

from slipway_common.contracts.base import utc_now
from slipway_common.errors import TransientError
from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.errors import ApiError, ConflictError, NotFoundError
from slipway_scheduler.kubernetes.labels import prefixed
from slipway_scheduler.kubernetes.limits import Rank

logger = structlog.get_logger(__name__)

EPOCH = prefixed("epoch")
RANK = Rank.SESSION
"""A leader that waits behind the writes of a busy hour would lose what it leads."""


class LeadershipLostError(TransientError):
    """Somebody else leads, or may by now."""


class FencedError(LeadershipLostError):
    """A later leader has written here."""

    def __init__(self, message: str, *, epoch: int) -> None:
        super().__init__(message)
        self.epoch = epoch


class Leadership:
    """What the work is handed. It asks ``check`` right before each effect."""

    def __init__(self, epoch: int, *, until: float) -> None:
        self.epoch = epoch
        self._until = until

    @property
    def seconds_left(self) -> float:
        return self._until - time.monotonic()

    @property
    def held(self) -> bool:
        return self.seconds_left > 0

    def check(self) -> None:
        """Raise LeadershipLostError once the time that was won is used up."""
        if not self.held:
            raise LeadershipLostError("the lease was not renewed in time")

    def extend(self, until: float) -> None:
        self._until = max(self._until, until)


Work = Callable[[Leadership], Awaitable[None]]
"""Runs until it is cancelled; an error gives the leadership up."""


@dataclass(frozen=True, slots=True)
class _Lease:
    body: Mapping[str, Any]

    @classmethod
    def read(cls, content: bytes) -> Self:
        return cls(json.loads(content))

    @property
    def version(self) -> str:
        return str(self.body["metadata"].get("resourceVersion", ""))

    @property
    def holder(self) -> str:
        return str(self._spec.get("holderIdentity") or "")

    @property
    def seconds(self) -> float:
        return float(self._spec.get("leaseDurationSeconds") or 0)

    @property
    def transitions(self) -> int:
        return int(self._spec.get("leaseTransitions") or 0)

    @property
    def epoch(self) -> int:
        try:
            return int((self.body["metadata"].get("annotations") or {}).get(EPOCH, 0))
        except ValueError:
            return 0

    @property
    def _spec(self) -> Mapping[str, Any]:
        return self.body.get("spec") or {}

    def changed(self, *, epoch: int | None = None, **spec: Any) -> Mapping[str, Any]:
        """The body of a write that holds only if nobody else wrote meanwhile."""
        metadata = dict(self.body["metadata"])
        if epoch is not None:
            metadata["annotations"] = dict(metadata.get("annotations") or {}) | {EPOCH: str(epoch)}
        return {**self.body, "metadata": metadata, "spec": {**self._spec, **spec}}


class Elector:
    """Runs the work while this process leads, never twice at a time, and again whenever it can."""

    def __init__(
        self,
        api: KubernetesApi,
        *,
        namespace: str,
        name: str,
        identity: str,
        duration: timedelta = timedelta(seconds=15),
        renew_every: timedelta = timedelta(seconds=3),
        margin: timedelta = timedelta(seconds=3),
        call_limit: timedelta = timedelta(seconds=4),
    ) -> None:
        """``duration`` is whole seconds. The work is ended ``margin`` before others may begin.

        ``margin`` covers how clocks run differently, and the time that the work takes to end.
        """
        self._api = api
        self._leases = Resource("coordination.k8s.io/v1", "leases", namespace)
        self._name = name
        self._identity = f"{identity}_{uuid4().hex[:8]}"
        self._duration = duration.total_seconds()
        self._renew_every = renew_every.total_seconds()
        self._margin = margin.total_seconds()
        self._call_limit = call_limit.total_seconds()
        self._lease = _Lease(self._fresh())
        self._seen_version = ""
        self._seen_at = 0.0
        self._epoch_floor = 0

    async def run(self, work: Work) -> None:
        """Stand for election until cancelled; an API server that is away is waited for."""
        while True:
            try:
                leadership = await self._acquire()
            except (ApiError, TimeoutError) as error:
                logger.warning("could not stand for election", lease=self._name, reason=str(error))
                leadership = None
            if leadership is not None:
                await self._lead(leadership, work)
            await asyncio.sleep(self._renew_every * random.uniform(0.5, 1))  # noqa: S311  # spreads

    async def _lead(self, leadership: Leadership, work: Work) -> None:
        """Only watches the clock and awaits no call, so that nothing can keep it from the end."""
        logger.info("leads", lease=self._name, epoch=leadership.epoch)
        working = asyncio.ensure_future(work(leadership))
        renewing = asyncio.create_task(self._keep(leadership))
        both = {working, renewing}
        try:
            while leadership.held and not any(task.done() for task in both):
                await asyncio.wait(
                    both,
                    timeout=leadership.seconds_left,
                    return_when=asyncio.FIRST_COMPLETED,
                )
        finally:
            for task in (working, renewing):
                task.cancel()
                await asyncio.wait({task})
            self._tell_why(leadership, working, renewing)
            await self._release(leadership)

    def _tell_why(
        self, leadership: Leadership, working: "asyncio.Future[None]", renewing: asyncio.Task[None]
    ) -> None:
        reason = "asked to stop" if leadership.held else "the lease was not renewed in time"
        for task in (renewing, working):
            error = None if task.cancelled() else task.exception()
            for cause in _causes(error):
                if isinstance(cause, FencedError):
                    self._epoch_floor = max(self._epoch_floor, cause.epoch)
                if isinstance(cause, LeadershipLostError):
                    reason = str(cause)
                else:
                    reason = f"{type(cause).__name__}: {cause}"
                    logger.error("the leader's work failed", lease=self._name, exc_info=cause)
        logger.info("leads no more", lease=self._name, epoch=leadership.epoch, reason=reason)

    async def _acquire(self) -> Leadership | None:
        """Take the lease if it is free. None: somebody else holds it, or was faster."""
        found = await self._read()
        sent_at = time.monotonic()
        if found is None:
            return await self._take(_Lease(self._fresh()), sent_at=sent_at, create=True)
        if found.version != self._seen_version:
            self._seen_version, self._seen_at = found.version, sent_at
        # Its holder's clock is not asked: what counts is how long nothing changed by ours.
        silent = sent_at - self._seen_at > max(found.seconds, self._duration)
        if not silent and found.holder not in {"", self._identity}:
            return None
        return await self._take(found, sent_at=sent_at, create=False)

    async def _take(self, found: _Lease, *, sent_at: float, create: bool) -> Leadership | None:
        epoch = max(found.epoch, self._epoch_floor) + 1
        body = found.changed(
            epoch=epoch,
            holderIdentity=self._identity,
            leaseDurationSeconds=round(self._duration),
            acquireTime=_now(),
            renewTime=_now(),
            leaseTransitions=found.transitions + 1,
        )
        try:
            await self._write(body, create=create)
        except ConflictError:
            return None
        return Leadership(epoch, until=self._until(sent_at))

    async def _keep(self, leadership: Leadership) -> None:
        """Renew until the lease is lost; a renewal that fails is tried again, sooner."""
        pause = self._renew_every
        while True:
            await asyncio.sleep(pause)
            sent_at = time.monotonic()
            try:
                await self._renew(leadership)
            except (ApiError, TimeoutError) as error:
                logger.warning("could not renew", lease=self._name, reason=str(error))
                pause = self._renew_every / 4
            else:
                leadership.extend(self._until(sent_at))
                pause = self._renew_every

    async def _renew(self, leadership: Leadership) -> None:
        try:
            await self._write(self._lease.changed(renewTime=_now()), create=False)
        except (ConflictError, NotFoundError) as error:
            # A renewal whose answer was lost also ends here: then it still names us.
            found = await self._read()
            if found is None or found.holder != self._identity or found.epoch != leadership.epoch:
                raise LeadershipLostError("somebody else holds the lease") from error
            self._lease = found
            raise

    async def _release(self, leadership: Leadership) -> None:
        """Let the next one begin at once; if this fails, it waits until the lease runs out."""
        if self._lease.holder != self._identity or self._lease.epoch != leadership.epoch:
            return
        body = self._lease.changed(holderIdentity="", renewTime=_now())
        try:
            await self._write(body, create=False)
        except (ApiError, TimeoutError) as error:
            logger.info("could not release the lease", lease=self._name, reason=str(error))

    async def _read(self) -> _Lease | None:
        try:
            async with asyncio.timeout(self._call_limit):
                return _Lease.read(await self._api.get(self._leases, self._name))
        except NotFoundError:
            return None

    async def _write(self, body: Mapping[str, Any], *, create: bool) -> None:
        async with asyncio.timeout(self._call_limit):
            content = (
                await self._api.create(self._leases, body, rank=RANK)
                if create
                else await self._api.replace(self._leases, self._name, body, rank=RANK)
            )
        self._lease = _Lease.read(content)

    def _until(self, sent_at: float) -> float:
        """Counted from before the write was sent, for others count from when they saw it."""
        return sent_at + self._duration - self._margin

    def _fresh(self) -> Mapping[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._leases.namespace},
            "spec": {},
        }


def _causes(error: BaseException | None) -> list[BaseException]:
    """The errors themselves, where work that does several things at once has bundled them."""
    if isinstance(error, BaseExceptionGroup):
        return [cause for one in error.exceptions for cause in _causes(one)]
    return [] if error is None else [error]


def _now() -> str:
    return utc_now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
