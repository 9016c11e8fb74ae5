"""The whole of Slipway, running: real parts, the four services, a published runtime and apps."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway_client import Slipway, SlipwayProblem
from slipway_common.contracts.views import PackageState
from slipway_local.stack import Stack
from support.demo import Demo, Person
from support.running import RunningStack
from support.waiting import wait_for

RUNTIME_ID = "1.0.0.1-linux64-x64"
ACCOUNT = "demo"
ADMIN = "admin"


@pytest.fixture(scope="session")
def runtime_archive(slipway_stack: RunningStack, repository: Path) -> Path:
    """The open runtime, signed by the demo vendor that this stack trusts."""
    secrets = slipway_stack.stack.secrets
    output = slipway_stack.stack.state.folder / "dist"
    subprocess.run(
        [
            sys.executable,
            str(repository / "runtimes/open/build.py"),
            "--output",
            str(output),
            "--signer",
            str(secrets.vendor_signer),
            "--key",
            str(secrets.vendor_signer_key),
            "--id",
            RUNTIME_ID,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return output / f"{RUNTIME_ID}.zip"


@pytest.fixture(scope="session")
def slipway_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("slipway")
    failpoints = folder / "failpoints"
    stack = Stack(
        folder / "state",
        fsync=False,
        service_environment={"SLIPWAY_FAILPOINTS": f"@{failpoints}"},
    )
    running = RunningStack(stack, failpoints=failpoints)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def demo(
    slipway_stack: RunningStack,
    runtime_archive: Path,
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Demo]:
    """Slipway with the open runtime, ``depots`` and ``probe`` published."""
    subprocess.run(
        [sys.executable, str(repository / "examples/depots/prepare.py")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    running = Demo(
        running=slipway_stack,
        admin=Person(Slipway("http://127.0.0.1:1"), ""),
        repository=repository,
        folder=tmp_path_factory.mktemp("demo"),
    )
    running.admin = running.log_on(ACCOUNT, ADMIN, running.password)
    package = running.client.packages.publish_runtime(runtime_archive)
    assert running.judged(package.id).state is PackageState.READY
    for app in (repository / "examples/depots", repository / "tests/data/apps/probe"):
        assert running.publish_app(app).state is PackageState.READY
    yield running
    running.client.close()


@pytest.fixture(autouse=True, scope="module")
def free_places(demo: Demo) -> None:
    """Let each module start with all places of the account free: idle sessions hold theirs."""

    def all_are_over() -> bool:
        sessions = list(demo.client.sessions.list(open_only=True))
        for session in sessions:
            with contextlib.suppress(SlipwayProblem):  # it has ended by itself
                demo.client.sessions.stop(session.id)
        return not sessions

    wait_for(all_are_over, seconds=60, what="free places")


@pytest.fixture
def probe(demo: Demo) -> Path:
    return demo.repository / "tests/data/apps/probe"
