"""The API server's own record of what was asked of it, by whom, and when.

Of bodies only those of bindings are kept: they say which pod went to which node. All else is told
by names, so that writing the record costs the server little, and costs everybody the same.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

KUBE_SCHEDULER = "system:kube-scheduler"
KWOK = "slipway:kwok"


def policy() -> dict[str, Any]:
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted", "Panic"],
        "omitManagedFields": True,
        "rules": [
            {"level": "None", "nonResourceURLs": ["/healthz*", "/livez*", "/readyz*"]},
            # Fake nodes renew theirs all the time; ours tell who leads, and are few.
            {
                "level": "None",
                "users": [KWOK],
                "resources": [{"group": "coordination.k8s.io", "resources": ["leases"]}],
            },
            {"level": "Request", "resources": [{"group": "", "resources": ["pods/binding"]}]},
            {"level": "Metadata"},
        ],
    }


class User(msgspec.Struct, frozen=True):
    username: str = ""


class Object(msgspec.Struct, frozen=True, rename="camel"):
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class Status(msgspec.Struct, frozen=True):
    code: int = 0


class Target(msgspec.Struct, frozen=True):
    name: str = ""


class Body(msgspec.Struct, frozen=True):
    target: Target = Target()


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    verb: str
    request_received_timestamp: datetime
    stage_timestamp: datetime
    """When the answer was complete."""

    request_uri: str = msgspec.field(default="", name="requestURI")
    user: User = User()
    object_ref: Object = Object()
    response_status: Status = Status()
    request_object: Body = Body()

    @property
    def kind(self) -> str:
        """Such as ``pods`` or ``pods/status``."""
        found = self.object_ref
        return f"{found.resource}/{found.subresource}" if found.subresource else found.resource

    @property
    def name(self) -> str:
        return self.object_ref.name

    @property
    def received(self) -> float:
        """When the server had the request, as seconds since 1970."""
        return self.request_received_timestamp.timestamp()

    @property
    def answered(self) -> float:
        return self.stage_timestamp.timestamp()

    @property
    def done(self) -> bool:
        return 200 <= self.response_status.code < 300


_DECODER = msgspec.json.Decoder(Entry)


def read(log: Path, *, since: float, until: float | None = None) -> list[Entry]:
    """What was received from then on, in that order; older files of the log are read, too."""
    first = datetime.fromtimestamp(since, tz=UTC)
    last = datetime.max.replace(tzinfo=UTC) if until is None else datetime.fromtimestamp(until, UTC)
    found = [
        entry
        for entry in _entries(log)
        if entry.request_received_timestamp >= first and entry.request_received_timestamp < last
    ]
    return sorted(found, key=lambda entry: entry.request_received_timestamp)


def _entries(log: Path) -> Iterator[Entry]:
    for path in sorted(log.parent.glob(f"{log.stem}*{log.suffix}")):
        with path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield _DECODER.decode(line)


def first_received(
    entries: Iterable[Entry], *, verbs: Collection[str], kind: str, user: str | None = None
) -> dict[str, float]:
    """By object's name: when the first such request that was carried out had come."""
    found: dict[str, float] = {}
    for entry in entries:
        meant = entry.verb in verbs and entry.kind == kind and entry.done
        if meant and user in {None, entry.user.username}:
            found.setdefault(entry.name, entry.received)
    return found


def calls(entries: Iterable[Entry], *, user: str) -> Counter[str]:
    """How often this user asked for what, as ``create pods``; refused ones count, too."""
    return Counter(f"{entry.verb} {entry.kind}" for entry in entries if entry.user.username == user)
