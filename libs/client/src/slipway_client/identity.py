"""Who may come in: API keys of one's own, and the users of one's account."""

from collections.abc import AsyncGenerator, Iterable
from datetime import timedelta
from uuid import UUID

from slipway_client.feeds import pages
from slipway_client.operations import DriverT_co, Group, feed, operation
from slipway_client.transport import parsed
from slipway_common.contracts.views import (
    ApiKeyRequest,
    ApiKeyView,
    Scope,
    UserRequest,
    UserView,
)


class Keys(Group[DriverT_co]):
    @feed
    async def list(self) -> AsyncGenerator[ApiKeyView, None]:
        async for key in pages(self._transport, "/api-keys", ApiKeyView):
            yield key

    @operation
    async def create(
        self, name: str, *, scopes: Iterable[Scope], lifetime: timedelta = timedelta(days=90)
    ) -> ApiKeyView:
        """Make a key; this answer is the only one that holds it."""
        wanted = ApiKeyRequest(name=name, scopes=tuple(scopes), expires_in_days=lifetime.days)
        response = await self._transport.request(
            "POST", "/api-keys", json=wanted.model_dump(mode="json")
        )
        return parsed(ApiKeyView, response.content)

    @operation
    async def revoke(self, key_id: UUID | str) -> None:
        await self._transport.request("DELETE", f"/api-keys/{key_id}")


class Users(Group[DriverT_co]):
    @feed
    async def list(self) -> AsyncGenerator[UserView, None]:
        async for user in pages(self._transport, "/users", UserView):
            yield user

    @operation
    async def create(
        self, name: str, *, password: str, admin: bool = False, publisher: bool = False
    ) -> UserView:
        wanted = UserRequest(name=name, password=password, admin=admin, publisher=publisher)
        response = await self._transport.request(
            "POST", "/users", json=wanted.model_dump(mode="json")
        )
        return parsed(UserView, response.content)

    @operation
    async def disable(self, user_id: UUID | str) -> None:
        await self._transport.request("POST", f"/users/{user_id}/disable")
