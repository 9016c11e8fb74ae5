"""What is committed for other teams is what the code makes, takes and gives."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from slipway_common.contracts.base import Event
from slipway_common.contracts.cloudevents import body_of, headers_of
from slipway_common.contracts.documents import asyncapi, documents
from slipway_common.contracts.registry import TOPICS, Topic, topic_of

VARIANTS = [(topic, event) for topic in TOPICS.values() for event in topic.events]
IDS = [f"{topic.name}-{event.__name__}" for topic, event in VARIANTS]

SECRET_NAME = re.compile(
    r"password|passwd|secret|token|credential(?!_id)|private|cookie|signature|ticket|(^|_)keys?$",
    re.IGNORECASE,
)


def type_of(event: type[Event]) -> str:
    found: str = event.model_fields["type"].default
    return found


@pytest.fixture(scope="session")
def schemas(repository: Path) -> Path:
    return repository / "libs/common/schemas"


@pytest.fixture(scope="session")
def examples(repository: Path) -> Path:
    return repository / "libs/common/examples"


def example(examples: Path, topic: Topic, event: type[Event]) -> str:
    return (examples / topic.name / f"{type_of(event)}.json").read_text()


def test_the_committed_documents_are_the_ones_that_the_code_makes(schemas: Path) -> None:
    committed = {path.name: path.read_text() for path in schemas.glob("*")}

    assert committed == documents()


def test_the_check_for_that_notices_every_difference(tmp_path: Path) -> None:
    def check() -> int:
        return subprocess.run(
            [sys.executable, "-m", "slipway_common.contracts.documents", "--check", tmp_path],
            check=False,
            capture_output=True,
        ).returncode

    for name, content in documents().items():
        (tmp_path / name).write_text(content)
    assert check() == 0
    (tmp_path / "more.json").write_text("{}")
    assert check() == 1


def test_every_topic_is_in_the_asyncapi_document_with_its_settings() -> None:
    document = asyncapi()

    channels = {channel["address"]: channel for channel in document["channels"].values()}
    assert channels.keys() == TOPICS.keys()
    for topic in TOPICS.values():
        kafka = channels[topic.name]["bindings"]["kafka"]
        assert kafka["partitions"] == topic.partitions
        policy = "compact" if topic.compacted else "delete"
        assert kafka["topicConfiguration"]["cleanup.policy"] == [policy]
    for message in document["components"]["messages"].values():
        assert message["payload"]["$ref"].removeprefix("./") in documents()
    jsonschema.Draft202012Validator.check_schema(
        document["components"]["messages"]["tasks-v1"]["headers"]
    )


@pytest.mark.parametrize(("topic", "event"), VARIANTS, ids=IDS)
def test_every_variant_has_an_example_that_is_read_and_valid(
    schemas: Path, examples: Path, topic: Topic, event: type[Event]
) -> None:
    text = example(examples, topic, event)
    schema = json.loads((schemas / f"{topic.name}.json").read_text())

    parsed = topic.parse(text.encode())

    assert type(parsed) is event
    assert topic_of(parsed) is topic
    validator = jsonschema.Draft202012Validator(
        schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    validator.validate(json.loads(text))
    validator.validate(json.loads(body_of(parsed)))
    assert json.loads(text) == json.loads(body_of(parsed))


def test_there_is_no_example_of_anything_else(examples: Path) -> None:
    there = {path.relative_to(examples).as_posix() for path in examples.rglob("*.json")}

    assert there == {f"{topic.name}/{type_of(event)}.json" for topic, event in VARIANTS}


@pytest.mark.parametrize(("topic", "event"), VARIANTS, ids=IDS)
def test_what_the_schema_refuses_the_code_refuses(
    schemas: Path, examples: Path, topic: Topic, event: type[Event]
) -> None:
    good = json.loads(example(examples, topic, event))
    validator = jsonschema.Draft202012Validator(
        json.loads((schemas / f"{topic.name}.json").read_text())
    )

    for wrong in (good | {"type": "slipway.unknown"}, good | {"account_id": 7}):
        assert not validator.is_valid(wrong)
        with pytest.raises(ValueError, match="validation error"):
            topic.parse(json.dumps(wrong).encode())


@pytest.mark.parametrize(("topic", "event"), VARIANTS, ids=IDS)
def test_a_reader_of_today_bears_a_field_of_tomorrow(
    schemas: Path, examples: Path, topic: Topic, event: type[Event]
) -> None:
    later = json.loads(example(examples, topic, event)) | {"added_later": {"any": [1]}}

    assert type(topic.parse(json.dumps(later).encode())) is event
    schema = json.loads((schemas / f"{topic.name}.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(later)


@pytest.mark.parametrize(("topic", "event"), VARIANTS, ids=IDS)
def test_headers_are_cloudevents_in_binary_mode(
    examples: Path, topic: Topic, event: type[Event]
) -> None:
    parsed = topic.parse(example(examples, topic, event).encode())

    headers = {name: value.decode("ascii") for name, value in headers_of(parsed)}

    message = asyncapi()["components"]["messages"][
        topic.name.removeprefix("slipway.").replace(".", "-")
    ]
    jsonschema.validate(headers, message["headers"])
    assert headers["ce_specversion"] == "1.0"
    assert headers["ce_id"] == str(parsed.event_id)
    assert headers["ce_type"] == parsed.type == type_of(event)
    assert headers["ce_subject"] == str(parsed.subject) == parsed.key.decode()
    assert headers["ce_source"] == f"/slipway/{topic.producer}"
    assert headers["ce_time"] == parsed.occurred_at.isoformat()
    assert headers["content-type"] == "application/json"
    assert len(headers_of(parsed)) == len(headers)


def property_names(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for value in schema.values():
            yield from property_names(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from property_names(value)


def test_no_field_of_any_event_smells_of_a_secret(schemas: Path) -> None:
    names = {
        name
        for topic in TOPICS
        for name in property_names(json.loads((schemas / f"{topic}.json").read_text()))
    }

    assert {"account_id", "sha256", "credential_id"} <= names
    assert [name for name in names if SECRET_NAME.search(name)] == []


def test_each_event_type_belongs_to_one_topic_and_says_whose_it_is() -> None:
    types = [type_of(event) for _, event in VARIANTS]

    assert len(types) == len(set(types))
    assert all(name.startswith("slipway.") for name in types)
    assert all(re.fullmatch(r"slipway\.[a-z-]+\.v\d+", name) for name in TOPICS)


def test_the_committed_openapi_document_is_the_one_that_the_gateway_makes(
    repository: Path,
) -> None:
    checked = subprocess.run(
        [
            sys.executable,
            "-m",
            "slipway_gateway.openapi",
            "--check",
            repository / "services/gateway/openapi.json",
        ],
        check=False,
        capture_output=True,
        text=True,
    )

    assert checked.returncode == 0, checked.stderr
