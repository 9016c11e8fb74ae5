"""Sessions: launched, admitted, followed, stopped; and what their runners are granted."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from slipway_accounts import admission
from slipway_accounts.catalogue import find_app, newest_runtime
from slipway_accounts.identity import digest
from slipway_accounts.storage import request_store, session_store
from slipway_accounts.tasks import on_session_over
from slipway_accounts.tokens import Signer
from slipway_common.contracts.internal import (
    Grant,
    IssuedTicket,
    Launched,
    PackageGrant,
    Route,
)
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.sessions import (
    EndReason,
    LaunchRequested,
    SessionEnded,
    SessionEvent,
    SessionFailed,
    SessionKind,
    SessionRunning,
    SessionStarting,
    StopRequested,
)
from slipway_common.contracts.views import (
    LaunchRequest,
    Principal,
    SessionState,
    SessionStep,
    SessionView,
)
from slipway_common.failpoints import failpoint
from slipway_common.postgres import messages
from slipway_common.postgres.database import Connection, Database
from slipway_common.text import storable_message

CONSUMER = "accounts.sessions"

_OPEN = (SessionState.STARTING, SessionState.RUNNING, SessionState.STOPPING)

SESSION_ACCESS_LIFETIME = timedelta(hours=12)


def session_view(row: Any, steps: Sequence[Any] = ()) -> SessionView:
    return SessionView(
        id=row["id"],
        kind=row["kind"],
        app=row["app"],
        version=row["version"],
        user=row["user_name"],
        state=row["state"],
        queue_position=row["queue_position"],
        message=row["message"],
        reason=row["reason"],
        created_at=row["created_at"],
        running_at=row["running_at"],
        ended_at=row["ended_at"],
        peak_memory_mib=row["peak_memory_mib"],
        revision=row["revision"],
        steps=tuple(SessionStep(**dict(step)) for step in steps),
    )


def _may_see(principal: Principal, row: Any) -> bool:
    return row["account_id"] == principal.account_id and (
        principal.admin or row["user_id"] == principal.user_id
    )


async def _is_of(tx: Connection, event: SessionEvent) -> bool:
    """An event that names another account than the session's is not believed."""
    return await session_store.account_of(tx, event.session_id) == event.account_id


def request_digest(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()


class SessionService:
    def __init__(self, database: Database, signer: Signer, *, ticket_lifetime: timedelta) -> None:
        self._database = database
        self._signer = signer
        self._ticket_lifetime = ticket_lifetime

    async def launch(self, principal: Principal, request: LaunchRequest, key: str) -> Launched:
        """Write the wish down under its key; the gateway's event then sets it in motion."""
        async with self._database.transaction() as tx:
            app = await find_app(
                tx, principal.account_id, name=request.app, version=request.version
            )
            session_id = uuid4()
            known = await request_store.remember(
                tx,
                user_id=principal.user_id,
                key=key,
                request_sha256=request_digest("launch", request.app, request.version),
                subject=session_id,
            )
            if known is not None:
                if known["request_sha256"] != request_digest(
                    "launch", request.app, request.version
                ):
                    raise problem(Code.KEY_REUSED)
                session_id = known["subject"]
            else:
                await self._check_can_start(tx, principal, app)
                await session_store.add(
                    tx,
                    session_id,
                    account_id=principal.account_id,
                    user_id=principal.user_id,
                    kind=SessionKind.WEBUI,
                    app_id=app["id"],
                    state=SessionState.REQUESTED,
                )
            row = await session_store.find(tx, session_id)
            assert row is not None
            failpoint("accounts.before-launch-commit")
        return Launched(session=session_view(row), app=row["app"], version=row["version"])

    @staticmethod
    async def _check_can_start(tx: Connection, principal: Principal, app: Any) -> None:
        release = app["facts"]["runtime"]
        if await newest_runtime(tx, principal.account_id, release) is None:
            raise problem(
                Code.RUNTIME_NOT_FOUND,
                f"{app['name']} {app['version']} needs runtime {release}. Publish it first.",
            )
        limit, queues = await session_store.lock_account(tx, principal.account_id)
        if not queues and await session_store.count_active(tx, principal.account_id) >= limit:
            raise problem(
                Code.SESSION_LIMIT, f"{limit} sessions run already. Stop one, or wait for its end."
            )

    async def on_launch(self, event: LaunchRequested) -> None:
        async with self._database.transaction() as tx:
            if not await _is_of(tx, event):
                return
            if not await messages.first_time(tx, consumer=CONSUMER, event_id=event.event_id):
                return
            limit, queues = await session_store.lock_account(tx, event.account_id)
            if not await session_store.queue(tx, event.session_id):
                return
            await admission.admit(tx, event.account_id, limit=limit)
            if not queues:
                await session_store.end(
                    tx,
                    event.session_id,
                    expected=[SessionState.QUEUED],
                    to=SessionState.REFUSED,
                    reason=None,
                    message=f"The account runs {limit} sessions already, which is its limit.",
                )
            failpoint("accounts.before-admission-commit")
        failpoint("accounts.after-admission-commit")

    async def on_stop(self, event: StopRequested) -> None:
        async with self._database.transaction() as tx:
            if await _is_of(tx, event):
                limit, _ = await session_store.lock_account(tx, event.account_id)
                await self._stop(tx, event, limit=limit)

    @staticmethod
    async def _stop(tx: Connection, event: StopRequested, *, limit: int) -> None:
        never_ran = await session_store.end(
            tx,
            event.session_id,
            expected=[SessionState.REQUESTED, SessionState.QUEUED],
            to=SessionState.ENDED,
            reason=EndReason.STOPPED,
            message="Stopped before it started",
        )
        if never_ran is not None:
            if never_ran["kind"] == SessionKind.TASK:
                # Its tasks still want to be run, by whatever session.
                await admission.ensure_task_sessions(
                    tx,
                    never_ran["account_id"],
                    app_id=never_ran["app_id"],
                    user_id=never_ran["user_id"],
                    session_id=uuid4(),
                    limit=limit,
                )
                await admission.admit(tx, event.account_id, limit=limit)
            await session_store.touch_queued(tx, never_ran["account_id"])
        elif await session_store.mark_stopping(tx, event.session_id):
            await admission.unwant(tx, event.session_id, account_id=event.account_id)

    async def on_starting(self, event: SessionStarting) -> None:
        async with self._database.transaction() as tx:
            if await _is_of(tx, event):
                await session_store.say(tx, event.session_id, "Starting the session's process")

    async def on_running(self, event: SessionRunning) -> None:
        async with self._database.transaction() as tx:
            if await _is_of(tx, event):
                await session_store.mark_running(
                    tx, event.session_id, address=event.address, unit=event.unit
                )

    async def on_over(self, event: SessionEnded | SessionFailed) -> None:
        """Give the place back, exactly once, and let the next one in."""
        async with self._database.transaction() as tx:
            if not await _is_of(tx, event):
                return
            limit, _ = await session_store.lock_account(tx, event.account_id)
            row = await session_store.find(tx, event.session_id)
            assert row is not None
            stopping = row["state"] == SessionState.STOPPING
            failed = isinstance(event, SessionFailed) and not stopping
            over = await session_store.end(
                tx,
                event.session_id,
                expected=_OPEN,
                to=SessionState.FAILED if failed else SessionState.ENDED,
                reason=EndReason.STOPPED if stopping else event.reason,
                message="Stopped" if stopping else storable_message(event.message),
                peak_memory_mib=event.peak_memory_mib,
            )
            if over is None:
                return
            if not stopping:
                await admission.unwant(tx, event.session_id, account_id=event.account_id)
            if over["kind"] == SessionKind.TASK:
                await on_session_over(tx, event.session_id, session=over, event=event, limit=limit)
            await admission.admit(tx, event.account_id, limit=limit)
            failpoint("accounts.before-session-over-commit")

    async def view(self, principal: Principal, session_id: UUID) -> SessionView:
        async with self._database.connection() as connection:
            row = await session_store.find(connection, session_id)
            if row is None or not _may_see(principal, row):
                raise problem(Code.NOT_FOUND)
            steps = await session_store.steps(connection, session_id)
        return session_view(row, steps)

    async def list_sessions(
        self, principal: Principal, *, open_only: bool, limit: int, offset: int
    ) -> list[SessionView]:
        async with self._database.connection() as connection:
            rows = await session_store.list_sessions(
                connection,
                principal.account_id,
                user_id=None if principal.admin else principal.user_id,
                open_only=open_only,
                limit=limit,
                offset=offset,
            )
        return [session_view(row) for row in rows]

    async def issue_ticket(self, principal: Principal, session_id: UUID) -> IssuedTicket:
        """Only whoever launched a session is let into it: an admin may stop it, not look inside."""
        async with self._database.transaction() as tx:
            row = await session_store.find(tx, session_id)
            if row is None or not _may_see(principal, row):
                raise problem(Code.NOT_FOUND)
            if row["user_id"] != principal.user_id:
                raise problem(Code.FORBIDDEN, "Only the user who launched a session can open it.")
            if row["kind"] == SessionKind.TASK:
                raise problem(Code.FORBIDDEN, "A task session has no page to open.")
            state = SessionState(row["state"])
            if state.over:
                raise problem(Code.SESSION_OVER)
            if state is not SessionState.RUNNING:
                raise problem(Code.SESSION_NOT_READY, f"The session is {state}.")
            secret = secrets.token_urlsafe(32)
            expires_at = await request_store.add_ticket(
                tx,
                digest(secret),
                session_id=session_id,
                user_id=principal.user_id,
                credential_id=principal.credential_id,
                lifetime=self._ticket_lifetime,
            )
        return IssuedTicket(secret=secret, expires_at=expires_at)

    async def redeem_ticket(self, session_id: UUID, secret: str) -> str:
        """Exactly one of any number of callers gets the access token."""
        async with self._database.transaction() as tx:
            row = await request_store.redeem_ticket(tx, digest(secret), session_id=session_id)
        if row is None:
            raise problem(Code.TICKET_INVALID, "Open the session from the portal again.")
        return self._signer.session_access(
            session_id,
            user_id=row["user_id"],
            credential_id=row["credential_id"],
            lifetime=SESSION_ACCESS_LIFETIME,
        )

    async def route(self, session_id: UUID) -> Route:
        async with self._database.connection() as connection:
            row = await session_store.find(connection, session_id)
        if row is None:
            raise problem(Code.NOT_FOUND)
        return Route(
            session_id=row["id"],
            account_id=row["account_id"],
            state=row["state"],
            address=row["address"],
            unit=row["unit"],
        )

    async def claim(self, session_id: UUID, claim_id: UUID) -> Grant:
        """Grant a session's packages to the first runner that asks, and to no other ever."""
        async with self._database.transaction() as tx:
            if not await session_store.claim(tx, session_id, claim_id):
                raise problem(
                    Code.GRANT_USED, "Another runner has it, or the session is not starting."
                )
            row = await session_store.find_grant(tx, session_id)
            await session_store.say(tx, session_id, "Fetching app and runtime")
        assert row is not None
        return Grant(
            session_id=session_id,
            account_id=row["account_id"],
            kind=row["kind"],
            app=PackageGrant(
                id=row["app_id"],
                name=row["app_name"],
                version=row["app_version"],
                blob=row["app_blob"],
                sha256=row["app_sha256"],
                size_bytes=row["app_size"],
            ),
            runtime=PackageGrant(
                id=row["runtime_id"],
                name=row["runtime_name"],
                version=row["runtime_name"],
                blob=row["runtime_blob"],
                sha256=row["runtime_sha256"],
                size_bytes=row["runtime_size"],
            ),
        )

    async def say(self, session_id: UUID, message: str) -> None:
        async with self._database.transaction() as tx:
            await session_store.say(tx, session_id, storable_message(message))

    async def sweep(self, *, requested_lifetime: timedelta, forget_after: timedelta) -> None:
        """Finish what a lost message left half-way, and forget what is too old to matter."""
        async with self._database.connection() as connection:
            forgotten = await session_store.forgotten_requests(connection, requested_lifetime)
            slow = await session_store.slow_stops(connection, timedelta(seconds=15))
        for row in forgotten:
            async with self._database.transaction() as tx:
                await session_store.end(
                    tx,
                    row["id"],
                    expected=[SessionState.REQUESTED],
                    to=SessionState.FAILED,
                    reason=EndReason.LOST,
                    message="The launch was never confirmed. Launch again.",
                )
        for row in slow:
            async with self._database.transaction() as tx:
                await admission.unwant(tx, row["id"], account_id=row["account_id"])
        async with self._database.transaction() as tx:
            await request_store.forget(tx, older_than=forget_after)
