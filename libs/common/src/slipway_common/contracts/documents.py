"""The contracts as documents: a JSON Schema per topic, and one AsyncAPI 3 document of them all.

``python -m slipway_common.contracts.documents FOLDER`` writes them, with ``--check`` it only
compares; a difference is exit status 1.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from slipway_common.contracts.registry import TOPICS, Topic

HEADERS = {
    "type": "object",
    "description": "CloudEvents 1.0, binary mode.",
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "format": "uuid", "description": "Same as event_id."},
        "ce_source": {"type": "string", "description": "/slipway/ and the producing service."},
        "ce_type": {"type": "string", "description": "Same as type."},
        "ce_subject": {"type": "string", "format": "uuid", "description": "Same as the key."},
        "ce_time": {"type": "string", "format": "date-time"},
        "content-type": {"const": "application/json"},
    },
    "required": ["ce_specversion", "ce_id", "ce_source", "ce_type"],
}


def schema_of(topic: Topic) -> dict[str, Any]:
    """What a reader of the topic may meet: unknown fields included, for fields are added."""
    schema: dict[str, Any] = topic.adapter.json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:slipway:schema:{topic.name}",
        "description": topic.about,
    } | schema


def asyncapi() -> dict[str, Any]:
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Slipway events",
            "version": "1.0.0",
            "description": "What happens in Slipway, for other teams to follow with a consumer "
            "group of their own. Delivery is at least once, in order per key. Fields are only "
            "ever added; anything else is a new topic with the next version.",
        },
        "defaultContentType": "application/json",
        "channels": {_name(topic): _channel(topic) for topic in TOPICS.values()},
        "operations": {
            f"{topic.producer}-sends-{_name(topic)}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{_name(topic)}"},
                "summary": topic.about,
            }
            for topic in TOPICS.values()
        },
        "components": {
            "messages": {_name(topic): _message(topic) for topic in TOPICS.values()},
        },
    }


def _name(topic: Topic) -> str:
    """AsyncAPI keys hold no dots: ``slipway.sessions.v1`` → ``sessions-v1``."""
    return topic.name.removeprefix("slipway.").replace(".", "-")


def _channel(topic: Topic) -> dict[str, Any]:
    kept = "compacted" if topic.kept is None else f"{topic.kept.days} days"
    return {
        "address": topic.name,
        "description": f"{topic.about} Kept: {kept}. Written by {topic.producer}.",
        "messages": {"event": {"$ref": f"#/components/messages/{_name(topic)}"}},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": {
                    "cleanup.policy": ["compact" if topic.compacted else "delete"]
                }
                | ({} if topic.kept is None else {"retention.ms": _milliseconds(topic)}),
            }
        },
    }


def _milliseconds(topic: Topic) -> int:
    assert topic.kept is not None
    return int(topic.kept.total_seconds() * 1000)


def _message(topic: Topic) -> dict[str, Any]:
    return {
        "name": topic.name,
        "contentType": "application/json",
        "headers": HEADERS,
        "payload": {"$ref": f"./{topic.name}.json"},
        "bindings": {"kafka": {"key": {"type": "string", "format": "uuid"}}},
    }


def documents() -> dict[str, str]:
    """File name → content."""
    found: dict[str, Any] = {f"{topic.name}.json": schema_of(topic) for topic in TOPICS.values()}
    found["asyncapi.json"] = asyncapi()
    return {
        name: json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        for name, content in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the contracts as documents.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="only compare")
    options = parser.parse_args()
    wanted = documents()
    if options.check:
        stale = [
            name
            for name in wanted.keys() | {path.name for path in options.folder.glob("*.json")}
            if not (options.folder / name).is_file()
            or (options.folder / name).read_text() != wanted.get(name)
        ]
        if stale:
            sys.exit(f"out of date, run `make schemas`: {', '.join(sorted(stale))}")
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    for name, content in wanted.items():
        (options.folder / name).write_text(content)


if __name__ == "__main__":
    main()
