"""What an account allows: times by its admins, the number of sessions by the operator alone."""

from dataclasses import replace

import asyncpg
import pytest

from integration.accounts.world import World, ended, refused
from slipway_accounts.offers import Offers, ServiceOffer
from slipway_accounts.operator import change_account
from slipway_common.contracts.registry import SESSIONS_WANTED
from slipway_common.contracts.views import AccountChange, Principal, Range, SessionState

OFFERS = Offers(
    services={
        "short": ServiceOffer(title="Short", image="x:1", port=8080, max_seconds=100),
        "long": ServiceOffer(title="Long", image="x:1", port=8080, max_seconds=999_999),
    },
    idle_range=Range(lowest=10, highest=5000),
    max_session_range=Range(lowest=60, highest=90_000),
)
TIMES = {
    "webui_idle_seconds": 111,
    "solve_idle_seconds": 222,
    "task_idle_seconds": 333,
    "max_session_seconds": 4444,
}


@pytest.fixture
async def ada(world: World) -> Principal:
    world.offer(OFFERS)
    who = await world.account(limit=10)
    await world.publish_all(who)
    return who


async def times(world: World, session_id) -> tuple[int, int]:
    wanted = await world.wanted(session_id)
    return wanted["idle_seconds"], wanted["max_seconds"]


class TestTimes:
    async def test_an_account_starts_with_the_usual_ones(
        self, world: World, ada: Principal
    ) -> None:
        view = await world.limits.view(ada)

        assert (view.name, view.session_limit, view.queues) == ("acme", 10, True)
        assert view.webui_idle_seconds == view.solve_idle_seconds == 900
        assert (view.task_idle_seconds, view.max_session_seconds) == (60, 43200)
        assert (view.idle_range, view.max_session_range) == (
            OFFERS.idle_range,
            OFFERS.max_session_range,
        )

    async def test_they_count_for_sessions_admitted_from_then_on_each_kind_by_its_own(
        self, world: World, ada: Principal
    ) -> None:
        before = await world.launch(ada)
        changed = await world.limits.change(ada, AccountChange(**TIMES))
        webui = await world.launch(ada)
        solve = await world.launch(ada, app="depots", kind="solve")
        await world.tasks.start(ada, world.task())
        [task] = await world.task_sessions()
        short = await world.launch(ada, kind="external", service="short")
        long = await world.launch(ada, kind="external", service="long")

        assert changed == await world.limits.view(ada)
        assert await times(world, before) == (900, 43200)
        assert await times(world, webui) == (111, 4444)
        assert await times(world, solve) == (222, 4444)
        assert await times(world, task) == (333, 4444)
        assert await times(world, short) == (900, 100)
        assert await times(world, long) == (900, 4444)

    async def test_what_is_not_named_stays(self, world: World, ada: Principal) -> None:
        await world.limits.change(ada, AccountChange(**TIMES))

        view = await world.limits.change(ada, AccountChange(task_idle_seconds=99))

        assert view.task_idle_seconds == 99
        assert view.webui_idle_seconds == 111
        assert await world.limits.change(ada, AccountChange()) == view

    @pytest.mark.parametrize(
        ("field", "value", "words"),
        [
            ("webui_idle_seconds", 9, "10 to 5000"),
            ("solve_idle_seconds", 5001, "10 to 5000"),
            ("task_idle_seconds", -1, "10 to 5000"),
            ("task_idle_seconds", 0, "10 to 5000"),
            ("max_session_seconds", 59, "60 to 90000"),
            ("max_session_seconds", 2**40, "60 to 90000"),
        ],
    )
    async def test_what_the_operator_does_not_allow_is_refused_and_changes_nothing(
        self, world: World, ada: Principal, field: str, value: int, words: str
    ) -> None:
        before = await world.limits.view(ada)

        async with refused("limit-out-of-range") as found:
            await world.limits.change(
                ada, AccountChange(**({"solve_idle_seconds": 20} | {field: value}))
            )

        assert str(found.value) == f"{field} may be {words}."
        assert await world.limits.view(ada) == before

    async def test_what_the_operator_has_narrowed_since_counts(
        self, world: World, ada: Principal
    ) -> None:
        await world.limits.change(ada, AccountChange(**TIMES))
        world.offer(
            replace(
                OFFERS,
                idle_range=Range(lowest=300, highest=320),
                max_session_range=Range(lowest=60, highest=1000),
            )
        )

        session_id = await world.launch(ada)

        view = await world.limits.view(ada)
        assert (view.webui_idle_seconds, view.task_idle_seconds) == (300, 320)
        assert await times(world, session_id) == (300, 1000)

    async def test_only_an_admin_sees_or_changes_them(self, world: World, ada: Principal) -> None:
        bob = await world.user(ada, "bob")
        narrow = ada.model_copy(update={"scopes": ("read", "launch")})

        for who in (bob, narrow):
            async with refused("forbidden"):
                await world.limits.view(who)
            async with refused("forbidden"):
                await world.limits.change(who, AccountChange(task_idle_seconds=99))
        assert (await world.limits.view(ada)).task_idle_seconds == 60

    async def test_no_account_changes_those_of_another(self, world: World, ada: Principal) -> None:
        eve = await world.account("evil")

        await world.limits.change(eve, AccountChange(task_idle_seconds=99))

        assert (await world.limits.view(ada)).task_idle_seconds == 60

    async def test_the_database_takes_no_time_of_nothing(
        self, world: World, ada: Principal
    ) -> None:
        with pytest.raises(asyncpg.CheckViolationError):
            await world.fetch("UPDATE accounts SET solve_idle_seconds = 0")


class TestOperator:
    async def change(self, world: World, name: str, **limits) -> bool:
        fields = {"session_limit": None, "queues": None} | limits
        return await change_account(world.database, name, offers=world.offers, **fields)

    async def test_a_higher_limit_lets_in_who_waits_at_once_and_no_more(self, world: World) -> None:
        who = await world.account(limit=1)
        await world.publish_all(who)
        ids = [await world.launch(who) for _ in range(5)]

        assert await self.change(world, "acme", session_limit=3)

        states = [await world.state(who, session_id) for session_id in ids]
        assert states == ["starting"] * 3 + ["queued"] * 2
        assert len(await world.told(SESSIONS_WANTED)) == 3
        assert (await world.sessions.view(who, ids[3])).queue_position == 1

    async def test_a_lower_limit_ends_nothing_and_lets_nobody_in(self, world: World) -> None:
        who = await world.account(limit=2)
        await world.publish_all(who)
        ids = [await world.launch(who) for _ in range(3)]

        assert await self.change(world, "acme", session_limit=1)
        await world.sessions.on_over(ended(who, ids[0]))

        states = [await world.state(who, session_id) for session_id in ids]
        assert states == ["ended", "starting", "queued"]

    async def test_what_waits_with_the_tasks_of_an_account_is_let_in_as_well(
        self, world: World
    ) -> None:
        who = await world.account(limit=0)
        await world.publish_all(who)
        await world.tasks.start(who, world.task())
        [session_id] = await world.task_sessions()
        assert await world.state(who, session_id) is SessionState.QUEUED

        await self.change(world, "acme", session_limit=1)

        assert await world.state(who, session_id) is SessionState.STARTING

    async def test_an_account_that_there_is_not_is_told(self, world: World) -> None:
        assert not await self.change(world, "nobody", session_limit=3)
