"""What this session uses, now and at its highest; of a container from its control group."""

import resource
from typing import Protocol

import psutil
from typing_extensions import override

from slipway_common.contracts.internal import SessionUse
from slipway_runner import cgroup

MEBI = 1024 * 1024
KIBI = 1024


class Meter(Protocol):
    def read(self) -> SessionUse: ...


class GroupMeter(Meter):
    """Adds up the processes that came from us: for a session without a container of its own."""

    def __init__(self) -> None:
        self._peak_mib = 0

    @override
    def read(self) -> SessionUse:
        own = resource.getrusage(resource.RUSAGE_SELF)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        resident = highest = processes = 0
        seconds = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
        this = psutil.Process()
        for process in (this, *this.children(recursive=True)):
            try:
                with process.oneshot():
                    resident += process.memory_info().rss
                    highest += _highest_bytes(process.pid)
                    if process.pid != this.pid:
                        seconds += sum(process.cpu_times()[:4])
            except (psutil.Error, OSError):
                continue  # it has ended meanwhile, or lets nobody look
            processes += 1
        self._peak_mib = max(
            self._peak_mib,
            resident // MEBI,
            highest // MEBI,
            (own.ru_maxrss + ended.ru_maxrss) // KIBI,
        )
        return SessionUse(
            memory_mib=resident // MEBI,
            peak_memory_mib=self._peak_mib,
            memory_limit_mib=_data_limit_mib(),
            cpu_seconds=seconds,
            cpu_limit_millis=None,
            processes=processes,
        )


class ContainerMeter(Meter):
    """Remembers the highest that it saw, for a kernel that does not."""

    def __init__(self, group: cgroup.UnifiedGroup | cgroup.SplitGroup) -> None:
        self._group = group
        self._peak_mib = 0

    @override
    def read(self) -> SessionUse:
        use = self._group.read()
        self._peak_mib = max(self._peak_mib, use.peak_memory_mib)
        return use.model_copy(update={"peak_memory_mib": self._peak_mib})


def meter() -> Meter:
    """To be asked for before anything of ours can lose its parent."""
    group = cgroup.own_group()
    return GroupMeter() if group is None else ContainerMeter(group)


def _highest_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:  # noqa: PTH123
        for line in file:
            name, _, value = line.partition(":")
            if name == "VmHWM":
                return int(value.split()[0]) * KIBI
    return 0


def _data_limit_mib() -> int | None:
    """What whoever started us set for each process."""
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if limit == resource.RLIM_INFINITY else limit // MEBI
