"""The whole of Slipway, running: real parts, the four services, a published runtime and apps."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway_client import SlipwayProblem
from slipway_local.stack import Stack
from support.demo import Demo, build_runtime, published
from support.running import RunningStack
from support.waiting import wait_for


@pytest.fixture(scope="session")
def runtime_archive(slipway_stack: RunningStack, repository: Path) -> Path:
    return build_runtime(slipway_stack.stack, repository)


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
    running = published(
        slipway_stack,
        runtime=runtime_archive,
        repository=repository,
        folder=tmp_path_factory.mktemp("demo"),
    )
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
