"""Who I am here, my API keys, and for admins the times that the account allows.

A key is shown on one page, once, and kept nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Form, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from slipway_common.contracts.problems import Code, Problem, ProblemError, problem
from slipway_common.contracts.views import AccountChange, ApiKeyRequest, ApiKeyView, Scope
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
        "admin": "Manage users and limits",
    }
)
DEFAULT_DAYS = 90


@dataclass(frozen=True, slots=True)
class Time:
    label: str
    words: str


TIMES: Mapping[str, Time] = MappingProxyType(
    {
        "webui_idle_seconds": Time("Idle web page", "ends after so many seconds without use"),
        "solve_idle_seconds": Time("Idle solve session", "ends after so many without a call"),
        "task_idle_seconds": Time("Idle task session", "ends after so many without a task"),
        "max_session_seconds": Time("Any session", "ends after so many seconds in any case"),
    }
)

Seconds = Annotated[str, Form(max_length=20)]


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
        times: Mapping[str, str] | None = None,
        times_refused: Problem | None = None,
        saved: bool = False,
    ) -> Response:
        keys = await accounts.api_keys(caller.token)
        admin = caller.principal.admin and caller.principal.may("admin")
        limits = await accounts.account(caller.token) if admin else None
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
            limits=limits,
            times=TIMES,
            entered=times or {},
            times_refused=times_refused,
            saved=saved,
        )

    @router.get("/account", response_class=Response)
    async def account(
        request: Request,
        caller: CallerDependency,
        saved: Annotated[bool, Query()] = False,  # noqa: FBT002  # a query
    ) -> Response:
        return await show(request, caller, saved=saved)

    @router.post("/account/limits", response_class=Response)
    async def change_limits(
        request: Request,
        caller: CallerDependency,
        webui_idle_seconds: Seconds = "",
        solve_idle_seconds: Seconds = "",
        task_idle_seconds: Seconds = "",
        max_session_seconds: Seconds = "",
    ) -> Response:
        caller.require_admin()
        entered = {
            "webui_idle_seconds": webui_idle_seconds,
            "solve_idle_seconds": solve_idle_seconds,
            "task_idle_seconds": task_idle_seconds,
            "max_session_seconds": max_session_seconds,
        }
        try:
            await accounts.change_account(caller.token, _change(entered))
        except ProblemError as error:
            if error.problem.status != Code.INVALID_REQUEST.status:
                raise
            return await show(
                request,
                caller,
                status=error.problem.status,
                times=entered,
                times_refused=_in_words(error.problem),
            )
        return redirect("/account?saved=1")

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


def _change(entered: Mapping[str, str]) -> AccountChange:
    """What was left empty stays as it is."""
    try:
        return AccountChange.model_validate(
            {name: text.strip() for name, text in entered.items() if text.strip()}
        )
    except ValidationError as error:
        names = dict.fromkeys(TIMES[str(fault["loc"][0])].label for fault in error.errors())
        raise problem(
            Code.INVALID_REQUEST, f"Not a whole number of seconds: {', '.join(names)}."
        ) from error


def _in_words(refused: Problem) -> Problem:
    """With what stands on the page in place of the field's name."""
    field = str((refused.model_extra or {}).get("field"))
    if field not in TIMES:
        return refused
    detail = (refused.detail or "").replace(f"{field} may be", f"{TIMES[field].label}: allowed are")
    return refused.model_copy(update={"detail": detail})


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
