"""The command of the demo, whole, with its sessions in pods of a cluster that is there already."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from slipway_local.daemon import bring_down
from slipway_local.state import State
from slipway_local.status import STOPPED, read_status
from support.running_cluster import RunningCluster

SECONDS = 240


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State(tmp_path / "state")
    yield made
    asyncio.run(bring_down(made))
    made.remove()


def test_the_whole_job_runs_in_pods_and_leaves_the_cluster_that_was_there(
    cluster: RunningCluster, images: Mapping[str, str], state: State, repository: Path
) -> None:
    command = [sys.executable, "-m", "slipway_local", "demo", "--once", "--sessions", "pods"]
    environment = {
        **os.environ,
        "SLIPWAY_STATE": str(state.folder),
        "SLIPWAY_KUBECONFIG": str(cluster.cluster.kubeconfig),
        "SLIPWAY_PODS_IMAGE": images["slipway-runner"],
    }

    done = subprocess.run(
        command,
        cwd=repository,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "Its container runs" in done.stdout
    assert "result: optimal" in done.stdout
    assert read_status(state.status_file) == STOPPED
    events = cluster.kubectl.list("events", namespace="slipway-sessions")
    ran = {each["involvedObject"]["name"] for each in events if each["reason"] == "Started"}
    assert any(name.startswith("session-") for name in ran)
    assert cluster.call(cluster.cluster.api.is_ready())
