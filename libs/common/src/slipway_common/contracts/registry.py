"""Every topic of Slipway: what it carries, who writes it, who reads it, how long it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter

from slipway_common.contracts.base import Event
from slipway_common.contracts.identity import CredentialRevoked, UserChanged
from slipway_common.contracts.packages import (
    PackagePublished,
    PackageReady,
    PackageRejected,
    UploadStored,
)
from slipway_common.contracts.sessions import (
    LaunchRequested,
    SessionEnded,
    SessionFailed,
    SessionProgress,
    SessionRunning,
    SessionStarting,
    SessionWanted,
    StopRequested,
)
from slipway_common.contracts.tasks import TaskChanged

Service: TypeAlias = Literal["gateway", "accounts", "packager", "scheduler"]

DEAD_LETTER_SUFFIX = ".dlq"


@dataclass(frozen=True, slots=True)
class Topic:
    """One stream of events about one kind of thing, in one major version."""

    name: str
    events: tuple[type[Event], ...]
    adapter: TypeAdapter[Any]
    producer: Service
    consumers: tuple[Service, ...]
    kept: timedelta | None
    """How long a record is kept; None: compacted, the last record of each key stays."""
    about: str
    partitions: int = 6

    @property
    def compacted(self) -> bool:
        return self.kept is None

    @property
    def dead_letters(self) -> str:
        return self.name + DEAD_LETTER_SUFFIX

    def parse(self, body: bytes) -> Event:
        """Raise pydantic.ValidationError if the body is no event of this topic."""
        event: Event = self.adapter.validate_json(body)
        return event


_PackageOutcome: TypeAlias = Annotated[PackageReady | PackageRejected, Field(discriminator="type")]
_Launch: TypeAlias = Annotated[LaunchRequested | StopRequested, Field(discriminator="type")]
_Session: TypeAlias = Annotated[
    SessionStarting | SessionProgress | SessionRunning | SessionEnded | SessionFailed,
    Field(discriminator="type"),
]
_Identity: TypeAlias = Annotated[UserChanged | CredentialRevoked, Field(discriminator="type")]

UPLOADS = Topic(
    name="slipway.uploads.v1",
    events=(UploadStored,),
    adapter=TypeAdapter(UploadStored),
    producer="gateway",
    consumers=("packager", "accounts"),
    kept=timedelta(days=7),
    about="An archive of an app or a runtime lies complete in the inbox of its account.",
)
PACKAGES = Topic(
    name="slipway.packages.v1",
    events=(PackageReady, PackageRejected),
    adapter=TypeAdapter(_PackageOutcome),
    producer="packager",
    consumers=("accounts",),
    kept=timedelta(days=30),
    about="What became of an upload.",
)
CATALOGUE = Topic(
    name="slipway.catalogue.v1",
    events=(PackagePublished,),
    adapter=TypeAdapter(PackagePublished),
    producer="accounts",
    consumers=(),
    kept=None,
    about="Apps and runtimes that can be used; a tombstone takes one away.",
)
LAUNCHES = Topic(
    name="slipway.launches.v1",
    events=(LaunchRequested, StopRequested),
    adapter=TypeAdapter(_Launch),
    producer="gateway",
    consumers=("accounts",),
    kept=timedelta(days=7),
    about="Users ask for sessions, and for their end.",
)
SESSIONS_WANTED = Topic(
    name="slipway.sessions-wanted.v1",
    events=(SessionWanted,),
    adapter=TypeAdapter(SessionWanted),
    producer="accounts",
    consumers=("scheduler",),
    kept=None,
    about="What should run; a tombstone ends it.",
)
SESSIONS = Topic(
    name="slipway.sessions.v1",
    events=(SessionStarting, SessionProgress, SessionRunning, SessionEnded, SessionFailed),
    adapter=TypeAdapter(_Session),
    producer="scheduler",
    consumers=("accounts",),
    kept=timedelta(days=30),
    about="What runs, since when and where, and why it ended.",
)
TASKS = Topic(
    name="slipway.tasks.v1",
    events=(TaskChanged,),
    adapter=TypeAdapter(TaskChanged),
    producer="accounts",
    consumers=(),
    kept=timedelta(days=30),
    about="Every state of every task.",
)
IDENTITY = Topic(
    name="slipway.identity.v1",
    events=(UserChanged, CredentialRevoked),
    adapter=TypeAdapter(_Identity),
    producer="accounts",
    consumers=("gateway",),
    kept=None,
    about="Users and credentials: who changed, what is revoked.",
)

TOPICS: Mapping[str, Topic] = {
    topic.name: topic
    for topic in (
        UPLOADS,
        PACKAGES,
        CATALOGUE,
        LAUNCHES,
        SESSIONS_WANTED,
        SESSIONS,
        TASKS,
        IDENTITY,
    )
}

_TOPIC_OF: Mapping[type[Event], Topic] = {
    event: topic for topic in TOPICS.values() for event in topic.events
}


def topic_of(event: Event) -> Topic:
    return _TOPIC_OF[type(event)]
