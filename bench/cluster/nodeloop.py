"""The node loop in a process of its own, on fake machines: what leads it, and what it decides.

``python -m bench.cluster.nodeloop``, with KUBECONFIG and the file POOLS in the environment.
"""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import uvloop

from bench.cluster import objects
from slipway_common import process
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.limits import WriteLimiter
from slipway_scheduler.kubernetes.objects import Node, Pod
from slipway_scheduler.kubernetes.reflector import Reflector
from slipway_scheduler.leadership import Elector
from slipway_scheduler.nodes.kwok import KwokPools
from slipway_scheduler.nodes.loop import NodeLoop
from slipway_scheduler.nodes.placeholders import PlaceholderStyle
from slipway_scheduler.nodes.specs import NodeLimits, read_pools

BOOT = timedelta(seconds=5)
LIMITS = NodeLimits(idle_for=timedelta(seconds=10), settle=timedelta(seconds=3))
"""Short, so that a tide takes two minutes; all else is as it comes."""

WRITES_PER_SECOND = 500


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with AsyncExitStack() as stack:
        limiter = WriteLimiter(per_second=WRITES_PER_SECOND, burst=WRITES_PER_SECOND)
        api = await KubernetesApi.open(Path(os.environ["KUBECONFIG"]), stack, limiter=limiter)

        def wake(*_: object) -> None:
            loop.wake()

        pods = Reflector(
            api.watches,
            Resource("v1", "pods", objects.SESSIONS),
            Pod,
            selector=labels.ROLE,
            on_change=wake,
        )
        nodes = Reflector(api.watches, Resource("v1", "nodes"), Node, on_change=wake)
        specs = read_pools(Path(os.environ["POOLS"]))
        loop = NodeLoop(
            api,
            KwokPools(api, specs, nodes=nodes.objects, boot=BOOT),
            specs=specs,
            pods=pods,
            nodes=nodes,
            own_namespace=objects.OWN,
            placeholders=PlaceholderStyle(image="pause", namespace=objects.SESSIONS),
            limits=LIMITS,
        )
        elector = Elector(
            api, namespace=objects.OWN, name="bench-node-loop", identity=str(os.getpid())
        )
        mirrors = process.background(pods.run(), nodes.run(), elector.run(loop.run))
        await stack.enter_async_context(mirrors)
        await pods.synced.wait()
        await nodes.synced.wait()
        print("ready", flush=True)
        await stop.wait()


if __name__ == "__main__":
    uvloop.run(main())
