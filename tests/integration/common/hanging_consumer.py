"""Consumes as our services do: handles its first event, and never finishes the second."""

import asyncio
import sys
from dataclasses import replace
from typing import Any

from slipway_common.contracts import registry
from slipway_common.contracts.registry import LAUNCHES
from slipway_common.kafka.broker import build_broker
from slipway_common.settings import KafkaSettings


async def main(bootstrap: str, topic: str, group: str) -> None:
    own = replace(LAUNCHES, name=topic)
    registry.TOPICS[topic] = own  # type: ignore[index]
    broker = build_broker(KafkaSettings(bootstrap_servers=bootstrap), service="hanging")

    async def handle(event: Any) -> None:
        sys.stdout.write(f"{event.app_version}\n")
        sys.stdout.flush()
        if event.app_version != "0":
            await asyncio.Event().wait()

    broker.subscriber(
        topic,
        group_id=group,
        auto_offset_reset="earliest",
        session_timeout_ms=6000,
        heartbeat_interval_ms=1500,
    )(handle)
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
