"""A team that has only Kafka and the schema can follow the sessions."""

import asyncio
import os
import sys
import uuid
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from slipway_common.contracts.registry import SESSIONS
from slipway_common.kafka.broker import ensure_topics, start_producer
from slipway_common.kafka.publisher import Publisher
from slipway_common.settings import KafkaSettings

SECONDS = 60
POISON = (b"no event", b'{"type": "slipway.session.unheard-of"}', None)


async def start_group_here(kafka: KafkaSettings, group: str) -> None:
    """Let the group begin behind what other tests have left in the topic."""
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap_servers, group_id=group)
    async with consumer:
        partitions = [TopicPartition(SESSIONS.name, each) for each in range(SESSIONS.partitions)]
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.commit(
            {partition: OffsetAndMetadata(end, "") for partition, end in ends.items()}
        )


async def test_every_example_is_followed_and_nothing_else_is_printed(
    kafka: KafkaSettings, repository: Path
) -> None:
    await ensure_topics(kafka)
    group = f"test-{uuid.uuid4().hex[:12]}"
    await start_group_here(kafka, group)
    folder = repository / "libs/common/examples" / SESSIONS.name
    events = [SESSIONS.parse(path.read_bytes()) for path in sorted(folder.iterdir())]
    producer = await start_producer(kafka, service="test")
    try:
        for poison in POISON:
            await producer.send_and_wait(SESSIONS.name, poison, key=events[0].key)
        for event in events:
            await Publisher(producer).publish(event)
    finally:
        await producer.stop()

    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(repository / "examples/session-events/follow.py"),
        *("--group", group, "--once", str(len(events))),
        env={**os.environ, "SLIPWAY_KAFKA_BOOTSTRAP": kafka.bootstrap_servers},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        output, errors = await process.communicate()

    assert process.returncode == 0, errors.decode()
    printed = [line.split()[1:3] for line in output.decode().splitlines()]
    told = [[str(each.subject), each.type.removeprefix("slipway.session.")] for each in events]
    assert sorted(printed) == sorted(told)
    assert errors.decode().count("skipped") == len(POISON)
