"""Sessions as pods of a cluster.

A session's secret is written first and names the pod that is to be its unit: that is the commitment
by which whoever comes later, after any crash, goes on where another stopped. Then the pod is made
under the session's own name, or one that waits in a warm pool is claimed. A finalizer keeps it
until its end was told.
"""

import asyncio
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

import msgspec
import structlog
from typing_extensions import override

from slipway_common.contracts.base import utc_now
from slipway_common.contracts.internal import Activation
from slipway_common.contracts.sessions import EndReason, SessionKind, SessionStage, SessionWanted
from slipway_common.errors import PermanentError, SlipwayError, TransientError
from slipway_common.failpoints import failpoint
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
from slipway_scheduler.kubernetes.objects import Metadata, Node, Pod
from slipway_scheduler.kubernetes.observation import address_of, observe, session_of
from slipway_scheduler.kubernetes.reflector import Reflector
from slipway_scheduler.models import Termination, Unit, UnitPhase
from slipway_scheduler.units.activation import Activations, StrangerError
from slipway_scheduler.units.base import NoPlaceError, Units
from slipway_scheduler.units.claims import Reference, claim_patch, could_be_claimed, reference_of
from slipway_scheduler.units.ends import PodEnds
from slipway_scheduler.warm.members import FreeMembers, Member, PoolKey

logger = structlog.get_logger(__name__)

EXPECTED_SECONDS = 30.0
"""How long a pod that we made is believed in, by a mirror that hears of others and not of it."""

OnPod = Callable[[Pod | None, Pod | None], None]

Estimate = Callable[[str | None, datetime], datetime | None]
"""When a node of this pool should be there, seen from now; None: nobody can say."""

_METADATA = msgspec.json.Decoder(Metadata)
_POD = msgspec.json.Decoder(Pod)


@dataclass(frozen=True, slots=True)
class _WellSeen:
    """A session that answers, on a node that does: time alone changes nothing about it."""

    pod: Pod
    node: Node
    unit: Unit


@dataclass(frozen=True, slots=True)
class _Expected:
    """A pod as the server answered, which the mirror does not show yet."""

    pod: Pod
    until: float


class PodUnits(Units):
    def __init__(
        self,
        api: KubernetesApi,
        template: Template,
        *,
        token_for: Callable[[SessionWanted], str],
        activations: Activations,
        members: FreeMembers,
        look_at: Callable[[UUID], None],
        estimate: Estimate = lambda _, __: None,
        give_up_after: timedelta | None = None,
    ) -> None:
        """``give_up_after``: a pod that does not end counts as gone after this; None: never."""
        self._api = api
        self._template = template
        self._token_for = token_for
        self._activations = activations
        self._members = members
        self._followers: list[OnPod] = [members.on_change]
        self._look_at = look_at
        self._estimate = estimate
        self._give_up_after = give_up_after
        self._ends = PodEnds(api, namespace=template.namespace)
        self._pods_of: dict[UUID, set[str]] = {}
        self._expected: dict[UUID, _Expected] = {}
        self._faults: dict[str, Termination] = {}
        self._seen_claimed: dict[str, datetime] = {}
        """When we first saw a member as a session: its time to answer counts from then."""

        self._well_seen: dict[str, _WellSeen] = {}
        self._forgotten: set[str] = set()
        """Pods by uid that the mirror still shows."""

        self._pods = Resource("v1", "pods", template.namespace)
        self._secrets = Resource("v1", "secrets", template.namespace)
        self.pods = Reflector(
            api.watches, self._pods, Pod, selector=labels.ROLE, on_change=self._on_pod
        )
        self.nodes = Reflector(api.watches, Resource("v1", "nodes"), Node, on_change=self._on_node)

    def follow_with(self, on_change: OnPod) -> None:
        """Let somebody else hear of the same changes of pods."""
        self._followers.append(on_change)

    @override
    async def refresh(self) -> None:
        """Mirrors tell of changes by themselves."""

    @override
    def ids(self) -> Collection[UUID]:
        return self._pods_of.keys() | self._expected.keys()

    @override
    def find(self, session_id: UUID) -> Unit | None:
        pod = self._pod_of(session_id)
        return None if pod is None else self._observe(pod)

    def _pod_of(self, session_id: UUID) -> Pod | None:
        names = self._pods_of.get(session_id)
        return self.pods.objects[min(names)] if names else self._expected_pod(session_id)

    def _expected_pod(self, session_id: UUID) -> Pod | None:
        expected = self._expected.get(session_id)
        if expected is None:
            return None
        overdue = asyncio.get_running_loop().time() - expected.until
        # While nothing is heard at all, nothing speaks against it.
        if overdue > 0 and self.pods.age_seconds < overdue:
            del self._expected[session_id]
            return None
        return expected.pod

    def _observe(self, pod: Pod) -> Unit | None:
        uid = pod.metadata.uid
        node = self.nodes.objects.get(pod.spec.node_name or "")
        well = self._well_seen.get(uid)
        if well is not None and well.pod is pod and well.node is node:
            return well.unit
        unit = self._look_closely(pod, node)
        if unit is not None and node is not None and _is_well(unit, node):
            self._well_seen[uid] = _WellSeen(pod, node, unit)
        return unit

    def _look_closely(self, pod: Pod, node: Node | None) -> Unit | None:
        now = utc_now()
        uid = pod.metadata.uid
        claimed = labels.REVISION in pod.metadata.annotations
        unit = observe(
            pod,
            node,
            now=now,
            node_lost_after=self._template.node_lost_after,
            activated=not claimed or self._activations.answers(uid),
            dormant=claimed and not self._activations.is_told(uid),
        )
        if unit is None:
            return None
        if claimed:
            # Long placed, and ready before it was anybody's: none of that is the session's start.
            seen = self._seen_claimed.setdefault(uid, now)
            unit = replace(unit, begun_at=seen, step=None)
        if uid in self._faults and unit.phase is not UnitPhase.GONE:
            unit = replace(unit, fault=self._faults[uid], dormant=False)
        if unit.step is not None and unit.step.stage is SessionStage.WAITING_FOR_NODE:
            expected_at = self._estimate(_node_pool(pod), now)
            unit = replace(unit, step=replace(unit.step, expected_at=expected_at))
        return self._give_up(unit, now=now)

    def _give_up(self, unit: Unit, *, now: datetime) -> Unit:
        since = unit.stopping_since
        if (
            self._give_up_after is None
            or unit.phase is not UnitPhase.STOPPING
            or since is None
            or now - since <= self._give_up_after
        ):
            return unit
        lost = Termination(EndReason.LOST, "It did not end when it was told to.")
        return replace(unit, phase=UnitPhase.GONE, termination=unit.termination or lost)

    @override
    async def create(self, wanted: SessionWanted) -> None:
        if self.find(wanted.session_id) is not None:
            return
        pool = pool_of(wanted)
        member = self._members.take(pool) if _can_be_warm(wanted) else None
        used = False
        try:
            reference = await self._commit(wanted, member)
            failpoint("scheduler.after-secret")
            # Once it is known to be claimed or gone, the mirror will say what became of it.
            used = member is not None and reference.pod_uid == member.uid
            if reference.pod_uid is not None:
                if await self._claim(wanted, reference):
                    return
                reference = await self._commit_to_own_pod(wanted, reference)
            await self._create_pod(wanted, reference, pool=pool)
        finally:
            if member is not None and not used:
                self._members.give_back(member, pool=pool)

    async def _commit(self, wanted: SessionWanted, member: Member | None) -> Reference:
        """Name the session's pod once and for all; what somebody named before counts."""
        name = manifests.unit_name(wanted.session_id)
        unit = name if member is None else f"{member.name}/{member.uid}"
        body = manifests.session_secret(
            wanted, self._template, token=self._token_for(wanted), unit=unit
        )
        failpoint("scheduler.before-start")
        try:
            made = await self._api.create(self._secrets, body, rank=Rank.SESSION)
        except ConflictError:
            made = await self._committed(name)
        except QuotaError as error:
            raise NoPlaceError("The place for sessions is full") from error
        return reference_of(_METADATA.decode(made).metadata)

    async def _committed(self, name: str) -> bytes:
        try:
            return await self._api.get(self._secrets, name, metadata_only=True)
        except NotFoundError as error:
            # It was in the way of something else, such as the count of a quota.
            raise TransientError(f"{name} was neither made nor there") from error

    async def _commit_to_own_pod(self, wanted: SessionWanted, reference: Reference) -> Reference:
        """The member that was named is not to be had: name the session's own pod instead."""
        name = manifests.unit_name(wanted.session_id)
        changed = await self._api.merge(
            self._secrets,
            name,
            {
                "metadata": {
                    "uid": reference.secret_uid,
                    "resourceVersion": reference.secret_version,
                    "annotations": {labels.UNIT: name},
                }
            },
            rank=Rank.SESSION,
        )
        return reference_of(_METADATA.decode(changed).metadata)

    async def _claim(self, wanted: SessionWanted, reference: Reference) -> bool:
        """Make the member the session's. False, by the server's own word, if it never can be."""
        try:
            claimed = await self._api.patch(
                self._pods,
                reference.pod,
                claim_patch(wanted, reference, self.pods.objects.get(reference.pod)),
                rank=Rank.SESSION,
            )
        except (ConflictError, NotFoundError, RefusedError):
            pod = await self._ask_for(reference.pod)
            if pod is None or pod.metadata.uid != reference.pod_uid:
                return False
            if session_of(pod) != wanted.session_id:
                if could_be_claimed(pod):
                    raise  # it was something else, and somebody may still claim it
                return False
        else:
            pod = _POD.decode(claimed)
        failpoint("scheduler.after-start")
        self._expect(wanted, pod)
        # Only to save time: a member that hears nothing now is told at the next look.
        with suppress(SlipwayError):
            await self._activate(pod, wanted)
        return True

    async def _create_pod(self, wanted: SessionWanted, reference: Reference, *, pool: str) -> None:
        body = manifests.session_pod(
            wanted, self._template, secret_uid=reference.secret_uid, pool=pool
        )
        try:
            made = _POD.decode(await self._api.create(self._pods, body, rank=Rank.SESSION))
        except ConflictError:
            found = await self._ask_for(reference.pod)
            if found is None:
                raise  # it was in the way of something else, or has just gone
            if session_of(found) != wanted.session_id:
                raise PermanentError(f"another pod has the name {reference.pod}") from None
            made = found
        except QuotaError as error:
            raise NoPlaceError("The place for sessions is full") from error
        failpoint("scheduler.after-start")
        self._expect(wanted, made)

    def _expect(self, wanted: SessionWanted, pod: Pod) -> None:
        if wanted.session_id in self._pods_of:
            return  # the mirror was quicker than the answer
        until = asyncio.get_running_loop().time() + EXPECTED_SECONDS
        self._expected[wanted.session_id] = _Expected(pod, until)

    async def _ask_for(self, name: str) -> Pod | None:
        """The pod as the server has it, and not as we last saw it."""
        try:
            return _POD.decode(await self._api.get(self._pods, name))
        except NotFoundError:
            return None

    @override
    async def activate(self, wanted: SessionWanted) -> None:
        pod = self._pod_of(wanted.session_id)
        if pod is None:
            return
        try:
            await self._activate(pod, wanted)
        except StrangerError as error:
            self._faults[pod.metadata.uid] = Termination(
                EndReason.LOST, "What waited for it could not become it."
            )
            logger.warning("cannot be activated", pod=pod.metadata.name, reason=str(error))

    async def _activate(self, pod: Pod, wanted: SessionWanted) -> None:
        address = address_of(pod)
        if address is None:
            raise TransientError("it has no address")
        await self._activations.activate(
            pod.metadata.uid,
            member=pod.metadata.name,
            address=address,
            session=Activation(
                session_id=wanted.session_id,
                token=self._token_for(wanted),
                idle_seconds=wanted.idle_seconds,
            ),
            on_answer=lambda: self._look_at(wanted.session_id),
        )

    @override
    async def stop(self, session_id: UUID, *, reason: EndReason, message: str) -> None:
        pod = self._pod_of(session_id)
        if pod is not None:
            await self._ends.ask(pod, reason=reason, message=message)

    @override
    async def kill(self, session_id: UUID) -> None:
        pod = self._pod_of(session_id)
        if pod is not None:
            await self._ends.force(pod)

    @override
    async def forget(self, session_id: UUID) -> None:
        pod = self._pod_of(session_id)
        if pod is None:
            return
        await self._ends.remove(pod)
        expected = self._expected.pop(session_id, None)
        if expected is not None or pod.metadata.name in self._pods_of.get(session_id, ()):
            # It may be shown for a while, or for ever by somebody else's finalizer.
            self._forgotten.add(pod.metadata.uid)
            self._leave(session_id, pod)

    def _on_pod(self, before: Pod | None, after: Pod | None) -> None:
        for follower in self._followers:
            follower(before, after)
        was = None if before is None else session_of(before)
        now = None if after is None else session_of(after)
        if before is not None and (after is None or after.metadata.uid != before.metadata.uid):
            self._drop(before.metadata.uid)
        if was is not None and was != now and before is not None:
            self._leave(was, before)
        if now is not None and after is not None and after.metadata.uid not in self._forgotten:
            self._pods_of.setdefault(now, set()).add(after.metadata.name)
            self._expected.pop(now, None)
        for session_id in {was, now} - {None}:
            assert session_id is not None
            self._look_at(session_id)

    def _leave(self, session_id: UUID, pod: Pod) -> None:
        names = self._pods_of.get(session_id, set())
        names.discard(pod.metadata.name)
        if not names:
            self._pods_of.pop(session_id, None)

    def _drop(self, uid: str) -> None:
        self._activations.forget(uid)
        self._faults.pop(uid, None)
        self._seen_claimed.pop(uid, None)
        self._well_seen.pop(uid, None)
        self._forgotten.discard(uid)

    def _on_node(self, before: Node | None, after: Node | None) -> None:
        """A node that came, went, or changed its mind about being ready concerns its sessions."""
        was = before is not None and before.status.ready
        now = after is not None and after.status.ready
        if before is not None and was == now:
            return
        node = after or before
        assert node is not None
        for session_id, names in self._pods_of.items():
            if any(self.pods.objects[name].spec.node_name == node.metadata.name for name in names):
                self._look_at(session_id)


def pool_of(wanted: SessionWanted) -> str:
    key = PoolKey(wanted.account_id, wanted.runtime, wanted.resources)
    return key.name


def _can_be_warm(wanted: SessionWanted) -> bool:
    return wanted.kind is not SessionKind.EXTERNAL


def _is_well(unit: Unit, node: Node) -> bool:
    return unit.phase is UnitPhase.READY and unit.fault is None and node.not_ready_since() is None


def _node_pool(pod: Pod) -> str | None:
    return pod.spec.node_selector.get(labels.prefixed("pool"))
