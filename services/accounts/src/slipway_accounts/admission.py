"""Who may run now: the account's limit, first come first served.

All of it happens under the lock of the account's row, so that the limit holds at every instant,
however many launches arrive at once.
"""

from uuid import UUID

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

ACTIVE = (SessionState.STARTING, SessionState.RUNNING, SessionState.STOPPING)


async def admit(tx: Connection, account_id: UUID, *, limit: int) -> None:
    """Start what waits, as far as the limit goes. The caller holds the account's lock."""
    free = limit - await session_store.count_active(tx, account_id)
    waiting = await session_store.next_queued(tx, account_id, limit=free) if free > 0 else []
    for row in waiting:
        runtime = await newest_runtime(tx, account_id, row["release"])
        if runtime is None:
            await session_store.end(
                tx,
                row["id"],
                expected=[SessionState.QUEUED],
                to=SessionState.FAILED,
                reason=EndReason.APP_FAILED,
                message=f"The app needs runtime {row['release']}, which is not published.",
            )
            continue
        runtime_id, runtime_name = runtime
        admitted = await session_store.admit(tx, row["id"], runtime_id=runtime_id)
        if admitted is None:
            continue
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
    if waiting:
        await session_store.touch_queued(tx, account_id)


async def unwant(tx: Connection, session_id: UUID, *, account_id: UUID) -> None:
    await messages.enqueue_tombstone(tx, SESSIONS_WANTED, session_id, account_id=account_id)


async def ensure_task_sessions(
    tx: Connection, account_id: UUID, *, app_id: UUID, user_id: UUID, session_id: UUID
) -> bool:
    """Ask for one more task session if there are more open tasks than sessions for them.

    The caller holds the account's lock, and admits afterwards.
    """
    open_tasks = await task_store.count_open(tx, app_id)
    if await session_store.count_task_sessions(tx, account_id, app_id) >= open_tasks:
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
