"""A scheduler's node loop in a process of its own, which stops itself at the worst moment.

``stop_before`` names it: ``record`` right before a size would be written down, ``size`` or
``remove`` between the last check of the leadership and the order to the cloud. The process stops as
if frozen (SIGSTOP) and says so first. Each line on standard output is one JSON document.
"""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

from typing_extensions import override

from integration.scheduler.nodes.ground import FAST
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.limits import Rank, WriteLimiter
from slipway_scheduler.kubernetes.objects import Node, Pod
from slipway_scheduler.kubernetes.reflector import Reflector
from slipway_scheduler.leadership import Elector, Leadership
from slipway_scheduler.nodes.kwok import KwokPools
from slipway_scheduler.nodes.loop import NodeLoop
from slipway_scheduler.nodes.models import PoolStatus
from slipway_scheduler.nodes.placeholders import PlaceholderStyle
from slipway_scheduler.nodes.specs import PoolSpec

BLIND = "-blind"


def say(what: str, **more: Any) -> None:
    print(json.dumps({"what": what, **more}), flush=True)


class Moment:
    """Comes once."""

    def __init__(self, name: str) -> None:
        self._name = name

    def come(self, name: str) -> None:
        if name != self._name:
            return
        self._name = ""
        say("stops", before=name)
        os.kill(os.getpid(), signal.SIGSTOP)


class StoppingApi(KubernetesApi):
    moment = Moment("")

    @override
    async def replace(
        self, resource: Resource, name: str, body: Mapping[str, Any], *, rank: Rank
    ) -> bytes:
        if resource.plural == "configmaps" and json.loads(body["data"]["record.json"])["wanted"]:
            self.moment.come("record")
        return await super().replace(resource, name, body, rank=rank)


class StoppingPools(KwokPools):
    moment = Moment("")

    @override
    async def set_size(self, status: PoolStatus, count: int) -> str:
        self.moment.come("size")
        say("size", count=count)
        return await super().set_size(status, count)

    @override
    async def remove(self, status: PoolStatus, nodes: Sequence[str]) -> str:
        self.moment.come("remove")
        say("remove", nodes=list(nodes))
        return await super().remove(status, nodes)


async def main(kubeconfig: str, own: str, sessions: str, pool: str, stop_before: str) -> None:
    blind = stop_before.endswith(BLIND)
    moment = Moment(stop_before.removesuffix(BLIND))
    async with AsyncExitStack() as stack:
        limiter = WriteLimiter(per_second=500, burst=500)
        api = await StoppingApi.open(Path(kubeconfig), stack, limiter=limiter)
        api.moment = moment
        mirrored = Resource("v1", "pods", sessions)

        def wake(_: object, __: object) -> None:
            loop.wake()

        pods = Reflector(api.watches, mirrored, Pod, selector=labels.ROLE, on_change=wake)
        nodes = Reflector(api.watches, Resource("v1", "nodes"), Node, on_change=wake)
        spec = PoolSpec.model_validate({"name": pool, "cpu": 4, "memory_mib": 4096, "maximum": 12})
        cloud = StoppingPools(api, [spec], nodes=nodes.objects, boot=timedelta(seconds=1))
        cloud.moment = moment
        loop = NodeLoop(
            api,
            cloud,
            specs=[spec],
            pods=pods,
            nodes=nodes,
            own_namespace=own,
            placeholders=PlaceholderStyle(image="pause:1", namespace=sessions),
            limits=FAST,
        )

        def tell_end(task: asyncio.Task[None]) -> None:
            say("refused", error=type(task.exception()).__name__)

        async def work(leadership: Leadership) -> None:
            say("leads", epoch=leadership.epoch)
            if blind:
                # As if its clock stood still: then the server alone is left to refuse.
                leadership = Leadership(leadership.epoch, until=time.monotonic() + 10_000)
                detached = asyncio.create_task(loop.run(leadership))
                detached.add_done_callback(tell_end)
                await asyncio.Event().wait()
            try:
                await loop.run(leadership)
            finally:
                say("ended")

        elector = Elector(
            api,
            namespace=own,
            name="slipway-nodes",
            identity=f"process-{os.getpid()}",
            duration=timedelta(seconds=6),
            renew_every=timedelta(seconds=0.5),
            margin=timedelta(seconds=1.5),
            call_limit=timedelta(seconds=2),
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(pods.run())
            group.create_task(nodes.run())
            group.create_task(elector.run(work))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
