"""Topics of a test's own, and a look at what lies in them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from aiokafka import AIOKafkaConsumer

from slipway_common.contracts.cloudevents import body_of, headers_of
from slipway_common.contracts.registry import Topic
from slipway_common.contracts.sessions import LaunchRequested
from slipway_common.kafka.broker import build_broker
from slipway_common.settings import KafkaSettings

ACCOUNT = uuid4()


def launch(number: int = 0, *, session_id: UUID | None = None) -> LaunchRequested:
    return LaunchRequested(
        account_id=ACCOUNT,
        session_id=session_id or uuid4(),
        user_id=uuid4(),
        app_name="depots",
        app_version=str(number),
    )


def record_of(number: int) -> dict[str, Any]:
    """A good record, as arguments for a producer."""
    event = launch(number)
    return {"value": body_of(event), "key": event.key, "headers": headers_of(event)}


@asynccontextmanager
async def consuming(
    settings: KafkaSettings,
    topic: Topic,
    handler: Callable[[Any], Awaitable[None]],
    *,
    group: str | None = None,
) -> AsyncIterator[None]:
    """Consume as our services do."""
    broker = build_broker(settings, service="test")
    broker.subscriber(
        topic.name,
        group_id=group or f"group-{uuid4()}",
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
        heartbeat_interval_ms=1500,
    )(handler)
    await broker.start()
    try:
        yield
    finally:
        await broker.stop()


@asynccontextmanager
async def following(settings: KafkaSettings, name: str) -> AsyncIterator[list[Any]]:
    """A list that fills with the topic's records, from the first one on."""
    consumer = AIOKafkaConsumer(
        name,
        bootstrap_servers=settings.bootstrap_servers,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    records: list[Any] = []

    async def follow() -> None:
        async for record in consumer:
            records.append(record)  # the caller looks while it fills

    task = asyncio.create_task(follow())
    try:
        yield records
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()


def header(record: Any, name: str) -> str:
    return dict(record.headers)[name].decode()
