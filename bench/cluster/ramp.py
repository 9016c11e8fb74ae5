"""More and more sessions under one scheduler, and a scheduler that dies when there are many."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.cluster import audit, objects
from bench.cluster.audit import Entry
from bench.cluster.placing import LOG_SECONDS
from bench.cluster.traffic import RUNNING, Heard, Wish, Wishes
from bench.cluster.usage import cpu_seconds, peak_mebi, resident_mebi, used
from bench.cluster.world import World

NODES = 200
SESSIONS = 10_000
STEP = 1000
STEP_SECONDS = 90.0
"""A step that takes longer has not converged, and ends the ramp."""

RESTART_SECONDS = 90.0
WRITES = frozenset({"create", "update", "patch", "delete"})
LEASES = "leases"


@dataclass(frozen=True, slots=True)
class Step:
    sessions: int
    """How many there are when it is over."""

    seconds: float
    """Until the last of those that were added was told to run."""

    cpu_each: float
    calls: Counter[str]
    resident_mebi: float
    free_mebi: float
    """The least memory that the machine had left."""

    use: str


@dataclass(frozen=True, slots=True)
class Restart:
    sessions: int
    listing: float
    """From the first page of pods that it asked for to the last one's answer."""

    ready: float
    """From the start of its process until it said that it was ready."""

    told: float
    """From then on to when it had told again of every session."""

    writes: Counter[str]
    """All that it changed until it had settled; its own lease aside."""

    peak_mebi: int
    cpu: float
    """Seconds, from its start until it had settled."""


@dataclass(frozen=True, slots=True)
class Ramp:
    steps: Sequence[Step]
    stuck_at: int | None
    """The first size that was not reached in time."""

    peak_mebi: int
    restart: Restart | None


async def measure(world: World, wishes: Wishes, heard: Heard) -> Ramp:
    steps: list[Step] = []
    wanted: list[Wish] = []
    while len(wanted) < SESSIONS:
        step, more, converged = await _step(world, wishes, heard, there=len(wanted))
        wanted += more
        if not converged:
            peak = peak_mebi(world.scheduler_pid())
            return Ramp(steps, stuck_at=len(wanted), peak_mebi=peak, restart=None)
        steps.append(step)
    peak = peak_mebi(world.scheduler_pid())
    return Ramp(steps, None, peak, await _restart(world, heard, wanted))


async def _step(
    world: World, wishes: Wishes, heard: Heard, *, there: int
) -> tuple[Step, list[Wish], bool]:
    started = time.time()
    async with used(world.pids) as use:
        more = await wishes.at([time.time()] * min(STEP, SESSIONS - there))
        converged = await heard.until_running(more, seconds=STEP_SECONDS)
    await asyncio.sleep(LOG_SECONDS)
    entries = audit.read(world.cluster.audit_log, since=started)
    told = heard.of(RUNNING)
    step = Step(
        sessions=there + len(more),
        seconds=max((told[wish.session_id] for wish in more if wish.session_id in told), default=0)
        - started,
        cpu_each=use.cpu["scheduler"] / len(more),
        calls=audit.calls(entries, user=objects.user_of(objects.SCHEDULER)),
        resident_mebi=resident_mebi(world.scheduler_pid()),
        free_mebi=use.least_free_mebi,
        use=use.shown(),
    )
    return step, more, converged


async def _restart(world: World, heard: Heard, wanted: Sequence[Wish]) -> Restart:
    """Kill it, start it again, and see that it finds everything and changes nothing."""
    await world.stack.kill("scheduler")
    started = time.time()
    await world.stack.revive("scheduler")
    ready = time.time()
    async with asyncio.timeout(RESTART_SECONDS):
        while not _told_since(heard, wanted, started):
            await asyncio.sleep(0.25)
    # Two rounds of looking at everything, in which it might yet act on something.
    await asyncio.sleep(10)
    entries = audit.read(world.cluster.audit_log, since=started)
    ours = [one for one in entries if one.user.username == objects.user_of(objects.SCHEDULER)]
    return Restart(
        sessions=len(wanted),
        listing=listing_seconds(ours),
        ready=ready - started,
        told=max(heard.last[RUNNING].values()) - ready,
        writes=writes(ours),
        peak_mebi=peak_mebi(world.scheduler_pid()),
        cpu=cpu_seconds(world.scheduler_pid()),
    )


def _told_since(heard: Heard, wanted: Sequence[Wish], moment: float) -> bool:
    last = heard.last.get(RUNNING, {})
    return all(last.get(wish.session_id, 0.0) > moment for wish in wanted)


def listing_seconds(entries: Sequence[Entry]) -> float:
    """Over all pages of the first list of pods."""
    pages = [one for one in entries if one.verb == "list" and one.kind == "pods"]
    return pages[-1].answered - pages[0].received if pages else 0.0


def writes(entries: Sequence[Entry]) -> Counter[str]:
    return Counter(
        f"{one.verb} {one.kind}" for one in entries if one.verb in WRITES and one.kind != LEASES
    )
