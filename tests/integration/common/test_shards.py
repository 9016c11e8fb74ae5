"""A compacted topic that several readers share: each row is somebody's, and never two readers'."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from typing_extensions import override

from integration.common.test_topics import bury, send, wanted
from slipway_common.contracts.base import Event
from slipway_common.contracts.registry import SESSIONS_WANTED, Topic
from slipway_common.kafka.shards import (
    LONGEST_GAP_SECONDS,
    Follower,
    SharedTable,
    partition_of,
)
from slipway_common.settings import KafkaSettings
from support.waiting import eventually


class Reader(Follower):
    """One member of the group, and what it was told."""

    def __init__(self, kafka: KafkaSettings, topic: Topic, *, instance: str | None = None) -> None:
        self.table = SharedTable(kafka, topic, group=f"{topic.name}.readers", instance=instance)
        self.tombstones: list[str] = []
        self.settled = 0
        self.slow = asyncio.Event()
        self.slow.set()
        self._task = asyncio.create_task(self.table.run(self))

    @override
    def on_change(self, key: str, event: Event | None) -> None:
        """The table itself is looked at."""

    @override
    def on_tombstone(self, key: str, headers: dict[str, str]) -> None:
        self.tombstones.append(key)

    @override
    def on_gained(self) -> None:
        """The table itself is looked at."""

    @override
    async def settle(self) -> None:
        await self.slow.wait()
        self.settled += 1

    async def holds(self, keys: set[str]) -> bool:
        return set(self.table.rows()) == keys and all(map(self.table.owns, keys))

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


@pytest.fixture
async def topic(kafka: KafkaSettings) -> Topic:
    made = replace(SESSIONS_WANTED, name=f"test.{uuid4()}.v1")
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    await admin.start()
    await admin.create_topics([NewTopic(made.name, made.partitions, 1)])
    await admin.close()
    return made


@pytest.fixture
async def join(kafka: KafkaSettings, topic: Topic) -> AsyncIterator:
    readers: list[Reader] = []

    def make(instance: str | None = None) -> Reader:
        readers.append(Reader(kafka, topic, instance=instance))
        return readers[-1]

    yield make
    await asyncio.gather(*(reader.leave() for reader in readers))


async def test_a_reader_alone_owns_all_rows_and_hears_of_tombstones(
    join, producer: AIOKafkaProducer, topic: Topic
) -> None:
    keys = {await send(producer, topic, wanted()) for _ in range(20)}
    reader = join()
    await eventually(lambda: reader.holds(keys), what="all rows")

    gone = keys.pop()
    await bury(producer, topic, gone)

    await eventually(lambda: reader.holds(keys), what="the tombstone")
    assert reader.tombstones == [gone]


async def test_old_tombstones_are_not_told_to_a_reader_that_comes_later(
    join, producer: AIOKafkaProducer, topic: Topic
) -> None:
    key = await send(producer, topic, wanted())
    await bury(producer, topic, key)
    other = await send(producer, topic, wanted())

    reader = join()

    await eventually(lambda: reader.holds({other}), what="the row that is left")
    assert reader.tombstones == []


async def test_keys_lie_where_producers_put_them(
    join, producer: AIOKafkaProducer, topic: Topic
) -> None:
    for _ in range(30):
        event = wanted()
        sent = await producer.send_and_wait(topic.name, value=b"{}", key=event.key)
        assert sent.partition == partition_of(event.key.decode(), topic.partitions)


async def test_two_readers_share_the_rows_and_one_takes_over_when_the_other_leaves(
    join, producer: AIOKafkaProducer, topic: Topic
) -> None:
    keys = {await send(producer, topic, wanted()) for _ in range(60)}
    first = join()
    await eventually(lambda: first.holds(keys), what="all rows")
    second = join()

    async def shared() -> bool:
        mine, theirs = set(first.table.rows()), set(second.table.rows())
        assert not {key for key in keys if first.table.owns(key) and second.table.owns(key)}
        return bool(mine) and bool(theirs) and mine | theirs == keys

    await eventually(shared, what="a share for each")
    await second.leave()

    await eventually(lambda: first.holds(keys), what="all rows again")


async def test_rows_pass_on_only_when_the_work_on_them_is_done(
    join, producer: AIOKafkaProducer, topic: Topic
) -> None:
    keys = {await send(producer, topic, wanted()) for _ in range(20)}
    first = join()
    await eventually(lambda: first.holds(keys), what="all rows")
    settled_before = first.settled
    first.slow.clear()
    second = join()

    async def asked_to_settle() -> bool:
        return not any(map(first.table.owns, keys))

    await eventually(asked_to_settle, what="the wish to join")
    assert not any(map(second.table.owns, keys))
    first.slow.set()

    async def has_its_share() -> bool:
        return bool(second.table.rows())

    await eventually(has_its_share, what="a share for the second")
    assert first.settled == settled_before + 1


async def test_a_successor_of_the_same_name_is_let_in_at_once(
    kafka: KafkaSettings, join, producer: AIOKafkaProducer, topic: Topic
) -> None:
    keys = {await send(producer, topic, wanted()) for _ in range(10)}
    killed = join("a")
    await eventually(lambda: killed.holds(keys), what="all rows")
    # As after a SIGKILL: nobody says goodbye to the group, which believes in it for 6 s.
    successor = join("a")

    await eventually(lambda: successor.holds(keys), seconds=4, what="all rows for the successor")


async def test_a_reader_that_was_paused_owns_nothing_until_it_has_joined_anew(
    join, producer: AIOKafkaProducer, topic: Topic
) -> None:
    keys = {await send(producer, topic, wanted()) for _ in range(10)}
    reader = join("a")
    await eventually(lambda: reader.holds(keys), what="all rows")

    # As SIGSTOP does it: nothing in this process runs, while Kafka goes on counting.
    time.sleep(LONGEST_GAP_SECONDS + 0.5)  # noqa: ASYNC251  # that it blocks is the point

    assert not any(map(reader.table.owns, keys))
    await eventually(lambda: reader.holds(keys), what="all rows again")
