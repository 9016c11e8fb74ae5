"""The controllers that remove what nobody owns any more, and what is in a namespace that ends."""

import asyncio
from collections.abc import Callable

from support.kubernetes.kinds import NAMESPACE, Kind
from support.kubernetes.store import Change, Key, Object, Store
from support.kubernetes.verbs import Ask

COLLECT_SECONDS = 0.05
GARBAGE_COLLECTOR = "system:serviceaccount:kube-system:generic-garbage-collector"
NAMESPACE_CONTROLLER = "system:serviceaccount:kube-system:namespace-controller"


class Collector:
    def __init__(self, store: Store, act: Callable[[Ask], Object]) -> None:
        self._store = store
        self._act = act
        self._changed = asyncio.Event()
        store.listen(self._note)

    async def run(self) -> None:
        while True:
            await self._changed.wait()
            await asyncio.sleep(COLLECT_SECONDS)
            self._changed.clear()
            self._collect_orphans()
            self._end_namespaces()

    def _note(self, change: Change) -> None:
        self._changed.set()

    def _collect_orphans(self) -> None:
        there = {item["metadata"]["uid"] for _, _, item in self._store.everything()}
        for kind, key, item in self._store.everything():
            owners = item["metadata"].get("ownerReferences", [])
            owned = any(owner["uid"] in there for owner in owners)
            if owners and not owned and not item["metadata"].get("deletionTimestamp"):
                self._delete(kind, key, item, user=GARBAGE_COLLECTOR)

    def _end_namespaces(self) -> None:
        for namespace in self._store.all(NAMESPACE):
            name = namespace["metadata"]["name"]
            if not namespace["metadata"].get("deletionTimestamp"):
                continue
            within = [(k, key, item) for k, key, item in self._store.everything() if key[0] == name]
            for kind, key, item in within:
                if not item["metadata"].get("deletionTimestamp"):
                    self._delete(kind, key, item, user=NAMESPACE_CONTROLLER)
            if not within:
                self._store.remove(NAMESPACE, ("", name))

    def _delete(self, kind: Kind, key: Key, item: Object, *, user: str) -> None:
        options = {"preconditions": {"uid": item["metadata"]["uid"]}}
        ask = Ask("delete", kind, key[0], key[1], user=user, body=options)
        self._act(ask)
