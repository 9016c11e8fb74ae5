"""``python -m bench.cluster [NAME …]``: measure all or some, and write bench/CLUSTER.md.

Names: placing, nodes, warm, cold, ramp. What is not measured stays in the page as it was.
"""

import asyncio
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bench.cluster import (
    apps,
    chapters,
    cold,
    members,
    nodes,
    objects,
    placing,
    ramp,
    sightings,
    table,
    traffic,
    usage,
    warm,
)
from bench.cluster.placing import Contender
from bench.cluster.table import Section
from bench.cluster.traffic import Heard, Wishes
from bench.cluster.world import LARGE, World, beside, opened
from slipway_common.contracts.registry import SESSIONS_WANTED
from slipway_local.cluster.members import Nodes
from slipway_local.service import SERVICES
from slipway_local.stack import PARTS
from slipway_scheduler.tokens import TokenSigner

PLACING_NODES = 80
LARGE_NODES = 20


@asynccontextmanager
async def _fakes(folder: Path, count: int) -> AsyncIterator[tuple[World, Wishes, Heard]]:
    """Kafka, a scheduler and fake nodes, with somebody who wants sessions."""
    async with opened(folder, nodes=Nodes.KWOK) as world:
        await world.add_nodes(count)
        async with traffic.listening(world.kafka) as heard, traffic.wishing(world.kafka) as wishes:
            yield world, wishes, heard


async def _placing(folder: Path) -> Section:
    async with _fakes(folder, PLACING_NODES) as (world, wishes, heard):
        user = objects.user_of(objects.SCHEDULER)
        ours = Contender("ours", user, world.scheduler_pid())
        first = await placing.measure(world, ours, wishes, heard)
        await world.stack.part("scheduler").stop()
        environment = {"KAFKA": world.stack.kafka_bootstrap, "NAMESPACE": objects.PEER}
        program = beside(
            world, "bench.cluster.baseline", account=objects.PEER, environment=environment
        )
        async with program as pid:
            peer = Contender("peer", objects.user_of(objects.PEER), pid)
            second = await placing.measure(world, peer, wishes, heard)
    return chapters.placing(first, second)


async def _nodes(folder: Path) -> Section:
    environment = nodes.environment(folder)
    async with (
        opened(folder, nodes=Nodes.KWOK, environment=environment) as world,
        traffic.listening(world.kafka) as heard,
        traffic.wishing(world.kafka, resources=nodes.SIZE) as wishes,
    ):
        return chapters.nodes(await nodes.measure(world, wishes, heard))


async def _ramp(folder: Path) -> Section:
    async with _fakes(folder, ramp.NODES) as (world, wishes, heard):
        return chapters.ramp(await ramp.measure(world, wishes, heard))


async def _warm(folder: Path) -> Section:
    environment = warm.environment(folder)
    services = opened(
        folder, nodes=Nodes.KWOK, parts=PARTS, services=SERVICES, environment=environment
    )
    async with services as world:
        await world.add_nodes(LARGE_NODES, LARGE)
        runtime = apps.build_runtime(world.stack, folder)
        tenants = [
            await apps.make_tenant(world.stack, f"bench-{number}", runtime=runtime, folder=folder)
            for number in range(warm.POOLS)
        ]
        root = TokenSigner(world.stack.secrets.runner_signing_key.read_bytes()).activation_root
        async with (
            members.answering(world.cluster.kubeconfig, root_key=root) as runners,
            traffic.listening(world.kafka) as heard,
            traffic.listening(world.kafka, SESSIONS_WANTED) as wanted,
        ):
            await warm.fill(world)
            return chapters.warm(await warm.measure(world, tenants, runners, heard, wanted))


async def _cold(folder: Path) -> Section:
    async with opened(folder, nodes=Nodes.KUBELET, parts=PARTS, services=SERVICES) as world:
        runtime = apps.build_runtime(world.stack, folder)
        tenant = await apps.make_tenant(world.stack, "bench", runtime=runtime, folder=folder)
        async with (
            sightings.watching(world.cluster.kubeconfig) as seen,
            traffic.listening(world.kafka) as heard,
        ):
            return chapters.cold(await cold.measure(world, tenant, heard, seen, folder=folder))


Measure = Callable[[Path], Coroutine[Any, Any, Section]]

MEASUREMENTS: Mapping[str, Measure] = {
    "placing": _placing,
    "nodes": _nodes,
    "warm": _warm,
    "cold": _cold,
    "ramp": _ramp,
}


async def main(names: list[str]) -> None:
    # Topics are read in the moment in which they are made.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    for name, measure in MEASUREMENTS.items():
        if names and name not in names:
            continue
        section = await _measured(measure)
        print(table.text_of(section), flush=True)
        before = table.FILE.read_text() if table.FILE.exists() else ""
        table.FILE.write_text(table.page([section], before))


async def _measured(measure: Measure) -> Section:
    load, started = os.getloadavg()[0], time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as folder:
        async with usage.watched() as share:
            section = await measure(Path(folder))
    section.conditions = table.conditions(
        seconds=time.monotonic() - started, load=load, strangers=share.strangers
    )
    return section


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(MEASUREMENTS)
    if unknown:
        sys.exit(f"unknown: {', '.join(unknown)}; there are: {', '.join(MEASUREMENTS)}")
    asyncio.run(main(sys.argv[1:]))
