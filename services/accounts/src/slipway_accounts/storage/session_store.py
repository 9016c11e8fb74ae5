"""Sessions: every change is guarded by the states that it may start from."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

import asyncpg

from slipway_common.postgres.database import Connection

_SELECT_ACCOUNT = "SELECT account_id FROM sessions WHERE id = $1"
_LOCK = "SELECT kind, state, app_id, user_id FROM sessions WHERE id = $1 FOR NO KEY UPDATE"
_INSERT = """
    INSERT INTO sessions (
        id, account_id, user_id, kind, app_id, state, service, service_version, profile, queued_at
    )
    VALUES (
        $1, $2, $3, $4, $5, $6, $7, $8,
        coalesce($9, (SELECT facts ->> 'profile' FROM packages WHERE id = $5), 'standard'),
        CASE WHEN $6 = 'queued' THEN clock_timestamp() END
    )
    ON CONFLICT (id) DO NOTHING
    RETURNING id
"""
_QUEUE = """
    UPDATE sessions SET state = 'queued', queued_at = clock_timestamp()
     WHERE id = $1 AND state = 'requested'
    RETURNING id
"""
_COUNT_ACTIVE = """
    SELECT count(*) FROM sessions
     WHERE account_id = $1 AND state IN ('starting', 'running', 'stopping')
"""
_NEXT_QUEUED = """
    SELECT s.id, s.kind, s.user_id, s.app_id, s.profile, coalesce(p.name, s.service) AS name,
           coalesce(p.version, s.service_version) AS version, p.facts ->> 'runtime' AS release
      FROM sessions s LEFT JOIN packages p ON p.id = s.app_id
     WHERE s.account_id = $1 AND s.state = 'queued'
     ORDER BY s.queued_at, s.id
     LIMIT $2
"""
_ADMIT = """
    UPDATE sessions
       SET state = 'starting', message = 'Starting', runtime_id = $2,
           service_version = coalesce($3, service_version), admitted_at = clock_timestamp()
     WHERE id = $1 AND state = 'queued'
    RETURNING admitted_at
"""
_TOUCH_QUEUED = "UPDATE sessions SET revision = revision WHERE account_id = $1 AND state = 'queued'"
_OVER = """
    UPDATE sessions
       SET state = $3, reason = $4, message = $5, ended_at = clock_timestamp(),
           peak_memory_mib = coalesce($6, peak_memory_mib),
           cpu_seconds = coalesce($7, cpu_seconds),
           address = NULL, stage = NULL, expected_at = NULL
     WHERE id = $1 AND state = ANY($2::text[])
    RETURNING account_id, app_id, kind, user_id, running_at
"""
_RUNNING = """
    UPDATE sessions
       SET state = 'running', message = '', address = $2, unit = $3, node = coalesce($4, node),
           stage = NULL, expected_at = NULL, running_at = coalesce(running_at, clock_timestamp())
     WHERE id = $1 AND (state = 'starting' OR (state = 'running' AND unit <> $3))
    RETURNING id
"""
_STOPPING = """
    UPDATE sessions
       SET state = 'stopping', message = 'Stopping', stopping_at = clock_timestamp(),
           stage = NULL, expected_at = NULL
     WHERE id = $1 AND state IN ('starting', 'running')
    RETURNING id
"""
_MADE = """
    UPDATE sessions SET message = $2, stage = NULL, expected_at = NULL
     WHERE id = $1 AND state = 'starting' AND claim_id IS NULL
       AND (stage IS NULL OR stage = 'waiting-for-place')
"""
_SAY = """
    UPDATE sessions SET message = $2
     WHERE id = $1 AND state = 'starting' AND message <> $2
"""
# Once its runner has called home, what is told of the way there is older than what the runner says.
_PROGRESS = """
    UPDATE sessions
       SET node = coalesce($4, node),
           stage = CASE
               WHEN state <> 'starting' THEN NULL
               WHEN claim_id IS NULL OR $2::text = 'restarted' THEN $2::text
               ELSE stage
           END,
           message = CASE
               WHEN claim_id IS NULL OR $2::text = 'restarted' THEN $3
               ELSE message
           END,
           expected_at = CASE WHEN claim_id IS NULL THEN $5::timestamptz END
     WHERE id = $1 AND (state = 'starting' OR (state = 'running' AND $2::text = 'restarted'))
"""
_CLAIM = """
    UPDATE sessions SET claim_id = $2, expected_at = NULL
     WHERE id = $1 AND state = 'starting' AND (claim_id IS NULL OR claim_id = $2)
    RETURNING id
"""
_GRANT = """
    SELECT s.kind, s.state, s.account_id,
           a.id AS app_id, a.name AS app_name, a.version AS app_version, a.blob AS app_blob,
           a.sha256 AS app_sha256, a.size_bytes AS app_size,
           r.id AS runtime_id, r.name AS runtime_name, r.name AS runtime_version,
           r.blob AS runtime_blob,
           r.sha256 AS runtime_sha256, r.size_bytes AS runtime_size
      FROM sessions s
      LEFT JOIN packages a ON a.id = s.app_id
      LEFT JOIN packages r ON r.id = s.runtime_id
     WHERE s.id = $1
"""
_COLUMNS = """
    s.id, s.kind, coalesce(p.name, s.service) AS app,
    coalesce(p.version, s.service_version) AS version, s.service, u.name AS user_name, s.state,
    s.message, s.reason, s.stage, s.expected_at, s.node, s.profile, s.created_at, s.running_at,
    s.ended_at, s.peak_memory_mib, s.cpu_seconds, s.revision, s.queued_at, s.account_id,
    s.user_id, s.app_id, s.address, s.unit
"""
_FROM = "FROM sessions s LEFT JOIN packages p ON p.id = s.app_id JOIN users u ON u.id = s.user_id"
_SELECT = f"""
    SELECT {_COLUMNS},
           CASE WHEN s.state = 'queued' THEN (
               SELECT count(*) FROM sessions o
                WHERE o.account_id = s.account_id AND o.state = 'queued'
                  AND (o.queued_at, o.id) <= (s.queued_at, s.id)
           ) END AS queue_position
      {_FROM}
     WHERE s.id = $1
"""
_LIST = f"""
    SELECT {_COLUMNS}, NULL::bigint AS queue_position
      {_FROM}
     WHERE s.account_id = $1 AND ($2::uuid IS NULL OR s.user_id = $2)
       AND (NOT $3 OR s.state IN ('requested', 'queued', 'starting', 'running', 'stopping'))
     ORDER BY s.created_at DESC, s.id
     LIMIT $4 OFFSET $5
"""
_STEPS = """
    SELECT at, state, message, stage FROM session_transitions WHERE session_id = $1 ORDER BY id
"""
_COUNT_TASK_SESSIONS = """
    SELECT count(*) FROM sessions
     WHERE app_id = $1 AND user_id = $2 AND kind = 'task' AND state = ANY($3::text[])
"""
_QUEUED_TASK_SESSIONS = """
    SELECT id, kind, app_id, user_id FROM sessions
     WHERE app_id = $1 AND user_id = $2 AND kind = 'task' AND state = 'queued'
     ORDER BY queued_at DESC, id
"""
_FORGOTTEN_REQUESTS = """
    SELECT id, account_id FROM sessions
     WHERE state = 'requested' AND created_at < now() - $1::interval
     LIMIT 100
"""
_SAY_UNHEARD = """
    UPDATE sessions SET message = $2
     WHERE state = 'starting' AND message = 'Starting' AND stage IS NULL AND claim_id IS NULL
       AND admitted_at < now() - $1::interval
"""
_SLOW_STOPS = """
    SELECT id, account_id FROM sessions
     WHERE state = 'stopping' AND stopping_at < now() - $1::interval
     LIMIT 500
"""


async def account_of(tx: Connection, session_id: UUID) -> UUID | None:
    account_id: UUID | None = await tx.fetchval(_SELECT_ACCOUNT, session_id)
    return account_id


async def lock(tx: Connection, session_id: UUID) -> asyncpg.Record | None:
    """Kind, state and app; none of them changes before the end of the transaction."""
    return await tx.fetchrow(_LOCK, session_id)


async def add(
    tx: Connection,
    session_id: UUID,
    *,
    account_id: UUID,
    user_id: UUID,
    kind: str,
    state: str,
    app_id: UUID | None = None,
    service: str | None = None,
    service_version: str | None = None,
    profile: str | None = None,
) -> bool:
    """False if it is there already. It runs an app, or a service in its version.

    Without a profile it has the one that its app asks for.
    """
    row = await tx.fetchval(
        _INSERT,
        session_id,
        account_id,
        user_id,
        kind,
        app_id,
        state,
        service,
        service_version,
        profile,
    )
    return row is not None


async def queue(tx: Connection, session_id: UUID) -> bool:
    return await tx.fetchval(_QUEUE, session_id) is not None


async def count_active(tx: Connection, account_id: UUID) -> int:
    count: int = await tx.fetchval(_COUNT_ACTIVE, account_id)
    return count


async def next_queued(tx: Connection, account_id: UUID, *, limit: int) -> list[asyncpg.Record]:
    return await tx.fetch(_NEXT_QUEUED, account_id, limit)


async def admit(
    tx: Connection, session_id: UUID, *, runtime_id: UUID | None, service_version: str | None
) -> datetime | None:
    """When it was admitted, by the database's clock; None if it was not in the queue."""
    admitted_at: datetime | None = await tx.fetchval(
        _ADMIT, session_id, runtime_id, service_version
    )
    return admitted_at


async def touch_queued(tx: Connection, account_id: UUID) -> None:
    """Their positions have changed: let whoever watches them look again."""
    await tx.execute(_TOUCH_QUEUED, account_id)


async def end(
    tx: Connection,
    session_id: UUID,
    *,
    expected: Sequence[str],
    to: str,
    reason: str | None,
    message: str,
    peak_memory_mib: int | None = None,
    cpu_seconds: float | None = None,
) -> asyncpg.Record | None:
    return await tx.fetchrow(
        _OVER, session_id, list(expected), to, reason, message, peak_memory_mib, cpu_seconds
    )


async def mark_running(
    tx: Connection, session_id: UUID, *, address: str, unit: str, node: str | None
) -> bool:
    return await tx.fetchval(_RUNNING, session_id, address, unit, node) is not None


async def mark_stopping(tx: Connection, session_id: UUID) -> bool:
    return await tx.fetchval(_STOPPING, session_id) is not None


async def mark_made(tx: Connection, session_id: UUID, message: str) -> None:
    """What runs it is there now: it waits for that place no more."""
    await tx.execute(_MADE, session_id, message)


async def say(tx: Connection, session_id: UUID, message: str) -> None:
    """Tell the user what a starting session is busy with."""
    await tx.execute(_SAY, session_id, message)


async def note_progress(
    tx: Connection,
    session_id: UUID,
    *,
    stage: str,
    message: str,
    node: str | None,
    expected_at: datetime | None,
) -> None:
    """Write down how far a starting session has come, or that a running one was restarted."""
    await tx.execute(_PROGRESS, session_id, stage, message, node, expected_at)


async def claim(tx: Connection, session_id: UUID, claim_id: UUID) -> bool:
    """True for the first claim and its repetitions; False for any other."""
    return await tx.fetchval(_CLAIM, session_id, claim_id) is not None


async def find_grant(tx: Connection, session_id: UUID) -> asyncpg.Record | None:
    return await tx.fetchrow(_GRANT, session_id)


async def find(tx: Connection, session_id: UUID) -> asyncpg.Record | None:
    return await tx.fetchrow(_SELECT, session_id)


async def steps(tx: Connection, session_id: UUID) -> list[asyncpg.Record]:
    return await tx.fetch(_STEPS, session_id)


async def list_sessions(
    tx: Connection,
    account_id: UUID,
    *,
    user_id: UUID | None,
    open_only: bool,
    limit: int,
    offset: int,
) -> list[asyncpg.Record]:
    return await tx.fetch(_LIST, account_id, user_id, open_only, limit, offset)


async def count_task_sessions(
    tx: Connection, *, app_id: UUID, user_id: UUID, states: Sequence[str]
) -> int:
    count: int = await tx.fetchval(_COUNT_TASK_SESSIONS, app_id, user_id, list(states))
    return count


async def queued_task_sessions(
    tx: Connection, *, app_id: UUID, user_id: UUID
) -> list[asyncpg.Record]:
    """The last in the queue first."""
    return await tx.fetch(_QUEUED_TASK_SESSIONS, app_id, user_id)


async def forgotten_requests(tx: Connection, older_than: timedelta) -> list[asyncpg.Record]:
    return await tx.fetch(_FORGOTTEN_REQUESTS, older_than)


async def say_unheard(tx: Connection, message: str, *, older_than: timedelta) -> None:
    """Of sessions that nobody has begun to start since they were admitted."""
    await tx.execute(_SAY_UNHEARD, older_than, message)


async def slow_stops(tx: Connection, older_than: timedelta) -> list[asyncpg.Record]:
    return await tx.fetch(_SLOW_STOPS, older_than)
