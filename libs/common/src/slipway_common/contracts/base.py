"""The shape of every event: one fact, told in the past tense by the service that owns it."""

from datetime import UTC, datetime
from typing import NewType
from uuid import UUID, uuid4

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

AccountId = NewType("AccountId", UUID)
UserId = NewType("UserId", UUID)
PackageId = NewType("PackageId", UUID)
SessionId = NewType("SessionId", UUID)
TaskId = NewType("TaskId", UUID)


def utc_now() -> datetime:
    return datetime.now(tz=UTC)


class Event(BaseModel):
    """Readers ignore fields they do not know, so a field may be added with a default at any time.

    Any other change is a new topic with the next version number, published beside
    the old one until nobody reads the old one. No event ever carries a secret.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    type: str

    event_id: UUID = Field(default_factory=uuid4)
    """Stays the same when the event is sent again, so that a reader can tell."""

    occurred_at: AwareDatetime = Field(default_factory=utc_now)

    account_id: AccountId

    @property
    def subject(self) -> UUID:
        """What the event is about; events of one subject keep their order."""
        raise NotImplementedError

    @property
    def key(self) -> bytes:
        return str(self.subject).encode()
