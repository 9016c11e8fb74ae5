"""Keep every warm pool at its size: what is missing is made, what is too much or stale removed.

One scheduler at a time does this. Before it makes anything it asks the server what is there, so
that neither a slow mirror nor a leader before it makes it build too much.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from slipway_common.contracts.base import utc_now
from slipway_common.metrics import scheduler as metrics
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.api import KubernetesApi
from slipway_scheduler.kubernetes.errors import ApiError, QuotaError, RefusedError
from slipway_scheduler.kubernetes.manifests import Template
from slipway_scheduler.kubernetes.objects import Pod
from slipway_scheduler.warm.condition import (
    is_at_fault,
    is_broken,
    is_member,
    is_retired,
    least_useful_first,
    was_ever_ready,
)
from slipway_scheduler.warm.members import PoolKey, is_free
from slipway_scheduler.warm.policies import WarmPolicy, wanted_pools
from slipway_scheduler.warm.sizing import Brake, Demand, target
from slipway_scheduler.warm.writes import MemberWrites, new_name

logger = structlog.get_logger(__name__)

IN_DOUBT_SECONDS = 60.0
"""Longer than any create can be under way of which no answer came."""

REFILLS_AT_ONCE = 10
"""A pool that was emptied comes back over some rounds, half of what is missing in each."""


@dataclass(slots=True)
class _Pool:
    """What is remembered of a pool; all of it may be forgotten."""

    revision: str = ""
    demand: Demand = field(default_factory=Demand)
    brake: Brake = field(default_factory=Brake)
    failed: set[str] = field(default_factory=set)
    """Members by uid whose failure was counted."""

    in_doubt: dict[str, float] = field(default_factory=dict)
    """Members by name that may have been made, and until when that is not known."""

    start_seconds: float = 5.0
    """How long a member took from its making until it was ready, lately."""


class WarmPools:
    def __init__(
        self,
        api: KubernetesApi,
        template: Template,
        *,
        pods: Mapping[str, Pod],
        policies: Iterable[WarmPolicy],
        runtimes: Callable[[], Iterable[tuple[UUID, str]] | None],
        member_token: Callable[[str, PoolKey, timedelta], str],
        key_of: Callable[[str], bytes],
    ) -> None:
        """``runtimes``: account and name of each that is published; None: it is not known yet."""
        self._writes = MemberWrites(api, template, member_token=member_token, key_of=key_of)
        self._pods = pods
        self._policies = tuple(policies)
        self._runtimes = runtimes
        self._state: dict[str, _Pool] = {}

    def on_change(self, before: Pod | None, after: Pod | None) -> None:
        """Learn from the mirror: sessions that were asked for, members that got ready."""
        if after is None:
            return
        state = self._state.get(after.metadata.labels.get(labels.POOL, ""))
        if state is None:
            return
        now = utc_now()
        if _became_session(before, after):
            state.demand.note(now)
        if is_free(after) and not (before is not None and is_free(before)):
            _note_ready(state, before, after, now=now)

    async def step(self) -> None:
        """One pool that cannot be kept holds up no other."""
        published = self._runtimes()
        if published is None:
            return
        pools = wanted_pools(self._policies, published)
        members: dict[str, list[Pod]] = {key.name: [] for key in pools}
        unwanted: list[Pod] = []
        for pod in self._pods.values():
            name = pod.metadata.labels.get(labels.POOL, "")
            if is_member(pod) and name in members:
                members[name].append(pod)
            elif is_member(pod) or is_retired(pod):  # whoever retired it came no further
                unwanted.append(pod)
        failures: list[ApiError] = []
        for work in (
            partial(self._writes.remove, unwanted),
            *(partial(self._keep, key, policy, members[key.name]) for key, policy in pools.items()),
        ):
            try:
                await work()
            except ApiError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def _keep(self, key: PoolKey, policy: WarmPolicy, pods: list[Pod]) -> None:
        now = utc_now()
        state = self._state.setdefault(key.name, _Pool())
        state.revision = self._writes.revision(key)
        bad = [pod for pod in pods if is_broken(pod, now=now)]
        _note_failures(state, bad, now=now)
        sound = [pod for pod in pods if pod not in bad]
        stale = [pod for pod in sound if _is_stale(pod, state, policy, now=now)]
        good = [pod for pod in sound if pod not in stale]
        size = target(
            policy.sizes(),
            now=now,
            per_second=state.demand.per_second(now),
            refill=timedelta(seconds=state.start_seconds),
        )
        free = sum(map(is_free, good))
        metrics.warm_members.labels(key.runtime, key.profile, "free").set(free)
        metrics.warm_members.labels(key.runtime, key.profile, "wanted").set(size)
        metrics.warm_pools_held.labels(key.runtime, key.profile).set(state.brake.is_on)
        await self._writes.remove(bad)
        if len(good) > size:
            await self._writes.remove(least_useful_first(good)[: len(good) - size])
        # Stale ones serve until there is something better.
        if stale and free >= size:
            await self._writes.remove(stale)
        if len(good) < size:
            await self._fill(key, policy, state, size=size, useless=[*bad, *stale], ready=free)

    async def _fill(
        self,
        key: PoolKey,
        policy: WarmPolicy,
        state: _Pool,
        *,
        size: int,
        useless: Iterable[Pod],
        ready: int,
    ) -> None:
        there = await self._there(key, state) - {pod.metadata.name for pod in useless}
        missing = size - len(there)
        allowed = state.brake.allowed(now=utc_now(), on_trial=len(there) - ready)
        if allowed is not None:
            missing = min(missing, allowed)
        left = max(missing // 2, min(missing, REFILLS_AT_ONCE))
        while left > 0:
            async with asyncio.TaskGroup() as group:
                makings = [
                    group.create_task(self._make(key, policy, state))
                    for _ in range(min(left, REFILLS_AT_ONCE))
                ]
            if not all(making.result() for making in makings):
                break
            left -= len(makings)

    async def _there(self, key: PoolKey, state: _Pool) -> set[str]:
        """Names of its members as the server has them, and of those of which nobody knows."""
        names = await self._writes.names_on_server(key)
        moment = time.monotonic()
        state.in_doubt = {
            name: until
            for name, until in state.in_doubt.items()
            if until > moment and name not in names
        }
        return names | state.in_doubt.keys()

    async def _make(self, key: PoolKey, policy: WarmPolicy, state: _Pool) -> bool:
        """False if it is of no use to make another one now."""
        name = new_name()
        try:
            secret_uid = await self._writes.make_secret(name, key, max_age=policy.max_age)
            # Until the answer it may be there or not, and counts.
            state.in_doubt[name] = time.monotonic() + IN_DOUBT_SECONDS
            await self._writes.make_pod(name, key, secret_uid=secret_uid)
        except (QuotaError, RefusedError) as error:
            state.in_doubt.pop(name, None)
            state.brake = state.brake.failed(utc_now())
            logger.warning("a warm pod was not taken", pool=key.name, reason=str(error))
            return False
        except ApiError as error:
            logger.warning("a warm pod may not be there", pool=key.name, reason=str(error))
            return False
        del state.in_doubt[name]
        return True


def _note_ready(state: _Pool, before: Pod | None, after: Pod, *, now: datetime) -> None:
    if after.metadata.annotations.get(labels.REVISION) == state.revision:
        state.brake = Brake()
    made = after.metadata.creation_timestamp
    if before is not None and not was_ever_ready(before) and made is not None:
        state.start_seconds += ((now - made).total_seconds() - state.start_seconds) / 4


def _note_failures(state: _Pool, bad: Iterable[Pod], *, now: datetime) -> None:
    failed = {pod.metadata.uid: pod for pod in bad if is_at_fault(pod)}
    for uid in failed.keys() - state.failed:
        pod = failed[uid]
        state.brake = state.brake.failed(now)
        logger.warning("a warm pod did not start", pod=pod.metadata.name, reason=_waits_for(pod))
    state.failed = set(failed)


def _waits_for(pod: Pod) -> str:
    waiting = [status.state.waiting for status in pod.status.container_statuses]
    said = [f"{one.reason}: {one.message}" for one in waiting if one is not None]
    return "; ".join(said) or f"it is {pod.status.phase}"


def _is_stale(pod: Pod, state: _Pool, policy: WarmPolicy, *, now: datetime) -> bool:
    made = pod.metadata.creation_timestamp
    old = made is not None and now - made > policy.max_age
    return old or pod.metadata.annotations.get(labels.REVISION) != state.revision


def _became_session(before: Pod | None, after: Pod) -> bool:
    is_session = after.metadata.labels.get(labels.ROLE) == labels.SESSION_ROLE
    was_session = (
        before is not None and before.metadata.labels.get(labels.ROLE) == labels.SESSION_ROLE
    )
    return is_session and not was_session
