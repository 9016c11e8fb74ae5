"""What processes use: CPU time, memory, and how much of the machine was left."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SAMPLE_SECONDS = 0.5
MEBI = 1024**2


def cpu_seconds(pid: int, *, family: bool = False) -> float:
    """``family``: with all that it has started, and that still runs."""
    process = psutil.Process(pid)
    spent = 0.0
    for one in [process, *(process.children(recursive=True) if family else ())]:
        with suppress(psutil.NoSuchProcess):
            times = one.cpu_times()
            spent += times.user + times.system
    return spent


def resident_mebi(pid: int) -> float:
    return psutil.Process(pid).memory_info().rss / MEBI


def peak_mebi(pid: int) -> int:
    """The most that it ever had, by the kernel's own count."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    raise AssertionError("the kernel tells no peak")


@dataclass(slots=True)
class Use:
    """CPU seconds by process, over the time of the block; filled when that ends."""

    seconds: float = 0.0
    cpu: dict[str, float] = field(default_factory=dict)
    idle: float = 0.0
    """Share of the machine's CPU time that nobody used."""

    least_free_mebi: float = 0.0

    cores: int = field(default_factory=lambda: psutil.cpu_count() or 1)

    @property
    def strangers(self) -> float:
        """Share of the machine that went to what is none of ours."""
        ours = sum(self.cpu.values()) / (self.seconds * self.cores)
        return max(0.0, 1 - self.idle - ours)

    def shown(self) -> str:
        """Whose CPU time it was, the largest first, in cores."""
        ordered = sorted(self.cpu.items(), key=lambda item: -item[1])
        parts = [f"{name} {spent / self.seconds:.2f}" for name, spent in ordered]
        machine = f"machine {1 - self.idle:.0%} busy, {self.strangers:.0%} with other things"
        return f"{', '.join(parts)}; {machine}"


@asynccontextmanager
async def used(pids: Callable[[], Mapping[str, int]]) -> AsyncIterator[Use]:
    """A process that ends or begins inside the block is not counted."""
    use = Use()
    loop = asyncio.get_running_loop()
    before = {name: (pid, _spent(name, pid)) for name, pid in pids().items()}
    machine = psutil.cpu_times()
    started = loop.time()
    use.least_free_mebi = psutil.virtual_memory().available / MEBI

    async def sample() -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            free = psutil.virtual_memory().available / MEBI
            use.least_free_mebi = min(use.least_free_mebi, free)

    sampling = asyncio.create_task(sample())
    try:
        yield use
    finally:
        sampling.cancel()
        use.seconds = loop.time() - started
        now = psutil.cpu_times()
        total = sum(now) - sum(machine)
        use.idle = (now.idle - machine.idle) / total if total else 0.0
        for name, pid in pids().items():
            if name in before and before[name][0] == pid:
                use.cpu[name] = _spent(name, pid) - before[name][1]


def _spent(name: str, pid: int) -> float:
    """A database is a process for each of its connections; all others are one."""
    return cpu_seconds(pid, family=name == "postgres")


@dataclass(slots=True)
class Share:
    strangers: float = 0.0
    """Of the machine's CPU time: what went to processes that are not of our own family."""


@asynccontextmanager
async def watched() -> AsyncIterator[Share]:
    """Filled when the block ends. Of our family is whoever we, or ours, have started."""
    share = Share()
    ours: dict[tuple[int, float], float] = {}
    first: dict[tuple[int, float], float] = {}
    before = psutil.cpu_times()

    def sample() -> None:
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                key, times = (process.pid, process.create_time()), process.cpu_times()
                ours[key] = times.user + times.system
                first.setdefault(key, ours[key] if key[0] == os.getpid() else 0.0)

    async def keep() -> None:
        while True:
            sample()
            await asyncio.sleep(1)

    sampling = asyncio.create_task(keep())
    try:
        yield share
    finally:
        sampling.cancel()
        now = psutil.cpu_times()
        total, idle = sum(now) - sum(before), now.idle - before.idle
        spent = sum(ours[key] - first[key] for key in ours)
        share.strangers = max(0.0, 1 - (idle + spent) / total) if total else 0.0
