"""What a cluster leaves on the machine when it ends, and when whoever owns it is killed."""

import asyncio
import os
import re
from pathlib import Path

import psutil
import pytest

from slipway_local.cluster.api import Api
from slipway_local.cluster.cluster import Cluster
from slipway_local.cluster.machine import cgroups
from slipway_local.cluster.machine.network import INTERFACES, Network
from slipway_local.cluster.state import ClusterState
from slipway_local.errors import BusyError, LocalError, MissingToolError
from slipway_local.files import try_lock
from slipway_local.processes import become_subreaper, descendants, is_alive, wait_until
from slipway_local.settings import Settings, read_settings


def network_of(folder: Path) -> Network:
    number = ClusterState(folder).network_number
    assert number is not None
    return Network(number)


def is_there(network: Network) -> bool:
    return (INTERFACES / network.bridge).exists() or cgroups.exists(network.cgroup)


def is_left(network: Network, settings: Settings) -> bool:
    """Whether something is there of a network that nobody has taken, by now perhaps another."""
    claim = try_lock(settings.cache_folder / "networks" / str(network.number))
    if claim is None:
        return False
    found = is_there(network)
    os.close(claim)
    return found


def mounts_below(folder: Path) -> list[str]:
    return [
        line for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line
    ]


def processes_about(folder: Path) -> list[str]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        command = " ".join(process.info["cmdline"] or [])
        if str(folder) in command:
            found.append(command)
    return found


async def test_nothing_is_left_of_a_cluster_whose_owner_is_killed(
    owner: list[str], settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    become_subreaper()  # orphans come to us, and we bury none: as in many a container
    process = await asyncio.create_subprocess_exec(
        *owner, str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"running\n"
    below = descendants(process.pid)
    assert any("containerd-shim" in psutil.Process(each.pid).name() for each in below)
    left = network_of(folder)
    assert is_there(left)

    process.kill()
    await process.wait()

    # Processes and mounts go at once, by the kernel's hand alone.
    assert await wait_until(lambda: not any(map(is_alive, below)), 10)
    assert processes_about(folder) == []
    assert mounts_below(folder) == []

    # The rest goes when the next cluster starts, here or in any other folder.
    cluster = Cluster(folder, nodes="kubelet", settings=settings)
    notes: list[str] = []
    await cluster.start(lambda progress: notes.append(progress.detail))
    assert not any("building" in note for note in notes)
    await cluster.stop()
    assert not is_left(left, settings)


async def test_a_stopped_cluster_leaves_nothing_but_its_folder(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    cluster = Cluster(folder, nodes="kubelet", settings=settings)
    await cluster.start()
    own = network_of(folder)
    assert is_there(own)

    await cluster.stop()

    assert processes_about(folder) == []
    assert mounts_below(folder) == []
    assert not is_left(own, settings)


async def test_a_second_start_finds_what_the_first_has_left(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "state"
    cluster = Cluster(folder, nodes="none", settings=settings)
    await cluster.start()
    await cluster.api.create("/api/v1/namespaces", {"metadata": {"name": "kept"}})
    kubeconfig, server = cluster.kubeconfig, cluster.api.server
    await cluster.stop()

    again = Cluster(folder, nodes="none", settings=settings)
    await again.start()
    found = await again.api.get("/api/v1/namespaces/kept")
    assert (again.kubeconfig, again.api.server) == (kubeconfig, server)
    await again.stop()
    fresh = Cluster(folder, nodes="none", settings=settings, fresh=True)
    await fresh.start()
    missing = await fresh.api.get("/api/v1/namespaces/kept")
    await fresh.stop()

    assert found is not None
    assert missing is None


async def test_clusters_in_different_folders_run_side_by_side(
    settings: Settings, tmp_path: Path
) -> None:
    one = Cluster(tmp_path / "one", nodes="kwok", settings=settings)
    other = Cluster(tmp_path / "other", nodes="kwok", settings=settings)

    await one.start()
    await other.start()

    assert one.api.server != other.api.server
    assert one.fake_pods != other.fake_pods
    with pytest.raises(BusyError, match="another process runs a cluster"):
        await Cluster(tmp_path / "one", nodes="kwok", settings=settings).start()
    await one.stop()
    await other.stop()


async def test_a_cluster_elsewhere_is_used_and_never_touched(
    settings: Settings, tmp_path: Path
) -> None:
    real = Cluster(tmp_path / "real", nodes="none", settings=settings)
    await real.start()
    elsewhere = read_settings({**settings.full, "SLIPWAY_KUBECONFIG": str(real.kubeconfig)})
    guest = Cluster(tmp_path / "guest", settings=elsewhere)

    await guest.start()

    assert guest.names == ("kubernetes",)
    assert guest.kubeconfig == real.kubeconfig
    assert await guest.api.is_ready()
    account = await guest.kubeconfig_for("default", "default")
    async with await Api.open(account) as limited:
        assert await limited.is_ready()
    with pytest.raises(LocalError, match="not ours to kill"):
        await guest.kill("kubernetes")
    await guest.stop()
    assert await real.api.is_ready()
    server = real.api.server
    await real.stop()
    with pytest.raises(LocalError, match=re.escape(f"nothing answers at {server}")):
        await Cluster(tmp_path / "guest", settings=elsewhere).start()


async def test_a_kubeconfig_that_is_not_there_or_none_is_told(
    settings: Settings, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    missing = read_settings({**settings.full, "SLIPWAY_KUBECONFIG": str(wrong)})
    with pytest.raises(LocalError, match="does not exist"):
        await Cluster(tmp_path / "guest", settings=missing).start()

    wrong.write_text("[not a kubeconfig")
    with pytest.raises(LocalError, match="is no kubeconfig that can be used"):
        await Cluster(tmp_path / "guest", settings=missing).start()


async def test_what_the_machine_lacks_is_told_with_the_command_that_installs_it(
    settings: Settings, tmp_path: Path
) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    bare = read_settings(
        {**settings.full, "PATH": str(empty), "SLIPWAY_CACHE": str(tmp_path / "cache")}
    )

    with pytest.raises(MissingToolError, match=r"Go >= 1\.25 is needed to build Kubernetes"):
        await Cluster(tmp_path / "state", nodes="kwok", settings=bare).start()
