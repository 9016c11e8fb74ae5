"""Which session was on which node, and when, by the API server's record: pure.

A session is on a node from when the node was named for its pod until the pod was said to be over.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.cluster.audit import KUBE_SCHEDULER, KWOK, Entry


@dataclass(frozen=True, slots=True)
class Stay:
    pod: str
    node: str
    since: float
    until: float | None
    """None: it was never said to be over."""

    def covers(self, moment: float) -> bool:
        return self.since <= moment and (self.until is None or moment < self.until)


@dataclass(frozen=True, slots=True)
class Violation:
    node: str
    pod: str
    at: float


def stays(entries: Iterable[Entry], *, prefix: str) -> list[Stay]:
    """Of pods whose names begin so. The node's second word about a pod is that it is over."""
    begun: dict[str, tuple[str, float]] = {}
    words: dict[str, list[float]] = {}
    gone: dict[str, float] = {}
    for entry in entries:
        if not entry.done or not entry.name.startswith(prefix):
            continue
        match entry.user.username, entry.verb, entry.kind:
            case user, "create", "pods/binding" if user == KUBE_SCHEDULER:
                begun[entry.name] = (entry.request_object.target.name, entry.received)
            case user, "patch", "pods/status" if user == KWOK:
                words.setdefault(entry.name, []).append(entry.received)
            case user, "delete", "pods" if user == KWOK:
                gone.setdefault(entry.name, entry.received)
            case _:
                continue
    found = []
    for pod, (node, since) in begun.items():
        said = words.get(pod, [])
        until = said[1] if len(said) > 1 else gone.get(pod)
        found.append(Stay(pod, node, since, until))
    return found


def removals(entries: Iterable[Entry]) -> dict[str, float]:
    """When each node was removed, by whomever."""
    return {
        entry.name: entry.received
        for entry in entries
        if entry.done and (entry.verb, entry.kind) == ("delete", "nodes")
    }


def violations(entries: Sequence[Entry], *, prefix: str) -> list[Violation]:
    """Nodes that were removed while a session was on them."""
    removed = removals(entries)
    return [
        Violation(stay.node, stay.pod, removed[stay.node])
        for stay in stays(entries, prefix=prefix)
        if stay.node in removed and stay.covers(removed[stay.node])
    ]


def counts(entries: Iterable[Entry], *, start: float, every: float) -> list[int]:
    """How many nodes there were: at the start, after ``every`` seconds, and so on."""
    changes = sorted(
        (entry.received, 1 if entry.verb == "create" else -1)
        for entry in entries
        if entry.done and entry.kind == "nodes" and entry.verb in {"create", "delete"}
    )
    found, there, moment = [], 0, start
    for at, change in changes:
        while moment <= at:
            found.append(there)
            moment += every
        there += change
    return [*found, there]
