"""Who may run now: the account's limit, first come first served.

All of it happens under the lock of the account's row, so that the limit holds at every instant,
however many launches arrive at once.
"""

from uuid import UUID

import asyncpg

from slipway_accounts.catalogue import newest_runtime
from slipway_accounts.storage import session_store, task_store
from slipway_common.contracts.base import AccountId, SessionId
from slipway_common.contracts.registry import SESSIONS_WANTED
from slipway_common.contracts.sessions import EndReason, SessionKind, SessionWanted
from slipway_common.contracts.views import SessionState
from slipway_common.postgres import messages
from slipway_common.postgres.database import Connection

TASK_SESSION_IDLE_SECONDS = 60
WEBUI_SESSION_IDLE_SECONDS = 900

_AT_WORK = (SessionState.STARTING, SessionState.RUNNING)


async def admit(tx: Connection, account_id: UUID, *, limit: int) -> None:
    """Start what waits, as far as the limit goes. The caller holds the account's lock."""
    free = limit - await session_store.count_active(tx, account_id)
    moved = False
    while free > 0 and (waiting := await session_store.next_queued(tx, account_id, limit=free)):
        moved = True
        for row in waiting:
            if await _is_surplus(tx, row):
                await _end(tx, row, SessionState.ENDED, EndReason.FINISHED, "Its tasks are done.")
            elif await _start(tx, account_id, row):
                free -= 1
    if moved:
        await session_store.touch_queued(tx, account_id)


async def _is_surplus(tx: Connection, row: asyncpg.Record) -> bool:
    """Tell whether a task session that waited has nothing left to do: others were quicker."""
    if row["kind"] != SessionKind.TASK:
        return False
    of = {"app_id": row["app_id"], "user_id": row["user_id"]}
    at_work = await session_store.count_task_sessions(tx, **of, states=_AT_WORK)
    return at_work >= await task_store.count_open(tx, **of)


async def _start(tx: Connection, account_id: UUID, row: asyncpg.Record) -> bool:
    """False if it cannot be started and has failed."""
    runtime = await newest_runtime(tx, account_id, row["release"])
    if runtime is None:
        why = f"The app needs runtime {row['release']}, which is not published."
        await _end(tx, row, SessionState.FAILED, EndReason.APP_FAILED, why)
        return False
    runtime_id, runtime_name = runtime
    admitted = await session_store.admit(tx, row["id"], runtime_id=runtime_id)
    assert admitted is not None  # whoever moves a queued session holds the account's lock
    kind = SessionKind(row["kind"])
    await messages.enqueue(
        tx,
        SessionWanted(
            account_id=AccountId(account_id),
            session_id=SessionId(row["id"]),
            kind=kind,
            app_name=row["app_name"],
            app_version=row["app_version"],
            runtime=runtime_name,
            idle_seconds=TASK_SESSION_IDLE_SECONDS
            if kind is SessionKind.TASK
            else WEBUI_SESSION_IDLE_SECONDS,
            admitted_at=admitted["admitted_at"],
        ),
    )
    return True


async def _end(
    tx: Connection, row: asyncpg.Record, to: SessionState, reason: EndReason, message: str
) -> None:
    await session_store.end(
        tx, row["id"], expected=[SessionState.QUEUED], to=to, reason=reason, message=message
    )


async def drop_surplus(tx: Connection, account_id: UUID, *, app_id: UUID, user_id: UUID) -> None:
    """End the task sessions that still wait though nothing is left for them to do."""
    await session_store.lock_account(tx, account_id)
    for row in await session_store.queued_task_sessions(tx, app_id=app_id, user_id=user_id):
        if await _is_surplus(tx, row):
            await _end(tx, row, SessionState.ENDED, EndReason.FINISHED, "Its tasks are done.")
    await session_store.touch_queued(tx, account_id)


async def unwant(tx: Connection, session_id: UUID, *, account_id: UUID) -> None:
    await messages.enqueue_tombstone(tx, SESSIONS_WANTED, session_id, account_id=account_id)


async def ensure_task_sessions(
    tx: Connection,
    account_id: UUID,
    *,
    app_id: UUID,
    user_id: UUID,
    session_id: UUID,
    limit: int,
) -> bool:
    """Ask for one more task session if there are more open tasks than sessions for them.

    Never for more than could run at once. The caller holds the account's lock, and admits
    afterwards.
    """
    of = {"app_id": app_id, "user_id": user_id}
    open_tasks = await task_store.count_open(tx, **of)
    sessions = await session_store.count_task_sessions(
        tx, **of, states=(SessionState.QUEUED, *_AT_WORK)
    )
    if sessions >= min(open_tasks, max(limit, 1)):
        return False
    return await session_store.add(
        tx,
        session_id,
        account_id=account_id,
        user_id=user_id,
        kind=SessionKind.TASK,
        app_id=app_id,
        state=SessionState.QUEUED,
    )
