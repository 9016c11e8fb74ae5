"""What the controller needs of a place where sessions run; pods and processes both give it."""

from collections.abc import Mapping
from typing import Protocol
from uuid import UUID

from slipway_common.contracts.sessions import EndReason, SessionWanted
from slipway_scheduler.models import Unit


class Units(Protocol):
    """Every call may be repeated: what is there already, or gone already, is success."""

    async def list(self) -> Mapping[UUID, Unit]:
        """All units that are there now, asked of the place itself and not of any memory."""
        ...

    async def create(self, wanted: SessionWanted) -> None: ...

    async def stop(self, session_id: UUID, *, reason: EndReason, message: str) -> None:
        """Ask the unit to end; the reason is remembered with it, for whoever asks later."""
        ...

    async def kill(self, session_id: UUID) -> None: ...

    async def forget(self, session_id: UUID) -> None:
        """Remove the record of a unit of which nothing runs."""
        ...
