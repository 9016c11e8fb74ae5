"""Brokers, producers and topics, with the settings that lose nothing."""

from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code
from faststream import AckPolicy
from faststream.kafka import KafkaBroker

from slipway_common.contracts.registry import TOPICS, Topic
from slipway_common.kafka.delivery import DeliveryMiddleware, EventCodec, parse_safely
from slipway_common.settings import KafkaSettings

DEAD_LETTERS_KEPT_MS = 30 * 24 * 3600 * 1000
MAX_EVENT_BYTES = 1024 * 1024
MAX_DEAD_LETTER_BYTES = 2 * MAX_EVENT_BYTES
"""Room for the largest body and for the reason, so that no poison is too large to set aside."""


def build_broker(settings: KafkaSettings, *, service: str) -> KafkaBroker:
    """A broker whose subscribers redeliver on failure and never commit before they are done."""
    return KafkaBroker(
        settings.bootstrap_servers,
        client_id=f"slipway-{service}",
        acks="all",
        enable_idempotence=True,
        max_request_size=MAX_DEAD_LETTER_BYTES,
        allow_auto_create_topics=False,
        ack_policy=AckPolicy.NACK_ON_ERROR,
        parser=parse_safely,
        codec=EventCodec(),
        middlewares=[DeliveryMiddleware],
        apply_types=False,
        graceful_timeout=15,
        logger=None,
    )


async def start_producer(settings: KafkaSettings, *, service: str) -> AIOKafkaProducer:
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.bootstrap_servers,
        client_id=f"slipway-{service}",
        acks="all",
        enable_idempotence=True,
        max_request_size=MAX_EVENT_BYTES,
        request_timeout_ms=10_000,
    )
    await producer.start()
    return producer


def _configuration(topic: Topic) -> dict[str, str]:
    if topic.kept is None:
        return {
            "cleanup.policy": "compact",
            "min.cleanable.dirty.ratio": "0.1",
            "delete.retention.ms": str(24 * 3600 * 1000),
        }
    return {"retention.ms": str(int(topic.kept.total_seconds() * 1000))}


async def ensure_topics(settings: KafkaSettings) -> None:
    """Make the topics that are missing, with their settings; leave the others alone."""
    wanted = [
        NewTopic(
            name=topic.name,
            num_partitions=topic.partitions,
            replication_factor=settings.replication_factor,
            topic_configs=_configuration(topic),
        )
        for topic in TOPICS.values()
    ] + [
        NewTopic(
            name=topic.dead_letters,
            num_partitions=1,
            replication_factor=settings.replication_factor,
            topic_configs={
                "retention.ms": str(DEAD_LETTERS_KEPT_MS),
                "max.message.bytes": str(MAX_DEAD_LETTER_BYTES),
            },
        )
        for topic in TOPICS.values()
        if topic.consumers and not topic.compacted
    ]
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in wanted if topic.name not in existing]
        if not missing:
            return
        answer = await admin.create_topics(missing)
        for name, code, *_ in answer.topic_errors:
            error = for_code(code)
            # Another service that starts at the same moment may have been quicker.
            if code and error is not TopicAlreadyExistsError:
                raise error(name)
    finally:
        await admin.close()
