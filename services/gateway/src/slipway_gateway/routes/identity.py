"""Log on and off, keys, users, and what the account allows."""

from uuid import UUID

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from slipway_common.contracts.views import (
    AccountChange,
    AccountView,
    ApiKeyRequest,
    ApiKeyView,
    LoggedOn,
    LogOn,
    Principal,
    UserRequest,
    UserView,
)
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.cookies import LogOnCookie
from slipway_gateway.identity import Identities
from slipway_gateway.routes.dependencies import CallerDependency, Page


def build(accounts: AccountsClient, identities: Identities, cookie: LogOnCookie) -> APIRouter:
    router = APIRouter(tags=["identity"])

    @router.post("/login")
    async def log_on(body: LogOn, request: Request, response: Response) -> LoggedOn:
        if "origin" in request.headers:
            identities.require_same_site(request)
        done = await accounts.log_on(body)
        cookie.set(response, done.secret)
        return LoggedOn(principal=done.principal)

    @router.post("/logout", status_code=204)
    async def log_off(caller: CallerDependency, response: Response) -> None:
        await accounts.revoke(caller.token, caller.principal.credential_id)
        cookie.clear(response)

    @router.get("/me")
    async def me(caller: CallerDependency) -> Principal:
        return caller.principal

    @router.get("/api-keys")
    async def list_keys(caller: CallerDependency) -> Page[ApiKeyView]:
        return Page(items=await accounts.api_keys(caller.token))

    @router.post("/api-keys", status_code=201)
    async def create_key(body: ApiKeyRequest, caller: CallerDependency) -> ApiKeyView:
        return await accounts.create_key(caller.token, body)

    @router.delete("/api-keys/{key_id}", status_code=204)
    async def revoke_key(key_id: UUID, caller: CallerDependency) -> None:
        await accounts.revoke(caller.token, key_id)

    @router.get("/users")
    async def list_users(caller: CallerDependency) -> Page[UserView]:
        caller.require_admin()
        return Page(items=await accounts.users(caller.token))

    @router.post("/users", status_code=201)
    async def create_user(body: UserRequest, caller: CallerDependency) -> UserView:
        caller.require_admin()
        return await accounts.create_user(caller.token, body)

    @router.post("/users/{user_id}/disable", status_code=204)
    async def disable_user(user_id: UUID, caller: CallerDependency) -> None:
        caller.require_admin()
        await accounts.disable_user(caller.token, user_id)

    @router.get("/account")
    async def account(caller: CallerDependency) -> AccountView:
        caller.require_admin()
        return await accounts.account(caller.token)

    @router.patch("/account")
    async def change_account(body: AccountChange, caller: CallerDependency) -> AccountView:
        caller.require_admin()
        return await accounts.change_account(caller.token, body)

    return router
