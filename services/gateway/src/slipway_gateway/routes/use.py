"""What a session uses at this moment."""

from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from slipway_common.contracts.internal import SessionUse
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.fronts import SessionFronts
from slipway_gateway.routes.dependencies import CallerDependency


def build(accounts: AccountsClient, fronts: SessionFronts) -> APIRouter:
    router = APIRouter(prefix="/sessions", tags=["sessions"])

    @router.get("/{session_id}/use")
    async def use(session_id: UUID, caller: CallerDependency, response: Response) -> SessionUse:
        caller.require("read")
        await accounts.session(caller.token, session_id)
        response.headers["Cache-Control"] = "no-store"
        return await fronts.use(session_id)

    return router
