import asyncio
import json
import os
import sys
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from slipway_local.processes import Identity, descendants, is_alive, wait_until
from slipway_local.service import ServiceDefinition
from slipway_local.settings import Settings, read_settings
from slipway_local.stack import Stack
from slipway_local.state import State

SUPPORT = Path(__file__).parent / "support"
EXTERNALS = ("SLIPWAY_KAFKA_BOOTSTRAP", "SLIPWAY_POSTGRES_DSN", "SLIPWAY_BLOB_CONNECTION")


@pytest.fixture
def environment(state_folder: Path) -> dict[str, str]:
    """Our own environment, pointed at a fresh state folder and at nothing external."""
    own = {name: value for name, value in os.environ.items() if name not in EXTERNALS}
    return {**own, "SLIPWAY_STATE": str(state_folder)}


@pytest.fixture
def settings(environment: dict[str, str]) -> Settings:
    return read_settings(environment)


@pytest.fixture
def state_folder(tmp_path: Path):
    folder = tmp_path / "state"
    yield folder
    State(folder).remove()


@pytest.fixture
def fake() -> Callable[[str], ServiceDefinition]:
    def define(name: str) -> ServiceDefinition:
        return ServiceDefinition(name, (sys.executable, str(SUPPORT / "fake_service.py"), name))

    return define


@pytest.fixture
async def new_stack(settings: Settings, state_folder: Path):
    """Make stacks that are stopped at the end, however the test ends."""
    stacks: list[Stack] = []

    def make(**arguments) -> Stack:
        arguments = {"parts": (), "services": (), "settings": settings, **arguments}
        stack = Stack(arguments.pop("folder", state_folder), fsync=False, **arguments)
        stacks.append(stack)
        return stack

    yield make
    for stack in stacks:
        await stack.stop()


@pytest.fixture
def ask() -> Callable[[str], str]:
    """Fetch a page of a fake service."""

    def fetch(url: str) -> str:
        address = urlsplit(url)
        connection = HTTPConnection(address.netloc, timeout=5)
        connection.request("GET", address.path)
        answer = connection.getresponse()
        assert answer.status == 200
        content = answer.read().decode()
        connection.close()
        return content

    return fetch


@pytest.fixture
def family() -> Callable[[int], list[Identity]]:
    """All processes below one."""
    return descendants


@pytest.fixture
def until():
    """Wait for a condition; fail if it does not come true."""

    async def wait(condition: Callable[[], bool], seconds: float = 15.0) -> None:
        assert await wait_until(condition, seconds), "waited in vain"

    return wait


@pytest.fixture
def gone(until):
    async def wait(identities: list[Identity]) -> None:
        assert identities
        await until(lambda: not any(is_alive(identity) for identity in identities))

    return wait


@pytest.fixture
def command(environment: dict[str, str]):
    """Run the command line and return its status, output and errors."""

    async def run(*arguments: str, **changes: str | None) -> tuple[int, str, str]:
        merged = {**environment, **changes}
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "slipway_local",
            *arguments,
            env={name: value for name, value in merged.items() if value is not None},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    return run


@pytest.fixture
def read_state(state_folder: Path):
    def read(name: str):
        return json.loads((state_folder / name).read_text())

    return read
