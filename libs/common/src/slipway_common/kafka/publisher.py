"""Publish an event and know that Kafka has it."""

import asyncio

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from slipway_common.contracts.base import Event
from slipway_common.contracts.cloudevents import body_of, headers_of
from slipway_common.contracts.registry import topic_of
from slipway_common.errors import TransientError
from slipway_common.metrics import shared as metrics

PUBLISH_TIMEOUT_SECONDS = 10.0


class Publisher:
    def __init__(self, producer: AIOKafkaProducer) -> None:
        self._producer = producer

    async def publish(self, event: Event) -> None:
        """Return once all in-sync replicas have it; TransientError if that is not known."""
        topic = topic_of(event).name
        try:
            async with asyncio.timeout(PUBLISH_TIMEOUT_SECONDS):
                await self._producer.send_and_wait(
                    topic, value=body_of(event), key=event.key, headers=headers_of(event)
                )
        except (KafkaError, TimeoutError) as error:
            raise TransientError(f"Kafka did not take the event: {type(error).__name__}") from error
        metrics.events_published.labels(topic).inc()
