"""The members that wait: an index kept by the mirror of pods, from which claims take theirs."""

import hashlib
import json
from dataclasses import dataclass
from uuid import UUID

from slipway_common.contracts.sessions import Resources
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.objects import Pod


@dataclass(frozen=True, slots=True)
class PoolKey:
    """Sessions that one waiting pod can become: an account's, of one runtime and profile.

    A profile whose figures have changed is another one: no session gets less than was admitted.
    """

    account_id: UUID
    runtime: str
    resources: Resources

    @property
    def profile(self) -> str:
        return self.resources.profile

    @property
    def name(self) -> str:
        """As a label: short, and different for each, whatever the names are made of."""
        parts = (str(self.account_id), self.runtime, self.resources.model_dump(mode="json"))
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    uid: str


def is_free(pod: Pod) -> bool:
    """It waits, has its runtime, and nobody's session is in it."""
    ready = pod.status.condition("Ready")
    return (
        pod.metadata.labels.get(labels.ROLE) == labels.MEMBER_ROLE
        and not pod.terminating
        and ready is not None
        and ready.holds
        and pod.status.pod_ip is not None
        and pod.spec.node_name is not None
    )


class FreeMembers:
    """Each is handed out to one claim at a time."""

    def __init__(self) -> None:
        self._free: dict[str, dict[str, Member]] = {}
        self._taken: set[str] = set()

    def on_change(self, before: Pod | None, after: Pod | None) -> None:
        if before is not None and not _is_still_free(before, after):
            self._drop(before)
        if after is not None and is_free(after) and after.metadata.uid not in self._taken:
            member = Member(name=after.metadata.name, uid=after.metadata.uid)
            self._free.setdefault(_pool_of(after), {})[member.uid] = member

    def take(self, pool: str) -> Member | None:
        """The one that has waited longest; None if there is none.

        It is out of reach until it is given back, or until the mirror shows what became of it.
        """
        waiting = self._free.get(pool)
        if not waiting:
            return None
        member = waiting.pop(next(iter(waiting)))
        self._taken.add(member.uid)
        return member

    def give_back(self, member: Member, *, pool: str) -> None:
        """It was not claimed after all, and waits on."""
        if member.uid in self._taken:
            self._taken.discard(member.uid)
            self._free.setdefault(pool, {})[member.uid] = member

    def count(self, pool: str) -> int:
        return len(self._free.get(pool, ()))

    def _drop(self, pod: Pod) -> None:
        waiting = self._free.get(_pool_of(pod), {})
        waiting.pop(pod.metadata.uid, None)
        if not waiting:
            self._free.pop(_pool_of(pod), None)
        self._taken.discard(pod.metadata.uid)


def _is_still_free(before: Pod, after: Pod | None) -> bool:
    return (
        after is not None
        and is_free(after)
        and after.metadata.uid == before.metadata.uid
        and _pool_of(after) == _pool_of(before)
    )


def _pool_of(pod: Pod) -> str:
    return pod.metadata.labels.get(labels.POOL, "")
