"""Sessions: launched, admitted, followed, stopped; and what their runners are granted."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from slipway_accounts import admission, targets
from slipway_accounts.identity import digest
from slipway_accounts.offers import Offers
from slipway_accounts.session_views import grant_view, session_view
from slipway_accounts.storage import account_store, request_store, session_store
from slipway_accounts.storage.account_store import AccountLimits
from slipway_accounts.targets import Target
from slipway_accounts.tasks import on_session_over
from slipway_accounts.tokens import Signer
from slipway_common.contracts.internal import (
    Grant,
    IssuedTicket,
    Launched,
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
    SessionProgress,
    SessionRunning,
    SessionStarting,
    StopRequested,
)
from slipway_common.contracts.views import (
    LaunchRequest,
    Principal,
    SessionState,
    SessionView,
)
from slipway_common.failpoints import failpoint
from slipway_common.postgres import messages
from slipway_common.postgres.database import Connection, Database
from slipway_common.text import storable, storable_message

CONSUMER = "accounts.sessions"

_OPEN = (SessionState.STARTING, SessionState.RUNNING, SessionState.STOPPING)

UNHEARD_AFTER = timedelta(seconds=20)
UNHEARD = "No scheduler has answered yet. The session starts as soon as one does."

SESSION_ACCESS_LIFETIME = timedelta(hours=12)


def _may_see(principal: Principal, row: Any) -> bool:
    return row["account_id"] == principal.account_id and (
        principal.admin or row["user_id"] == principal.user_id
    )


async def _is_of(tx: Connection, event: SessionEvent) -> bool:
    """An event that names another account than the session's is not believed."""
    return await session_store.account_of(tx, event.session_id) == event.account_id


def request_digest(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(parts).encode()).digest()


def _meant_by(request: LaunchRequest) -> bytes:
    """What a key stands for; a launch of the first kind is written as it was before the others."""
    what = [str(request.service or request.app), request.version]
    kind = [] if request.kind is SessionKind.WEBUI else [request.kind.value]
    return request_digest("launch", *kind, *what)


class SessionService:
    def __init__(
        self, database: Database, signer: Signer, *, offers: Offers, ticket_lifetime: timedelta
    ) -> None:
        self._database = database
        self._signer = signer
        self._offers = offers
        self._ticket_lifetime = ticket_lifetime

    async def launch(self, principal: Principal, request: LaunchRequest, key: str) -> Launched:
        """Write the wish down under its key; the gateway's event then sets it in motion."""
        meant = _meant_by(request)
        async with self._database.transaction() as tx:
            target = await targets.choose(tx, principal.account_id, request, offers=self._offers)
            session_id = uuid4()
            known = await request_store.remember(
                tx,
                user_id=principal.user_id,
                key=key,
                request_sha256=meant,
                subject=session_id,
            )
            if known is not None:
                if known["request_sha256"] != meant:
                    raise problem(Code.KEY_REUSED)
                session_id = known["subject"]
            else:
                await self._check_can_start(tx, principal, target)
                external = target.kind is SessionKind.EXTERNAL
                await session_store.add(
                    tx,
                    session_id,
                    account_id=principal.account_id,
                    user_id=principal.user_id,
                    kind=target.kind,
                    state=SessionState.REQUESTED,
                    app_id=target.app_id,
                    service=target.name if external else None,
                    service_version=target.version if external else None,
                    profile=target.profile,
                )
            row = await session_store.find(tx, session_id)
            assert row is not None
            failpoint("accounts.before-launch-commit")
        return Launched(session=session_view(row), app=row["app"], version=row["version"])

    async def _check_can_start(self, tx: Connection, principal: Principal, target: Target) -> None:
        await targets.require(tx, principal.account_id, target, offers=self._offers)
        limits = await account_store.lock(tx, principal.account_id)
        active = await session_store.count_active(tx, principal.account_id)
        if not limits.queues and active >= limits.session_limit:
            raise problem(
                Code.SESSION_LIMIT,
                f"{limits.session_limit} sessions run already. Stop one, or wait for its end.",
            )

    async def on_launch(self, event: LaunchRequested) -> None:
        async with self._database.transaction() as tx:
            if not await _is_of(tx, event):
                return
            limits = await account_store.lock(tx, event.account_id)
            if not await session_store.queue(tx, event.session_id):
                return
            await admission.admit(tx, event.account_id, limits=limits, offers=self._offers)
            if not limits.queues:
                await session_store.end(
                    tx,
                    event.session_id,
                    expected=[SessionState.QUEUED],
                    to=SessionState.REFUSED,
                    reason=None,
                    message=f"The account runs {limits.session_limit} sessions already, "
                    "which is its limit.",
                )
            failpoint("accounts.before-admission-commit")
        failpoint("accounts.after-admission-commit")

    async def on_stop(self, event: StopRequested) -> None:
        async with self._database.transaction() as tx:
            if await _is_of(tx, event):
                limits = await account_store.lock(tx, event.account_id)
                await self._stop(tx, event, limits=limits)

    async def _stop(self, tx: Connection, event: StopRequested, *, limits: AccountLimits) -> None:
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
                    limit=limits.session_limit,
                )
                await admission.admit(tx, event.account_id, limits=limits, offers=self._offers)
            await session_store.touch_queued(tx, never_ran["account_id"])
        elif await session_store.mark_stopping(tx, event.session_id):
            await admission.unwant(tx, event.session_id, account_id=event.account_id)

    async def on_starting(self, event: SessionStarting) -> None:
        async with self._database.transaction() as tx:
            if await _is_of(tx, event):
                await session_store.mark_made(tx, event.session_id, "Starting the session")

    async def on_progress(self, event: SessionProgress) -> None:
        """Heard once each: a repetition of earlier steps must not undo later ones."""
        async with self._database.transaction() as tx:
            if not await _is_of(tx, event):
                return
            if await messages.first_time(tx, consumer=CONSUMER, event_id=event.event_id):
                await session_store.note_progress(
                    tx,
                    event.session_id,
                    stage=event.stage,
                    message=storable_message(event.message),
                    node=None if event.node is None else storable(event.node),
                    expected_at=event.expected_at,
                )

    async def on_running(self, event: SessionRunning) -> None:
        async with self._database.transaction() as tx:
            if await _is_of(tx, event):
                await session_store.mark_running(
                    tx,
                    event.session_id,
                    address=event.address,
                    unit=event.unit,
                    node=None if event.node is None else storable(event.node),
                )

    async def on_over(self, event: SessionEnded | SessionFailed) -> None:
        """Give the place back, exactly once, and let the next one in."""
        async with self._database.transaction() as tx:
            if not await _is_of(tx, event):
                return
            limits = await account_store.lock(tx, event.account_id)
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
                cpu_seconds=event.cpu_seconds,
            )
            if over is None:
                return
            if not stopping:
                await admission.unwant(tx, event.session_id, account_id=event.account_id)
            if over["kind"] == SessionKind.TASK:
                await on_session_over(
                    tx,
                    event.session_id,
                    session=over,
                    event=event,
                    limit=limits.session_limit,
                )
            await admission.admit(tx, event.account_id, limits=limits, offers=self._offers)
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
            external = row is not None and row["kind"] == SessionKind.EXTERNAL
            what = "Waiting for the service to answer" if external else "Fetching app and runtime"
            await session_store.say(tx, session_id, what)
        assert row is not None
        return grant_view(session_id, row)

    async def say(self, session_id: UUID, message: str) -> None:
        async with self._database.transaction() as tx:
            await session_store.say(tx, session_id, storable_message(message))

    async def sweep(self, *, requested_lifetime: timedelta, forget_after: timedelta) -> None:
        """Finish what a lost message left half-way, and forget what is too old to matter."""
        async with self._database.connection() as connection:
            await session_store.say_unheard(connection, UNHEARD, older_than=UNHEARD_AFTER)
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
