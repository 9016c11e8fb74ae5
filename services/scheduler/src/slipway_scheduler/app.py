"""The scheduler, put together: builds everything, wires everything, and nothing else."""

import os
from contextlib import AsyncExitStack
from uuid import UUID

from slipway_common import health, process
from slipway_common.contracts.registry import SESSIONS_WANTED
from slipway_common.errors import TransientError
from slipway_common.kafka.broker import ensure_topics, start_producer
from slipway_common.kafka.publisher import Publisher
from slipway_common.kafka.shards import SharedTable
from slipway_common.periodic import Periodic
from slipway_scheduler.cluster import pods
from slipway_scheduler.controller import Controller
from slipway_scheduler.place import Place, processes
from slipway_scheduler.settings import Settings
from slipway_scheduler.tokens import TokenSigner
from slipway_scheduler.wanted import WantedSessions

GROUP = "slipway-scheduler"


async def start(settings: Settings, stack: AsyncExitStack) -> None:
    await ensure_topics(settings.kafka)
    producer = await start_producer(settings.kafka, service="scheduler")
    stack.push_async_callback(producer.stop)
    signer = TokenSigner(settings.runner_signing_key_file.read_bytes())

    def look_at(session_id: UUID) -> None:
        controller.look_at(session_id)

    place: Place = await (
        processes(settings, signer, environment=os.environ)
        if settings.adapter == "processes"
        else pods(settings, signer, stack, look_at=look_at)
    )

    wanted = SharedTable(settings.kafka, SESSIONS_WANTED, group=GROUP, instance=settings.instance)
    controller = Controller(
        WantedSessions(wanted), place.units, Publisher(producer), stop_grace=place.stop_grace
    )
    look_around = Periodic("sessions.reconcile", controller.look_around, every=place.look_every)
    await stack.enter_async_context(process.background(*(loop.run() for loop in place.loops)))
    await place.ready()
    await stack.enter_async_context(
        process.background(
            wanted.run(controller),
            controller.run(),
            look_around.run(),
            *(loop.run() for loop in place.leading),
        )
    )

    async def check_joined() -> None:
        if not wanted.joined.is_set():
            raise TransientError("the wanted sessions have not been read yet")

    probes = health.Health(
        {"kafka": producer.client.fetch_all_metadata, "wanted": check_joined, **place.checks}
    )
    await stack.enter_async_context(
        process.serve(
            health.build_app(probes), host=settings.health.host, port=settings.health.port
        )
    )
