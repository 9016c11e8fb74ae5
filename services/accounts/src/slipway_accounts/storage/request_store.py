"""Idempotency keys and tickets: what may count only once."""

from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from slipway_common.postgres.database import Connection

_INSERT_KEY = """
    INSERT INTO idempotency_keys (user_id, key, request_sha256, subject)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (user_id, key) DO NOTHING
    RETURNING subject
"""
_SELECT_KEY = """
    SELECT request_sha256, subject FROM idempotency_keys WHERE user_id = $1 AND key = $2
"""
_FORGET_KEYS = "DELETE FROM idempotency_keys WHERE created_at < now() - $1::interval"
_FORGET_HEARD = "DELETE FROM inbox WHERE heard_at < now() - $1::interval"
_INSERT_TICKET = """
    INSERT INTO tickets (sha256, session_id, user_id, credential_id, expires_at)
    VALUES ($1, $2, $3, $4, now() + $5::interval)
    RETURNING expires_at
"""
_REDEEM = """
    UPDATE tickets SET redeemed_at = now()
     WHERE sha256 = $1 AND session_id = $2 AND redeemed_at IS NULL AND expires_at > now()
    RETURNING user_id, credential_id
"""
_FORGET_TICKETS = "DELETE FROM tickets WHERE expires_at < now() - interval '1 hour'"


async def remember(
    tx: Connection, *, user_id: UUID, key: str, request_sha256: bytes, subject: UUID
) -> asyncpg.Record | None:
    """None if the key is new; otherwise what it stood for the first time."""
    if await tx.fetchval(_INSERT_KEY, user_id, key, request_sha256, subject) is not None:
        return None
    return await tx.fetchrow(_SELECT_KEY, user_id, key)


async def add_ticket(
    tx: Connection,
    sha256: bytes,
    *,
    session_id: UUID,
    user_id: UUID,
    credential_id: UUID,
    lifetime: timedelta,
) -> datetime:
    expires_at: datetime = await tx.fetchval(
        _INSERT_TICKET, sha256, session_id, user_id, credential_id, lifetime
    )
    return expires_at


async def redeem_ticket(
    tx: Connection, sha256: bytes, *, session_id: UUID
) -> asyncpg.Record | None:
    """None if the ticket was used, has expired, or is for another session."""
    return await tx.fetchrow(_REDEEM, sha256, session_id)


async def forget(tx: Connection, *, older_than: timedelta) -> None:
    await tx.execute(_FORGET_KEYS, older_than)
    await tx.execute(_FORGET_HEARD, older_than)
    await tx.execute(_FORGET_TICKETS)
