from collections.abc import AsyncIterator, Iterator

import pytest

from integration.scheduler.nodes.ground import Ground
from support.running_cluster import RunningCluster, borrowed_cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[RunningCluster]:
    """A real control plane with fake nodes."""
    with borrowed_cluster(nodes="kwok") as running:
        yield running


@pytest.fixture
async def ground(cluster: RunningCluster) -> AsyncIterator[Ground]:
    async with Ground.open(cluster.cluster.kubeconfig) as opened:
        yield opened
