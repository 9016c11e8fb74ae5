"""A compacted topic as a table that several readers share: each holds some of its partitions.

Who holds which is settled by a consumer group. A partition that comes is read from its start, and
counts as owned once its end has been reached; before one goes, whoever works on it may finish.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.partitioner import murmur2
from pydantic import ValidationError
from typing_extensions import override

from slipway_common.contracts.base import Event
from slipway_common.contracts.registry import Topic
from slipway_common.kafka.table import headers_of_record, key_of_record
from slipway_common.metrics import shared as metrics
from slipway_common.settings import KafkaSettings

logger = structlog.get_logger(__name__)

SESSION_TIMEOUT_MS = 6_000
LONGEST_GAP_SECONDS = SESSION_TIMEOUT_MS / 1000 * 0.6
"""Between two looks at the topic. After a longer one we may be out of the group without knowing."""

HAND_OVER_SECONDS = 10.0
"""How long work under way may take to finish before its partition goes to another reader."""


def partition_of(key: str, partitions: int) -> int:
    """Where producers put this key, by the partitioner that Kafka's clients agree on."""
    number: int = (murmur2(key.encode()) & 0x7FFFFFFF) % partitions
    return number


class Follower(Protocol):
    """Whoever acts on the rows of a shared table."""

    def on_change(self, key: str, event: Event | None) -> None: ...

    def on_tombstone(self, key: str, headers: dict[str, str]) -> None: ...

    def on_gained(self) -> None:
        """More is owned than before."""
        ...

    async def settle(self) -> None:
        """Finish what is under way for rows that are owned no more."""
        ...


class SharedTable:
    def __init__(
        self,
        settings: KafkaSettings,
        topic: Topic,
        *,
        group: str,
        instance: str | None,
    ) -> None:
        """``instance``: a name that one reader at a time has; its successor is let in at once."""
        self._settings = settings
        self._topic = topic
        self._group = group
        self._instance = instance
        self._follower: Follower | None = None
        self._rows: dict[int, dict[str, Event]] = {}
        self._ends: dict[int, int | None] = {}
        """Of partitions that are still being read; None: it is not known yet how far."""
        self._owned: frozenset[int] = frozenset()
        self._partitions = topic.partitions
        self._looked_at = time.monotonic()
        self.joined = asyncio.Event()
        """Set while we are a member of the group and have read all that we were given."""

    def owns(self, key: str) -> bool:
        """A process that was paused owns nothing until it is a member of the group again."""
        return not self._was_paused and partition_of(key, self._partitions) in self._owned

    @property
    def _was_paused(self) -> bool:
        return time.monotonic() - self._looked_at > LONGEST_GAP_SECONDS

    def find(self, key: str) -> Event | None:
        return self._rows.get(partition_of(key, self._partitions), {}).get(key)

    def rows(self) -> Mapping[str, Event]:
        return {key: row for number in self._owned for key, row in self._rows[number].items()}

    async def run(self, follower: Follower) -> None:
        """Follow the topic until cancelled; a broker that is away is waited for."""
        self._follower = follower
        while True:
            try:
                await self._follow()
            except (KafkaError, OSError) as error:
                logger.warning("lost the topic", topic=self._topic.name, reason=repr(error))
            await asyncio.sleep(0.5)

    async def _follow(self) -> None:
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._settings.bootstrap_servers,
            group_id=self._group,
            group_instance_id=self._instance,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            request_timeout_ms=10_000,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=1_500,
            rebalance_timeout_ms=int(HAND_OVER_SECONDS * 2000),
        )
        await consumer.start()
        try:
            consumer.subscribe([self._topic.name], listener=_Listener(self, consumer))
            self._looked_at = time.monotonic()
            while not self._was_paused:
                self._looked_at = time.monotonic()
                batches = await consumer.getmany(timeout_ms=500, max_records=1000)
                for records in batches.values():
                    for record in records:
                        self._apply(record)
                if self._ends:
                    await self._check_reached(consumer)
            logger.warning("was paused, and joins anew", topic=self._topic.name)
        finally:
            await self.lose()
            await consumer.stop()

    @property
    def _tell(self) -> Follower:
        assert self._follower is not None
        return self._follower

    def gain(self, consumer: AIOKafkaConsumer, assigned: set[TopicPartition]) -> None:
        known = consumer.partitions_for_topic(self._topic.name)
        if known:
            self._partitions = len(known)
        for place in assigned:
            # From its start, whatever a group may have committed there.
            consumer.seek(place, 0)
            self._rows[place.partition] = {}
            self._ends[place.partition] = None
        if not assigned:
            self.joined.set()

    async def lose(self) -> None:
        """Own nothing any more, once those who work on it are done or have had their time."""
        self.joined.clear()
        self._owned = frozenset()
        self._ends.clear()
        try:
            async with asyncio.timeout(HAND_OVER_SECONDS):
                await self._tell.settle()
        except TimeoutError:
            logger.warning("work was still under way at a hand-over", topic=self._topic.name)
        self._rows.clear()

    async def _check_reached(self, consumer: AIOKafkaConsumer) -> None:
        unknown = [number for number, end in self._ends.items() if end is None]
        if unknown:
            places = [TopicPartition(self._topic.name, number) for number in unknown]
            for place, end in (await consumer.end_offsets(places)).items():
                if place.partition in self._ends:
                    self._ends[place.partition] = end
        reached = set()
        for number, end in list(self._ends.items()):
            place = TopicPartition(self._topic.name, number)
            if end is None or place not in consumer.assignment():
                continue
            if await consumer.position(place) >= end and number in self._ends:
                reached.add(number)
                del self._ends[number]
        if reached:
            self._owned |= reached
            self._tell.on_gained()
        if not self._ends:
            self.joined.set()

    def _apply(self, record: Any) -> None:
        rows = self._rows.get(record.partition)
        if rows is None:
            return
        key = key_of_record(record)
        if record.value is None:
            if rows.pop(key, None) is not None:
                self._tell.on_change(key, None)
            if record.partition in self._owned:
                self._tell.on_tombstone(key, headers_of_record(record))
            return
        try:
            event = self._topic.parse(record.value)
        except ValidationError:
            # A table has nowhere to set poison aside; it stays in the topic for whoever looks.
            metrics.events_handled.labels(self._topic.name, "dead").inc()
            logger.exception("not an event of this topic", topic=self._topic.name, key=key)
            return
        if rows.get(key) != event:
            rows[key] = event
            self._tell.on_change(key, event)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, table: SharedTable, consumer: AIOKafkaConsumer) -> None:
        self._table = table
        self._consumer = consumer

    @override
    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._table.lose()

    @override
    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._table.gain(self._consumer, assigned)
