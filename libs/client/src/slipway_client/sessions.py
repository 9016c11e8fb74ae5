"""Sessions: apps that run for somebody."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from uuid import UUID, uuid4

from slipway_client.errors import SlipwayProblem
from slipway_client.feeds import pages, watch
from slipway_client.operations import DriverT_co, Group, feed, operation
from slipway_client.transport import parsed
from slipway_common.contracts.internal import SessionUse
from slipway_common.contracts.problems import Code
from slipway_common.contracts.sessions import SessionKind
from slipway_common.contracts.views import LaunchRequest, SessionView, TicketView

_LOG_SECONDS = 1.0


class Sessions(Group[DriverT_co]):
    @operation
    async def launch(
        self,
        app: str,
        *,
        version: str = "latest",
        kind: SessionKind = SessionKind.WEBUI,
        idempotency_key: str | None = None,
    ) -> SessionView:
        """Ask for a session; the same key gives the same session however often it is sent."""
        wanted = (
            LaunchRequest(app=app, version=version)
            if kind is SessionKind.WEBUI
            else LaunchRequest(kind=kind, app=app, version=version)
        )
        return await self._launch(wanted, idempotency_key)

    @operation
    async def launch_service(
        self, service: str, *, idempotency_key: str | None = None
    ) -> SessionView:
        """Ask for a session of a service that the operator offers."""
        wanted = LaunchRequest(kind=SessionKind.EXTERNAL, service=service)
        return await self._launch(wanted, idempotency_key)

    @operation
    async def get(self, session_id: UUID | str) -> SessionView:
        return await self._get(session_id)

    @feed
    async def list(self, *, open_only: bool = False) -> AsyncGenerator[SessionView, None]:
        params = {"open": "true"} if open_only else {}
        async for session in pages(self._transport, "/sessions", SessionView, params=params):
            yield session

    @operation
    async def stop(self, session_id: UUID | str) -> SessionView:
        response = await self._transport.request("POST", f"/sessions/{session_id}/stop")
        return parsed(SessionView, response.content)

    @operation
    async def ticket(self, session_id: UUID | str) -> TicketView:
        response = await self._transport.request("POST", f"/sessions/{session_id}/ticket")
        return parsed(TicketView, response.content)

    @feed
    async def watch(
        self, session_id: UUID | str, *, after: int | None = None
    ) -> AsyncGenerator[SessionView, None]:
        """Give each change until the session is over; ``after`` is a revision seen already."""
        async for session in watch(
            self._transport,
            f"/sessions/{session_id}/events",
            SessionView,
            event="session",
            after=after,
            over=lambda view: view.state.over,
        ):
            yield session

    @operation
    async def log(self, session_id: UUID | str) -> str:
        return await self._log(session_id)

    @feed
    async def follow(self, session_id: UUID | str) -> AsyncGenerator[str, None]:
        """Give the log as it grows, until the session is over."""
        shown = ""
        over = False
        while not over:
            # Asked before the log, so that the last lines are not missed.
            over = (await self._get(session_id)).state.over
            text = await self._log(session_id)
            fresh = text.removeprefix(shown)
            if fresh:
                yield fresh
            shown = text
            if not over:
                await asyncio.sleep(_LOG_SECONDS)

    @operation
    async def use(self, session_id: UUID | str) -> SessionUse:
        """What the session uses at this moment."""
        return await self._use(session_id)

    @feed
    async def follow_use(
        self, session_id: UUID | str, *, every: timedelta = timedelta(seconds=2)
    ) -> AsyncGenerator[SessionUse, None]:
        """Give what it uses, again and again, until it is over."""
        while not (await self._get(session_id)).state.over:
            try:
                yield await self._use(session_id)
            except SlipwayProblem as problem:
                if problem.slug != Code.SESSION_OVER.slug:
                    raise
                return
            await asyncio.sleep(every.total_seconds())

    async def _launch(self, wanted: LaunchRequest, key: str | None) -> SessionView:
        response = await self._transport.request(
            "POST",
            "/sessions",
            # Only what is meant: a platform of the release before knows no other kind.
            json=wanted.model_dump(mode="json", exclude_unset=True),
            headers={"Idempotency-Key": key or str(uuid4())},
        )
        return parsed(SessionView, response.content)

    async def _use(self, session_id: UUID | str) -> SessionUse:
        response = await self._transport.request("GET", f"/sessions/{session_id}/use")
        return parsed(SessionUse, response.content)

    async def _get(self, session_id: UUID | str) -> SessionView:
        response = await self._transport.request("GET", f"/sessions/{session_id}")
        return parsed(SessionView, response.content)

    async def _log(self, session_id: UUID | str) -> str:
        response = await self._transport.request("GET", f"/sessions/{session_id}/log")
        return response.text
