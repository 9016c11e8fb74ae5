from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from slipway_accounts.app import upgrade
from slipway_common.contracts import registry
from slipway_common.contracts.registry import LAUNCHES, SESSIONS_WANTED, Topic
from slipway_common.kafka.broker import ensure_topics, start_producer
from slipway_common.postgres.database import Database
from slipway_common.settings import KafkaSettings, PostgresSettings


@pytest.fixture
async def topic(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> Topic:
    """A registered topic of the test's own, in one partition so that all of it is in order."""
    own = replace(LAUNCHES, name=f"test.{uuid4()}.v1", partitions=1)
    monkeypatch.setitem(registry.TOPICS, own.name, own)  # type: ignore[arg-type]
    await ensure_topics(kafka)
    return own


@pytest.fixture
def table_topic() -> Iterator[Topic]:
    return replace(SESSIONS_WANTED, name=f"test.{uuid4()}.v1", partitions=3)


@pytest.fixture
async def producer(kafka: KafkaSettings) -> AsyncIterator[AIOKafkaProducer]:
    producer = await start_producer(kafka, service="test")
    yield producer
    await producer.stop()


@pytest.fixture
async def database(postgres: PostgresSettings) -> AsyncIterator[Database]:
    """With the tables of accounts, outbox and inbox among them."""
    database = await Database.connect(postgres, service="test")
    await upgrade(database)
    yield database
    await database.close()
