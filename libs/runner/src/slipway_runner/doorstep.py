"""Where a member waits to hear, once, which session it is to become."""

import asyncio
from uuid import UUID

from slipway_common.contracts.internal import Activation
from slipway_common.crypto import activation
from slipway_common.errors import PermanentError, TransientError
from slipway_runner.readiness import Readiness, State


class TakenError(PermanentError):
    """The member has become another session."""


class NotYetError(TransientError):
    """The member does not wait: it has nothing to begin a session with, or is about to end."""


class Doorstep:
    def __init__(self, member: str, *, key: bytes, readiness: Readiness) -> None:
        self._member = member
        self._key = key
        self._readiness = readiness
        self._session_id: UUID | None = None
        self._heard: asyncio.Future[Activation] | None = None

    async def wait(self) -> Activation:
        """Be ready to become a session, and return when that is what has happened."""
        self._heard = asyncio.get_running_loop().create_future()
        self._readiness.become(State.READY)
        return await self._heard

    def hear(self, message: bytes) -> str:
        """Return the acknowledgement, as often as the same session is named.

        Raise NotYetError, NotForUsError for what does not open, ValidationError for what opens
        and makes no sense, TakenError for another session.
        """
        if self._heard is None or self._heard.cancelled():
            raise NotYetError("the member does not wait")
        opened = activation.unseal(self._key, message, member=self._member)
        named = Activation.model_validate_json(opened)
        if self._session_id is None:
            self._session_id = named.session_id
            # At once, so that whoever has our answer finds us not ready, until the app is.
            self._readiness.become(State.STARTING)
            self._heard.set_result(named)
        if named.session_id != self._session_id:
            raise TakenError("the member has become another session")
        return activation.acknowledgement(self._key, self._session_id)
