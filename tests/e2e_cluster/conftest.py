"""A cluster with a real node for all tests here, and Slipway with it, in one of two ways.

In ``deployed`` the services themselves are pods, in ``demo`` they are processes of this machine.
Each belongs to one module, for both take the namespace of sessions for their own.
"""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from e2e_cluster.deployed import Deployed, deploy
from e2e_cluster.pods_demo import Pods, make_stack
from slipway_local.cluster.kubectl import apply_sessions
from slipway_local.settings import read_settings
from support.demo import Demo, build_runtime, published
from support.running import RunningStack
from support.running_cluster import RunningCluster, borrowed_cluster

IMAGE_SECONDS = 1800
"""The first time on a machine a small Debian is made for them to stand on."""


@pytest.fixture(scope="session")
def cluster() -> Iterator[RunningCluster]:
    with borrowed_cluster(nodes="kubelet") as running:
        yield running


@pytest.fixture(scope="session")
def images(cluster: RunningCluster) -> Mapping[str, str]:
    """All of ours, on the node; by name, with the tag that stays with the content."""
    return cluster.call(cluster.cluster.load_own_images(), seconds=IMAGE_SECONDS)


@pytest.fixture(scope="session")
def place_of_sessions(cluster: RunningCluster) -> None:
    """The namespace of sessions as installations have it."""
    apply_sessions(cluster.cluster.kubeconfig, read_settings())


@pytest.fixture(scope="module")
def deployed(
    cluster: RunningCluster,
    images: Mapping[str, str],
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployed]:
    with deploy(cluster, repository=repository, folder=tmp_path_factory.mktemp("deployed")) as made:
        yield made


@pytest.fixture(scope="module")
def demo(
    cluster: RunningCluster,
    images: Mapping[str, str],
    place_of_sessions: None,
    repository: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Demo]:
    """The services as processes of this machine, with what they work on published."""
    folder = tmp_path_factory.mktemp("demo")
    failpoints = folder / "failpoints"
    stack = make_stack(
        folder, cluster, runner_image=images["slipway-runner"], failpoints=failpoints
    )
    running = RunningStack(stack, failpoints=failpoints)
    with contextlib.ExitStack() as closing:
        closing.callback(running.stop)
        running.start()
        made = published(
            running,
            runtime=build_runtime(stack, repository),
            repository=repository,
            folder=folder,
        )
        yield made
        made.client.close()


@pytest.fixture
def pods(cluster: RunningCluster) -> Pods:
    return Pods(cluster)


@pytest.fixture
def probe(repository: Path) -> Path:
    return repository / "tests/data/apps/probe"
