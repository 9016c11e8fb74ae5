"""Launch and stop: accounts checks and remembers, Kafka carries it to whoever makes it happen."""

from uuid import UUID

from slipway_common.contracts.base import AccountId, SessionId, UserId
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.sessions import LaunchRequested, StopRequested
from slipway_common.contracts.views import LaunchRequest, SessionState, SessionView, TicketView
from slipway_common.failpoints import failpoint
from slipway_common.kafka.publisher import Publisher
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.idempotency import require_usable_key
from slipway_gateway.identity import Caller

ENTER_PATH = "/_slipway/enter"


class SessionService:
    def __init__(
        self,
        accounts: AccountsClient,
        publisher: Publisher,
        *,
        sessions_host: str,
        secure: bool,
    ) -> None:
        self._accounts = accounts
        self._publisher = publisher
        self._sessions_host = sessions_host
        self._scheme = "https" if secure else "http"

    @property
    def origins(self) -> str:
        """Origin pattern of all session hosts, as a content security policy writes it."""
        return f"{self._scheme}://*.{self._sessions_host}"

    async def launch(self, caller: Caller, request: LaunchRequest, *, key: str) -> SessionView:
        caller.require("launch")
        require_usable_key(key)
        launched = await self._accounts.launch(caller.token, request, key=key)
        failpoint("gateway.launch-remembered")
        if launched.session.state is SessionState.REQUESTED:
            await self._publisher.publish(
                LaunchRequested(
                    account_id=AccountId(caller.principal.account_id),
                    session_id=SessionId(launched.session.id),
                    user_id=UserId(caller.principal.user_id),
                    app_name=launched.app,
                    app_version=launched.version,
                )
            )
        failpoint("gateway.launch-published")
        return launched.session

    async def stop(self, caller: Caller, session_id: UUID) -> SessionView:
        caller.require("launch")
        session = await self._accounts.session(caller.token, session_id)
        if session.state.over:
            raise problem(Code.SESSION_OVER, f"It is {session.state}: {session.message}")
        await self._publisher.publish(
            StopRequested(
                account_id=AccountId(caller.principal.account_id),
                session_id=SessionId(session_id),
                requested_by=UserId(caller.principal.user_id),
            )
        )
        return session

    async def ticket(self, caller: Caller, session_id: UUID) -> TicketView:
        caller.require("launch")
        ticket = await self._accounts.issue_ticket(caller.token, session_id)
        return TicketView(
            url=f"{self._scheme}://{session_id}.{self._sessions_host}"
            f"{ENTER_PATH}?ticket={ticket.secret}",
            expires_at=ticket.expires_at,
        )
