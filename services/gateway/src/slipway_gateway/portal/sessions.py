"""Sessions: the live page of one, the list of all, and what can be done with them."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from slipway_common.contracts.base import utc_now
from slipway_common.contracts.problems import Code, ProblemError
from slipway_common.contracts.sessions import SessionKind
from slipway_common.contracts.views import SessionState, SessionView
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.identity import Caller
from slipway_gateway.pages import Pages, redirect
from slipway_gateway.portal import logs, use
from slipway_gateway.portal.apps import new_key
from slipway_gateway.portal.failures import PageRoute
from slipway_gateway.portal.progress import timeline, track, wait_of
from slipway_gateway.portal.summaries import KINDS, STAGES, STATES, summarise
from slipway_gateway.routes.dependencies import CallerDependency, CursorQuery, page
from slipway_gateway.sessions import SessionService

PER_PAGE = 25

_SETTLED = {Code.SESSION_OVER.type, Code.SESSION_NOT_READY.type}
"""Asked for too late or too early: the session's own page says how it stands."""


_WITH_PAGES = {SessionKind.WEBUI, SessionKind.EXTERNAL}


def can_open(session: SessionView, caller: Caller) -> bool:
    """Only whoever launched a session is let into it, and only some kinds have pages."""
    return (
        session.state is SessionState.RUNNING
        and session.kind in _WITH_PAGES
        and session.user == caller.principal.user
    )


def can_stop(session: SessionView) -> bool:
    return not session.state.over and session.state is not SessionState.STOPPING


def build(accounts: AccountsClient, session_service: SessionService, pages: Pages) -> APIRouter:
    router = APIRouter(route_class=PageRoute)
    # A form that opens a session is redirected to its host, which browsers count as a target.
    forms = f"'self' {session_service.origins}"

    @router.get("/sessions", response_class=Response)
    async def sessions(
        request: Request,
        caller: CallerDependency,
        everything: Annotated[bool, Query(alias="all")] = False,  # noqa: FBT002  # a query
        cursor: CursorQuery = None,
    ) -> Response:
        caller.require("read")
        found = await page(
            accounts.sessions,
            caller.token,
            open_only=not everything,
            limit=PER_PAGE,
            cursor=cursor,
        )
        return pages.render(
            request,
            "sessions.html",
            forms=forms,
            caller=caller,
            section="sessions",
            sessions=found.items,
            following=found.next,
            first=cursor is None,
            everything=everything,
            states=STATES,
            stages=STAGES,
            kinds=KINDS,
            can_open=can_open,
            can_stop=can_stop,
            live=any(not session.state.over for session in found.items),
        )

    @router.get("/sessions/{session_id}", response_class=Response)
    async def session(request: Request, caller: CallerDependency, session_id: UUID) -> Response:
        caller.require("read")
        found = await accounts.session(caller.token, session_id)
        running = found.state is SessionState.RUNNING
        using = await use.read(request, session_id) if running else None
        now = utc_now()
        return pages.render(
            request,
            "session.html",
            forms=forms,
            caller=caller,
            section="sessions",
            session=found,
            summary=summarise(found),
            stages=timeline(found, now=now),
            track=track(found),
            wait=wait_of(found, now=now),
            figures=use.figures(using, since=found.running_at, now=now),
            using=using,
            use_path=use.path_of(session_id),
            states=STATES,
            kinds=KINDS,
            now=now,
            may_open=can_open(found, caller),
            may_stop=can_stop(found),
            key=new_key(),
        )

    @router.get("/sessions/{session_id}/log", response_class=Response)
    async def log(request: Request, caller: CallerDependency, session_id: UUID) -> Response:
        caller.require("read")
        found = await accounts.session(caller.token, session_id)
        text, complete = await logs.read(request, session_id)
        return pages.render(
            request,
            "log.html",
            caller=caller,
            section="sessions",
            session=found,
            states=STATES,
            text=text,
            complete=complete,
        )

    @router.post("/sessions/{session_id}/open", response_class=Response)
    async def open_session(caller: CallerDependency, session_id: UUID) -> Response:
        try:
            ticket = await session_service.ticket(caller, session_id)
        except ProblemError as error:
            return _settled(error, session_id)
        return redirect(ticket.url)

    @router.post("/sessions/{session_id}/stop", response_class=Response)
    async def stop(caller: CallerDependency, session_id: UUID) -> Response:
        try:
            await session_service.stop(caller, session_id)
        except ProblemError as error:
            return _settled(error, session_id)
        return redirect(f"/sessions/{session_id}")

    return router


def _settled(error: ProblemError, session_id: UUID) -> Response:
    if error.problem.type not in _SETTLED:
        raise error
    return redirect(f"/sessions/{session_id}")
