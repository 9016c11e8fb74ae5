"""What others must know at once of users and their credentials."""

from typing import Literal
from uuid import UUID

from typing_extensions import override

from slipway_common.contracts.base import Event, UserId


class CredentialRevoked(Event):
    """A log-on or an API key counts no more: forget what was derived from it."""

    type: Literal["slipway.credential.revoked"] = "slipway.credential.revoked"
    credential_id: UUID
    user_id: UserId

    @property
    @override
    def subject(self) -> UUID:
        return self.credential_id


class UserChanged(Event):
    """A user was made, changed or disabled."""

    type: Literal["slipway.user.changed"] = "slipway.user.changed"
    user_id: UserId
    name: str
    disabled: bool = False

    @property
    @override
    def subject(self) -> UUID:
        return self.user_id
