"""Topics, publishing and compacted topics as tables."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, Self
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from integration.common.kafka_parts import following, header, launch
from slipway_common.contracts import registry
from slipway_common.contracts.base import utc_now
from slipway_common.contracts.cloudevents import ACCOUNT_HEADER, body_of, headers_of
from slipway_common.contracts.registry import LAUNCHES, TOPICS, Topic
from slipway_common.contracts.sessions import SessionKind, SessionWanted
from slipway_common.kafka.broker import ensure_topics
from slipway_common.kafka.publisher import Publisher
from slipway_common.kafka.table import CompactedTable
from slipway_common.settings import KafkaSettings
from support.running import RunningStack
from support.waiting import eventually


@asynccontextmanager
async def administrator(settings: KafkaSettings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def configuration(settings: KafkaSettings, name: str) -> dict[str, str]:
    async with administrator(settings) as admin:
        [answer] = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    return {entry[0]: entry[1] for entry in answer.resources[0][4]}


def wanted(session_id: Any = None, *, app: str = "depots") -> SessionWanted:
    return SessionWanted(
        account_id=uuid4(),
        session_id=session_id or uuid4(),
        kind=SessionKind.WEBUI,
        app_name=app,
        app_version="1",
        runtime="1.0.0.1-linux64-x64",
        admitted_at=utc_now(),
    )


class TestEnsureTopics:
    async def test_all_are_made_once_however_many_ask_at_once(
        self, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = [replace(topic, name=f"test.{uuid4()}.v1") for topic in TOPICS.values()]
        for topic in own:
            monkeypatch.setitem(registry.TOPICS, topic.name, topic)  # type: ignore[arg-type]

        await asyncio.gather(*(ensure_topics(kafka) for _ in range(4)))
        await ensure_topics(kafka)

        names = {topic.name for topic in own}
        # A table has nowhere to set poison aside, and needs no topic for it.
        letters = {topic.dead_letters for topic in own if topic.consumers and not topic.compacted}
        async with administrator(kafka) as admin:

            async def all_are_there() -> bool:
                made = {name for name in await admin.list_topics() if name[:-4] in names}
                return names <= set(await admin.list_topics()) and made == letters

            async def partitions() -> list[int]:
                return [len(each["partitions"]) for each in await admin.describe_topics([*names])]

            async def are_complete() -> bool:
                return await partitions() == [6] * len(own)

            await eventually(all_are_there)
            await eventually(are_complete)

    async def test_each_is_kept_for_as_long_as_its_contract_says(
        self, kafka: KafkaSettings
    ) -> None:
        await ensure_topics(kafka)

        for topic in TOPICS.values():
            found = await configuration(kafka, topic.name)
            assert found["cleanup.policy"] == ("compact" if topic.compacted else "delete")
            if topic.kept is not None:
                assert timedelta(milliseconds=int(found["retention.ms"])) == topic.kept

    async def test_a_topic_that_is_there_is_left_alone(
        self, kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        own = replace(LAUNCHES, name=f"test.{uuid4()}.v1")
        monkeypatch.setitem(registry.TOPICS, own.name, own)  # type: ignore[arg-type]
        async with administrator(kafka) as admin:
            await admin.create_topics([NewTopic(own.name, 2, 1)])

            async def partitions() -> int:
                [described] = await admin.describe_topics([own.name])
                return len(described["partitions"])

            await eventually(partitions)
            await ensure_topics(kafka)

            assert await partitions() == 2


async def test_a_published_event_lies_in_its_topic_with_its_attributes(
    kafka: KafkaSettings, producer: AIOKafkaProducer
) -> None:
    await ensure_topics(kafka)
    event = launch()

    await Publisher(producer).publish(event)

    async with following(kafka, LAUNCHES.name) as records:

        async def arrived() -> Any:
            return [record for record in records if record.key == event.key]

        [record] = await eventually(arrived)
    assert LAUNCHES.parse(record.value) == event
    assert header(record, "ce_id") == str(event.event_id)


class Table:
    """A table that runs, and what it has told of."""

    def __init__(self, kafka: KafkaSettings, topic: Topic) -> None:
        self.changes: list[tuple[str, str | None]] = []
        self.tombstones: list[tuple[str, dict[str, str]]] = []
        self.table = CompactedTable(
            kafka,
            topic,
            on_change=lambda key, event: self.changes.append(
                (key, None if event is None else event.app_name)  # type: ignore[attr-defined]
            ),
            on_tombstone=lambda key, headers: self.tombstones.append((key, headers)),
        )
        self.start()

    def start(self) -> None:
        self._task = asyncio.create_task(self.table.run())

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def has(self, keys: set[str]) -> bool:
        return set(self.table.rows) == keys


async def make(kafka: KafkaSettings, topic: Topic) -> None:
    async with administrator(kafka) as admin:
        await admin.create_topics([NewTopic(topic.name, topic.partitions, 1)])


async def send(producer: AIOKafkaProducer, topic: Topic, event: SessionWanted) -> str:
    await producer.send_and_wait(
        topic.name, value=body_of(event), key=event.key, headers=headers_of(event)
    )
    return event.key.decode()


async def bury(producer: AIOKafkaProducer, topic: Topic, key: str) -> None:
    await producer.send_and_wait(
        topic.name, value=None, key=key.encode(), headers=[(ACCOUNT_HEADER, b"whose")]
    )


class TestCompactedTable:
    async def test_an_empty_topic_is_caught_up_with(
        self, kafka: KafkaSettings, table_topic: Topic
    ) -> None:
        await make(kafka, table_topic)

        async with Table(kafka, table_topic) as reader:
            async with asyncio.timeout(10):
                await reader.table.caught_up.wait()

            assert reader.table.rows == {}

    async def test_it_is_caught_up_only_when_all_that_was_there_has_been_read(
        self, kafka: KafkaSettings, table_topic: Topic, producer: AIOKafkaProducer
    ) -> None:
        await make(kafka, table_topic)
        events = [wanted() for _ in range(3000)]
        sends = [
            await producer.send(table_topic.name, value=body_of(event), key=event.key)
            for event in events
        ]
        await asyncio.gather(*sends)

        async with Table(kafka, table_topic) as reader:
            async with asyncio.timeout(30):
                await reader.table.caught_up.wait()

            assert set(reader.table.rows) == {event.key.decode() for event in events}

    async def test_the_last_record_of_a_key_counts_and_a_tombstone_ends_it(
        self, kafka: KafkaSettings, table_topic: Topic, producer: AIOKafkaProducer
    ) -> None:
        await make(kafka, table_topic)
        kept, changed, gone = wanted(), wanted(), wanted()
        for event in (kept, changed, gone):
            await send(producer, table_topic, event)
        await bury(producer, table_topic, str(gone.session_id))
        await send(producer, table_topic, wanted(changed.session_id, app="other"))

        async with Table(kafka, table_topic) as reader:
            async with asyncio.timeout(10):
                await reader.table.caught_up.wait()
            assert {key: row.app_name for key, row in reader.table.rows.items()} == {
                str(kept.session_id): "depots",
                str(changed.session_id): "other",
            }
            assert reader.tombstones == []  # what was over before the start concerns nobody

            await bury(producer, table_topic, str(kept.session_id))
            await bury(producer, table_topic, "never-there")

            async def heard() -> bool:
                return len(reader.tombstones) == 2

            await eventually(heard)
            assert dict(reader.tombstones) == {
                str(kept.session_id): {ACCOUNT_HEADER: "whose"},
                "never-there": {ACCOUNT_HEADER: "whose"},
            }
            assert reader.changes[-1] == (str(kept.session_id), None)
            assert set(reader.table.rows) == {str(changed.session_id)}

    async def test_poison_changes_no_row_and_stops_no_reader(
        self, kafka: KafkaSettings, table_topic: Topic, producer: AIOKafkaProducer
    ) -> None:
        await make(kafka, replace(table_topic, partitions=1))
        first = await send(producer, table_topic, wanted())
        for value in (b"", b"{", b"\xff", b'{"type": "slipway.session.wished"}'):
            await producer.send_and_wait(table_topic.name, value=value, key=first.encode())
        await producer.send_and_wait(table_topic.name, value=None, key=b"")
        second = await send(producer, table_topic, wanted())

        async with Table(kafka, table_topic) as reader:
            await eventually(lambda: reader.has({first, second}))

    async def test_after_a_restart_of_the_broker_it_holds_what_the_topic_holds(
        self,
        parts: RunningStack,
        kafka: KafkaSettings,
        table_topic: Topic,
        producer: AIOKafkaProducer,
    ) -> None:
        topic = replace(table_topic, partitions=1)
        await make(kafka, topic)
        over, kept = [await send(producer, topic, wanted()) for _ in range(2)]
        async with Table(kafka, topic) as reader:
            await eventually(lambda: reader.has({over, kept}))

            parts.kill("kafka")
            parts.restart("kafka")
            later = await send(producer, topic, wanted())
            await bury(producer, topic, over)

            await eventually(lambda: reader.has({kept, later}), seconds=40)
            assert reader.tombstones == [(over, {ACCOUNT_HEADER: "whose"})]

    async def test_read_anew_it_drops_what_compaction_has_taken_away(
        self, kafka: KafkaSettings, table_topic: Topic, producer: AIOKafkaProducer
    ) -> None:
        topic = replace(table_topic, partitions=1)
        await make(kafka, topic)
        forgotten, kept = [await send(producer, topic, wanted()) for _ in range(2)]
        async with Table(kafka, topic) as reader:
            await eventually(lambda: reader.has({forgotten, kept}))
            await reader.stop()

            # As compaction does it: the record goes, and no tombstone is left to be seen.
            async with administrator(kafka) as admin:
                place = TopicPartition(topic.name, 0)
                await admin.delete_records({place: RecordsToDelete(1)})
            reader.start()

            await eventually(lambda: reader.has({kept}))
            assert reader.changes[-1] == (forgotten, None)
