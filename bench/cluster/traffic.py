"""Sessions that are wanted, at moments that nobody's answer moves, and what is told of them.

Every moment is seconds since 1970 on this machine's one clock, the API server's included.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from slipway_common.contracts.base import AccountId, SessionId, utc_now
from slipway_common.contracts.cloudevents import ACCOUNT_HEADER, body_of, headers_of
from slipway_common.contracts.registry import SESSIONS, SESSIONS_WANTED, Topic
from slipway_common.contracts.sessions import Resources, SessionKind, SessionWanted
from slipway_common.kafka.broker import ensure_topics, start_producer
from slipway_common.settings import KafkaSettings

T = TypeVar("T")

RUNNING = "slipway.session.running"
OVER = frozenset({"slipway.session.ended", "slipway.session.failed"})
FAILED = "slipway.session.failed"
SMALL = Resources(memory_mib=128, cpu_millis=100, disk_mib=64)
"""So that a fake node of 16 cores takes 110 of them, as many as a real one would."""

LOOK_SECONDS = 0.1
START_SECONDS = 600
"""A session that needs longer is late, and told as such by the figures, not given up."""


@dataclass(frozen=True, slots=True)
class Wish:
    session_id: UUID
    account_id: UUID
    due: float
    """When it should have been wanted; what made it late is part of the wait."""

    sent: float
    """When Kafka had it."""


class Wishes:
    """Wants sessions, and wants them no more."""

    def __init__(self, producer: AIOKafkaProducer, *, resources: Resources = SMALL) -> None:
        self._producer = producer
        self._resources = resources
        self._account = uuid4()

    async def at_once(self, count: int) -> list[Wish]:
        now = time.time()
        return await self.at([now] * count)

    async def steadily(self, *, per_second: float, seconds: float) -> list[Wish]:
        first = time.time() + 0.1
        return await self.at(first + i / per_second for i in range(int(per_second * seconds)))

    async def at(self, moments: Iterable[float]) -> list[Wish]:
        """Want one session at each moment, whatever has become of those before."""
        return await openly(moments, self._want)

    async def no_more(self, wishes: Iterable[Wish]) -> None:
        await asyncio.gather(*map(self.unwant, wishes))

    async def unwant(self, wish: Wish) -> None:
        await self._producer.send_and_wait(
            SESSIONS_WANTED.name,
            key=str(wish.session_id).encode(),
            value=None,
            headers=[(ACCOUNT_HEADER, str(wish.account_id).encode())],
        )

    async def _want(self, due: float) -> Wish:
        event = SessionWanted(
            account_id=AccountId(self._account),
            session_id=SessionId(uuid4()),
            kind=SessionKind.WEBUI,
            app_name="bench",
            app_version="1.0.0",
            runtime="1.0.0.1-linux64-x64",
            resources=self._resources,
            start_timeout_seconds=START_SECONDS,
            admitted_at=utc_now(),
        )
        await self._producer.send_and_wait(
            SESSIONS_WANTED.name, value=body_of(event), key=event.key, headers=headers_of(event)
        )
        return Wish(event.session_id, event.account_id, due, time.time())


async def openly(
    moments: Iterable[float], act: Callable[[float], Coroutine[Any, Any, T]]
) -> list[T]:
    """Begin at each moment, and do not wait for what was begun before: an open loop."""
    async with asyncio.TaskGroup() as group:
        tasks = []
        for moment in moments:
            await asyncio.sleep(max(0.0, moment - time.time()))
            tasks.append(group.create_task(act(moment)))
    return [task.result() for task in tasks]


def poisson(*, per_second: float, seconds: float, start: float, seed: int) -> list[float]:
    """Moments as strangers make them; the same for the same seed."""
    generator = random.Random(seed)
    moments: list[float] = []
    moment = start + generator.expovariate(per_second)
    while moment < start + seconds:
        moments.append(moment)
        moment += generator.expovariate(per_second)
    return moments


class _Told(msgspec.Struct):
    type: str
    session_id: UUID


@dataclass(slots=True)
class Heard:
    """What a topic said of sessions: when we first heard each kind of event of each."""

    at: dict[str, dict[UUID, float]] = field(default_factory=dict)
    last: dict[str, dict[UUID, float]] = field(default_factory=dict)
    """The same, the last time."""

    events: Counter[str] = field(default_factory=Counter)
    """By kind, repeated ones included."""

    def note(self, kind: str, session_id: UUID) -> None:
        self.events[kind] += 1
        self.last.setdefault(kind, {})[session_id] = time.time()
        self.at.setdefault(kind, {}).setdefault(session_id, time.time())

    def of(self, kind: str) -> dict[UUID, float]:
        return self.at.get(kind, {})

    async def until_running(self, wishes: Iterable[Wish], *, seconds: float) -> bool:
        """False if not all of them run in that time."""
        return await self.until_told({wish.session_id for wish in wishes}, seconds=seconds)

    async def until_over(self, wishes: Iterable[Wish], *, seconds: float) -> bool:
        return await self.until_ended({wish.session_id for wish in wishes}, seconds=seconds)

    async def until_ended(self, missing: set[UUID], *, seconds: float) -> bool:
        return await self.until_told(missing, kinds=OVER, seconds=seconds)

    async def until_told(
        self, missing: set[UUID], *, kinds: Collection[str] = (RUNNING,), seconds: float
    ) -> bool:
        end = time.monotonic() + seconds
        while missing and time.monotonic() < end:
            # What counts are the moments that were noted, not the one at which we look.
            await asyncio.sleep(LOOK_SECONDS)
            missing = {one for one in missing if not any(one in self.of(kind) for kind in kinds)}
        return not missing


@asynccontextmanager
async def listening(kafka: KafkaSettings, topic: Topic = SESSIONS) -> AsyncIterator[Heard]:
    """Hear everything that is told from now on, as any other team could."""
    await ensure_topics(kafka)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka.bootstrap_servers, enable_auto_commit=False, fetch_max_wait_ms=10
    )
    await consumer.start()
    places = [TopicPartition(topic.name, number) for number in range(topic.partitions)]
    consumer.assign(places)
    await consumer.seek_to_end(*places)
    heard = Heard()
    decoder = msgspec.json.Decoder(_Told)

    async def listen() -> None:
        async for record in consumer:
            if record.value is not None:
                told = decoder.decode(record.value)
                heard.note(told.type, told.session_id)

    task = asyncio.create_task(listen())
    try:
        yield heard
        if task.done():
            task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()


@asynccontextmanager
async def wishing(kafka: KafkaSettings, *, resources: Resources = SMALL) -> AsyncIterator[Wishes]:
    await ensure_topics(kafka)
    producer = await start_producer(kafka, service="bench")
    try:
        yield Wishes(producer, resources=resources)
    finally:
        await producer.stop()
