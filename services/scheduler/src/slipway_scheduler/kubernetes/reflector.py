"""One kind of object, mirrored: listed once, then watched, and listed again where that breaks.

The mirror may be old, never wrong about what it has seen: an object disappears from it only by the
server's own word, be it a deletion or a whole new list.
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import aclosing
from typing import Generic, TypeVar

import msgspec
import structlog

from slipway_common.metrics import scheduler as metrics
from slipway_scheduler.kubernetes.api import (
    METADATA_LIST_ONLY,
    METADATA_ONLY,
    Connection,
    Resource,
)
from slipway_scheduler.kubernetes.errors import (
    ApiError,
    ExpiredError,
    StuckWatchError,
    UnavailableError,
    error_of,
)
from slipway_scheduler.kubernetes.objects import Metadata, Node, Page, Pod

logger = structlog.get_logger(__name__)

T = TypeVar("T", Pod, Node, Metadata)

SILENCE_SECONDS = 70.0
"""Bookmarks come about once a minute: a watch that is silent for longer is dead."""

STALE_SECONDS = 80.0
"""A mirror that heard nothing for so long is no reason to take anything away."""

WATCH_SECONDS = (240, 300)
PAGE = 500
BACKOFF_SECONDS = (0.1, 10.0)


class _Event(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    """An error inside a watch; its code is what the HTTP status would be."""

    code: int = 500


_STATUS = msgspec.json.Decoder(_Status)
_VERSION: msgspec.json.Decoder[Metadata] = msgspec.json.Decoder(Metadata)


class Reflector(Generic[T]):
    """``on_change`` is called with what was there before and what is there now, never both None."""

    def __init__(
        self,
        connection: Connection,
        resource: Resource,
        kind: type[T],
        *,
        selector: str = "",
        on_change: Callable[[T | None, T | None], None],
        silence: float = SILENCE_SECONDS,
    ) -> None:
        self._connection = connection
        self._resource = resource
        self._selector = selector
        self._on_change: Callable[[T | None, T | None], None] = on_change
        self._silence = silence
        whole = not issubclass(kind, Metadata)
        self._accept = "application/json" if whole else METADATA_ONLY
        self._list_accept = "application/json" if whole else METADATA_LIST_ONLY
        self._object: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)
        self._page: msgspec.json.Decoder[Page[T]] = msgspec.json.Decoder(Page[kind])  # type: ignore[valid-type]
        self._events = msgspec.json.Decoder(_Event)
        self._version = ""
        self._heard_at = 0.0
        self._told = 0
        self.objects: dict[str, T] = {}
        self.synced = asyncio.Event()
        """Set once everything has been listed for the first time."""

    @property
    def plural(self) -> str:
        return self._resource.plural

    @property
    def age_seconds(self) -> float:
        """Since the server said anything; a mirror that is old is not to be judged by."""
        return time.monotonic() - self._heard_at

    async def run(self) -> None:
        """Mirror until cancelled; a server that is away is waited for."""
        pause = BACKOFF_SECONDS[0]
        while True:
            told = self._told
            try:
                if not self._version:
                    self._version = await self._list()
                await self._watch()
            except (ExpiredError, StuckWatchError) as error:
                self._version = ""  # what we missed meanwhile will be listed
                logger.info("lists anew", of=self._resource.plural, reason=str(error))
            except ApiError as error:
                logger.warning("lost the watch", of=self._resource.plural, reason=str(error))
            if self._told > told:
                pause = BACKOFF_SECONDS[0]
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # spreads
            pause = min(pause * 2, BACKOFF_SECONDS[1])

    async def _list(self) -> str:
        """Read everything, page by page, and tell what has changed since we last knew."""
        found: dict[str, T] = {}
        params = {"limit": str(PAGE)} | self._selection()
        while True:
            content = await self._connection.request(
                "GET", self._resource.path(), params=params, accept=self._list_accept, seconds=60
            )
            try:
                page = self._page.decode(content)
            except msgspec.DecodeError as error:
                raise UnavailableError(f"what was listed cannot be read: {error}") from error
            for item in page.items or ():
                found[item.metadata.name] = item
            if not page.metadata.continue_:
                break
            params["continue"] = page.metadata.continue_
        self._heard()
        for name in self.objects.keys() - found.keys():
            self._forget(name)
        for name, item in found.items():
            self._remember(name, item)
        metrics.kubernetes_relists.labels(self._resource.plural).inc()
        self.synced.set()
        return page.metadata.resource_version

    async def _watch(self) -> None:
        """Follow until the server ends it, as it does every few minutes, or it breaks."""
        params = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),  # noqa: S311  # spreads
        } | self._selection()
        lines = self._connection.lines(
            self._resource.path(), params=params, accept=self._accept, silence=self._silence
        )
        async with aclosing(lines):
            async for line in lines:
                try:
                    self._apply(line)
                except msgspec.DecodeError as error:
                    raise StuckWatchError(f"a line cannot be read: {error}") from error

    def _apply(self, line: bytes) -> None:
        event = self._events.decode(line)
        if event.type == "ERROR":
            raise error_of(_STATUS.decode(event.object).code, bytes(event.object))
        if event.type == "BOOKMARK":
            # Of a pod without containers, which no pod is: only its version counts.
            self._version = _VERSION.decode(event.object).metadata.resource_version
        else:
            item = self._object.decode(event.object)
            if event.type == "DELETED":
                self._forget(item.metadata.name)
            else:
                self._remember(item.metadata.name, item)
            self._version = item.metadata.resource_version
        self._told += 1
        self._heard()

    def _selection(self) -> dict[str, str]:
        return {"labelSelector": self._selector} if self._selector else {}

    def _remember(self, name: str, item: T) -> None:
        before = self.objects.get(name)
        if before is not None and before.metadata.uid != item.metadata.uid:
            self._forget(name)  # it went, and another took its name, while we did not look
            before = None
        if (
            before is not None
            and before.metadata.resource_version == item.metadata.resource_version
        ):
            return
        self.objects[name] = item
        self._on_change(before, item)

    def _forget(self, name: str) -> None:
        before = self.objects.pop(name, None)
        if before is not None:
            self._on_change(before, None)

    def _heard(self) -> None:
        self._heard_at = time.monotonic()
