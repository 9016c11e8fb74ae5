"""Log on and off. The password goes to accounts and comes back on no page."""

from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import APIRouter, Form, Query
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import Response

from slipway_common.contracts.problems import Code, Problem, ProblemError, problem
from slipway_common.contracts.views import LogOn
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.cookies import LogOnCookie
from slipway_gateway.identity import Identities
from slipway_gateway.pages import Pages, redirect
from slipway_gateway.portal.failures import PageRoute, local_path

ACCOUNT_COOKIE = "slipway_account"
ACCOUNT_SECONDS = 365 * 24 * 3600

_ANSWERED_ON_THE_PAGE = {401, 422, 429}


def build(
    accounts: AccountsClient, identities: Identities, cookie: LogOnCookie, pages: Pages
) -> APIRouter:
    router = APIRouter(route_class=PageRoute)

    def show(
        request: Request,
        *,
        goal: str,
        account: str,
        user: str = "",
        refused: Problem | None = None,
    ) -> Response:
        return pages.render(
            request,
            "login.html",
            status=200 if refused is None else refused.status,
            goal=goal,
            account=account,
            user=user,
            refused=refused,
        )

    @router.get("/login", response_class=Response)
    async def form(request: Request, goal: Annotated[str, Query(alias="next")] = "/") -> Response:
        goal = local_path(goal)
        if cookie.name in request.cookies:
            try:
                await identities.identify(request)
            except ProblemError:
                pass  # it counts no more: this is the page on which to get a new one
            else:
                return redirect(goal)
        account = unquote(request.cookies.get(ACCOUNT_COOKIE, ""))[:254]
        return show(request, goal=goal, account=account)

    @router.post("/login", response_class=Response)
    async def log_on(
        request: Request,
        account: Annotated[str, Form()] = "",
        user: Annotated[str, Form()] = "",
        password: Annotated[str, Form()] = "",
        goal: Annotated[str, Form(alias="next")] = "/",
    ) -> Response:
        identities.require_same_site(request)
        goal = local_path(goal)
        account, user = account.strip(), user.strip()
        try:
            done = await accounts.log_on(_log_on(account, user, password))
        except ProblemError as error:
            if error.problem.status not in _ANSWERED_ON_THE_PAGE:
                raise
            return show(request, goal=goal, account=account, user=user, refused=error.problem)
        response = redirect(goal)
        cookie.set(response, done.secret)
        response.set_cookie(
            ACCOUNT_COOKIE,
            quote(account, safe=""),
            max_age=ACCOUNT_SECONDS,
            path="/login",
            httponly=True,
            secure=cookie.secure,
            samesite="lax",
        )
        return response

    @router.post("/logout", response_class=Response)
    async def log_off(request: Request) -> Response:
        response = redirect("/login")
        cookie.clear(response)
        try:
            caller = await identities.identify(request)
        except ProblemError as error:
            if error.problem.type != Code.UNAUTHENTICATED.type:
                raise
            return response
        await accounts.revoke(caller.token, caller.principal.credential_id)
        return response

    return router


def _log_on(account: str, user: str, password: str) -> LogOn:
    try:
        return LogOn(account=account, user=user, password=password)
    except ValidationError as error:
        raise problem(Code.WRONG_PASSWORD) from error
