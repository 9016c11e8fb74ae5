"""What the account allows its sessions; for its admins."""

from slipway_client.operations import DriverT_co, Group, operation
from slipway_client.transport import parsed
from slipway_common.contracts.views import AccountChange, AccountView


class Limits(Group[DriverT_co]):
    @operation
    async def get(self) -> AccountView:
        response = await self._transport.request("GET", "/account")
        return parsed(AccountView, response.content)

    @operation
    async def change(
        self,
        *,
        webui_idle_seconds: int | None = None,
        solve_idle_seconds: int | None = None,
        task_idle_seconds: int | None = None,
        max_session_seconds: int | None = None,
    ) -> AccountView:
        """Set what is named, for the sessions that start from then on."""
        wanted = AccountChange(
            webui_idle_seconds=webui_idle_seconds,
            solve_idle_seconds=solve_idle_seconds,
            task_idle_seconds=task_idle_seconds,
            max_session_seconds=max_session_seconds,
        )
        response = await self._transport.request(
            "PATCH", "/account", json=wanted.model_dump(mode="json", exclude_none=True)
        )
        return parsed(AccountView, response.content)
