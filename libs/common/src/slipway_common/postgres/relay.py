"""From the outbox to Kafka: every committed event is published, in order per key, at least once.

Rows are taken by ``published_at IS NULL`` and never by a position: a sequence number is drawn
before its transaction commits, so a reader that remembers the highest one loses rows.

One relay works at a time. It holds a lock of its database session, and the server ends a session
that stays silent; so a relay that hangs loses its place, and what it may still send afterwards is
a repetition, which every reader has to bear anyway.
"""

import asyncio
import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from slipway_common.failpoints import failpoint
from slipway_common.metrics import accounts, shared
from slipway_common.postgres.database import Database
from slipway_common.postgres.messages import OUTBOX_CHANNEL

logger = structlog.get_logger(__name__)

SWEEP_SECONDS = 1.0
"""Finds what a lost notification left behind."""

TURN_SECONDS = 0.5
"""Pause before a relay asks again whether it is its turn."""

BATCH_SIZE = 500
SILENCE_ALLOWED = "10s"
KEPT_AFTER_PUBLISHING = timedelta(days=7)
"""So that a topic can be filled again after the loss of a broker."""

_LOCK = 0x51_1B_3A_72

_SELECT = """
    SELECT id, topic, key, headers, payload, created_at
      FROM outbox
     WHERE published_at IS NULL
     ORDER BY id
     LIMIT $1
"""
_MARK = "UPDATE outbox SET published_at = now() WHERE id = ANY($1::bigint[])"
_FORGET = "DELETE FROM outbox WHERE published_at < now() - $1::interval"


class Relay:
    def __init__(self, database: Database, producer: AIOKafkaProducer) -> None:
        self._database = database
        self._producer = producer
        self._wake = asyncio.Event()
        self._forgotten_at: datetime | None = None

    async def run(self) -> None:
        """Work until cancelled; whatever goes wrong with database or broker is tried again."""
        while True:
            try:
                await self._work()
            except (
                OSError,
                asyncpg.PostgresError,
                asyncpg.InterfaceError,
                KafkaError,
                TimeoutError,
            ):
                logger.warning("the relay lost its database or broker", exc_info=True)
            await asyncio.sleep(TURN_SECONDS)

    async def _work(self) -> None:
        """Publish for as long as the lock is ours; return at once where another relay has it."""
        connection = await self._database.listen()
        try:
            await connection.set_type_codec(
                "jsonb", encoder=str, decoder=_decode_headers, schema="pg_catalog"
            )
            await connection.execute(f"SET idle_session_timeout = '{SILENCE_ALLOWED}'")
            if not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
                return
            await connection.add_listener(OUTBOX_CHANNEL, self._on_notify)
            while True:
                self._wake.clear()
                while await self._publish_batch(connection) == BATCH_SIZE:
                    pass
                await self._forget(connection)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), SWEEP_SECONDS)
        finally:
            connection.terminate()

    def _on_notify(self, *_: Any) -> None:
        self._wake.set()

    async def _publish_batch(self, connection: "asyncpg.Connection[asyncpg.Record]") -> int:
        rows = await connection.fetch(_SELECT, BATCH_SIZE)
        if not rows:
            accounts.outbox_backlog.set(0)
            return 0
        accounts.outbox_backlog.set(len(rows))
        acknowledgements = [
            await self._producer.send(
                row["topic"], value=row["payload"], key=row["key"], headers=row["headers"]
            )
            for row in rows
        ]
        async with asyncio.timeout(30):
            await asyncio.gather(*acknowledgements)
        failpoint("relay.acknowledged")
        await connection.execute(_MARK, [row["id"] for row in rows])
        now = datetime.now(tz=UTC)
        for row in rows:
            shared.events_published.labels(row["topic"]).inc()
            accounts.outbox_lag_seconds.observe((now - row["created_at"]).total_seconds())
        return len(rows)

    async def _forget(self, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        now = datetime.now(tz=UTC)
        if self._forgotten_at is None or now - self._forgotten_at > timedelta(hours=1):
            await connection.execute(_FORGET, KEPT_AFTER_PUBLISHING)
            self._forgotten_at = now


def _decode_headers(text: str) -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in json.loads(text).items()]
