"""Follow the sessions of Slipway as another team would: with its schema, and nothing else of it."""

import argparse
import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer
from jsonschema import Draft202012Validator, ValidationError

TOPIC = "slipway.sessions.v1"
SCHEMA = Path(__file__).parents[2] / "libs/common/schemas" / f"{TOPIC}.json"


def line_of(event: dict[str, Any]) -> str:
    what = event["type"].removeprefix("slipway.session.")
    more = event.get("reason") or event.get("address") or ""
    return f"{event['occurred_at']} {event['session_id']} {what} {more}".rstrip()


async def follow(servers: str, *, group: str, once: int | None) -> None:
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=servers,
        group_id=group,
        auto_offset_reset="earliest",  # a new group starts with all that is still there
        enable_auto_commit=False,  # only what was dealt with counts as read
    )
    seen = 0
    async with consumer:
        while once is None or seen < once:
            record = await consumer.getone()
            try:
                event = json.loads(record.value or b"")
                validator.validate(event)
            except (ValueError, ValidationError) as error:
                reason = str(error).partition("\n")[0]
                print(f"skipped {record.partition}/{record.offset}: {reason}", file=sys.stderr)
            else:
                print(line_of(event), flush=True)
                seen += 1
            await consumer.commit()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--group", default="session-events-example")
    parser.add_argument("--once", type=int, metavar="N", help="stop after N events")
    options = parser.parse_args()
    servers = os.environ["SLIPWAY_KAFKA_BOOTSTRAP"]
    asyncio.run(follow(servers, group=options.group, once=options.once))


if __name__ == "__main__":
    main()
