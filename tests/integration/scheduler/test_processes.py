"""Sessions as processes: found again, kept apart, bounded, and never mistaken for a stranger."""

import asyncio
import json
import os
import resource
import signal
from pathlib import Path
from uuid import UUID

import psutil
import pytest

from slipway_common.contracts.sessions import EndReason, Resources
from slipway_scheduler.models import Unit, UnitPhase
from slipway_scheduler.units.processes import ProcessUnits
from support.waiting import eventually


async def reach(units: ProcessUnits, session_id: UUID, phase: UnitPhase) -> Unit:
    async def look() -> Unit | None:
        unit = units.look().get(session_id)
        return unit if unit is not None and unit.phase is phase else None

    return await eventually(look, seconds=15, what=f"phase {phase}")


def pid_of(unit: Unit) -> int:
    return int(unit.identity.partition("@")[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "work"


async def test_a_scheduler_that_is_started_anew_finds_what_runs(new_adapter, wanted) -> None:
    session = wanted()
    await new_adapter().create(session)
    before = await reach(new_adapter(), session.session_id, UnitPhase.READY)

    restarted = new_adapter()
    await restarted.create(session)
    assert restarted.look() == {session.session_id: before}
    await restarted.stop(session.session_id, reason=EndReason.IDLE, message="Nobody.")

    unit = await reach(new_adapter(), session.session_id, UnitPhase.GONE)
    assert unit.termination is not None
    assert (unit.termination.reason, unit.termination.peak_memory_mib) == (EndReason.IDLE, 7)


async def test_a_runner_without_its_record_yet_is_found_by_where_it_works(
    new_adapter, wanted, folder: Path
) -> None:
    session = wanted("silent")
    await new_adapter().create(session)
    before = await reach(new_adapter(), session.session_id, UnitPhase.STARTING)
    record = folder / str(session.session_id) / "unit.json"
    await eventually(_true_when(record.exists))
    record.unlink()

    [found] = new_adapter().look().values()

    assert pid_of(found) == pid_of(before)


async def test_a_unit_that_never_began_is_created_again(new_adapter, wanted, folder: Path) -> None:
    session = wanted()
    work = folder / str(session.session_id)
    work.mkdir(parents=True)
    (work / "wanted.json").write_text(session.model_dump_json())
    restarted = new_adapter()
    assert restarted.look() == {}

    await restarted.create(session)

    await reach(restarted, session.session_id, UnitPhase.READY)


async def test_a_folder_whose_maker_died_half_way_is_no_unit(
    new_adapter, wanted, folder: Path
) -> None:
    session = wanted()
    units = new_adapter()
    (folder / str(session.session_id)).mkdir()
    (folder / "lost+found").mkdir()
    (folder / "file").write_text("")

    assert units.look() == {}


async def test_a_runner_that_dies_before_its_first_word_fails_with_its_log(
    new_adapter, wanted
) -> None:
    session = wanted("unborn")
    units = new_adapter()
    await units.create(session)

    unit = await reach(units, session.session_id, UnitPhase.GONE)

    assert unit.termination is not None
    assert unit.termination.reason is EndReason.APP_FAILED
    assert "it never began" in unit.termination.message


async def test_its_environment_holds_what_it_needs_and_nothing_of_ours(
    new_adapter, wanted, folder: Path
) -> None:
    session = wanted()
    units = new_adapter()
    await units.create(session)
    await reach(units, session.session_id, UnitPhase.READY)
    work = folder / str(session.session_id)

    environment = json.loads((work / "environment.json").read_text())

    assert "canary" not in json.dumps(environment)
    ours = {name for name in environment if name.startswith("SLIPWAY_")}
    assert all(name.startswith("SLIPWAY_RUNNER_") for name in ours)
    foreign = environment.keys() - ours
    assert foreign <= {"PATH", "LANG", "LC_ALL", "TZ", "LC_CTYPE"}
    assert environment["SLIPWAY_RUNNER_SESSION_ID"] == str(session.session_id)
    # The token is in a file of its own, which is nobody else's to read.
    assert "token of" not in json.dumps(environment)
    assert environment["SLIPWAY_RUNNER_TOKEN_FILE"] == str(work / "token")
    assert (work / "token").read_text() == f"token of {session.session_id}"
    assert (work / "token").stat().st_mode & 0o077 == 0
    assert work.stat().st_mode & 0o077 == 0


async def test_it_may_use_no_more_than_its_limits(new_adapter, wanted) -> None:
    session = wanted(resources=Resources(memory_mib=300))
    units = new_adapter()
    await units.create(session)
    pid = pid_of(await reach(units, session.session_id, UnitPhase.READY))

    assert resource.prlimit(pid, resource.RLIMIT_DATA) == (300 * 2**20, 300 * 2**20)
    assert resource.prlimit(pid, resource.RLIMIT_CORE) == (0, 0)
    assert resource.prlimit(pid, resource.RLIMIT_NOFILE)[1] <= 4096
    assert os.getpgid(pid) == pid
    assert os.getpgid(pid) != os.getpgid(0)


async def test_what_it_prints_is_in_its_log(new_adapter, wanted, folder: Path) -> None:
    session = wanted()
    units = new_adapter()
    await units.create(session)
    await reach(units, session.session_id, UnitPhase.READY)

    log = (folder / str(session.session_id) / "log").read_text()

    assert log == "a line of the log\n"


async def test_a_stranger_who_got_its_number_is_not_touched(
    new_adapter, wanted, folder: Path
) -> None:
    session = wanted()
    units = new_adapter()
    await units.create(session)
    await reach(units, session.session_id, UnitPhase.READY)
    await units.kill(session.session_id)
    await reach(units, session.session_id, UnitPhase.GONE)
    stranger = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    record = folder / str(session.session_id) / "unit.json"
    record.write_text(json.dumps({"pid": stranger.pid, "started": 1.0}))

    restarted = new_adapter()
    [unit] = restarted.look().values()
    await restarted.stop(session.session_id, reason=EndReason.STOPPED, message="")
    await restarted.kill(session.session_id)
    await restarted.forget(session.session_id)

    assert unit.phase is UnitPhase.GONE
    assert stranger.returncode is None
    assert psutil.pid_exists(stranger.pid)
    stranger.kill()
    await stranger.wait()


async def test_what_a_dead_runner_left_running_ends_with_its_records(
    new_adapter, wanted, folder: Path
) -> None:
    session = wanted("leaves-child")
    units = new_adapter()
    await units.create(session)
    await reach(units, session.session_id, UnitPhase.GONE)
    child = psutil.Process(int((folder / str(session.session_id) / "child").read_text()))
    assert child.is_running()

    await units.forget(session.session_id)

    await eventually(_true_when(lambda: _is_over(child)))
    assert not (folder / str(session.session_id)).exists()


async def test_what_an_app_scribbles_into_its_records_stops_nobody(
    new_adapter, wanted, folder: Path
) -> None:
    bad, good = wanted("garbage"), wanted()
    units = new_adapter()
    await units.create(bad)
    await units.create(good)

    await reach(units, good.session_id, UnitPhase.READY)
    unit = await reach(units, bad.session_id, UnitPhase.GONE)
    assert unit.termination is None
    for text in ('{"reason": "unheard-of"}', "[]", "7", '{"message": 1}', "\x00"):
        (folder / str(bad.session_id) / "termination.json").write_text(text)
        assert set(units.look()) == {bad.session_id, good.session_id}


async def test_the_whole_group_dies_when_it_is_killed(new_adapter, wanted) -> None:
    session = wanted("stubborn")
    units = new_adapter()
    await units.create(session)
    process = psutil.Process(pid_of(await reach(units, session.session_id, UnitPhase.READY)))
    process.send_signal(signal.SIGTERM)

    await units.kill(session.session_id)

    await eventually(_true_when(lambda: _is_over(process)))


def _is_over(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _true_when(look):
    async def ask() -> bool:
        return look()

    return ask
