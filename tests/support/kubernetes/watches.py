"""One watch: what has changed since a version, then what changes, with bookmarks, until its end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from support.kubernetes import answers
from support.kubernetes.faults import Faults
from support.kubernetes.kinds import POD
from support.kubernetes.lists import shown
from support.kubernetes.selectors import field_selector, label_selector
from support.kubernetes.store import Change, Object, Store, Subscription, versioned
from support.kubernetes.verbs import Ask

LONGEST_SECONDS = 1800.0


class Watch:
    def __init__(self, store: Store, faults: Faults, ask: Ask, *, bookmark_seconds: float) -> None:
        """Refusal if it cannot be: a selector or a version that is none."""
        params = ask.params
        self._store = store
        self._faults = faults
        self._ask = ask
        self._bookmark_seconds = bookmark_seconds
        self._labels = label_selector(params.get("labelSelector", ""))
        self._fields = field_selector(params.get("fieldSelector", ""))
        self._seconds = float(params.get("timeoutSeconds", LONGEST_SECONDS))
        self._bookmarks = params.get("allowWatchBookmarks") in {"1", "true"}
        self._since = _version(params)
        self._told = 0
        """Up to here it was told at once, when the watch began."""

    async def events(self) -> AsyncIterator[Object]:
        if self._since is None:
            for item in self._store.all(self._ask.kind, self._ask.namespace):
                if self._selects(item):
                    yield self._event("ADDED", item)
        elif self._since < self._store.oldest - 1:
            refusal = answers.expired_watch(self._since, self._store.oldest)
            yield {"type": "ERROR", "object": refusal.status}
            return
        since = self._store.revision if self._since is None else self._since
        self._told = max(since, self._store.changed_at(self._ask.kind))
        subscription = self._store.subscribe(self._ask.kind, since=since)
        try:
            async for event in self._follow(subscription):
                yield event
        finally:
            subscription.close()

    async def _follow(self, subscription: Subscription) -> AsyncIterator[Object]:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._seconds
        bookmark_at = loop.time() + min(self._bookmark_seconds, max(self._seconds - 2, 0))
        while (now := loop.time()) < end:
            try:
                async with asyncio.timeout(min(end, bookmark_at) - now):
                    change = await subscription.changes.get()
            except TimeoutError:
                if loop.time() >= bookmark_at:
                    bookmark_at = loop.time() + self._bookmark_seconds
                    version = self._store.changed_at(self._ask.kind)
                    # Where nothing has happened since, the real server has nothing to say, either.
                    if self._bookmarks and version > self._told:
                        await self._faults.flows(self._ask.kind.plural)
                        yield self._event("BOOKMARK", self._bookmark(version))
                continue
            if self._faults.event_delay:
                await asyncio.sleep(self._faults.event_delay)
            await self._faults.flows(self._ask.kind.plural)
            event = self._seen(change)
            if event is not None:
                yield event
            if event is not None and self._faults.events_come_twice:
                yield event

    def _seen(self, change: Change) -> Object | None:
        """What the change is to who sees only what is selected."""
        was = change.before is not None and self._selects(change.before)
        is_ = change.after is not None and self._selects(change.after)
        if is_ and change.after is not None:
            return self._event("MODIFIED" if was else "ADDED", change.after)
        if was and change.before is not None:
            # As it was last seen, but with the revision at which it went out of sight.
            return self._event("DELETED", versioned(change.before, change.revision))
        return None

    def _selects(self, item: Object) -> bool:
        namespace = item["metadata"].get("namespace", "")
        within = self._ask.namespace in {"", namespace}
        return within and self._labels(item) and self._fields(item)

    def _event(self, kind: str, item: Object) -> Object:
        return {"type": kind, "object": shown(item, metadata_only=self._ask.metadata_only)}

    def _bookmark(self, version: int) -> Object:
        kind = self._ask.kind
        empty: dict[str, Any] = {}
        if kind is POD:
            empty = {"spec": {"containers": None}, "status": {}}
        return {
            "kind": kind.name,
            "apiVersion": kind.api_version,
            "metadata": {"resourceVersion": str(version)},
            **empty,
        }


def _version(params: Mapping[str, str]) -> int | None:
    """None: any, so that what is there comes first."""
    text = params.get("resourceVersion", "")
    if text in {"", "0"}:
        return None
    try:
        return int(text)
    except ValueError as error:
        raise answers.Refusal(
            500,
            "",
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": '
            "invalid syntax",
        ) from error
