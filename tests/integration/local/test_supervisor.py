"""The supervisor as its own process: whatever ends it, it leaves nothing behind."""

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from slipway_local.daemon import bring_down, bring_up
from slipway_local.part import PartState
from slipway_local.processes import identity_of, is_alive
from slipway_local.state import State
from slipway_local.status import Status, read_status

RUN = Path(__file__).parent / "support" / "run_supervisor.py"


class Supervised:
    """A supervisor of two fake services, and what it says about itself."""

    def __init__(self, state: State, environment: dict[str, str]) -> None:
        self.state = state
        self._environment = environment

    @property
    def status(self) -> Status:
        return read_status(self.state.status_file)

    @property
    def pid(self) -> int:
        assert self.status.supervisor is not None
        return self.status.supervisor.pid

    def pid_of(self, name: str) -> int | None:
        return next(part.pid for part in self.status.parts if part.name == name)

    def url_of(self, name: str) -> str:
        return next(part.address for part in self.status.parts if part.name == name)

    async def up(self) -> Status:
        return await bring_up(
            self.state,
            [sys.executable, str(RUN), str(self.state.folder)],
            environment=self._environment,
            watch=lambda _: None,
        )


@pytest.fixture
async def supervised(state_folder: Path, environment: dict[str, str]):
    supervised = Supervised(State(state_folder), environment)
    await supervised.up()
    yield supervised
    await bring_down(supervised.state)


async def test_second_up_finds_everything_running(supervised: Supervised) -> None:
    before = supervised.status

    assert await supervised.up() == before


async def test_two_ups_at_once_share_one_supervisor(
    state_folder: Path, environment: dict[str, str]
) -> None:
    supervised = Supervised(State(state_folder), environment)

    one, other = await asyncio.gather(supervised.up(), supervised.up())

    assert one.supervisor == other.supervisor
    assert await bring_down(supervised.state)


async def test_a_killed_supervisor_takes_everything_with_it(
    supervised: Supervised, family, gone
) -> None:
    below = family(supervised.pid)
    run = supervised.state.open().run_folder
    reader, writer = await asyncio.open_unix_connection(run / "lifeline.sock")
    assert len(below) == 2

    os.kill(supervised.pid, signal.SIGKILL)

    await gone(below)
    async with asyncio.timeout(5):
        # Reset, if the connection was still waiting to be accepted.
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    status = await supervised.up()
    assert status.good


async def test_services_stop_in_reverse_order(supervised: Supervised) -> None:
    assert await bring_down(supervised.state)

    first, second = (
        int(supervised.state.log(name).read_text().split()[-1]) for name in ("first", "second")
    )
    assert second < first
    assert not await bring_down(supervised.state)


async def test_a_crashed_service_is_brought_back_and_shown(supervised: Supervised, until) -> None:
    crashed = supervised.pid_of("second")
    assert crashed is not None

    os.kill(crashed, signal.SIGKILL)

    def is_back() -> bool:
        second = supervised.status.parts[1]
        return second.state is PartState.RUNNING and second.restarts == 1

    await until(is_back)
    assert supervised.pid_of("second") != crashed
    assert supervised.status.parts[0].restarts == 0


async def test_orphans_of_a_service_outlive_it_but_not_the_stack(
    supervised: Supervised, ask, until, gone
) -> None:
    orphan = identity_of(int(ask(f"{supervised.url_of('first')}/orphan")))
    first = supervised.pid_of("first")
    assert orphan is not None
    assert first is not None

    os.kill(first, signal.SIGKILL)
    await until(lambda: supervised.status.good and supervised.pid_of("first") != first)
    assert is_alive(orphan)

    await bring_down(supervised.state)
    await gone([orphan])


async def test_a_start_that_fails_is_explained(command, state_folder: Path) -> None:
    changed = {
        "SLIPWAY_KAFKA_BOOTSTRAP": "127.0.0.1:1",
        "SLIPWAY_POSTGRES_DSN": "nonsense",
        "SLIPWAY_BLOB_CONNECTION": "x=y",
    }

    code, _, errors = await command("up", "--parts-only", **changed)

    assert code == 1
    assert any(f"(from {name})" in errors or f"{name} is not" in errors for name in changed)
    assert "Traceback" not in errors
    assert "Traceback" not in State(state_folder).log("supervisor").read_text()
    code, _, again = await command("status")
    assert code == 1
    assert again in errors
