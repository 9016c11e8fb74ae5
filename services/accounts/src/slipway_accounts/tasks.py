"""Tasks: queued, handed to a session of their app, followed to their result."""

from typing import Any
from uuid import UUID, uuid4

from slipway_accounts import admission, targets, task_events
from slipway_accounts.catalogue import find_app
from slipway_accounts.changes import Changes
from slipway_accounts.offers import Offers
from slipway_accounts.storage import account_store, request_store, session_store, task_store
from slipway_accounts.targets import Target
from slipway_common.contracts.internal import Assignment, Instruction, TaskStart
from slipway_common.contracts.problems import Code, ProblemError, problem
from slipway_common.contracts.reasons import PLATFORM_FAULTS
from slipway_common.contracts.sessions import SessionEnded, SessionFailed, SessionKind
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import (
    InterruptScope,
    Principal,
    Progress,
    SessionState,
    TaskView,
)
from slipway_common.failpoints import failpoint
from slipway_common.postgres.database import Connection, Database
from slipway_common.text import storable_json, storable_message

MAX_ATTEMPTS = 3
"""How often a task is started whose session the platform lost; the app's own failures are final."""


def task_view(row: Any) -> TaskView:
    return TaskView(
        id=row["id"],
        app=row["app"],
        version=row["version"],
        service=row["service"],
        user=row["user_name"],
        state=row["state"],
        outcome=row["outcome"],
        problem=row["problem"],
        progress=row["progress"],
        session_id=row["session_id"],
        created_at=row["created_at"],
        assigned_at=row["assigned_at"],
        running_at=row["running_at"],
        ended_at=row["ended_at"],
        revision=row["revision"],
    )


def _assignment(row: Any) -> Assignment:
    return Assignment(
        task_id=row["id"],
        account_id=row["account_id"],
        service=row["service"],
        time_limit_seconds=row["time_limit_seconds"],
    )


def _as_dict(error: ProblemError) -> dict[str, Any]:
    return error.problem.model_dump(exclude_none=True)


async def _tell(tx: Connection, task_id: UUID) -> TaskView:
    return task_view(await task_events.tell(tx, task_id))


class TaskService:
    def __init__(self, database: Database, changes: Changes, *, offers: Offers) -> None:
        self._database = database
        self._changes = changes
        self._offers = offers

    async def start(self, principal: Principal, request: TaskStart) -> TaskView:
        """Queue the task, or find the one that this key started before."""
        async with self._database.transaction() as tx:
            app = await find_app(
                tx, principal.account_id, name=request.app, version=request.version
            )
            self._check_service(app, request.service)
            known = await request_store.remember(
                tx,
                user_id=principal.user_id,
                key=request.key,
                request_sha256=bytes.fromhex(request.request_sha256),
                subject=request.id,
            )
            if known is not None:
                if known["request_sha256"].hex() != request.request_sha256:
                    raise problem(Code.KEY_REUSED)
                row = await task_store.find(tx, known["subject"])
                assert row is not None
                return task_view(row)
            await targets.require(
                tx,
                principal.account_id,
                Target.of_app(app, SessionKind.TASK),
                offers=self._offers,
            )
            limits = await account_store.lock(tx, principal.account_id)
            await task_store.add(
                tx,
                request.id,
                account_id=principal.account_id,
                user_id=principal.user_id,
                app_id=app["id"],
                service=request.service,
                time_limit_seconds=request.time_limit_seconds,
            )
            view = await _tell(tx, request.id)
            await admission.ensure_task_sessions(
                tx,
                principal.account_id,
                app_id=app["id"],
                user_id=principal.user_id,
                session_id=uuid4(),
                limit=limits.session_limit,
            )
            await admission.admit(tx, principal.account_id, limits=limits, offers=self._offers)
            failpoint("accounts.before-task-commit")
        return view

    @staticmethod
    def _check_service(app: Any, service: str) -> None:
        names = [each["name"] for each in app["facts"]["services"]]
        if service not in names:
            raise problem(
                Code.SERVICE_NOT_FOUND,
                f"{app['name']} {app['version']} offers: {', '.join(names) or 'no service'}.",
            )

    async def view(self, principal: Principal, task_id: UUID) -> TaskView:
        async with self._database.connection() as connection:
            return task_view(await self._own(connection, principal, task_id))

    async def list_tasks(self, principal: Principal, *, limit: int, offset: int) -> list[TaskView]:
        async with self._database.connection() as connection:
            rows = await task_store.list_tasks(
                connection,
                principal.account_id,
                user_id=None if principal.admin else principal.user_id,
                limit=limit,
                offset=offset,
            )
        return [task_view(row) for row in rows]

    async def interrupt(
        self, principal: Principal, task_id: UUID, scope: InterruptScope
    ) -> TaskView:
        async with self._database.transaction() as tx:
            row = await self._own(tx, principal, task_id)
            if TaskState(row["state"]).over:
                raise problem(Code.TASK_OVER, f"The task is {row['state']}.")
            given_up = problem(Code.TASK_FAILED, "Interrupted before it began.")
            if await task_store.fail(tx, task_id, session_id=None, problem=_as_dict(given_up)):
                return await _tell(tx, task_id)
            await task_store.interrupt(tx, task_id, scope)
            row = await self._own(tx, principal, task_id)
        return task_view(row)

    @staticmethod
    async def _own(connection: Connection, principal: Principal, task_id: UUID) -> Any:
        row = await task_store.find(connection, task_id)
        if (
            row is None
            or row["account_id"] != principal.account_id
            or not (principal.admin or row["user_id"] == principal.user_id)
        ):
            raise problem(Code.NOT_FOUND)
        return row

    # What follows is asked by runners, each in the name of its own session only.

    async def next_task(self, session_id: UUID, *, wait_seconds: float) -> Assignment | None:
        """The session's next task; the same one again while it has not been begun."""
        with self._changes.listen() as changed:
            assignment = await self._assign(session_id)
            if assignment is None and wait_seconds > 0:
                await changed.wait_for("tasks", timeout=wait_seconds)
                assignment = await self._assign(session_id)
        return assignment

    async def _assign(self, session_id: UUID) -> Assignment | None:
        async with self._database.transaction() as tx:
            # Locked, so that a session which ends at this moment takes no task with it, and one
            # that asks twice at once holds one.
            session = await session_store.lock(tx, session_id)
            if session is None or session["kind"] != SessionKind.TASK:
                raise problem(Code.NOT_FOUND)
            if SessionState(session["state"]) not in {SessionState.STARTING, SessionState.RUNNING}:
                raise problem(Code.SESSION_OVER)
            held = await task_store.of_session(tx, session_id)
            if held:
                task_id = held[0]["id"]
            else:
                found = await task_store.assign_next(
                    tx,
                    app_id=session["app_id"],
                    user_id=session["user_id"],
                    session_id=session_id,
                )
                if found is None:
                    return None
                task_id = found
                await _tell(tx, task_id)
            row = await task_store.find(tx, task_id)
            assert row is not None
            failpoint("accounts.before-assign-commit")
        return _assignment(row)

    async def held(self, session_id: UUID, task_id: UUID) -> Assignment:
        """The task, if it is this session's to work on."""
        async with self._database.connection() as connection:
            held = await task_store.of_session(connection, session_id)
        for row in held:
            if row["id"] == task_id:
                return _assignment(row)
        raise problem(Code.NOT_FOUND)

    async def progress(
        self, session_id: UUID, task_id: UUID, progress: Progress | None
    ) -> Instruction:
        state = TaskState.RUNNING if progress is None else TaskState(progress.state)
        async with self._database.transaction() as tx:
            before = await task_store.find(tx, task_id)
            row = await task_store.record_progress(
                tx,
                task_id,
                session_id=session_id,
                state=state,
                progress=None
                if progress is None
                else storable_json(progress.model_dump(exclude_none=True)),
            )
            if row is None or before is None:
                raise problem(Code.TASK_OVER, "The task is not this session's any more.")
            if before["state"] != state:
                await _tell(tx, task_id)
        return Instruction(interrupt=row["interrupt"])

    async def complete(self, session_id: UUID, task_id: UUID, outcome: str) -> None:
        """The response lies in its blob; a repetition changes nothing."""
        async with self._database.transaction() as tx:
            if await task_store.complete(tx, task_id, session_id=session_id, outcome=outcome):
                await _tell(tx, task_id)
            elif not await self._is_over(tx, task_id, session_id):
                raise problem(Code.TASK_OVER, "The task is not this session's any more.")
            failpoint("accounts.before-complete-commit")
        await self._drop_surplus(task_id)

    async def fail(self, session_id: UUID, task_id: UUID, found: dict[str, Any]) -> None:
        async with self._database.transaction() as tx:
            if await task_store.fail(
                tx, task_id, session_id=session_id, problem=storable_json(found)
            ):
                await _tell(tx, task_id)
            elif not await self._is_over(tx, task_id, session_id):
                raise problem(Code.TASK_OVER, "The task is not this session's any more.")
        await self._drop_surplus(task_id)

    async def _drop_surplus(self, task_id: UUID) -> None:
        """In a transaction of its own: the account's lock is never waited for with a task's."""
        async with self._database.connection() as connection:
            task = await task_store.find(connection, task_id)
            assert task is not None
            of = {"app_id": task["app_id"], "user_id": task["user_id"]}
            waiting = await session_store.queued_task_sessions(connection, **of)
        if waiting:
            async with self._database.transaction() as tx:
                await admission.drop_surplus(tx, task["account_id"], **of)

    @staticmethod
    async def _is_over(tx: Connection, task_id: UUID, session_id: UUID) -> bool:
        row = await task_store.find(tx, task_id)
        return row is not None and row["session_id"] == session_id and TaskState(row["state"]).over


async def on_session_over(
    tx: Connection,
    session_id: UUID,
    *,
    session: Any,
    event: SessionEnded | SessionFailed,
    limit: int,
) -> None:
    """Decide about the tasks of a session that is gone; the caller holds the account's lock."""
    held = await task_store.of_session(tx, session_id)
    for task in held:
        if event.reason in PLATFORM_FAULTS and task["attempt"] < MAX_ATTEMPTS:
            await task_store.requeue(tx, task["id"], session_id=session_id)
        else:
            lost = problem(
                Code.TASK_SESSION_LOST,
                storable_message(event.message) or f"The session {event.reason}.",
            )
            await task_store.fail(tx, task["id"], session_id=session_id, problem=_as_dict(lost))
        await _tell(tx, task["id"])
    if not held and isinstance(event, SessionFailed) and session["running_at"] is None:
        # Without this, the tasks of an app that cannot be started would start sessions for ever.
        waiting = await task_store.oldest_queued(
            tx, app_id=session["app_id"], user_id=session["user_id"]
        )
        if waiting is not None:
            attempts = await task_store.count_attempt(tx, waiting)
            if event.reason not in PLATFORM_FAULTS or attempts >= MAX_ATTEMPTS:
                lost = problem(
                    Code.TASK_SESSION_LOST,
                    storable_message(event.message) or "The session did not start.",
                )
                await task_store.fail(tx, waiting, session_id=None, problem=_as_dict(lost))
                await _tell(tx, waiting)
    await admission.ensure_task_sessions(
        tx,
        session["account_id"],
        app_id=session["app_id"],
        user_id=session["user_id"],
        session_id=uuid4(),
        limit=limit,
    )
