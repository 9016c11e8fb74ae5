"""Wakes whoever watches a row when it has changed; they then look for themselves."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog

from slipway_common.errors import TransientError
from slipway_gateway.accounts import AccountsClient

logger = structlog.get_logger(__name__)

EVERYTHING = "*"


class Changes:
    def __init__(self, accounts: AccountsClient) -> None:
        self._accounts = accounts
        self._watchers: defaultdict[str, set[asyncio.Event]] = defaultdict(set)

    @contextmanager
    def watch(self, table: str, row: UUID) -> Iterator[asyncio.Event]:
        """Yield an event that is set whenever the row may have changed."""
        key = f"{table} {row}"
        changed = asyncio.Event()
        self._watchers[key].add(changed)
        try:
            yield changed
        finally:
            self._watchers[key].discard(changed)
            if not self._watchers[key]:
                del self._watchers[key]

    async def run(self) -> None:
        while True:
            try:
                async for hint in self._accounts.changes():
                    self._tell(hint)
            except TransientError as error:
                logger.warning("lost the changes", reason=str(error))
            await asyncio.sleep(0.5)

    def _tell(self, hint: str) -> None:
        keys = list(self._watchers) if hint == EVERYTHING else [hint]
        for key in keys:
            for changed in self._watchers.get(key, ()):
                changed.set()
