"""Tasks: every change is guarded by the states, and the session, that it may start from."""

from typing import Any
from uuid import UUID

import asyncpg

from slipway_common.postgres.database import Connection

_INSERT = """
    INSERT INTO tasks (id, account_id, user_id, app_id, service, state, time_limit_seconds)
    VALUES ($1, $2, $3, $4, $5, 'queued', $6)
    ON CONFLICT (id) DO NOTHING
    RETURNING id
"""
_SELECT = """
    SELECT t.id, t.account_id, t.user_id, t.app_id, p.name AS app, p.version, t.service,
           u.name AS user_name, t.state, t.outcome, t.problem, t.progress, t.session_id,
           t.interrupt, t.attempt, t.time_limit_seconds, t.created_at, t.assigned_at,
           t.running_at, t.ended_at, t.revision
      FROM tasks t JOIN packages p ON p.id = t.app_id JOIN users u ON u.id = t.user_id
"""
_FIND = f"{_SELECT} WHERE t.id = $1"
_LIST = f"""{_SELECT}
     WHERE t.account_id = $1 AND ($2::uuid IS NULL OR t.user_id = $2)
     ORDER BY t.created_at DESC, t.id
     LIMIT $3 OFFSET $4
"""
_OF_SESSION = f"""{_SELECT}
     WHERE t.session_id = $1 AND t.state IN ('assigned', 'running', 'solving')
     ORDER BY t.assigned_at
"""
_ASSIGN = """
    UPDATE tasks
       SET state = 'assigned', session_id = $2, attempt = attempt + 1,
           assigned_at = clock_timestamp(), interrupt = NULL, progress = NULL
     WHERE id = (
         SELECT id FROM tasks
          WHERE app_id = $1 AND user_id = $3 AND state = 'queued'
          ORDER BY created_at, id
          LIMIT 1
          FOR UPDATE SKIP LOCKED
     )
    RETURNING id
"""
_PROGRESS = """
    UPDATE tasks
       SET state = $3, progress = coalesce($4, progress),
           running_at = coalesce(running_at, clock_timestamp())
     WHERE id = $1 AND session_id = $2 AND state IN ('assigned', 'running', 'solving')
    RETURNING interrupt
"""
_COMPLETE = """
    UPDATE tasks
       SET state = 'completed', outcome = $3, ended_at = clock_timestamp()
     WHERE id = $1 AND session_id = $2 AND state IN ('assigned', 'running', 'solving')
    RETURNING id
"""
_FAIL = """
    UPDATE tasks
       SET state = 'failed', problem = $3, ended_at = clock_timestamp()
     WHERE id = $1 AND session_id IS NOT DISTINCT FROM $2
       AND state IN ('queued', 'assigned', 'running', 'solving')
    RETURNING id
"""
_REQUEUE = """
    UPDATE tasks
       SET state = 'queued', session_id = NULL, progress = NULL, interrupt = NULL
     WHERE id = $1 AND session_id = $2 AND state IN ('assigned', 'running', 'solving')
    RETURNING id
"""
_INTERRUPT = """
    UPDATE tasks SET interrupt = $2
     WHERE id = $1 AND state IN ('assigned', 'running', 'solving')
    RETURNING id
"""
_FAIL_QUEUED = """
    UPDATE tasks
       SET state = 'failed', problem = $3, ended_at = clock_timestamp()
     WHERE app_id = $1 AND user_id = $2 AND state = 'queued'
    RETURNING id
"""
_COUNT_OPEN = """
    SELECT count(*) FROM tasks
     WHERE app_id = $1 AND user_id = $2
       AND state IN ('queued', 'assigned', 'running', 'solving')
"""
_OLDEST_QUEUED = """
    SELECT id FROM tasks
     WHERE app_id = $1 AND user_id = $2 AND state = 'queued'
     ORDER BY created_at, id
     LIMIT 1
     FOR UPDATE
"""
_COUNT_ATTEMPT = "UPDATE tasks SET attempt = attempt + 1 WHERE id = $1 RETURNING attempt"


async def add(
    tx: Connection,
    task_id: UUID,
    *,
    account_id: UUID,
    user_id: UUID,
    app_id: UUID,
    service: str,
    time_limit_seconds: int,
) -> bool:
    row = await tx.fetchval(
        _INSERT, task_id, account_id, user_id, app_id, service, time_limit_seconds
    )
    return row is not None


async def find(tx: Connection, task_id: UUID) -> asyncpg.Record | None:
    return await tx.fetchrow(_FIND, task_id)


async def list_tasks(
    tx: Connection, account_id: UUID, *, user_id: UUID | None, limit: int, offset: int
) -> list[asyncpg.Record]:
    return await tx.fetch(_LIST, account_id, user_id, limit, offset)


async def of_session(tx: Connection, session_id: UUID) -> list[asyncpg.Record]:
    """Tasks that the session has not finished."""
    return await tx.fetch(_OF_SESSION, session_id)


async def assign_next(
    tx: Connection, *, app_id: UUID, user_id: UUID, session_id: UUID
) -> UUID | None:
    """The oldest of this user's: a session, with its log and its memory, is never shared."""
    task_id: UUID | None = await tx.fetchval(_ASSIGN, app_id, session_id, user_id)
    return task_id


async def record_progress(
    tx: Connection,
    task_id: UUID,
    *,
    session_id: UUID,
    state: str,
    progress: dict[str, Any] | None,
) -> asyncpg.Record | None:
    """None if the task is not this session's, or is over; otherwise what it is asked to do."""
    return await tx.fetchrow(_PROGRESS, task_id, session_id, state, progress)


async def complete(tx: Connection, task_id: UUID, *, session_id: UUID, outcome: str) -> bool:
    return await tx.fetchval(_COMPLETE, task_id, session_id, outcome) is not None


async def fail(
    tx: Connection, task_id: UUID, *, session_id: UUID | None, problem: dict[str, Any]
) -> bool:
    return await tx.fetchval(_FAIL, task_id, session_id, problem) is not None


async def fail_queued(
    tx: Connection, *, app_id: UUID, user_id: UUID, problem: dict[str, Any]
) -> list[UUID]:
    """All that wait for a session of this app and user."""
    return [row["id"] for row in await tx.fetch(_FAIL_QUEUED, app_id, user_id, problem)]


async def requeue(tx: Connection, task_id: UUID, *, session_id: UUID) -> bool:
    return await tx.fetchval(_REQUEUE, task_id, session_id) is not None


async def interrupt(tx: Connection, task_id: UUID, scope: str) -> bool:
    return await tx.fetchval(_INTERRUPT, task_id, scope) is not None


async def count_open(tx: Connection, *, app_id: UUID, user_id: UUID) -> int:
    count: int = await tx.fetchval(_COUNT_OPEN, app_id, user_id)
    return count


async def oldest_queued(tx: Connection, *, app_id: UUID, user_id: UUID) -> UUID | None:
    task_id: UUID | None = await tx.fetchval(_OLDEST_QUEUED, app_id, user_id)
    return task_id


async def count_attempt(tx: Connection, task_id: UUID) -> int:
    """Count an attempt that failed before the task was taken; returns how many there were."""
    attempts: int = await tx.fetchval(_COUNT_ATTEMPT, task_id)
    return attempts
