"""A relay in a process of its own, for failpoints to kill."""

import asyncio
import sys

from slipway_common.kafka.broker import start_producer
from slipway_common.postgres.database import Database
from slipway_common.postgres.relay import Relay
from slipway_common.settings import KafkaSettings, PostgresSettings


async def main(dsn: str, bootstrap: str) -> None:
    database = await Database.connect(
        PostgresSettings.model_validate({"dsn": dsn}), service="relay"
    )
    producer = await start_producer(KafkaSettings(bootstrap_servers=bootstrap), service="relay")
    await Relay(database, producer).run()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
