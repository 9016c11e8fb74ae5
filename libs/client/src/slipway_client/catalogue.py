"""What is published, and what the operator offers beside it."""

from collections.abc import AsyncGenerator
from urllib.parse import quote

from slipway_client.feeds import pages
from slipway_client.operations import DriverT_co, Group, feed, operation
from slipway_client.transport import parsed
from slipway_common.contracts.views import AppView, ProfileView, RuntimeView, ServiceView


class Apps(Group[DriverT_co]):
    @feed
    async def list(self) -> AsyncGenerator[AppView, None]:
        async for app in pages(self._transport, "/apps", AppView):
            yield app

    @operation
    async def get(self, name: str, *, version: str = "latest") -> AppView:
        path = f"/apps/{quote(name, safe='')}/{quote(version, safe='')}"
        response = await self._transport.request("GET", path)
        return parsed(AppView, response.content)


class Runtimes(Group[DriverT_co]):
    @feed
    async def list(self) -> AsyncGenerator[RuntimeView, None]:
        async for runtime in pages(self._transport, "/runtimes", RuntimeView):
            yield runtime


class Services(Group[DriverT_co]):
    """Containers that run as external sessions."""

    @feed
    async def list(self) -> AsyncGenerator[ServiceView, None]:
        async for service in pages(self._transport, "/services", ServiceView):
            yield service


class Profiles(Group[DriverT_co]):
    """What sessions of an app that names one may use."""

    @feed
    async def list(self) -> AsyncGenerator[ProfileView, None]:
        async for profile in pages(self._transport, "/profiles", ProfileView):
            yield profile
