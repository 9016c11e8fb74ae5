"""What every place where sessions run must do: one suite for the fake and for real processes."""

from uuid import UUID, uuid4

import pytest

from integration.scheduler.memory_units import MemoryUnits
from slipway_common.contracts.sessions import EndReason
from slipway_scheduler.models import Unit, UnitPhase
from slipway_scheduler.units.base import Units
from support.waiting import eventually


@pytest.fixture(params=["memory", "processes"])
def units(request: pytest.FixtureRequest, new_adapter) -> Units:
    return MemoryUnits() if request.param == "memory" else new_adapter()


async def reach(units: Units, session_id: UUID, phase: UnitPhase) -> Unit:
    async def look() -> Unit | None:
        await units.refresh()
        unit = units.find(session_id)
        return unit if unit is not None and unit.phase is phase else None

    return await eventually(look, seconds=15, what=f"phase {phase}")


async def everything(units: Units) -> dict[UUID, Unit | None]:
    await units.refresh()
    return {session_id: units.find(session_id) for session_id in units.ids()}


async def test_at_first_there_is_nothing(units: Units) -> None:
    assert await everything(units) == {}


async def test_a_unit_gets_ready_and_says_where(units: Units, wanted) -> None:
    session = wanted()

    await units.create(session)

    unit = await reach(units, session.session_id, UnitPhase.READY)
    assert unit.account_id == session.account_id
    assert unit.address == "127.0.0.1:1"


async def test_creating_it_again_changes_nothing(units: Units, wanted) -> None:
    session = wanted()
    await units.create(session)
    await units.create(session)
    before = await reach(units, session.session_id, UnitPhase.READY)

    await units.create(session)

    assert await everything(units) == {session.session_id: before}


async def test_asked_to_stop_it_ends_for_the_first_reason_it_was_given(
    units: Units, wanted
) -> None:
    session = wanted()
    await units.create(session)
    await reach(units, session.session_id, UnitPhase.READY)

    await units.stop(session.session_id, reason=EndReason.TIME_LIMIT, message="Too long.")
    await units.stop(session.session_id, reason=EndReason.STOPPED, message="")

    unit = await reach(units, session.session_id, UnitPhase.GONE)
    assert unit.termination is not None
    assert (unit.termination.reason, unit.termination.message) == (
        EndReason.TIME_LIMIT,
        "Too long.",
    )


async def test_what_does_not_stop_can_be_killed(units: Units, wanted) -> None:
    session = wanted("stubborn")
    await units.create(session)
    await reach(units, session.session_id, UnitPhase.READY)

    await units.stop(session.session_id, reason=EndReason.STOPPED, message="")
    unit = await reach(units, session.session_id, UnitPhase.STOPPING)
    assert unit.stopping_since is not None
    await units.kill(session.session_id)

    unit = await reach(units, session.session_id, UnitPhase.GONE)
    assert unit.termination is not None
    assert unit.termination.reason is EndReason.STOPPED


async def test_what_ends_by_itself_leaves_its_reason(units: Units, wanted) -> None:
    session = wanted("fails")
    await units.create(session)

    unit = await reach(units, session.session_id, UnitPhase.GONE)

    assert unit.termination is not None
    assert (unit.termination.reason, unit.termination.message) == (
        EndReason.APP_FAILED,
        "It failed.",
    )


async def test_what_ends_without_a_word_leaves_none(units: Units, wanted) -> None:
    session = wanted("vanishes")
    await units.create(session)

    assert (await reach(units, session.session_id, UnitPhase.GONE)).termination is None


async def test_what_is_forgotten_is_not_there_and_can_be_made_anew(units: Units, wanted) -> None:
    session = wanted()
    await units.create(session)
    before = await reach(units, session.session_id, UnitPhase.READY)
    await units.kill(session.session_id)
    await reach(units, session.session_id, UnitPhase.GONE)

    await units.forget(session.session_id)
    assert await everything(units) == {}
    await units.create(session)

    after = await reach(units, session.session_id, UnitPhase.READY)
    assert after.identity != before.identity


async def test_what_is_gone_already_is_success(units: Units) -> None:
    await units.stop(uuid4(), reason=EndReason.STOPPED, message="")
    await units.kill(uuid4())
    await units.forget(uuid4())

    assert await everything(units) == {}
