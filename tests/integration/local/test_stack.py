"""The stack as a whole: what it starts it owns, and it owns nothing else."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from slipway_local.errors import BusyError, LocalError, PartError
from slipway_local.part import PartState
from slipway_local.processes import Identity, identity_of, is_alive, write_record
from slipway_local.service import ServiceDefinition
from slipway_local.settings import Externals

SLEEPER = [sys.executable, "-c", "import time; time.sleep(600)"]


async def test_everything_starts_and_nothing_is_left_after_the_stop(
    new_stack, fake, family, gone
) -> None:
    seen: list[tuple[str, str]] = []
    before = set(family(os.getpid()))
    stack = new_stack(parts=["postgres", "kafka", "azurite"], services=[fake("first")])

    await stack.start(lambda progress: seen.append((progress.name, progress.state)))

    assert set(stack.states.values()) == {PartState.RUNNING}
    assert {name for name, state in seen if state == "running"} == set(stack.names)
    running = [identity for identity in family(os.getpid()) if identity not in before]
    await stack.stop()
    await gone(running)


async def test_ports_and_secrets_are_the_same_at_the_second_start(new_stack, fake) -> None:
    stack = new_stack(services=[fake("first")])
    await stack.start()
    address, token = stack.part("first").address, stack.secrets.service_token.read_text()
    await stack.stop()

    again = new_stack(services=[fake("first")])
    await again.start()

    assert again.part("first").address == address
    assert again.secrets.service_token.read_text() == token


async def test_a_port_that_was_taken_meanwhile_is_chosen_anew(new_stack, fake, read_state) -> None:
    stack = new_stack(services=[fake("first")])
    await stack.start()
    await stack.stop()
    taken = read_state("state.json")["ports"]["first-health"]

    with socket.create_server(("127.0.0.1", taken)):
        await stack.start()

        assert read_state("state.json")["ports"]["first-health"] != taken


async def test_stacks_in_different_folders_run_side_by_side(
    new_stack, fake, state_folder: Path
) -> None:
    one = new_stack(services=[fake("first")])
    other = new_stack(services=[fake("first")], folder=state_folder.with_name("other"))

    await asyncio.gather(one.start(), other.start())

    assert one.part("first").address != other.part("first").address
    await other.stop()
    other.state.remove()


async def test_a_folder_has_one_stack_at_a_time(new_stack) -> None:
    await new_stack().start()

    with pytest.raises(BusyError, match="another process runs a stack"):
        await new_stack().start()


async def test_service_sees_only_what_it_is_meant_to_see(
    new_stack, fake, ask, settings, state_folder: Path
) -> None:
    full = {**settings.full, "CLOUD_PASSWORD": "secret"}
    stack = new_stack(services=[fake("first")], settings=replace(settings, full=full))
    await stack.start()

    seen = json.loads(ask(f"{stack.service('first').health_address}/environment"))

    own = {name for name in seen if name.startswith("SLIPWAY_")}
    assert own == {
        "SLIPWAY_FIRST_KAFKA__BOOTSTRAP_SERVERS",
        "SLIPWAY_FIRST_HEALTH__PORT",
        "SLIPWAY_FIRST_LOGS__FORMAT",
    }
    # The interpreter sets LC_CTYPE for itself.
    rest = seen.keys() - own - {"LC_CTYPE"}
    assert rest <= {"PATH", "HOME", "LANG", "TZ"} | {n for n in rest if n.startswith("SSL_")}


async def test_extra_environment_lasts_for_one_restart(new_stack, fake, ask) -> None:
    stack = new_stack(services=[fake("first")])
    await stack.start()
    page = f"{stack.service('first').health_address}/environment"

    await stack.restart("first", extra_env={"SLIPWAY_FAILPOINTS": "here"})
    assert json.loads(ask(page))["SLIPWAY_FAILPOINTS"] == "here"

    await stack.restart("first")
    assert "SLIPWAY_FAILPOINTS" not in json.loads(ask(page))


async def test_a_service_that_breaks_at_its_start_shows_its_last_words(
    new_stack, fake, family
) -> None:
    before = set(family(os.getpid()))
    broken = ServiceDefinition("broken", (sys.executable, "-c", "raise SystemExit('no way')"))
    stack = new_stack(services=[fake("first"), broken])

    with pytest.raises(PartError, match="no way") as raised:
        await stack.start()

    assert raised.value.name == "broken"
    assert stack.states["broken"] is PartState.FAILED
    assert set(family(os.getpid())) <= before


async def test_unknown_names_are_refused(new_stack) -> None:
    stack = new_stack()
    await stack.start()

    with pytest.raises(LocalError, match="unknown part 'kafak'"):
        await stack.kill("kafak")
    with pytest.raises(LocalError, match="unknown part 'kafak'"):
        new_stack(parts=["kafak"])


class TestLifeline:
    async def test_holds_connections_until_the_stack_stops(self, new_stack, fake) -> None:
        stack = new_stack(services=[fake("scheduler")])
        await stack.start()
        reader, writer = await asyncio.open_unix_connection(stack.lifeline)

        await stack.restart("scheduler")
        ended = asyncio.create_task(reader.read())
        done, _ = await asyncio.wait({ended}, timeout=0.2)
        assert not done

        await stack.stop()
        async with asyncio.timeout(5):
            await asyncio.wait({ended})
        writer.close()

    async def test_scheduler_is_told_where_it_is(self, new_stack, fake, ask) -> None:
        stack = new_stack(services=[fake("scheduler")])
        await stack.start()

        seen = json.loads(ask(f"{stack.service('scheduler').health_address}/environment"))

        assert seen["SLIPWAY_SCHEDULER_LIFELINE"] == str(stack.lifeline)

    async def test_has_a_short_path_in_a_deep_folder(self, new_stack, state_folder: Path) -> None:
        stack = new_stack(folder=state_folder / ("deep" * 20) / ("deeper" * 10))
        await stack.start()
        lifeline = stack.lifeline
        await stack.stop()
        await stack.start()

        assert stack.lifeline == lifeline
        assert len(str(lifeline)) < 100
        await stack.stop()
        stack.state.remove()
        assert not lifeline.parent.exists()


class TestLeftovers:
    @pytest.fixture
    def sleeper(self):
        process = subprocess.Popen(SLEEPER, start_new_session=True)
        yield process
        process.kill()
        process.wait()

    async def test_what_a_killed_supervisor_left_is_ended(self, new_stack, sleeper) -> None:
        stack = new_stack()
        run = stack.state.open().run_folder
        identity = identity_of(sleeper.pid)
        assert identity is not None
        write_record(run / "kafka.pid", identity)

        await stack.start()

        assert sleeper.wait(5) == -signal.SIGKILL
        assert not (run / "kafka.pid").exists()

    async def test_a_stranger_with_the_same_number_lives_on(self, new_stack, sleeper) -> None:
        stack = new_stack()
        run = stack.state.open().run_folder
        write_record(run / "kafka.pid", Identity(sleeper.pid, "an earlier life"))

        await stack.start()

        stranger = identity_of(sleeper.pid)
        assert stranger is not None
        assert is_alive(stranger)
        assert not (run / "kafka.pid").exists()


class TestExternals:
    async def test_an_external_address_wins_over_a_part_of_our_own(
        self, new_stack, settings, state_folder: Path
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as elsewhere:
            address = f"127.0.0.1:{elsewhere.getsockname()[1]}"
            blobs = f"AccountName=a;AccountKey=secret;BlobEndpoint=http://{address}/a"
            dsn = f"postgresql://me:secret@{address}/mine"
            externals = Externals(kafka=address, postgres=dsn, blobs=blobs)
            stack = new_stack(
                parts=["postgres", "kafka", "azurite"],
                settings=replace(settings, externals=externals),
            )

            await stack.start()

            assert set(stack.states.values()) == {PartState.EXTERNAL}
            assert [stack.kafka_bootstrap, stack.postgres_dsn] == [address, dsn]
            assert stack.secrets.blob_connection.read_text() == blobs
            assert stack.needed_tools() == []
            assert not any("secret" in stack.part(name).shown_address for name in stack.names)
            with pytest.raises(PartError, match="not ours to kill"):
                await stack.kill("kafka")
            await stack.stop()

    async def test_an_external_address_where_nobody_answers_is_named(
        self, new_stack, settings
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        stack = new_stack(
            parts=["kafka"], settings=replace(settings, externals=Externals(kafka=address))
        )

        with pytest.raises(PartError, match=f"{address} .from SLIPWAY_KAFKA_BOOTSTRAP"):
            await stack.start()
