"""Launch, watch, open and stop sessions."""

from typing import Annotated
from uuid import UUID, uuid4

from fastapi import APIRouter, Header, Query
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from slipway_common.blobs.names import session_log_blob
from slipway_common.blobs.store import BlobMissingError
from slipway_common.blobs.vault import Vault
from slipway_common.contracts.views import LaunchRequest, SessionView, TicketView
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.changes import Changes
from slipway_gateway.identity import Identities
from slipway_gateway.routes.dependencies import (
    DEFAULT_LIMIT,
    CallerDependency,
    CursorQuery,
    LimitQuery,
    Page,
    page,
)
from slipway_gateway.sessions import SessionService
from slipway_gateway.streams import event_stream

IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=128)]


def build(
    accounts: AccountsClient,
    identities: Identities,
    sessions: SessionService,
    vault: Vault,
    changes: Changes,
) -> APIRouter:
    router = APIRouter(prefix="/sessions", tags=["sessions"])

    @router.post("", status_code=202)
    async def launch(
        body: LaunchRequest,
        caller: CallerDependency,
        response: Response,
        idempotency_key: IdempotencyKey = None,
    ) -> SessionView:
        session = await sessions.launch(caller, body, key=idempotency_key or str(uuid4()))
        response.headers["Location"] = f"/api/v1/sessions/{session.id}"
        return session

    @router.get("")
    async def list_sessions(
        caller: CallerDependency,
        open_only: Annotated[bool, Query(alias="open")] = False,  # noqa: FBT002  # a query
        limit: LimitQuery = DEFAULT_LIMIT,
        cursor: CursorQuery = None,
    ) -> Page[SessionView]:
        caller.require("read")
        return await page(
            accounts.sessions, caller.token, open_only=open_only, limit=limit, cursor=cursor
        )

    @router.get("/{session_id}")
    async def view(session_id: UUID, caller: CallerDependency) -> SessionView:
        caller.require("read")
        return await accounts.session(caller.token, session_id)

    @router.get("/{session_id}/events", response_class=StreamingResponse)
    async def events(
        session_id: UUID, caller: CallerDependency, request: Request
    ) -> StreamingResponse:
        caller.require("read")

        async def look() -> SessionView:
            again = await identities.identify(request)
            return await accounts.session(again.token, session_id)

        return event_stream(
            request, changes, table="sessions", row=session_id, name="session", look=look
        )

    @router.get("/{session_id}/log", response_class=Response)
    async def log(session_id: UUID, caller: CallerDependency) -> Response:
        caller.require("read")
        await accounts.session(caller.token, session_id)
        try:
            content = await vault.get(caller.principal.account_id, session_log_blob(session_id))
        except BlobMissingError:
            content = b""
        return Response(content, media_type="text/plain; charset=utf-8")

    @router.post("/{session_id}/stop", status_code=202)
    async def stop(session_id: UUID, caller: CallerDependency) -> SessionView:
        return await sessions.stop(caller, session_id)

    @router.post("/{session_id}/ticket")
    async def ticket(session_id: UUID, caller: CallerDependency) -> TicketView:
        return await sessions.ticket(caller, session_id)

    return router
