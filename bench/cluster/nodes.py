"""Nodes that follow sessions, from none to fifty and back to none, on fake machines."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import audit, occupancy
from bench.cluster.figures import Spread, spread
from bench.cluster.placing import LOG_SECONDS
from bench.cluster.traffic import FAILED, RUNNING, Heard, Wish, Wishes
from bench.cluster.world import World
from slipway_common.contracts.sessions import Resources

POOL = "bench"
MOST = 50
SIZE = Resources(memory_mib=2048, cpu_millis=1000, disk_mib=1024)
ON_ONE_NODE = 4
BOOT_SECONDS = 5
IDLE_SECONDS = 10
SETTLE_SECONDS = 3
PER_SECOND = 5.0
ARRIVING_SECONDS = 60.0
STAY_SECONDS = (20.0, 60.0)
"""Evenly spread: with 5 arrivals per second, 200 are there at a time when the last one comes."""

SHRINK_SECONDS = 120.0
EVERY_SECONDS = 10.0
SEED = 4


@dataclass(frozen=True, slots=True)
class Tide:
    wanted: int
    ran: int
    failed: int
    waits: Spread
    """From when a session was due until we heard that it runs."""

    counts: list[int]
    """Of nodes, every ten seconds."""

    most: int
    made: int
    removed: int
    left: int
    stays: int
    """How many sessions were seen on nodes that were removed later."""

    violations: list[occupancy.Violation]


def environment(folder: Path) -> dict[str, str]:
    """What makes the scheduler look after fake machines; all else is as it comes."""
    file = folder / "node-pools.json"
    pool = {"name": POOL, "cpu": ON_ONE_NODE, "memory_mib": 10 * 1024, "maximum": MOST}
    file.write_text(json.dumps([pool]))
    values = {
        "CLOUD": "kwok",
        "NODE_POOLS_FILE": str(file),
        "FAKE_BOOT": f"PT{BOOT_SECONDS}S",
        "NODE_LIMITS__IDLE_FOR": f"PT{IDLE_SECONDS}S",
        "NODE_LIMITS__SETTLE": f"PT{SETTLE_SECONDS}S",
    }
    return {f"SLIPWAY_SCHEDULER_KUBERNETES__{name}": value for name, value in values.items()}


async def measure(world: World, wishes: Wishes, heard: Heard) -> Tide:
    started = time.time()
    wanted = await _come_and_go(wishes, heard)
    end = time.time() + SHRINK_SECONDS
    while time.time() < end and await world.cluster.api.names("/api/v1/nodes"):
        await asyncio.sleep(1)
    left = await world.cluster.api.names("/api/v1/nodes")
    await asyncio.sleep(LOG_SECONDS)
    entries = audit.read(world.cluster.audit_log, since=started)
    running = heard.of(RUNNING)
    waits = sorted(
        running[wish.session_id] - wish.due for wish in wanted if wish.session_id in running
    )
    removed = occupancy.removals(entries)
    counts = occupancy.counts(entries, start=started, every=EVERY_SECONDS)
    seen = occupancy.stays(entries, prefix="session-")
    return Tide(
        wanted=len(wanted),
        ran=len(waits),
        failed=sum(wish.session_id in heard.of(FAILED) for wish in wanted),
        waits=spread(waits),
        counts=counts,
        most=max(occupancy.counts(entries, start=started, every=1.0)),
        made=len(audit.first_received(entries, verbs={"create"}, kind="nodes")),
        removed=len(removed),
        left=len(left),
        stays=sum(stay.node in removed for stay in seen),
        violations=occupancy.violations(entries, prefix="session-"),
    )


async def _come_and_go(wishes: Wishes, heard: Heard) -> Sequence[Wish]:
    """Each session is wanted for a while, counted from when it was due, and then no more."""
    generator = random.Random(SEED)
    first = time.time() + 0.2
    moments = [first + number / PER_SECOND for number in range(int(PER_SECOND * ARRIVING_SECONDS))]
    stays = [generator.uniform(*STAY_SECONDS) for _ in moments]
    leaving: list[asyncio.Task[None]] = []

    async def stay(wish: Wish, seconds: float) -> None:
        await heard.until_running([wish], seconds=SHRINK_SECONDS)
        await asyncio.sleep(seconds)
        await wishes.unwant(wish)

    async def one(number: int, moment: float) -> Wish:
        [wish] = await wishes.at([moment])
        leaving.append(asyncio.create_task(stay(wish, stays[number])))
        return wish

    async with asyncio.TaskGroup() as group:
        coming = [group.create_task(one(n, moment)) for n, moment in enumerate(moments)]
    await asyncio.gather(*leaving)
    return [task.result() for task in coming]
