"""The cluster's part of the command line, as a person uses it."""

import asyncio
import os
import shutil
import signal
import sys

import pytest

from slipway_local.cluster.state import ClusterState
from slipway_local.processes import descendants, is_alive, wait_until
from slipway_local.settings import Settings
from slipway_local.status import read_status


@pytest.fixture
def command(settings: Settings):
    """Run the command line and return its status, output and errors."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "slipway_local", "cluster", *arguments),
            env=dict(settings.full),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(), errors.decode()

    return run


async def test_up_status_env_kill_up_again_down_and_clean(command, settings: Settings) -> None:
    state = ClusterState(settings.state_folder / "cluster")
    code, output, errors = await command("up", "--nodes", "kwok")
    assert code == 0, errors
    assert "kube-apiserver: running" in output
    assert "The cluster is ready." in output

    code, output, _ = await command("up", "--nodes", "kwok")
    assert code == 0
    assert "The cluster runs already." in output
    code, _, errors = await command("up", "--nodes", "kubelet")
    assert code == 1
    assert "started without node, containerd, kubelet" in errors
    code, output, _ = await command("env")
    export, *others = output.splitlines()
    assert export == f"export KUBECONFIG={state.configuration / 'admin.kubeconfig'}"
    # Only a path without kubectl is given one.
    assert [line.startswith('export PATH="$PATH":') for line in others] == (
        [] if shutil.which("kubectl") else [True]
    )

    supervisor = read_status(state.status_file).supervisor
    assert supervisor is not None
    below = descendants(supervisor.pid)
    os.kill(supervisor.pid, signal.SIGKILL)
    assert await wait_until(lambda: not any(map(is_alive, below)), 10)
    code, output, _ = await command("status")
    assert (code, output) == (1, "Nothing is running.\n")

    code, _, errors = await command("up", "--nodes", "kwok")
    assert code == 0, errors
    code, output, _ = await command("down")
    assert (code, output) == (0, "Stopped.\n")
    code, output, _ = await command("clean")
    assert code == 0
    assert not state.folder.exists()


async def test_a_part_that_crashes_is_brought_back(command, settings: Settings) -> None:
    state = ClusterState(settings.state_folder / "cluster")
    code, _, errors = await command("up", "--nodes", "none")
    assert code == 0, errors
    before = {part.name: part.pid for part in read_status(state.status_file).parts}
    pid = before["kube-scheduler"]
    assert pid is not None

    os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        status = read_status(state.status_file)
        now = {part.name: part.pid for part in status.parts}
        return status.good and now["kube-scheduler"] not in {None, pid}

    assert await wait_until(is_back, 60)
    await command("down")
    await command("clean")
