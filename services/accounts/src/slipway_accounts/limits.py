"""What an account allows its sessions: its admins set the times, the operator all the rest."""

from typing import Any

from slipway_accounts.offers import Offers
from slipway_accounts.storage import account_store
from slipway_accounts.terms import within
from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.views import AccountChange, AccountView, Principal, Range
from slipway_common.postgres.database import Database

_TIMES = ("webui_idle_seconds", "solve_idle_seconds", "task_idle_seconds", "max_session_seconds")


class LimitService:
    def __init__(self, database: Database, *, offers: Offers) -> None:
        self._database = database
        self._offers = offers

    async def view(self, principal: Principal) -> AccountView:
        _require_admin(principal)
        async with self._database.connection() as connection:
            row = await account_store.find(connection, principal.account_id)
        return self._view(row)

    async def change(self, principal: Principal, change: AccountChange) -> AccountView:
        """Sessions that are admitted from now on get the new times; those that run keep theirs."""
        _require_admin(principal)
        wanted = {name: getattr(change, name) for name in _TIMES}
        for name, value in wanted.items():
            allowed = self._range(name)
            if value is not None and not allowed.lowest <= value <= allowed.highest:
                raise problem(
                    Code.LIMIT_OUT_OF_RANGE,
                    f"{name} may be {allowed.lowest} to {allowed.highest}.",
                    field=name,
                    lowest=allowed.lowest,
                    highest=allowed.highest,
                )
        async with self._database.transaction() as tx:
            row = await account_store.change_times(tx, principal.account_id, **wanted)
        return self._view(row)

    def _range(self, name: str) -> Range:
        of_session = name == "max_session_seconds"
        return self._offers.max_session_range if of_session else self._offers.idle_range

    def _view(self, row: Any) -> AccountView:
        """As they count, even if the operator has narrowed what is allowed since."""
        return AccountView(
            name=row["name"],
            session_limit=row["session_limit"],
            queues=row["queues"],
            idle_range=self._offers.idle_range,
            max_session_range=self._offers.max_session_range,
            **{name: within(self._range(name), row[name]) for name in _TIMES},
        )


def _require_admin(principal: Principal) -> None:
    if not principal.admin or not principal.may("admin"):
        raise problem(Code.FORBIDDEN, "Only admins may do this.")
