"""The controller: from what should run to what runs, at any moment and after any restart."""

from collections.abc import Collection
from datetime import timedelta
from uuid import UUID

import pytest

from integration.scheduler.memory_units import MemoryUnits
from slipway_common.contracts.base import Event, utc_now
from slipway_common.contracts.sessions import SessionWanted
from slipway_common.errors import PermanentError, TransientError
from slipway_scheduler.controller import Controller
from slipway_scheduler.models import UnitPhase
from slipway_scheduler.units.base import NoPlaceError

SOMEBODY = "5117a7b0-0000-4000-8000-000000000001"


class Wanted:
    """The wanted topic, as its reader holds it."""

    def __init__(self) -> None:
        self.rows: dict[UUID, SessionWanted] = {}
        self.all_is_read = True

    def want(self, session: SessionWanted) -> SessionWanted:
        self.rows[session.session_id] = session
        return session

    def find(self, session_id: UUID) -> SessionWanted | None:
        return self.rows.get(session_id)

    def ids(self) -> Collection[UUID]:
        return list(self.rows)

    def owns(self, session_id: UUID) -> bool:
        return self.all_is_read


class Told:
    """What the mesh was told; refuses all of it while the broker is away."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.away = False

    async def publish(self, event: Event) -> None:
        if self.away:
            raise TransientError("away")
        self.events.append(event)

    def of(self, session_id: UUID) -> list[str]:
        return [
            event.type.removeprefix("slipway.session.")
            for event in self.events
            if event.subject == session_id
        ]


class Place:
    def __init__(self) -> None:
        self.wanted = Wanted()
        self.units = MemoryUnits()
        self.told = Told()
        self.controller = self.restart()

    def restart(self, *, stop_grace: timedelta = timedelta(0)) -> Controller:
        self.controller = Controller(self.wanted, self.units, self.told, stop_grace=stop_grace)
        return self.controller

    async def steps(self, count: int = 4) -> None:
        for _ in range(count):
            await self.controller.step()

    def unwant(self, session: SessionWanted) -> None:
        self.wanted.rows.pop(session.session_id, None)
        self.controller.on_tombstone(
            str(session.session_id), {"slipway_account": str(session.account_id)}
        )


@pytest.fixture
def place() -> Place:
    return Place()


async def test_what_is_wanted_is_started_and_told_once(place: Place, wanted) -> None:
    session = place.wanted.want(wanted())

    await place.steps()

    assert place.units.created == [session.session_id]
    assert place.told.of(session.session_id) == ["starting", "running"]


async def test_nothing_is_done_before_all_that_is_wanted_has_been_read(
    place: Place, wanted
) -> None:
    running = wanted()
    await place.units.create(running)
    place.wanted.all_is_read = False

    await place.steps()

    assert place.units.units[running.session_id].phase is UnitPhase.READY
    assert place.told.events == []


async def test_what_is_no_more_wanted_is_stopped_told_and_forgotten(place: Place, wanted) -> None:
    session = place.wanted.want(wanted())
    await place.steps()

    place.unwant(session)
    await place.steps()

    assert place.units.units == {}
    assert place.told.of(session.session_id) == ["starting", "running", "ended"]


async def test_what_nobody_ever_wanted_is_removed(place: Place, wanted) -> None:
    orphan = wanted()
    await place.units.create(orphan)

    await place.steps()

    assert place.units.units == {}
    assert place.told.of(orphan.session_id) == ["ended"]


async def test_what_does_not_stop_is_killed_after_its_grace(place: Place, wanted) -> None:
    session = place.wanted.want(wanted("stubborn"))
    place.restart(stop_grace=timedelta(hours=1))
    await place.steps()
    place.unwant(session)
    await place.steps()
    assert place.units.units[session.session_id].phase is UnitPhase.STOPPING

    place.restart(stop_grace=timedelta(0))
    await place.steps()

    assert place.units.units == {}
    assert place.told.of(session.session_id)[-1] == "ended"


@pytest.mark.parametrize(("app", "reason"), [("fails", "app-failed"), ("vanishes", "lost")])
async def test_what_ends_by_itself_is_told_with_its_reason_and_not_started_again(
    place: Place, wanted, app: str, reason: str
) -> None:
    session = place.wanted.want(wanted(app))

    await place.steps(6)

    assert place.units.created == [session.session_id]
    assert place.told.of(session.session_id) == ["starting", "failed"]
    assert place.told.events[-1].reason == reason  # type: ignore[attr-defined]
    place.unwant(session)
    await place.steps()
    assert place.units.units == {}
    assert place.told.of(session.session_id) == ["starting", "failed"]


async def test_what_does_not_answer_in_time_is_ended(place: Place, wanted) -> None:
    session = place.wanted.want(wanted("silent"))
    await place.steps()
    late = session.model_copy(update={"admitted_at": utc_now() - timedelta(seconds=181)})
    place.wanted.want(late)

    await place.steps()

    assert place.told.of(session.session_id) == ["starting", "failed"]
    assert place.told.events[-1].reason == "start-timeout"  # type: ignore[attr-defined]


async def test_what_could_not_be_begun_in_its_time_is_not_begun_and_told_once(
    place: Place, wanted
) -> None:
    late = utc_now() - timedelta(seconds=181)
    session = place.wanted.want(wanted(admitted_at=late))

    await place.steps()

    assert place.units.created == []
    assert place.told.of(session.session_id) == ["failed"]
    assert place.told.events[-1].reason == "start-timeout"  # type: ignore[attr-defined]


async def test_what_its_place_refuses_for_good_fails_with_the_reason_and_is_not_tried_again(
    place: Place, wanted
) -> None:
    class Strict(MemoryUnits):
        async def create(self, wanted: SessionWanted) -> None:
            self.created.append(wanted.session_id)
            raise PermanentError("its image is not allowed")

    place.units = Strict()
    place.restart()
    session = place.wanted.want(wanted())

    await place.steps()

    assert place.told.of(session.session_id) == ["failed"]
    assert place.told.events[-1].reason == "not-admitted"  # type: ignore[attr-defined]
    assert "its image is not allowed" in place.told.events[-1].message  # type: ignore[attr-defined]


async def test_a_full_place_is_told_once_and_tried_until_there_is_room(
    place: Place, wanted
) -> None:
    class Full(MemoryUnits):
        full = True

        async def create(self, wanted: SessionWanted) -> None:
            if self.full:
                raise NoPlaceError("The place for sessions is full")
            await super().create(wanted)

    units = Full()
    place.units = units
    place.restart()
    session = place.wanted.want(wanted())
    await place.steps()
    units.full = False

    await place.steps()

    assert place.told.of(session.session_id) == ["progress", "starting", "running"]


async def test_sessions_of_somebody_else_are_left_alone(place: Place, wanted) -> None:
    mine, other = wanted(), wanted()
    await place.units.create(other)
    place.wanted.want(mine)
    place.wanted.owns = lambda session_id: session_id == mine.session_id  # type: ignore[method-assign]

    await place.steps()

    assert place.units.units[other.session_id].phase is UnitPhase.READY
    assert place.told.of(other.session_id) == []
    assert place.told.of(mine.session_id) == ["starting", "running"]


async def test_what_runs_longer_than_it_may_is_ended(place: Place, wanted) -> None:
    session = place.wanted.want(
        wanted(max_seconds=60, admitted_at=utc_now() - timedelta(seconds=61))
    )

    await place.steps()

    assert place.told.of(session.session_id) == ["starting", "ended"]
    assert place.told.events[-1].reason == "time-limit"  # type: ignore[attr-defined]


async def test_after_a_restart_at_any_step_everything_is_told_at_least_once(
    place: Place, wanted
) -> None:
    sessions = [place.wanted.want(wanted(app)) for app in ("obeys", "fails", "vanishes")]
    for _ in range(4):
        place.restart()
        await place.controller.step()
    assert sorted(place.units.created) == sorted(each.session_id for each in sessions)
    for session in sessions:
        place.unwant(session)
    for _ in range(3):
        place.restart()
        await place.controller.step()
    await place.steps()

    assert place.units.units == {}
    for session in sessions:
        assert place.told.of(session.session_id)[-1] in {"ended", "failed"}


async def test_while_the_mesh_is_away_nothing_is_forgotten_that_was_not_told(
    place: Place, wanted
) -> None:
    session = place.wanted.want(wanted())
    await place.steps()
    place.told.away = True
    place.unwant(session)

    await place.steps(6)
    assert place.units.units[session.session_id].phase is UnitPhase.GONE
    place.told.away = False
    await place.steps()

    assert place.units.units == {}
    assert place.told.of(session.session_id) == ["starting", "running", "ended"]


async def test_the_end_of_what_never_ran_is_confirmed_once(place: Place, wanted) -> None:
    session = wanted()

    place.unwant(session)
    await place.steps()

    assert place.told.of(session.session_id) == ["ended"]


async def test_an_end_of_which_nothing_is_left_is_told_once_and_not_confirmed_as_another(
    place: Place, wanted
) -> None:
    session = place.wanted.want(wanted())
    await place.steps()
    place.units.units.clear()  # somebody removed it, with all that it had to say
    await place.steps()
    assert place.told.of(session.session_id) == ["starting", "running", "failed"]

    place.unwant(session)  # as accounts answers it
    await place.steps()
    assert place.told.of(session.session_id) == ["starting", "running", "failed"]

    place.unwant(session)  # as who has not heard of it asks again
    await place.steps()
    assert place.told.of(session.session_id) == ["starting", "running", "failed", "ended"]


async def test_one_that_cannot_be_acted_on_holds_up_no_other(place: Place, wanted) -> None:
    class Broken(MemoryUnits):
        async def create(self, wanted: SessionWanted) -> None:
            if wanted.app_name == "broken":
                raise OSError("no room")
            await super().create(wanted)

    place.units = Broken()
    place.restart()
    broken = place.wanted.want(wanted("broken"))
    others = [place.wanted.want(wanted()) for _ in range(30)]

    done = await place.controller.step()
    await place.steps()

    assert (done["Create"], done["Failed"]) == (30, 1)
    assert all(place.told.of(each.session_id) == ["starting", "running"] for each in others)
    assert place.told.of(broken.session_id) == []


@pytest.mark.parametrize(
    ("key", "headers"),
    [("no-uuid", {}), (SOMEBODY, {}), (SOMEBODY, {"slipway_account": "x"}), ("", {})],
)
async def test_a_tombstone_that_does_not_say_whose_it_is_changes_nothing(
    place: Place, key: str, headers: dict[str, str]
) -> None:
    place.controller.on_tombstone(key, headers)

    await place.steps()

    assert place.told.events == []
