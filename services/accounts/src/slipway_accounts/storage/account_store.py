"""What accounts allow their sessions. The row is also the lock that admission happens under."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg

from slipway_common.postgres.database import Connection

_COLUMNS = """
    session_limit, queues, webui_idle_seconds, solve_idle_seconds, task_idle_seconds,
    max_session_seconds
"""
_LOCK = f"SELECT {_COLUMNS} FROM accounts WHERE id = $1 FOR UPDATE"
_SELECT = f"SELECT name, {_COLUMNS} FROM accounts WHERE id = $1"
_UPDATE = f"""
    UPDATE accounts
       SET webui_idle_seconds = coalesce($2, webui_idle_seconds),
           solve_idle_seconds = coalesce($3, solve_idle_seconds),
           task_idle_seconds = coalesce($4, task_idle_seconds),
           max_session_seconds = coalesce($5, max_session_seconds)
     WHERE id = $1
    RETURNING name, {_COLUMNS}
"""


@dataclass(frozen=True, slots=True)
class AccountLimits:
    session_limit: int
    queues: bool
    """Whether launches above the limit wait."""
    webui_idle_seconds: int
    solve_idle_seconds: int
    task_idle_seconds: int
    max_session_seconds: int


async def lock(tx: Connection, account_id: UUID) -> AccountLimits:
    """Whoever admits sessions, or ends them, holds this lock until the transaction is over."""
    row = await tx.fetchrow(_LOCK, account_id)
    assert row is not None
    return AccountLimits(**dict(row))


async def find(tx: Connection, account_id: UUID) -> asyncpg.Record:
    row = await tx.fetchrow(_SELECT, account_id)
    assert row is not None
    return row


async def change_times(
    tx: Connection,
    account_id: UUID,
    *,
    webui_idle_seconds: int | None,
    solve_idle_seconds: int | None,
    task_idle_seconds: int | None,
    max_session_seconds: int | None,
) -> asyncpg.Record:
    """None leaves what is."""
    row = await tx.fetchrow(
        _UPDATE,
        account_id,
        webui_idle_seconds,
        solve_idle_seconds,
        task_idle_seconds,
        max_session_seconds,
    )
    assert row is not None
    return row
