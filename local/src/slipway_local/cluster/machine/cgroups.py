"""The control groups below which a kubelet keeps its pods, of either version.

Only a group's parent is made here: what lies below is the kubelet's. After a kill
of the whole node empty groups stay behind, which nothing but this removes.
"""

import errno
import time
from pathlib import Path

from slipway_local.errors import LocalError

ROOT = Path("/sys/fs/cgroup")
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids", "systemd", "hugetlb")
"""Of version 1: those in which the kubelet looks for its root."""

DELEGATED = ("cpu", "cpuset", "io", "memory", "pids", "hugetlb")
"""Of version 2."""

EMPTYING_SECONDS = 5.0
POLL_SECONDS = 0.05


def make(name: str) -> None:
    if _unified():
        present = (ROOT / "cgroup.controllers").read_text().split()
        wanted = " ".join(f"+{each}" for each in DELEGATED if each in present)
        (ROOT / "cgroup.subtree_control").write_text(wanted)
        (ROOT / name).mkdir(exist_ok=True)
        (ROOT / name / "cgroup.subtree_control").write_text(wanted)
        return
    for controller in CONTROLLERS:
        if (ROOT / controller).is_dir():
            (ROOT / controller / name).mkdir(exist_ok=True)


def exists(name: str) -> bool:
    return bool(_folders(name))


def remove(name: str) -> None:
    """Remove the groups, from the leaves on; the kernel may take a moment to empty them."""
    deadline = time.monotonic() + EMPTYING_SECONDS
    for folder in _folders(name):
        below = [path for path in folder.rglob("*") if path.is_dir()]
        for group in sorted([folder, *below], key=lambda path: len(path.parts), reverse=True):
            while not _removed(group):
                if time.monotonic() > deadline:
                    raise LocalError(f"the control group {group} does not get empty")
                time.sleep(POLL_SECONDS)


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno == errno.EBUSY:
            return False
        raise
    return True


def _folders(name: str) -> list[Path]:
    parents = [ROOT] if _unified() else [path for path in ROOT.glob("*") if path.is_dir()]
    return [parent / name for parent in parents if (parent / name).is_dir()]


def _unified() -> bool:
    return (ROOT / "cgroup.controllers").exists()
