"""The command line with the real parts, as a person uses it."""

import json
import os
import signal
from pathlib import Path

import asyncpg
import pytest

from slipway_local.stack import VARIABLES
from slipway_local.state import State
from slipway_local.status import read_status


@pytest.fixture
def kill_supervisor(state_folder: Path, family, gone):
    """Kill the supervisor, and wait until all that it started has ended as well."""

    async def kill() -> None:
        supervisor = read_status(State(state_folder).status_file).supervisor
        assert supervisor is not None
        below = family(supervisor.pid)
        assert len(below) > 5
        os.kill(supervisor.pid, signal.SIGKILL)
        await gone(below)

    return kill


def contents(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_up_status_env_kill_up_again_down_and_clean(
    command, state_folder: Path, kill_supervisor
) -> None:
    code, output, errors = await command("up", "--parts-only")
    assert code == 0, errors
    assert "kafka: running" in output

    code, output, _ = await command("up", "--parts-only")
    assert code == 0
    assert "runs already" in output

    code, _, errors = await command("up")
    assert code == 1
    assert "started without accounts, gateway, packager, scheduler" in errors

    code, output, _ = await command("status", "--json")
    assert code == 0
    parts = {part["name"]: part for part in json.loads(output)["parts"]}
    assert {part["state"] for part in parts.values()} == {"running"}

    assert await command("env") == (0, "", "")
    assert (await command("operate", "change-account", "x"))[0] == 1
    code, output, _ = await command("env", "--parts")
    exports = dict(line.removeprefix("export ").split("=", 1) for line in output.splitlines())
    assert exports["SLIPWAY_LOCAL_KAFKA"] == parts["kafka"]["address"]
    assert (state_folder / "secrets" / "blob-account-key").read_text() not in output
    connection = await asyncpg.connect(exports["SLIPWAY_LOCAL_POSTGRES"].strip("'"))
    await connection.execute("CREATE TABLE kept ()")
    await connection.close()

    # A shell that has them can start the stack again, and does not take it for an external one.
    assert not exports.keys() & VARIABLES.values()

    code, output, _ = await command("logs", "postgres")
    assert "ready to accept connections" in output

    await kill_supervisor()
    assert (await command("status"))[0] == 1
    code, output, errors = await command("up", "--parts-only")
    assert code == 0, errors
    connection = await asyncpg.connect(exports["SLIPWAY_LOCAL_POSTGRES"].strip("'"))
    assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    await connection.close()

    code, output, _ = await command("down")
    assert (code, output) == (0, "Stopped.\n")
    assert (await command("status"))[0] == 1
    assert (await command("env"))[0] == 1

    (state_folder / "of somebody else").touch()
    code, _, _ = await command("clean")
    assert code == 0
    assert contents(state_folder) == ["of somebody else"]


async def test_an_operator_makes_an_account(command, tmp_path: Path) -> None:
    code, _, errors = await command("up")
    assert code == 0, errors
    password = tmp_path / "password"
    password.write_text("long enough, surely")
    create = ("create-account", "acme", "--admin", "ann", "--password-file", str(password))

    code, output, _ = await command("env")
    assert code == 0
    assert output.startswith("export SLIPWAY_URL=http://localhost:")
    assert output.count("export") == 1
    code, _, errors = await command("operate", *create, "--session-limit", "2")
    assert code == 0, errors
    code, _, errors = await command("operate", *create)
    assert code == 1
    assert "account acme exists already" in errors
    code, output, _ = await command("operate", "list-accounts")
    assert code == 0
    assert [line.split()[1] for line in output.splitlines()] == ["acme", "demo"]
    code, output, _ = await command("operate", "change-account", "--help")
    assert code == 0
    assert "--no-queue" in output

    await command("down")
    code, _, errors = await command("operate", *create)
    assert code == 1
    assert "not running" in errors


async def test_missing_tools_are_named_with_the_command_that_installs_them(
    command, tmp_path: Path
) -> None:
    bare = {
        "PATH": str(tmp_path),
        "JAVA_HOME": None,
        "SLIPWAY_CACHE": str(tmp_path / "cache"),
    }

    code, _, errors = await command("up", "--parts-only", **bare)

    assert code == 3
    for words in ("Java >= 17", "Maven", "Node.js >= 20", "npm"):
        assert words in errors
    assert errors.count("Install it with") == 4
    assert "openjdk-17-jre-headless" in errors
    assert "Traceback" not in errors

    code, output, _ = await command("doctor", **bare)
    assert code == 3
    assert output.count("missing") == 4


async def test_an_old_java_is_refused(command, tmp_path: Path) -> None:
    old = tmp_path / "bin" / "java"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\"' >&2\n")
    old.chmod(0o755)

    code, _, errors = await command("up", "--parts-only", JAVA_HOME=str(tmp_path))

    assert code == 3
    assert "found 11.0.2" in errors


async def test_an_unknown_log_is_refused(command) -> None:
    code, _, errors = await command("logs", "../secrets/service-token")

    assert code == 1
    assert "there is no log" in errors
