"""What the checker reads of the lines of an audit log, and nothing else of them."""

from typing import Any

import msgspec


class Owner(msgspec.Struct):
    kind: str = ""
    name: str = ""
    uid: str = ""


class Meta(msgspec.Struct, rename="camel"):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    labels: dict[str, str] | None = None
    finalizers: list[str] | None = None
    owner_references: list[Owner] | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None


class State(msgspec.Struct):
    terminated: dict[str, Any] | None = None


class Container(msgspec.Struct):
    state: State | None = None


class PodStatus(msgspec.Struct, rename="camel"):
    phase: str = ""
    container_statuses: list[Container] | None = None


class Spec(msgspec.Struct, rename="camel"):
    node_name: str | None = None


class Pod(msgspec.Struct):
    kind: str = ""
    metadata: Meta | None = None
    spec: Spec | None = None
    status: msgspec.Raw = msgspec.Raw(b"null")
    """Of a pod an object, of an answer without one a word."""

    items: list["Pod"] | None = None


class Reference(msgspec.Struct):
    resource: str = ""
    namespace: str = ""
    name: str = ""
    subresource: str = ""


class Outcome(msgspec.Struct):
    code: int = 0


class User(msgspec.Struct):
    username: str = ""


class Line(msgspec.Struct, rename="camel"):
    verb: str = ""
    stage: str = ""
    request_uri: str = msgspec.field(default="", name="requestURI")
    user: User = msgspec.field(default_factory=User)
    object_ref: Reference = msgspec.field(default_factory=Reference)
    response_status: Outcome = msgspec.field(default_factory=Outcome)
    request_object: msgspec.Raw = msgspec.Raw(b"null")
    response_object: msgspec.Raw = msgspec.Raw(b"")
    request_received_timestamp: str = ""
    stage_timestamp: str = ""


class Preconditions(msgspec.Struct):
    uid: str | None = None


class Options(msgspec.Struct):
    preconditions: Preconditions | None = None


_LINE = msgspec.json.Decoder(Line)
_BEGINNING = b'{"kind":"Event"'


def read_line(text: bytes) -> tuple[Line | None, bool]:
    """Return what the line says, and whether it is torn: its server was killed as it wrote.

    What is written next stands in the same line; None if there is nothing that can be read.
    """
    try:
        return _LINE.decode(text), False
    except msgspec.DecodeError:
        start = text.rfind(_BEGINNING)
    if start <= 0:
        return None, True
    try:
        return _LINE.decode(text[start:]), True
    except msgspec.DecodeError:
        return None, True
