"""The manifests, built as an operator builds them, and an API server to hold them against.

Nodes are fake: what is scheduled on them counts as running, so that a rollout comes to its end.
"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from slipway_local.cluster.cluster import Cluster
from support.kubectl import Kubectl, Manifest
from support.running_cluster import RunningCluster
from support.scripts import load

OVERLAYS = ("dev", "generated", "production")


@pytest.fixture(scope="session")
def manifests_folder(repository: Path) -> Path:
    return repository / "k8s"


@pytest.fixture(scope="session")
def make_secrets(manifests_folder: Path) -> ModuleType:
    return load(manifests_folder / "make_secrets.py")


@pytest.fixture(scope="session")
def generated_overlay(manifests_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The overlay for development, with everything in it that its generator can add."""
    generate = load(manifests_folder / "overlays/dev/generate.py")
    folder = tmp_path_factory.mktemp("overlay")
    around = generate.Surroundings(
        kafka=generate.Endpoint("10.213.1.1", 29092),
        postgres=generate.Endpoint("10.213.1.1", 25432),
        storage=generate.Endpoint("10.213.1.1", 21000),
        api_server=generate.Endpoint("10.213.1.1", 26443),
        gateway_address="10.212.1.10",
        accounts_address="10.212.1.11",
        keys_folder=folder / "keys",
        public_url="http://10.212.1.10:8080",
        sessions_host="sessions.localhost:8080",
    )
    generate.write_overlay(folder, around)
    return folder


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    running = RunningCluster(Cluster(tmp_path_factory.mktemp("cluster"), nodes="kwok", fresh=True))
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def overlays(
    cluster: RunningCluster, manifests_folder: Path, generated_overlay: Path
) -> dict[str, list[Manifest]]:
    """Each overlay, built with the kubectl that belongs to the cluster."""
    folders = {name: manifests_folder / "overlays" / name for name in OVERLAYS}
    folders["generated"] = generated_overlay
    return {name: Kubectl().build(folder) for name, folder in folders.items()}


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, overlays: dict[str, list[Manifest]]) -> list[Manifest]:
    return overlays[request.param]
