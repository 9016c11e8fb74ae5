"""Who I am here, and my API keys. A key is shown on one page, once, and kept nowhere."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from slipway_common.contracts.problems import Code, Problem, ProblemError, problem
from slipway_common.contracts.views import ApiKeyRequest, ApiKeyView, Scope
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.identity import Caller
from slipway_gateway.pages import Pages, redirect
from slipway_gateway.portal.failures import PageRoute
from slipway_gateway.routes.dependencies import CallerDependency

SCOPES: Mapping[Scope, str] = MappingProxyType(
    {
        "read": "See apps, sessions, tasks and results",
        "launch": "Launch and stop sessions",
        "tasks": "Start and interrupt tasks",
        "publish": "Publish apps and runtimes",
        "admin": "Manage users",
    }
)
DEFAULT_DAYS = 90


def build(accounts: AccountsClient, pages: Pages) -> APIRouter:
    router = APIRouter(route_class=PageRoute)

    async def show(
        request: Request,
        caller: Caller,
        *,
        status: int = 200,
        created: ApiKeyView | None = None,
        refused: Problem | None = None,
        name: str = "",
        chosen: tuple[str, ...] = ("read", "tasks"),
        days: str = str(DEFAULT_DAYS),
    ) -> Response:
        keys = await accounts.api_keys(caller.token)
        offered = {scope: words for scope, words in SCOPES.items() if caller.principal.may(scope)}
        if not caller.principal.admin:
            offered.pop("admin", None)
            if not caller.principal.publisher:
                offered.pop("publish", None)
        return pages.render(
            request,
            "account.html",
            status=status,
            caller=caller,
            section="account",
            keys=keys,
            offered=offered,
            created=created,
            refused=refused,
            name=name,
            chosen=chosen,
            days=days,
        )

    @router.get("/account", response_class=Response)
    async def account(request: Request, caller: CallerDependency) -> Response:
        return await show(request, caller)

    @router.get("/account/api-keys", response_class=Response)
    async def keys() -> Response:
        return redirect("/account")

    @router.post("/account/api-keys", response_class=Response)
    async def create(
        request: Request,
        caller: CallerDependency,
        name: Annotated[str, Form()] = "",
        scopes: Annotated[tuple[str, ...], Form()] = (),
        days: Annotated[str, Form(alias="expires_in_days")] = "",
    ) -> Response:
        try:
            created = await accounts.create_key(caller.token, _wanted(name, scopes, days))
        except ProblemError as error:
            if error.problem.type != Code.INVALID_REQUEST.type:
                raise
            return await show(
                request,
                caller,
                status=error.problem.status,
                refused=error.problem,
                name=name,
                chosen=scopes,
                days=days,
            )
        return await show(request, caller, status=201, created=created)

    @router.post("/account/api-keys/{key_id}/revoke", response_class=Response)
    async def revoke(caller: CallerDependency, key_id: UUID) -> Response:
        try:
            await accounts.revoke(caller.token, key_id)
        except ProblemError as error:
            # Revoked already, from another window perhaps: just what was asked for.
            if error.problem.type != Code.NOT_FOUND.type:
                raise
        return redirect("/account")

    return router


_FAULTS = {
    "name": "Give the key a name of up to 64 letters, digits, spaces or . @ - _",
    "scopes": "Choose at least one thing that the key may do.",
    "expires_in_days": "A key counts for 1 to 366 days.",
}


def _wanted(name: str, scopes: tuple[str, ...], days: str) -> ApiKeyRequest:
    try:
        return ApiKeyRequest.model_validate(
            {"name": name.strip(), "scopes": scopes, "expires_in_days": days}
        )
    except ValidationError as error:
        fields = dict.fromkeys(str(fault["loc"][0]) for fault in error.errors())
        raise problem(Code.INVALID_REQUEST, " ".join(_FAULTS[field] for field in fields)) from error
