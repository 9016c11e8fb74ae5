"""The control group that this process has to itself, if it has one: what a container is.

Read from the kernel's files, of either version. The group counts as our own if whoever started us
is not in it: then what it uses is what this session uses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway_common.contracts.internal import SessionUse

MEBI = 1024 * 1024
UNLIMITED_BYTES = 1 << 60
"""Version 1 has no word for "no limit": it writes a number that no machine has."""

_MEMORY = "memory"
_CPU = "cpu"
_ACCOUNTING = "cpuacct"
_UNIFIED = ""


@dataclass(frozen=True, slots=True)
class UnifiedGroup:
    """Version 2: one folder for everything."""

    folder: Path

    def read(self) -> SessionUse:
        current = _number(self.folder / "memory.current") or 0
        cached = _statistics(self.folder / "memory.stat").get("inactive_file", 0)
        # Kernels before 5.19 keep no highest value.
        peak = _number(self.folder / "memory.peak") or 0
        used = _statistics(self.folder / "cpu.stat").get("usage_usec", 0)
        quota, _, period = _text(self.folder / "cpu.max").partition(" ")
        return SessionUse(
            memory_mib=max(current - cached, 0) // MEBI,
            peak_memory_mib=max(peak, current - cached) // MEBI,
            memory_limit_mib=_limit(_number(self.folder / "memory.max")),
            cpu_seconds=used / 1e6,
            cpu_limit_millis=_millis(quota, period),
            processes=_processes(self.folder),
        )


@dataclass(frozen=True, slots=True)
class SplitGroup:
    """Version 1: a folder for each controller; of a processor limit there may be none."""

    memory: Path
    accounting: Path
    cpu: Path | None

    def read(self) -> SessionUse:
        current = _number(self.memory / "memory.usage_in_bytes") or 0
        cached = _statistics(self.memory / "memory.stat").get("total_inactive_file", 0)
        peak = _number(self.memory / "memory.max_usage_in_bytes") or 0
        quota = period = ""
        if self.cpu is not None:
            quota = _text(self.cpu / "cpu.cfs_quota_us")
            period = _text(self.cpu / "cpu.cfs_period_us")
        return SessionUse(
            memory_mib=max(current - cached, 0) // MEBI,
            peak_memory_mib=max(peak, current - cached) // MEBI,
            memory_limit_mib=_limit(_number(self.memory / "memory.limit_in_bytes")),
            cpu_seconds=(_number(self.accounting / "cpuacct.usage") or 0) / 1e9,
            cpu_limit_millis=_millis(quota, period),
            processes=_processes(self.memory),
        )


def own_group(process: Path = Path("/proc/self")) -> UnifiedGroup | SplitGroup | None:
    """None if others share our group, or if there is none that tells what it uses."""
    ours = _memberships(process)
    folders = _folders(process, ours)
    parent = _parent(process)
    # A parent that cannot be seen lives outside of our container.
    theirs = _memberships(process.parent / str(parent)) if parent else {}

    def is_own(controller: str) -> bool:
        return controller in folders and ours[controller] != theirs.get(controller)

    if is_own(_MEMORY) and is_own(_ACCOUNTING):
        return SplitGroup(
            memory=folders[_MEMORY],
            accounting=folders[_ACCOUNTING],
            cpu=folders[_CPU] if is_own(_CPU) else None,
        )
    if is_own(_UNIFIED) and (folders[_UNIFIED] / "memory.current").is_file():
        return UnifiedGroup(folders[_UNIFIED])
    return None


def _memberships(process: Path) -> dict[str, str]:
    """Controller to the path of its group; version 2 has no name for its only one."""
    found = {}
    for line in _text(process / "cgroup").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            found[controller] = path
    return found


def _folders(process: Path, memberships: Mapping[str, str]) -> dict[str, Path]:
    """Where each group of ours is mounted; a container sees its own at the mount point itself."""
    found = {}
    for line in _text(process / "mountinfo").splitlines():
        place, _, kind = line.partition(" - ")
        root, mount_point = place.split(" ")[3:5]
        file_system, _, options = kind.split(" ")[:3]
        match file_system:
            case "cgroup":
                controllers = options.split(",")
            case "cgroup2":
                controllers = [_UNIFIED]
            case _:
                continue
        for controller in controllers:
            path = memberships.get(controller)
            if path is not None:
                found[controller] = _inside(Path(mount_point), root=root, path=path)
    return found


def _inside(mount_point: Path, *, root: str, path: str) -> Path:
    below = path.removeprefix(root) if root != "/" and path.startswith(root) else path
    folder = mount_point / below.lstrip("/")
    return folder if folder.is_dir() else mount_point


def _parent(process: Path) -> int:
    for line in _text(process / "status").splitlines():
        name, _, value = line.partition(":")
        if name == "PPid":
            return int(value)
    return 0


def _text(path: Path) -> str:
    """Empty if there is no such file: which ones there are differs between kernels."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text.isdecimal() else None


def _statistics(path: Path) -> dict[str, int]:
    pairs = (line.partition(" ") for line in _text(path).splitlines())
    return {name: int(value) for name, _, value in pairs if value.isdecimal()}


def _limit(limit: int | None) -> int | None:
    return None if limit is None or limit >= UNLIMITED_BYTES else limit // MEBI


def _millis(quota: str, period: str) -> int | None:
    """A quota of -1 or "max" is none."""
    if not (quota.isdecimal() and period.isdecimal()) or int(period) == 0:
        return None
    return int(quota) * 1000 // int(period)


def _processes(folder: Path) -> int:
    return len(_text(folder / "cgroup.procs").splitlines())
