"""What is there and how it came to be: objects by name, and every change in one order.

Objects are never changed in place: who holds one holds that version of it.
"""

import asyncio
import copy
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from support.kubernetes.kinds import Kind

Object = dict[str, Any]
Key = tuple[str, str]
"""Namespace (empty of what has none) and name."""

FIRST_REVISION = 100


@dataclass(frozen=True, slots=True)
class Change:
    revision: int
    kind: Kind
    key: Key
    before: Object | None
    after: Object | None
    """None: it is gone."""


class Subscription:
    """Changes of one kind, from a revision on: what has been, then what comes."""

    def __init__(self, store: "Store", kind: Kind) -> None:
        self._store = store
        self.kind = kind
        self.changes: asyncio.Queue[Change] = asyncio.Queue()

    def close(self) -> None:
        self._store.subscriptions.discard(self)


class Store:
    def __init__(self) -> None:
        self.revision = FIRST_REVISION
        self.oldest = FIRST_REVISION
        """Nothing is remembered of what was before this revision."""

        self.subscriptions: set[Subscription] = set()
        self._objects: dict[Kind, dict[Key, Object]] = {}
        self._history: list[Change] = []
        self._changed_at: dict[Kind, int] = {}
        self._listeners: list[Callable[[Change], None]] = []

    def get(self, kind: Kind, key: Key) -> Object | None:
        return self._objects.get(kind, {}).get(key)

    def all(self, kind: Kind, namespace: str = "") -> list[Object]:
        """In the order of their names; of all namespaces if none is given."""
        found = self._objects.get(kind, {})
        return [found[key] for key in sorted(found) if not namespace or key[0] == namespace]

    def everything(self) -> Iterator[tuple[Kind, Key, Object]]:
        for kind, found in list(self._objects.items()):
            for key, item in list(found.items()):
                yield kind, key, item

    def at(self, kind: Kind, revision: int) -> dict[Key, Object]:
        """Everything of a kind as it was then; ``revision`` must not be older than the oldest."""
        found = dict(self._objects.get(kind, {}))
        for change in reversed(self._history):
            if change.revision <= revision:
                break
            if change.kind is kind:
                if change.before is None:
                    found.pop(change.key, None)
                else:
                    found[change.key] = change.before
        return found

    def changed_at(self, kind: Kind) -> int:
        """Revision of the last change to any object of a kind; 0 if there was none."""
        return self._changed_at.get(kind, 0)

    def put(self, kind: Kind, key: Key, item: Object) -> Object:
        """Keep a new version; the one that is returned has its resourceVersion."""
        self.revision += 1
        after = copy.deepcopy(item)
        after["metadata"]["resourceVersion"] = str(self.revision)
        before = self.get(kind, key)
        self._objects.setdefault(kind, {})[key] = after
        self._tell(Change(self.revision, kind, key, before, after))
        return after

    def remove(self, kind: Kind, key: Key) -> Object:
        """Return its last version, with the revision of its removal."""
        self.revision += 1
        before = self._objects[kind].pop(key)
        self._tell(Change(self.revision, kind, key, before, None))
        return versioned(before, self.revision)

    def compact(self) -> None:
        """Forget all that was before now; the last change is what now is."""
        self.oldest = self.revision
        del self._history[:-1]

    def subscribe(self, kind: Kind, *, since: int) -> Subscription:
        subscription = Subscription(self, kind)
        for change in self._history[bisect_right(self._history, since, key=_REVISION) :]:
            if change.kind is kind:
                subscription.changes.put_nowait(change)
        self.subscriptions.add(subscription)
        return subscription

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Call it at each change, at once; it must not change anything itself."""
        self._listeners.append(listener)

    def _tell(self, change: Change) -> None:
        self._history.append(change)
        self._changed_at[change.kind] = change.revision
        for subscription in self.subscriptions:
            if subscription.kind is change.kind:
                subscription.changes.put_nowait(change)
        for listener in self._listeners:
            listener(change)


_REVISION: Callable[[Change], int] = attrgetter("revision")


def versioned(item: Object, revision: int) -> Object:
    return {**item, "metadata": {**item["metadata"], "resourceVersion": str(revision)}}
