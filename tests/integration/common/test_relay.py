"""From the outbox to the topic: everything committed, nothing else, in order per key."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiokafka import AIOKafkaProducer

from integration.common.kafka_parts import ACCOUNT, following, header, launch
from slipway_common.contracts.registry import LAUNCHES, SESSIONS_WANTED
from slipway_common.contracts.sessions import LaunchRequested
from slipway_common.errors import TransientError
from slipway_common.kafka.broker import ensure_topics
from slipway_common.kafka.publisher import Publisher
from slipway_common.postgres import messages
from slipway_common.postgres.database import Database
from slipway_common.postgres.relay import Relay
from slipway_common.settings import KafkaSettings, PostgresSettings
from support.running import RunningStack
from support.waiting import eventually

PROGRAM = Path(__file__).parent / "run_relay.py"
HOLDER = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"  # noqa: E501


@pytest.fixture(autouse=True)
async def topics(kafka: KafkaSettings) -> None:
    await ensure_topics(kafka)


@asynccontextmanager
async def relaying(database: Database, producer: AIOKafkaProducer) -> AsyncIterator[None]:
    task = asyncio.create_task(Relay(database, producer).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def leave(database: Database, number: int = 0, *, key: UUID | None = None) -> UUID:
    event = launch(number, session_id=key)
    async with database.transaction() as tx:
        await messages.enqueue(tx, event)
    return event.session_id


def numbers(records: list[Any], key: UUID) -> list[str]:
    return [
        LAUNCHES.parse(record.value).app_version  # type: ignore[attr-defined]
        for record in records
        if record.key == str(key).encode()
    ]


async def waiting(database: Database) -> int:
    async with database.connection() as connection:
        count: int = await connection.fetchval(
            "SELECT count(*) FROM outbox WHERE published_at IS NULL"
        )
    return count


async def drained(database: Database) -> bool:
    return await waiting(database) == 0


async def test_what_was_committed_arrives_with_its_attributes(
    kafka: KafkaSettings, database: Database, producer: AIOKafkaProducer
) -> None:
    event = launch()
    gone = uuid4()
    async with database.transaction() as tx:
        await messages.enqueue(tx, event)
        await messages.enqueue_tombstone(tx, SESSIONS_WANTED, gone, account_id=ACCOUNT)

    async with relaying(database, producer):
        await eventually(lambda: drained(database))

    async with following(kafka, LAUNCHES.name) as records:

        async def arrived() -> Any:
            return [record for record in records if record.key == event.key]

        [record] = await eventually(arrived)
    assert LAUNCHES.parse(record.value) == event
    assert header(record, "ce_id") == str(event.event_id)
    async with following(kafka, SESSIONS_WANTED.name) as records:

        async def buried() -> Any:
            return [record for record in records if record.key == str(gone).encode()]

        [record] = await eventually(buried)
    assert record.value is None
    assert header(record, "slipway_account") == str(ACCOUNT)


async def test_a_transaction_that_commits_later_than_its_number_is_not_overlooked(
    kafka: KafkaSettings, database: Database, producer: AIOKafkaProducer
) -> None:
    slow, quick = launch(), launch()
    async with (
        relaying(database, producer),
        following(kafka, LAUNCHES.name) as records,
    ):
        async with database.transaction() as tx:
            await messages.enqueue(tx, slow)
            async with database.transaction() as other:
                await messages.enqueue(other, quick)

            async def passed() -> bool:
                return bool(numbers(records, quick.session_id))

            await eventually(passed)
            assert not numbers(records, slow.session_id)

        async def came() -> bool:
            return bool(numbers(records, slow.session_id))

        await eventually(came)


async def enqueue_and_fail(database: Database, event: LaunchRequested) -> None:
    async with database.transaction() as tx:
        await messages.enqueue(tx, event)
        raise ZeroDivisionError


async def test_nothing_of_a_transaction_that_was_rolled_back_is_told(
    kafka: KafkaSettings, database: Database, producer: AIOKafkaProducer
) -> None:
    undone = launch()
    async with relaying(database, producer), following(kafka, LAUNCHES.name) as records:
        with pytest.raises(ZeroDivisionError):
            await enqueue_and_fail(database, undone)
        marker = await leave(database)

        async def marked() -> bool:
            return bool(numbers(records, marker))

        await eventually(marked)
        assert not numbers(records, undone.session_id)


async def test_what_a_relay_sent_before_it_was_killed_is_sent_again_as_the_same_event(
    kafka: KafkaSettings,
    postgres: PostgresSettings,
    database: Database,
    producer: AIOKafkaProducer,
) -> None:
    keys = [await leave(database, number) for number in range(5)]
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        PROGRAM,
        postgres.dsn.get_secret_value(),
        kafka.bootstrap_servers,
        env={**os.environ, "SLIPWAY_FAILPOINTS": "relay.acknowledged:kill"},
    )
    assert await program.wait() == -signal.SIGKILL
    assert await waiting(database) == 5

    async with relaying(database, producer):
        await eventually(lambda: drained(database))

    async with following(kafka, LAUNCHES.name) as records:

        async def twice() -> bool:
            return all(len(numbers(records, key)) == 2 for key in keys)

        await eventually(twice)
        own = [record for record in records if UUID(record.key.decode()) in keys]
        assert len({header(record, "ce_id") for record in own}) == 5


async def test_events_of_one_key_keep_their_order_under_many_writers(
    kafka: KafkaSettings, database: Database, producer: AIOKafkaProducer
) -> None:
    keys = [uuid4() for _ in range(8)]

    async def write(key: UUID) -> None:
        for number in range(40):
            await leave(database, number, key=key)

    async with relaying(database, producer), following(kafka, LAUNCHES.name) as records:
        await asyncio.gather(*(write(key) for key in keys))

        async def complete() -> bool:
            return all(len(numbers(records, key)) >= 40 for key in keys)

        await eventually(complete)
    for key in keys:
        assert numbers(records, key) == [str(number) for number in range(40)]


async def test_one_relay_works_and_another_takes_over_when_it_dies(
    kafka: KafkaSettings, database: Database, producer: AIOKafkaProducer
) -> None:
    first = asyncio.create_task(Relay(database, producer).run())

    async def holder() -> Any:
        async with database.connection() as connection:
            return await connection.fetchval(HOLDER)

    held_by = await eventually(holder)
    async with relaying(database, producer), following(kafka, LAUNCHES.name) as records:
        key = await leave(database, 1)
        await eventually(lambda: drained(database))
        assert await holder() == held_by  # the second one has not come in between

        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await leave(database, 2, key=key)
        await eventually(lambda: drained(database))

        async def arrived() -> bool:
            return len(numbers(records, key)) == 2

        await eventually(arrived)
        assert await holder() != held_by
        assert numbers(records, key) == ["1", "2"]


async def test_a_relay_whose_connection_was_cut_finds_its_way_back(
    database: Database, producer: AIOKafkaProducer
) -> None:
    async with relaying(database, producer):
        await leave(database)
        await eventually(lambda: drained(database))
        async with database.connection() as connection:
            await connection.execute(f"SELECT pg_terminate_backend(pid) FROM ({HOLDER}) AS held")  # noqa: S608

        await leave(database)

        await eventually(lambda: drained(database))


async def test_while_the_broker_is_away_events_wait_and_then_arrive_in_order(
    parts: RunningStack, kafka: KafkaSettings, database: Database, producer: AIOKafkaProducer
) -> None:
    key = uuid4()
    async with relaying(database, producer):
        await leave(database, 0, key=key)
        await eventually(lambda: drained(database))

        parts.kill("kafka")
        for number in range(1, 60):
            await leave(database, number, key=key)
        with pytest.raises(TransientError):
            await Publisher(producer).publish(launch())
        assert await waiting(database) == 59
        parts.restart("kafka")

        await eventually(lambda: drained(database), seconds=60)
    async with following(kafka, LAUNCHES.name) as records:

        async def complete() -> bool:
            return "59" in numbers(records, key)

        await eventually(complete)
    arrived = [int(number) for number in numbers(records, key)]
    assert sorted(set(arrived)) == list(range(60))
    first_times = list(dict.fromkeys(arrived))
    assert first_times == list(range(60))
