"""The clients: one for callers with an event loop, one for those without, the same behind both."""

from types import TracebackType
from typing import Self

from pydantic import BaseModel, ConfigDict

from slipway_client.catalogue import Apps, Profiles, Runtimes, Services
from slipway_client.identity import Keys, Users
from slipway_client.limits import Limits
from slipway_client.operations import Blocking, Direct, DriverT_co, Group, operation
from slipway_client.packages import Packages
from slipway_client.portal import Portal
from slipway_client.sessions import Sessions
from slipway_client.tasks import Tasks
from slipway_client.transport import Retries, Timeouts, Transport, parsed
from slipway_common.contracts.views import LogOn, Principal

_RETRIES = Retries()
_TIMEOUTS = Timeouts()


class _LoggedOn(BaseModel):
    model_config = ConfigDict(extra="ignore")

    principal: Principal


class Client(Group[DriverT_co]):
    def __init__(self, transport: Transport, driver: DriverT_co) -> None:
        super().__init__(transport, driver)
        self.sessions = Sessions(transport, driver)
        self.tasks = Tasks(transport, driver)
        self.packages = Packages(transport, driver)
        self.apps = Apps(transport, driver)
        self.runtimes = Runtimes(transport, driver)
        self.services = Services(transport, driver)
        self.profiles = Profiles(transport, driver)
        self.keys = Keys(transport, driver)
        self.users = Users(transport, driver)
        self.limits = Limits(transport, driver)

    @property
    def url(self) -> str:
        return self._transport.url

    @operation
    async def login(self, *, account: str, user: str, password: str) -> Principal:
        """Log on with a password; this client stays logged on until it logs out."""
        request = LogOn(account=account, user=user, password=password)
        response = await self._transport.request(
            "POST", "/login", json=request.model_dump(mode="json")
        )
        return parsed(_LoggedOn, response.content).principal

    @operation
    async def logout(self) -> None:
        await self._transport.request("POST", "/logout")

    @operation
    async def me(self) -> Principal:
        response = await self._transport.request("GET", "/me")
        return parsed(Principal, response.content)

    @operation
    async def seal(self) -> bytes:
        """Certificate (PEM) that apps are sealed for."""
        response = await self._transport.request("GET", "/seal")
        return response.content


class AsyncSlipway(Client[Direct]):
    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        retries: Retries = _RETRIES,
        timeouts: Timeouts = _TIMEOUTS,
    ) -> None:
        transport = Transport(url, api_key=api_key, retries=retries, timeouts=timeouts)
        super().__init__(transport, Direct())

    async def close(self) -> None:
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()


class Slipway(Client[Blocking]):
    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        retries: Retries = _RETRIES,
        timeouts: Timeouts = _TIMEOUTS,
    ) -> None:
        transport = Transport(url, api_key=api_key, retries=retries, timeouts=timeouts)
        super().__init__(transport, Blocking(Portal()))

    def close(self) -> None:
        portal = self._driver.portal
        if portal.is_open:
            portal.call(self._transport.close())
            portal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
