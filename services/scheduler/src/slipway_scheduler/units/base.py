"""What the controller needs of a place where sessions run; pods and processes both give it."""

from collections.abc import Collection
from typing import Protocol
from uuid import UUID

from slipway_common.contracts.sessions import EndReason, SessionWanted
from slipway_common.errors import TransientError
from slipway_scheduler.models import Unit


class NoPlaceError(TransientError):
    """The place takes no more at the moment; the message is for the session's user."""


class Units(Protocol):
    """Every call may be repeated: what is there already, or gone already, is success.

    A place that tells of changes by itself does so by session id, to whoever built it.
    """

    async def refresh(self) -> None:
        """Look anew at what does not tell of its changes by itself."""
        ...

    def find(self, session_id: UUID) -> Unit | None: ...

    def ids(self) -> Collection[UUID]:
        """Sessions of which there is a unit, wanted or not."""
        ...

    async def create(self, wanted: SessionWanted) -> None:
        """NoPlaceError: not now. Any other PermanentError: never, and its text says why."""
        ...

    async def activate(self, wanted: SessionWanted) -> None:
        """Tell a unit that waits for it which session it is."""
        ...

    async def stop(self, session_id: UUID, *, reason: EndReason, message: str) -> None:
        """Ask the unit to end; the reason is remembered with it, for whoever asks later."""
        ...

    async def kill(self, session_id: UUID) -> None: ...

    async def forget(self, session_id: UUID) -> None:
        """Remove the record of a unit of which nothing runs."""
        ...
