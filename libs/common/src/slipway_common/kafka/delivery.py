"""At-least-once delivery: back off on passing faults, set poison messages aside.

FastStream commits before the handler runs unless told otherwise; its ``NACK_ON_ERROR`` seeks back
at once, so that a message which always fails is handled thousands of times a second; and its own
parser raises on a header that is not UTF-8, which loses the message. What is here decides before
any of that can happen.
"""

import asyncio
import dataclasses
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from faststream import BaseMiddleware
from faststream.kafka import KafkaBroker
from faststream.message import StreamMessage
from pydantic import ValidationError
from typing_extensions import override

from slipway_common.contracts.registry import TOPICS
from slipway_common.errors import PermanentError, TransientError
from slipway_common.metrics import shared as metrics

logger = structlog.get_logger(__name__)

# Shorter than aiokafka's max_poll_interval_ms (300 s): past that the group takes the partition
# away from a consumer that is only waiting.
RETRY_BUDGET_SECONDS = 120.0

KEPT_BODY_BYTES = 1024 * 1024
"""Of a dead letter. Only a body that compression brought past the broker's limit is longer."""

KEPT_HEADER_LETTERS = 1000

UNEXPECTED_ATTEMPTS = 5
"""How often a failure that is neither transient nor permanent (a bug of ours) is tried."""


def backoff_seconds(attempt: int, *, first: float = 0.2, cap: float = 15.0) -> float:
    """Full-jitter exponential backoff; ``attempt`` counts from 1."""
    return random.uniform(0, min(cap, first * 2.0 ** min(attempt - 1, 16)))  # noqa: S311


async def parse_safely(
    record: Any, original: Callable[[Any], Awaitable[StreamMessage[Any]]]
) -> StreamMessage[Any]:
    """FastStream's parser, on headers that cannot make it raise.

    Nor may whoever writes to a topic name another one for us to answer to.
    """
    headers = tuple(
        (name, (value or b"").decode(errors="replace").encode())
        for name, value in record.headers
        if name != "reply_to"
    )
    return await original(dataclasses.replace(record, headers=headers))


class EventCodec:
    """Bodies are events of the topic that they came by; anything else is poison."""

    async def decode(self, msg: StreamMessage[Any]) -> Any:
        return TOPICS[msg.raw_message.topic].parse(msg.body)

    async def encode(
        self,
        msg: Any,
        serializer: Any = None,  # noqa: ARG002  # the protocol's
    ) -> tuple[bytes, str | None]:
        return bytes(msg), "application/json"


class DeliveryMiddleware(BaseMiddleware[Any, Any]):
    """Retry while that can help; otherwise set the message aside and go on."""

    @override
    async def consume_scope(
        self,
        call_next: Callable[[StreamMessage[Any]], Awaitable[Any]],
        msg: StreamMessage[Any],
    ) -> Any:
        record = msg.raw_message
        structlog.contextvars.bind_contextvars(
            topic=record.topic, partition=record.partition, offset=record.offset
        )
        deadline = time.monotonic() + RETRY_BUDGET_SECONDS
        attempt = 0
        while True:
            attempt += 1
            try:
                with metrics.event_handling_seconds.labels(record.topic).time():
                    result = await call_next(msg)
            except (PermanentError, ValidationError) as error:
                return await self._set_aside(msg, error)
            except TransientError as error:
                await self._back_off(attempt, deadline, error)
            except Exception as error:
                logger.exception("a handler failed", attempt=attempt)
                if attempt >= UNEXPECTED_ATTEMPTS:
                    return await self._set_aside(msg, error)
                await self._back_off(attempt, deadline, error)
            else:
                metrics.events_handled.labels(record.topic, "handled").inc()
                return result

    @staticmethod
    async def _back_off(attempt: int, deadline: float, error: Exception) -> None:
        delay = backoff_seconds(attempt)
        if time.monotonic() + delay > deadline:
            raise error  # nacked: the consumer seeks back, and the wait starts over
        logger.warning("trying again", attempt=attempt, seconds=delay, reason=str(error))
        await asyncio.sleep(delay)

    async def _set_aside(self, msg: StreamMessage[Any], error: Exception) -> None:
        record = msg.raw_message
        logger.error("dead letter", reason=repr(error)[:500])
        broker: KafkaBroker = self.context.get("broker")
        body = record.value or b""
        kept = {name: value[:KEPT_HEADER_LETTERS] for name, value in msg.headers.items()}
        await broker.publish(
            body[:KEPT_BODY_BYTES],
            topic=TOPICS[record.topic].dead_letters,
            key=record.key,
            headers={
                **kept,
                "slipway_size": str(len(body)),
                "slipway_error": f"{type(error).__name__}: {error}"[:500],
                "slipway_offset": f"{record.partition}/{record.offset}",
            },
        )
        metrics.events_handled.labels(record.topic, "dead").inc()
