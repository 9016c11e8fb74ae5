"""Kinds of sessions, what each gets, and what the operator must offer for that."""

from dataclasses import replace
from uuid import uuid4

import asyncpg
import pytest

from integration.accounts.world import World, ended, refused
from slipway_accounts.offers import Figures, Offers, ServiceOffer
from slipway_common.contracts.registry import SESSIONS_WANTED
from slipway_common.contracts.sessions import EndReason, Resources, SessionKind
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import Principal, SessionState

LARGE = Resources(profile="large", memory_mib=8192, cpu_millis=4000, processes=512, disk_mib=9999)
NOTEBOOKS = ServiceOffer(
    title="Notebooks",
    image="images.example:5000/team/notebooks:2026.1",
    port=8888,
    command=("serve", "--quiet"),
    environment={"MODE": "shared"},
    resources=Figures(memory_mib=512, cpu_millis=250),
    idle_seconds=77,
    max_seconds=7777,
)
OFFERS = Offers(
    profiles={"standard": Resources(), "large": LARGE}, services={"notebooks": NOTEBOOKS}
)
SERVICE = {"kind": "external", "service": "notebooks"}


@pytest.fixture
async def ada(world: World) -> Principal:
    world.offer(OFFERS)
    who = await world.account(limit=3)
    await world.publish_all(who)
    return who


class TestSolve:
    async def test_it_is_wanted_like_the_apps_page_but_of_its_kind(
        self, world: World, ada: Principal
    ) -> None:
        session_id = await world.launch(ada, app="depots", kind="solve")

        wanted = await world.wanted(session_id)
        assert (wanted["kind"], wanted["app_name"]) == ("solve", "depots")
        assert wanted["runtime"] == "1.0.0.1-linux64-x64"
        assert (await world.sessions.view(ada, session_id)).kind is SessionKind.SOLVE

    async def test_the_same_key_for_another_kind_is_another_request(
        self, world: World, ada: Principal
    ) -> None:
        await world.ask(ada, key="once", app="depots")

        async with refused("idempotency-key-reused"):
            await world.ask(ada, key="once", app="depots", kind="solve")

    async def test_it_counts_against_the_limit(self, world: World, ada: Principal) -> None:
        ids = [await world.launch(ada, app="depots", kind="solve") for _ in range(4)]

        assert await world.state(ada, ids[3]) is SessionState.QUEUED


class TestExternal:
    async def test_it_is_wanted_with_its_container_and_without_packages(
        self, world: World, ada: Principal
    ) -> None:
        session_id = await world.launch(ada, **SERVICE)

        wanted = await world.wanted(session_id)
        assert (wanted["app_name"], wanted["app_version"]) == ("notebooks", "2026.1")
        assert wanted["runtime"] == ""
        assert wanted["external"] == {
            "image": NOTEBOOKS.image,
            "port": 8888,
            "command": ["serve", "--quiet"],
            "environment": {"MODE": "shared"},
            "resources": wanted["resources"],
        }
        assert wanted["resources"]["memory_mib"] == 512
        assert wanted["resources"]["cpu_millis"] == 250
        assert wanted["resources"]["disk_mib"] == Resources().disk_mib
        assert (wanted["idle_seconds"], wanted["max_seconds"]) == (77, 7777)
        view = await world.sessions.view(ada, session_id)
        assert (view.app, view.service, view.version) == ("notebooks", "notebooks", "2026.1")
        [listed] = await world.sessions.list_sessions(ada, open_only=True, limit=9, offset=0)
        assert listed.service == "notebooks"

    async def test_its_runner_is_granted_no_package(self, world: World, ada: Principal) -> None:
        session_id = await world.launch(ada, **SERVICE)

        grant = await world.sessions.claim(session_id, uuid4())

        assert grant.kind is SessionKind.EXTERNAL
        assert grant.app is grant.runtime is None

    async def test_what_is_not_offered_is_refused_with_what_is(
        self, world: World, ada: Principal
    ) -> None:
        async with refused("service-not-offered") as found:
            await world.ask(ada, kind="external", service="shell")
        assert found.value.problem.status == 404
        assert "notebooks" in str(found.value)

        world.offer(Offers())
        async with refused("service-not-offered") as found:
            await world.ask(ada, **SERVICE)
        assert "The operator offers none." in str(found.value)
        assert await world.fetch("SELECT id FROM sessions") == []

    async def test_one_that_is_withdrawn_while_it_waits_fails_in_words(
        self, world: World, ada: Principal
    ) -> None:
        session_id = await world.ask(ada, **SERVICE)
        world.offer(replace(OFFERS, services={}))

        await world.sessions.on_launch(world.requested(ada, session_id))

        view = await world.sessions.view(ada, session_id)
        assert (view.state, view.reason) == (SessionState.FAILED, EndReason.NOT_ADMITTED)
        assert "not offered" in view.message
        assert await world.told(SESSIONS_WANTED) == []

    async def test_it_runs_the_image_of_the_moment_that_it_is_admitted(
        self, world: World, ada: Principal
    ) -> None:
        session_id = await world.ask(ada, **SERVICE)
        newer = NOTEBOOKS.model_copy(update={"image": "notebooks@sha256:" + "ab" * 32})
        world.offer(replace(OFFERS, services={"notebooks": newer}))

        await world.sessions.on_launch(world.requested(ada, session_id))

        assert (await world.sessions.view(ada, session_id)).version == "abababababab"
        assert (await world.wanted(session_id))["app_version"] == "abababababab"

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE sessions SET kind = 'webui'",
            "UPDATE sessions SET service = NULL, service_version = NULL",
            "UPDATE sessions SET service_version = NULL",
            "UPDATE sessions SET app_id = (SELECT id FROM packages WHERE kind = 'app')",
            "UPDATE sessions SET kind = 'unheard-of'",
        ],
    )
    async def test_a_session_runs_exactly_one_thing(
        self, world: World, ada: Principal, change: str
    ) -> None:
        await world.ask(ada, **SERVICE)

        with pytest.raises(asyncpg.CheckViolationError):
            await world.fetch(change)


class TestTickets:
    @pytest.mark.parametrize(
        "what", [{"app": "depots"}, {"app": "depots", "kind": "solve"}, SERVICE]
    )
    async def test_whoever_launched_it_is_let_in(
        self, world: World, ada: Principal, what: dict[str, str]
    ) -> None:
        session_id = await world.launch(ada, **what)
        await world.run(ada, session_id)

        ticket = await world.sessions.issue_ticket(ada, session_id)

        assert await world.sessions.redeem_ticket(session_id, ticket.secret)

    async def test_nobody_is_let_into_a_task_session(self, world: World, ada: Principal) -> None:
        await world.tasks.start(ada, world.task())
        [session_id] = await world.task_sessions()
        await world.run(ada, session_id)

        async with refused("forbidden"):
            await world.sessions.issue_ticket(ada, session_id)


class TestProfiles:
    async def test_an_app_that_names_one_gets_its_figures(
        self, world: World, ada: Principal
    ) -> None:
        await world.publish(ada, name="heavy", profile="large")

        launched = await world.launch(ada, app="heavy")
        await world.tasks.start(ada, world.task(app="heavy"))
        [of_task] = await world.task_sessions()

        for session_id in (launched, of_task):
            assert (await world.wanted(session_id))["resources"] == LARGE.model_dump()
            assert (await world.sessions.view(ada, session_id)).profile == "large"
        assert (await world.catalogue.app(ada, "heavy", "1.0.0")).profile == "large"

    async def test_an_app_that_names_none_gets_the_standard_one(
        self, world: World, ada: Principal
    ) -> None:
        await world.fetch("UPDATE packages SET facts = facts - 'profile'")

        session_id = await world.launch(ada)
        await world.tasks.start(ada, world.task())
        [of_task] = await world.task_sessions()

        for each in (session_id, of_task):
            assert (await world.wanted(each))["resources"] == Resources().model_dump()
        assert (await world.catalogue.app(ada, "depots", "latest")).profile == "standard"

    async def test_one_that_there_is_not_is_refused_with_those_that_there_are(
        self, world: World, ada: Principal
    ) -> None:
        await world.publish(ada, name="greedy", profile="huge")

        async with refused("profile-unknown") as found:
            await world.ask(ada, app="greedy")
        async with refused("profile-unknown"):
            await world.tasks.start(ada, world.task(app="greedy"))

        assert "“huge”" in str(found.value)
        assert "standard, large" in str(found.value)
        assert await world.fetch("SELECT id FROM sessions") == []
        assert await world.fetch("SELECT id FROM tasks") == []

    async def test_one_that_is_taken_away_while_tasks_wait_fails_them_in_words(
        self, world: World
    ) -> None:
        world.offer(OFFERS)
        who = await world.account(limit=1)
        await world.publish_all(who)
        await world.publish(who, name="heavy", profile="large")
        first = await world.launch(who)
        tasks = [(await world.tasks.start(who, world.task(app="heavy"))).id for _ in range(2)]
        world.offer(Offers())

        await world.stop(who, first)
        await world.sessions.on_over(ended(who, first, EndReason.STOPPED))

        for task_id in tasks:
            view = await world.tasks.view(who, task_id)
            assert view.state is TaskState.FAILED
            assert view.problem is not None
            assert view.problem["type"] == "urn:slipway:problem:profile-unknown"
        rows = await world.fetch("SELECT state, reason FROM sessions WHERE kind = 'task'")
        assert {(row["state"], row["reason"]) for row in rows} == {("failed", "not-admitted")}
        assert await world.state(who, await world.launch(who)) is SessionState.STARTING
