"""Accounts, users and credentials."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from slipway_common.postgres.database import Connection

_INSERT_ACCOUNT = """
    INSERT INTO accounts (id, name, session_limit, queues)
    VALUES ($1, $2, $3, $4)
    ON CONFLICT (name) DO NOTHING
    RETURNING id
"""
_SELECT_ACCOUNT = "SELECT id, name, session_limit, queues FROM accounts WHERE name = $1"
_LIST_ACCOUNTS = "SELECT id, name FROM accounts ORDER BY name"
_UPDATE_ACCOUNT = """
    UPDATE accounts
       SET session_limit = coalesce($2, session_limit), queues = coalesce($3, queues)
     WHERE name = $1
    RETURNING id
"""
_INSERT_USER = """
    INSERT INTO users (id, account_id, name, password_hash, admin, publisher)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (account_id, name) DO NOTHING
    RETURNING id, name, admin, publisher, disabled, created_at
"""
_SELECT_USER = """
    SELECT u.id, u.password_hash, u.disabled
      FROM users u JOIN accounts a ON a.id = u.account_id
     WHERE a.name = $1 AND u.name = $2
"""
_SELECT_USERS = """
    SELECT id, name, admin, publisher, disabled, created_at
      FROM users
     WHERE account_id = $1
     ORDER BY name
"""
_DISABLE_USER = """
    UPDATE users SET disabled = true
     WHERE id = $1 AND account_id = $2
    RETURNING id, name
"""
_INSERT_CREDENTIAL = """
    INSERT INTO credentials (id, user_id, kind, name, sha256, scopes, expires_at)
    VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval)
    RETURNING created_at, expires_at
"""
_SELECT_PRINCIPAL = """
    SELECT c.id AS credential_id, c.kind, c.scopes, c.expires_at, c.expires_at <= now() AS expired,
           u.id AS user_id, u.name AS user_name, u.admin, u.publisher,
           a.id AS account_id, a.name AS account_name
      FROM credentials c
      JOIN users u ON u.id = c.user_id
      JOIN accounts a ON a.id = u.account_id
     WHERE c.sha256 = $1 AND c.revoked_at IS NULL AND NOT u.disabled
"""
_SELECT_API_KEYS = """
    SELECT id, name, scopes, created_at, expires_at
      FROM credentials
     WHERE user_id = $1 AND kind = 'api-key' AND revoked_at IS NULL
     ORDER BY created_at DESC
"""
_REVOKE = """
    UPDATE credentials SET revoked_at = now()
     WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL
    RETURNING id
"""
_REVOKE_ALL = """
    UPDATE credentials SET revoked_at = now()
     WHERE user_id = $1 AND revoked_at IS NULL
    RETURNING id
"""


async def add_account(
    tx: Connection, account_id: UUID, *, name: str, session_limit: int, queues: bool
) -> bool:
    """False if there is an account of this name."""
    row = await tx.fetchval(_INSERT_ACCOUNT, account_id, name, session_limit, queues)
    return row is not None


async def find_account(tx: Connection, name: str) -> asyncpg.Record | None:
    return await tx.fetchrow(_SELECT_ACCOUNT, name)


async def list_accounts(connection: Connection) -> list[asyncpg.Record]:
    return await connection.fetch(_LIST_ACCOUNTS)


async def change_account(
    tx: Connection, name: str, *, session_limit: int | None, queues: bool | None
) -> UUID | None:
    account_id: UUID | None = await tx.fetchval(_UPDATE_ACCOUNT, name, session_limit, queues)
    return account_id


async def add_user(
    tx: Connection,
    user_id: UUID,
    *,
    account_id: UUID,
    name: str,
    password_hash: str,
    admin: bool,
    publisher: bool,
) -> asyncpg.Record | None:
    """None if there is a user of this name."""
    return await tx.fetchrow(
        _INSERT_USER, user_id, account_id, name, password_hash, admin, publisher
    )


async def find_user(tx: Connection, *, account: str, name: str) -> asyncpg.Record | None:
    return await tx.fetchrow(_SELECT_USER, account, name)


async def list_users(tx: Connection, account_id: UUID) -> list[asyncpg.Record]:
    return await tx.fetch(_SELECT_USERS, account_id)


async def disable_user(tx: Connection, user_id: UUID, *, account_id: UUID) -> str | None:
    """The user's name; None if there is no such user in this account."""
    row = await tx.fetchrow(_DISABLE_USER, user_id, account_id)
    return None if row is None else row["name"]


async def add_credential(
    tx: Connection,
    credential_id: UUID,
    *,
    user_id: UUID,
    kind: str,
    name: str,
    sha256: bytes,
    scopes: Sequence[str],
    lifetime: timedelta,
) -> tuple[datetime, datetime]:
    """When it was made, and when it expires, by the database's clock."""
    row = await tx.fetchrow(
        _INSERT_CREDENTIAL, credential_id, user_id, kind, name, sha256, list(scopes), lifetime
    )
    assert row is not None
    return row["created_at"], row["expires_at"]


async def find_principal(tx: Connection, sha256: bytes) -> asyncpg.Record | None:
    return await tx.fetchrow(_SELECT_PRINCIPAL, sha256)


async def list_api_keys(tx: Connection, user_id: UUID) -> list[asyncpg.Record]:
    return await tx.fetch(_SELECT_API_KEYS, user_id)


async def revoke(tx: Connection, credential_id: UUID, *, user_id: UUID) -> bool:
    return await tx.fetchval(_REVOKE, credential_id, user_id) is not None


async def revoke_all(tx: Connection, user_id: UUID) -> list[UUID]:
    return [row["id"] for row in await tx.fetch(_REVOKE_ALL, user_id)]
