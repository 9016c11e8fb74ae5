"""The parts around what is measured: a cluster, Kafka, our services as processes of their own.

All of it is on this machine, load included, and ends with the block.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import audit, objects
from slipway_common.settings import KafkaSettings
from slipway_local.cluster.cluster import Cluster
from slipway_local.cluster.fakes.nodes import fake_nodes
from slipway_local.cluster.machine.node import DEFAULT_POOL, POOL_LABEL
from slipway_local.cluster.members import Nodes
from slipway_local.environment import PodPlace
from slipway_local.service import ServiceDefinition, own_service
from slipway_local.stack import Stack

USUAL = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "200Gi", "pods": "110"}
"""A node as large as real ones often are."""

LARGE = {"cpu": "256", "memory": "1Ti", "ephemeral-storage": "2Ti", "pods": "256"}
"""A node of which few are enough, where nodes are not what matters."""

RUNNER = "slipway-runner"
READY_SECONDS = 30.0
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class World:
    cluster: Cluster
    stack: Stack

    @property
    def kafka(self) -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=self.stack.kafka_bootstrap)

    @property
    def image(self) -> str:
        """Of the runner; a name that leads nowhere if there is no real node."""
        return self.cluster.images.get(RUNNER, f"{RUNNER}:dev")

    def pids(self) -> dict[str, int]:
        """Of all that runs for us, the load itself included, by name."""
        found = {"load": os.getpid()}
        for group in (self.cluster, self.stack):
            for name in group.names:
                pid = group.part(name).pid
                if pid is not None:
                    found[name] = pid
        return found

    async def add_nodes(self, count: int, capacity: Mapping[str, str] = USUAL) -> None:
        """Fake ones, which are ready at once."""
        nodes = fake_nodes(
            count,
            prefix="bench",
            taken=await self.cluster.api.names("/api/v1/nodes"),
            labels={POOL_LABEL: DEFAULT_POOL},
            capacity=capacity,
            boot_seconds=0,
        )
        await self.cluster.api.create_all("/api/v1/nodes", nodes)

    def scheduler_pid(self) -> int:
        pid = self.stack.part("scheduler").pid
        assert pid is not None, "the scheduler has ended"
        return pid


@asynccontextmanager
async def opened(
    folder: Path,
    *,
    nodes: Nodes,
    parts: Sequence[str] = ("kafka",),
    services: Sequence[ServiceDefinition] = (own_service("scheduler"),),
    environment: Mapping[str, str] | None = None,
) -> AsyncIterator[World]:
    """``environment`` is on top of what the services have in a local stack."""
    cluster = Cluster(
        folder / "cluster", nodes=nodes, fresh=True, images=[RUNNER] if nodes.real else []
    )
    try:
        await cluster.start()
        # Whole bodies would cost the server more than what it is asked to do.
        policy = cluster.state.configuration / "audit-policy.json"
        policy.write_text(json.dumps(audit.policy()))
        await cluster.restart("kube-apiserver")
        await objects.prepare(cluster.api)
        place = PodPlace(
            kubeconfig=await cluster.kubeconfig_for(objects.OWN, objects.SCHEDULER),
            host_address=cluster.host_address,
            runner_image=cluster.images.get(RUNNER, f"{RUNNER}:dev"),
        )
        stack = Stack(
            folder / "state",
            parts=parts,
            services=services,
            service_environment=environment,
            pods=place,
        )
        try:
            await stack.start()
            yield World(cluster, stack)
        finally:
            await stack.stop()
            stack.state.remove()
    finally:
        await cluster.stop()
        cluster.state.remove()


@asynccontextmanager
async def beside(
    world: World, module: str, *, account: str, environment: Mapping[str, str] | None = None
) -> AsyncIterator[int]:
    """A program of ours beside the services, once it has said that it is ready; its process id."""
    kubeconfig = await world.cluster.kubeconfig_for(objects.OWN, account)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", module),
        env=os.environ | {"KUBECONFIG": str(kubeconfig)} | dict(environment or {}),
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(READY_SECONDS):
            assert await process.stdout.readline() == b"ready\n", f"{module} did not start"
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
