"""A compacted topic as a table: the last record of each key, read whole and then followed."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from pydantic import ValidationError

from slipway_common.contracts.base import Event
from slipway_common.contracts.registry import Topic
from slipway_common.metrics import shared as metrics
from slipway_common.settings import KafkaSettings

logger = structlog.get_logger(__name__)

OnChange = Callable[[str, Event | None], None]
"""Called with the key, and with the event or None for a tombstone."""

OnTombstone = Callable[[str, dict[str, str]], None]
"""Called with key and headers of every tombstone that comes after the table has caught up."""


class CompactedTable:
    """Reads all partitions from the start, without a group: each reader holds all of it.

    ``caught_up`` is set once everything that was there at the start has been read; before that,
    what is missing here may only not have been read yet.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        topic: Topic,
        *,
        on_change: OnChange,
        on_tombstone: OnTombstone | None = None,
    ) -> None:
        self._on_tombstone = on_tombstone
        self._settings = settings
        self._topic = topic
        self._on_change = on_change
        self.caught_up = asyncio.Event()
        self.rows: dict[str, Event] = {}

    async def run(self) -> None:
        """Follow the topic until cancelled; a broker that is away is waited for."""
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError) as error:
                logger.warning("lost the topic", topic=self._topic.name, reason=repr(error))
            await asyncio.sleep(0.5)

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            self._topic.name,
            bootstrap_servers=self._settings.bootstrap_servers,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            request_timeout_ms=10_000,
        )
        await consumer.start()
        try:
            partitions = sorted(consumer.assignment())
            await consumer.seek_to_beginning(*partitions)
            ends: dict[Any, int] = await consumer.end_offsets(partitions)
            seen: set[str] = set()
            while any([await consumer.position(p) < ends[p] for p in partitions]):
                seen |= await self._read(consumer)
            self._drop_unseen(seen)
            self.caught_up.set()
            while True:
                await self._read(consumer)
        finally:
            await consumer.stop()

    async def _read(self, consumer: AIOKafkaConsumer) -> set[str]:
        """Apply the next records; returns their keys."""
        batches = await consumer.getmany(timeout_ms=1000, max_records=1000)
        records = [record for batch in batches.values() for record in batch]
        for record in records:
            self._apply(record)
        return {key_of_record(record) for record in records}

    def _apply(self, record: Any) -> None:
        key = key_of_record(record)
        if record.value is None:
            if self.rows.pop(key, None) is not None:
                self._on_change(key, None)
            if self._on_tombstone is not None and self.caught_up.is_set():
                self._on_tombstone(key, headers_of_record(record))
            return
        try:
            event = self._topic.parse(record.value)
        except ValidationError:
            # A table has nowhere to set poison aside; it stays in the topic for whoever looks.
            metrics.events_handled.labels(self._topic.name, "dead").inc()
            logger.exception("not an event of this topic", topic=record.topic, offset=record.offset)
            return
        if self.rows.get(key) != event:
            self.rows[key] = event
            self._on_change(key, event)

    def _drop_unseen(self, seen: set[str]) -> None:
        """After a reconnection: what compaction took away meanwhile is gone here, too."""
        for key in set(self.rows) - seen:
            del self.rows[key]
            self._on_change(key, None)


def key_of_record(record: Any) -> str:
    return (record.key or b"").decode(errors="replace")


def headers_of_record(record: Any) -> dict[str, str]:
    return {name: (value or b"").decode(errors="replace") for name, value in record.headers}
