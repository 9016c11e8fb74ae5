"""Who may run now: the account's limit, first come first served.

All of it happens under the lock of the account's row, so that the limit holds at every instant,
however many launches arrive at once.
"""

from uuid import UUID

import asyncpg

from slipway_accounts import targets, task_events
from slipway_accounts.offers import Offers
from slipway_accounts.storage import account_store, session_store, task_store
from slipway_accounts.storage.account_store import AccountLimits
from slipway_accounts.targets import Target
from slipway_accounts.terms import terms_of
from slipway_common.contracts.base import AccountId, SessionId
from slipway_common.contracts.problems import ProblemError
from slipway_common.contracts.registry import SESSIONS_WANTED
from slipway_common.contracts.sessions import EndReason, SessionKind, SessionWanted
from slipway_common.contracts.views import SessionState
from slipway_common.postgres import messages
from slipway_common.postgres.database import Connection

_AT_WORK = (SessionState.STARTING, SessionState.RUNNING)


async def admit(tx: Connection, account_id: UUID, *, limits: AccountLimits, offers: Offers) -> None:
    """Start what waits, as far as the limit goes. The caller holds the account's lock."""
    free = limits.session_limit - await session_store.count_active(tx, account_id)
    moved, may_wait = False, True
    while free > 0 and may_wait:
        asked_for = free
        waiting = await session_store.next_queued(tx, account_id, limit=asked_for)
        for row in waiting:
            moved = True
            if await _is_surplus(tx, row):
                await _end(tx, row, SessionState.ENDED, EndReason.FINISHED, "Its tasks are done.")
            elif await _start(tx, account_id, row, limits=limits, offers=offers):
                free -= 1
        may_wait = len(waiting) == asked_for
    if moved and may_wait:
        await session_store.touch_queued(tx, account_id)


async def _is_surplus(tx: Connection, row: asyncpg.Record) -> bool:
    """Tell whether a task session that waited has nothing left to do: others were quicker."""
    if row["kind"] != SessionKind.TASK:
        return False
    of = {"app_id": row["app_id"], "user_id": row["user_id"]}
    at_work = await session_store.count_task_sessions(tx, **of, states=_AT_WORK)
    return at_work >= await task_store.count_open(tx, **of)


async def _start(
    tx: Connection, account_id: UUID, row: asyncpg.Record, *, limits: AccountLimits, offers: Offers
) -> bool:
    """False if it cannot be started and has failed."""
    target = Target.of_queued(row)
    try:
        runtime = await targets.require(tx, account_id, target, offers=offers)
    except ProblemError as missing:
        await _give_up(tx, row, missing)
        return False
    terms = terms_of(target, limits=limits, offers=offers)
    admitted_at = await session_store.admit(
        tx,
        row["id"],
        runtime_id=None if runtime is None else runtime.id,
        service_version=None if terms.external is None else terms.version,
    )
    assert admitted_at is not None  # whoever moves a queued session holds the account's lock
    await messages.enqueue(
        tx,
        SessionWanted(
            account_id=AccountId(account_id),
            session_id=SessionId(row["id"]),
            kind=target.kind,
            app_name=target.name,
            app_version=terms.version,
            runtime="" if runtime is None else runtime.name,
            resources=terms.resources,
            external=terms.external,
            idle_seconds=terms.idle_seconds,
            max_seconds=terms.max_seconds,
            admitted_at=admitted_at,
        ),
    )
    return True


async def _give_up(tx: Connection, row: asyncpg.Record, missing: ProblemError) -> None:
    """What it needs was there when it was asked for, and was taken away since."""
    await _end(tx, row, SessionState.FAILED, EndReason.NOT_ADMITTED, str(missing))
    if row["kind"] == SessionKind.TASK:
        # They would wait for ever for a session that can never be.
        for task_id in await task_store.fail_queued(
            tx,
            app_id=row["app_id"],
            user_id=row["user_id"],
            problem=missing.problem.model_dump(exclude_none=True),
        ):
            await task_events.tell(tx, task_id)


async def _end(
    tx: Connection, row: asyncpg.Record, to: SessionState, reason: EndReason, message: str
) -> None:
    await session_store.end(
        tx, row["id"], expected=[SessionState.QUEUED], to=to, reason=reason, message=message
    )


async def drop_surplus(tx: Connection, account_id: UUID, *, app_id: UUID, user_id: UUID) -> None:
    """End the task sessions that still wait though nothing is left for them to do."""
    await account_store.lock(tx, account_id)
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
