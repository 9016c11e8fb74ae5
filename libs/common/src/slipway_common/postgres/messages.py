"""The message tables: what is still to be told, and what was heard already.

Both calls take the caller's connection, so that a message and the change that belongs to it are
committed together, or not at all.

A change that is guarded by the state it starts from is its own memory; only a change without such
a guard has to ask ``first_time``.
"""

from uuid import UUID

from slipway_common.contracts.base import Event
from slipway_common.contracts.cloudevents import ACCOUNT_HEADER, body_of, headers_of
from slipway_common.contracts.registry import Topic, topic_of
from slipway_common.postgres.database import Connection

OUTBOX_CHANNEL = "slipway_outbox"

_ENQUEUE = """
    WITH left_for_the_relay AS (
        INSERT INTO outbox (topic, key, headers, payload) VALUES ($1, $2, $3, $4)
    )
    SELECT pg_notify($5, '')
"""

_REMEMBER = """
    INSERT INTO inbox (consumer, event_id)
    VALUES ($1, $2)
    ON CONFLICT DO NOTHING
    RETURNING event_id
"""


async def enqueue(tx: Connection, *events: Event) -> None:
    """Leave the events for the relay, which publishes them after the commit."""
    await tx.executemany(
        _ENQUEUE,
        [
            (
                topic_of(event).name,
                event.key,
                {name: value.decode() for name, value in headers_of(event)},
                body_of(event),
                OUTBOX_CHANNEL,
            )
            for event in events
        ],
    )


async def enqueue_tombstone(tx: Connection, topic: Topic, key: UUID, *, account_id: UUID) -> None:
    """Take the last record of this key away from a compacted topic."""
    headers = {ACCOUNT_HEADER: str(account_id)}
    await tx.execute(_ENQUEUE, topic.name, str(key).encode(), headers, None, OUTBOX_CHANNEL)


async def first_time(tx: Connection, *, consumer: str, event_id: UUID) -> bool:
    """Remember the event; False if this consumer has heard it before."""
    return await tx.fetchval(_REMEMBER, consumer, event_id) is not None
