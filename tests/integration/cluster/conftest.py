"""One cluster for each process that runs tests, with a real node and as many fake ones as wanted.

Tests kill and pause its parts, so processes that run tests at the same time must not share one:
each takes the first folder below the cache that nobody holds, and the cluster in it takes ports
and a network of its own. Objects are forgotten at the start, images stay: the node need not be
given them in each run.
"""

import os
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from slipway_local.cluster.api import Api
from slipway_local.cluster.cluster import Cluster
from slipway_local.files import try_lock
from slipway_local.settings import Settings, read_settings
from support.running_cluster import RunningCluster
from support.waiting import eventually

RUNNER = "slipway-runner"
PYTHON = "/opt/slipway/bin/python"


@pytest.fixture(scope="session")
def cluster() -> Iterator[RunningCluster]:
    folder, lock = claimed_folder(read_settings().cache_folder / "test-clusters")
    running = RunningCluster(Cluster(folder, nodes="both", fresh=True))
    running.start()
    yield running
    running.stop()
    os.close(lock)


def claimed_folder(parent: Path) -> tuple[Path, int]:
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        lock = try_lock(parent / f"{number}.lock")
        if lock is not None:
            return parent / str(number), lock
    raise AssertionError


@pytest.fixture(scope="session")
def runner_image(cluster: RunningCluster) -> str:
    """The image of sessions on the real node, by the tag that stays with its content."""
    return cluster.call(cluster.cluster.load_own_images([RUNNER]), seconds=900)[RUNNER]


@pytest.fixture
async def api(cluster: RunningCluster) -> AsyncIterator[Api]:
    async with await Api.open(cluster.cluster.kubeconfig) as opened:
        yield opened


@pytest.fixture
async def namespace(api: Api) -> AsyncIterator[str]:
    """A namespace of the test's own that takes none but restricted pods."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await api.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    await eventually(lambda: api.get(account), what="the namespace's account")
    yield name
    await api.delete(f"/api/v1/namespaces/{name}")


@pytest.fixture
def restricted() -> Callable[..., dict[str, Any]]:
    """Pods that give up all that a pod can give up."""

    def make(name: str, *, image: str, command: list[str], **spec: Any) -> dict[str, Any]:
        return {
            "metadata": {"name": name},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
                "nodeSelector": {"slipway.dev/pool": "default"},
                "securityContext": {
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "main",
                        "image": image,
                        "imagePullPolicy": "Never",
                        "command": command,
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "readOnlyRootFilesystem": True,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }
                ],
                **spec,
            },
        }

    return make


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Our own environment, pointed at a fresh state folder and at no cluster elsewhere."""
    own = {name: value for name, value in os.environ.items() if name != "SLIPWAY_KUBECONFIG"}
    return read_settings({**own, "SLIPWAY_STATE": str(tmp_path / "state")})


@pytest.fixture
def owner() -> list[str]:
    """The command of a process that owns a cluster, but for the state folder."""
    return [sys.executable, str(Path(__file__).parent / "support" / "own_cluster.py")]
