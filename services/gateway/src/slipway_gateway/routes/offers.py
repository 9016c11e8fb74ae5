"""What the operator offers: resource profiles, and services that run as external sessions."""

from fastapi import APIRouter

from slipway_common.contracts.views import ProfileView, ServiceView
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.routes.dependencies import CallerDependency, Page


def build(accounts: AccountsClient) -> APIRouter:
    router = APIRouter(tags=["offers"])

    @router.get("/profiles")
    async def profiles(caller: CallerDependency) -> Page[ProfileView]:
        caller.require("read")
        return Page(items=await accounts.profiles(caller.token))

    @router.get("/services")
    async def services(caller: CallerDependency) -> Page[ServiceView]:
        caller.require("read")
        return Page(items=await accounts.services(caller.token))

    return router
