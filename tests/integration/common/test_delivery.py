"""At-least-once delivery on a real broker: nothing is lost, and poison stops nobody."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer

from integration.common.kafka_parts import consuming, following, header, record_of
from slipway_common.contracts.registry import Topic
from slipway_common.errors import PermanentError, TransientError
from slipway_common.kafka.broker import MAX_EVENT_BYTES
from slipway_common.settings import KafkaSettings
from support.waiting import eventually

HANGING = Path(__file__).parent / "hanging_consumer.py"

UNKNOWN_TYPE = json.dumps(
    json.loads(record_of(0)["value"]) | {"type": "slipway.launch.forgotten"}
).encode()


class Heard:
    """Remembers the numbers of the events that were handled."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    async def __call__(self, event: Any) -> None:
        self.numbers.append(int(event.app_version))

    async def have(self, count: int) -> bool:
        return len(self.numbers) >= count


async def send(producer: AIOKafkaProducer, topic: Topic, *records: dict[str, Any]) -> None:
    for record in records:
        await producer.send_and_wait(topic.name, **record)


async def test_headers_of_any_kind_make_no_difference(
    kafka: KafkaSettings, topic: Topic, producer: AIOKafkaProducer
) -> None:
    odd = [
        [("ce_id", None)],
        [("ce_id", b"\xff\xfe")],
        [("content-type", b"\xff")],
        [("content-type", None)],
        [("content-type", b"text/plain")],
        [("content-type", b"image/png")],
        [("correlation_id", None), ("reply_to", b"\x80")],
        [],
        [("same", b"1"), ("same", b"2")],
    ]
    records = [record_of(number) | {"headers": headers} for number, headers in enumerate(odd)]
    await send(producer, topic, *records, record_of(len(odd)))
    heard = Heard()

    async with consuming(kafka, topic, heard):
        await eventually(lambda: heard.have(len(odd) + 1))

    assert heard.numbers == list(range(len(odd) + 1))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "ValidationError"),
        (b"", "ValidationError"),
        (b"{", "ValidationError"),
        (b"\xff\x00\xfe", "ValidationError"),
        (b"[" * 50_000, "ValidationError"),
        (b'{"type": "slipway.launch.requested"}', "ValidationError"),
        (UNKNOWN_TYPE, "ValidationError"),
        (b"x" * (MAX_EVENT_BYTES - 200), "ValidationError"),
    ],
    ids=["null", "empty", "no-json", "no-text", "deep", "no-fields", "unknown-type", "1-mb"],
)
async def test_poison_is_set_aside_with_its_reason_and_the_partition_goes_on(
    kafka: KafkaSettings,
    topic: Topic,
    producer: AIOKafkaProducer,
    value: bytes | None,
    reason: str,
) -> None:
    key = str(uuid4()).encode()
    poison = {"value": value, "key": key, "headers": [("ce_type", b"bad"), ("broken", None)]}
    await send(producer, topic, record_of(0), poison, record_of(1))
    heard = Heard()

    async with consuming(kafka, topic, heard):
        await eventually(lambda: heard.have(2))

    assert heard.numbers == [0, 1]
    async with following(kafka, topic.dead_letters) as letters:
        await eventually(lambda: _any(letters))
    assert len(letters) == 1
    assert (letters[0].key, letters[0].value) == (key, value or b"")
    assert header(letters[0], "slipway_error").startswith(reason)
    assert header(letters[0], "slipway_offset") == "0/1"
    assert header(letters[0], "ce_type") == "bad"


async def test_a_body_that_compression_made_small_is_set_aside_without_its_end(
    kafka: KafkaSettings, topic: Topic
) -> None:
    packing = AIOKafkaProducer(
        bootstrap_servers=kafka.bootstrap_servers,
        compression_type="gzip",
        max_request_size=20 * MAX_EVENT_BYTES,
    )
    await packing.start()
    await send(packing, topic, {"value": b"x" * (10 * MAX_EVENT_BYTES)}, record_of(1))
    await packing.stop()
    heard = Heard()

    async with consuming(kafka, topic, heard):
        await eventually(lambda: heard.have(1))

    async with following(kafka, topic.dead_letters) as letters:
        await eventually(lambda: _any(letters))
    assert header(letters[0], "slipway_size") == str(10 * MAX_EVENT_BYTES)
    assert b"xxxx" in letters[0].value


async def test_what_comes_in_is_handled_or_set_aside_and_good_ones_stay_in_order(
    kafka: KafkaSettings, topic: Topic, producer: AIOKafkaProducer
) -> None:
    sent = [
        record_of(number) | ({"value": b"bad"} if number % 20 == 7 else {}) for number in range(200)
    ]
    await asyncio.gather(*[await producer.send(topic.name, **record) for record in sent])
    heard = Heard()

    async with consuming(kafka, topic, heard):
        await eventually(lambda: heard.have(190))

    assert heard.numbers == [number for number in range(200) if number % 20 != 7]
    async with following(kafka, topic.dead_letters) as letters:
        await eventually(lambda: _any(letters, 10))
    assert [header(letter, "slipway_offset") for letter in letters] == [
        f"0/{number}" for number in range(200) if number % 20 == 7
    ]


async def test_a_passing_fault_is_tried_again_and_nothing_overtakes(
    kafka: KafkaSettings, topic: Topic, producer: AIOKafkaProducer
) -> None:
    await send(producer, topic, *(record_of(number) for number in range(3)))
    heard = Heard()
    attempts = 0

    async def handle(event: Any) -> None:
        nonlocal attempts
        if event.app_version == "1":
            attempts += 1
            if attempts < 4:
                raise TransientError("the database is away")
        await heard(event)

    async with consuming(kafka, topic, handle):
        await eventually(lambda: heard.have(3))

    assert (heard.numbers, attempts) == ([0, 1, 2], 4)


async def test_a_failure_that_nobody_foresaw_is_tried_five_times(
    kafka: KafkaSettings, topic: Topic, producer: AIOKafkaProducer
) -> None:
    await send(producer, topic, *(record_of(number) for number in range(3)))
    heard = Heard()
    attempts = 0

    async def handle(event: Any) -> None:
        nonlocal attempts
        if event.app_version == "1":
            attempts += 1
            raise ZeroDivisionError("a bug of ours")
        await heard(event)

    async with consuming(kafka, topic, handle):
        await eventually(lambda: heard.have(2))

    assert (heard.numbers, attempts) == ([0, 2], 5)
    async with following(kafka, topic.dead_letters) as letters:
        await eventually(lambda: _any(letters))
    assert header(letters[0], "slipway_error") == "ZeroDivisionError: a bug of ours"


async def test_what_can_never_work_is_tried_once(
    kafka: KafkaSettings, topic: Topic, producer: AIOKafkaProducer
) -> None:
    await send(producer, topic, record_of(0), record_of(1))
    heard = Heard()
    attempts = 0

    async def handle(event: Any) -> None:
        nonlocal attempts
        if event.app_version == "0":
            attempts += 1
            raise PermanentError("no\nsuch\x00thing ☃" + "x" * 2000)
        await heard(event)

    async with consuming(kafka, topic, handle):
        await eventually(lambda: heard.have(1))

    assert attempts == 1


async def test_what_a_killed_consumer_was_busy_with_comes_again(
    kafka: KafkaSettings, topic: Topic, producer: AIOKafkaProducer
) -> None:
    group = f"group-{uuid4()}"
    await send(producer, topic, *(record_of(number) for number in range(3)))
    killed = await asyncio.create_subprocess_exec(
        sys.executable,
        HANGING,
        kafka.bootstrap_servers,
        topic.name,
        group,
        stdout=asyncio.subprocess.PIPE,
    )
    assert killed.stdout is not None
    assert [await killed.stdout.readline() for _ in range(2)] == [b"0\n", b"1\n"]
    killed.send_signal(signal.SIGKILL)
    await killed.wait()
    heard = Heard()

    async with consuming(kafka, topic, heard, group=group):
        await eventually(lambda: heard.have(2))

    assert heard.numbers == [1, 2]


async def test_a_consumer_goes_on_where_its_group_was(
    kafka: KafkaSettings, topic: Topic, producer: AIOKafkaProducer
) -> None:
    group = f"group-{uuid4()}"
    await send(producer, topic, record_of(0), record_of(1))
    first, second, other = Heard(), Heard(), Heard()
    async with consuming(kafka, topic, first, group=group):
        await eventually(lambda: first.have(2))
    await send(producer, topic, record_of(2))

    async with consuming(kafka, topic, second, group=group):
        await eventually(lambda: second.have(1))
    async with consuming(kafka, topic, other):
        await eventually(lambda: other.have(3))

    assert (first.numbers, second.numbers) == ([0, 1], [2])
    assert other.numbers == [0, 1, 2]  # a new group misses nothing that is still kept


async def _any(records: list[Any], count: int = 1) -> bool:
    return len(records) >= count
