"""The scheduler, put together: builds everything, wires everything, and nothing else."""

import os
from contextlib import AsyncExitStack

from slipway_common import health, process
from slipway_common.contracts.base import Event
from slipway_common.contracts.registry import SESSIONS_WANTED
from slipway_common.errors import TransientError
from slipway_common.kafka.broker import ensure_topics, start_producer
from slipway_common.kafka.publisher import Publisher
from slipway_common.kafka.table import CompactedTable
from slipway_common.periodic import Periodic
from slipway_scheduler.controller import Controller
from slipway_scheduler.settings import Settings
from slipway_scheduler.tokens import TokenSigner
from slipway_scheduler.units.processes import ProcessUnits


async def start(settings: Settings, stack: AsyncExitStack) -> None:
    await ensure_topics(settings.kafka)
    producer = await start_producer(settings.kafka, service="scheduler")
    stack.push_async_callback(producer.stop)
    signer = TokenSigner(settings.runner_signing_key_file.read_bytes())
    units = ProcessUnits(
        settings.work_folder,
        gateway_url=settings.gateway_url,
        token_for=signer.token_for,
        environment=os.environ,
        lifeline=settings.lifeline,
        task_grace=settings.task_grace,
    )

    def on_change(_: str, __: Event | None) -> None:
        loop.wake()

    def on_tombstone(key: str, headers: dict[str, str]) -> None:
        controller.on_tombstone(key, headers)
        loop.wake()

    wanted = CompactedTable(
        settings.kafka, SESSIONS_WANTED, on_change=on_change, on_tombstone=on_tombstone
    )
    controller = Controller(wanted, units, Publisher(producer), stop_grace=settings.stop_grace)
    loop = Periodic("sessions.reconcile", controller.step, every=settings.reconcile_interval)
    await stack.enter_async_context(process.background(wanted.run(), loop.run()))

    async def check_caught_up() -> None:
        if not wanted.caught_up.is_set():
            raise TransientError("the wanted sessions have not been read yet")

    probes = health.Health({"kafka": producer.client.fetch_all_metadata, "wanted": check_caught_up})
    await stack.enter_async_context(
        process.serve(
            health.build_app(probes), host=settings.health.host, port=settings.health.port
        )
    )
