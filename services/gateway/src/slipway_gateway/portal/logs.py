"""The log of a session, as far as a page can show it."""

from uuid import UUID

from starlette.requests import Request

from slipway_gateway.portal import own_api

MAX_SHOWN_BYTES = 256 * 1024


async def read(request: Request, session_id: UUID) -> tuple[str, bool]:
    """The end of the log, and whether that is all of it."""
    content = await own_api.get(request, f"/api/v1/sessions/{session_id}/log")
    shown = content[-MAX_SHOWN_BYTES:]
    return shown.decode("utf-8", "replace"), len(shown) == len(content)
