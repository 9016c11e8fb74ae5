"""The lives of session pods, put together from what was seen of them, and what must hold of them.

A pod counts for its session from the write that made it the session's until its containers have
ended by its status, or the object is gone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

Place = tuple[str, str]
"""Namespace and name."""


class Rule(StrEnum):
    TWO_AT_ONCE = "two-at-once"
    SECOND_POD = "second-pod"
    """Who was told that a pod is the session's never makes or claims another one for it."""

    CLAIMED_TWICE = "claimed-twice"
    NO_REFERENCE = "no-reference"
    """A session's secret is committed before anything is done to its pod, and owns that."""

    DELETED_BLINDLY = "deleted-blindly"


@dataclass(frozen=True, slots=True)
class Violation:
    rule: Rule
    subject: str
    """A session's id, or the name of what was deleted."""

    detail: str


@dataclass(frozen=True, slots=True)
class Instant:
    """When something was committed: between these two times, or exactly at this revision."""

    received: str
    over: str
    revision: int | None

    def is_surely_after(self, other: "Instant") -> bool:
        if self.revision is not None and other.revision is not None:
            return self.revision > other.revision
        return self.received > other.over

    def is_before(self, other: "Instant") -> bool:
        """To order what was seen of one pod, whose log may be out of order."""
        if self.revision is not None and other.revision is not None:
            return self.revision < other.revision
        return self.over < other.over


class How(StrEnum):
    """What an answer was to who asked."""

    CREATED = "created"
    CLAIMED = "claimed"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Seen:
    """What one answer showed of a pod."""

    uid: str
    place: Place
    session: str | None
    owners: Collection[tuple[str, str]]
    at: Instant
    how: How
    gone: bool = False
    ended: bool = False
    placed: bool = False


@dataclass(slots=True)
class Life:
    """What one pod was to one session."""

    session: str
    begin: Instant
    owners: Collection[tuple[str, str]]
    how: How


@dataclass(slots=True)
class Pod:
    uid: str
    place: Place
    created: Instant | None = None
    lives: dict[str, Life] = field(default_factory=dict)
    end: Instant | None = None
    bare: Instant | None = None
    """The last time that it was seen and was no session's."""

    placed: bool = False
    ended: bool = False

    def see(self, seen: Seen) -> None:
        self.placed |= seen.placed
        self.ended |= seen.ended
        if seen.how is How.CREATED:
            self.created = seen.at
        if (seen.gone or seen.ended) and (self.end is None or seen.at.is_before(self.end)):
            self.end = seen.at
        if seen.session is None:
            if self.bare is None or self.bare.is_before(seen.at):
                self.bare = seen.at
            return
        life = self.lives.get(seen.session)
        if life is None or seen.at.is_before(life.begin):
            how = seen.how if life is None or seen.how is not How.ANY else life.how
            self.lives[seen.session] = Life(seen.session, seen.at, seen.owners, how)

    def violations(self) -> Iterator[Violation]:
        if len(self.lives) > 1:
            detail = f"{self.place[1]} was claimed for {', '.join(self.lives)}"
            yield Violation(Rule.CLAIMED_TWICE, next(iter(self.lives)), detail)
        for session, life in self.lives.items():
            if self.bare is not None and not self.bare.is_before(life.begin):
                detail = f"{self.place[1]} was taken away from it again"
                yield Violation(Rule.CLAIMED_TWICE, session, detail)


class Lives:
    def __init__(self) -> None:
        self._pods: dict[str, Pod] = {}
        self._secrets: dict[Place, Instant] = {}

    def secret_is_there(self, place: Place, at: Instant) -> None:
        known = self._secrets.get(place)
        if known is None or at.received < known.received:
            self._secrets[place] = at

    def see(self, seen: Seen) -> None:
        pod = self._pods.get(seen.uid)
        if pod is None:
            pod = self._pods[seen.uid] = Pod(seen.uid, seen.place)
        pod.see(seen)

    def by_session(self) -> dict[str, list[Pod]]:
        """In the order in which they became the session's."""
        self._end_namesakes()
        found: dict[str, list[Pod]] = defaultdict(list)
        for pod in self._pods.values():
            for session in pod.lives:
                found[session].append(pod)
        for session, pods in found.items():
            pods.sort(key=lambda pod: pod.lives[session].begin.over)  # sorts at once
        return found

    def count(self, how: How) -> int:
        return sum(life.how is how for pod in self._pods.values() for life in pod.lives.values())

    def unended(self) -> int:
        return sum(
            bool(pod.lives) and pod.placed and pod.end is not None and not pod.ended
            for pod in self._pods.values()
        )

    def violations(self) -> Iterator[Violation]:
        for session, pods in self.by_session().items():
            at_once = most_at_once(session, pods)
            names = ", ".join(f"{pod.place[1]} ({pod.uid})" for pod in pods)
            if at_once > 1:
                yield Violation(Rule.TWO_AT_ONCE, session, f"{at_once} of {names} lived at once")
            if any(pod.lives[session].how is not How.ANY for pod in pods[:-1]):
                yield Violation(Rule.SECOND_POD, session, f"there were {names}")
            for pod in pods:
                yield from self._reference_violations(pod, pod.lives[session])
        for pod in self._pods.values():
            yield from pod.violations()

    def _end_namesakes(self) -> None:
        """Two objects never have one name: what had it before is gone when another is made."""
        named: dict[Place, list[tuple[Instant, Pod]]] = defaultdict(list)
        for pod in self._pods.values():
            if pod.created is not None:
                named[pod.place].append((pod.created, pod))
        for namesakes in named.values():
            namesakes.sort(key=lambda found: (found[0].revision or 0, found[0].over))
            for (_, before), (at, _) in pairwise(namesakes):
                if before.end is None:
                    before.end = at

    def _reference_violations(self, pod: Pod, life: Life) -> Iterator[Violation]:
        namespace, name = pod.place
        secret = f"session-{life.session}"
        committed = self._secrets.get((namespace, secret))
        if committed is None or committed.received >= life.begin.received:
            detail = f"{name} was its pod before {secret} was committed"
            yield Violation(Rule.NO_REFERENCE, life.session, detail)
        if ("Secret", secret) not in life.owners:
            detail = f"{name} does not belong to {secret}"
            yield Violation(Rule.NO_REFERENCE, life.session, detail)


def most_at_once(session: str, pods: Collection[Pod]) -> int:
    """How many lived at the beginning of the one that most others lived at."""
    return max(
        1 + sum(_lived_at(other, session, pod.lives[session].begin) for other in pods
                if other is not pod)
        for pod in pods
    )  # fmt: skip


def _lived_at(pod: Pod, session: str, moment: Instant) -> bool:
    if pod.lives[session].begin.is_surely_after(moment):
        return False
    return pod.end is None or pod.end.is_surely_after(moment)
