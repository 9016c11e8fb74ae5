"""From the bytes that a publisher sent to the bytes of the archive: opens the seal of an app.

Never more than a few segments of it are in memory, and nothing of it on disk.
"""

from collections.abc import Iterator
from typing import Protocol

from typing_extensions import override

from slipway_common.crypto.envelope import (
    MAGIC,
    Context,
    Decryptor,
    EnvelopeError,
    HeaderReader,
)
from slipway_common.crypto.keys import SealOpener
from slipway_common.errors import PermanentError


class InvalidSealError(PermanentError):
    """The app is not sealed, or not for this platform, name and version."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Intake(Protocol):
    def feed(self, data: bytes) -> Iterator[bytes]: ...

    def finish(self) -> bytes:
        """What is left; raises if the bytes were cut off."""
        ...


class PlainIntake(Intake):
    """A runtime comes as it is: its signature protects it, and it is no secret."""

    @override
    def feed(self, data: bytes) -> Iterator[bytes]:
        yield data

    @override
    def finish(self) -> bytes:
        return b""


def seal_context(name: str, version: str) -> Context:
    """What ``slipway pack`` binds the seal to: an app cannot be published as another one."""
    return {"purpose": "app", "name": name, "version": version}


class SealedIntake(Intake):
    def __init__(self, opener: SealOpener, *, name: str, version: str) -> None:
        self._opener = opener
        self._context = seal_context(name, version)
        self._headers = HeaderReader()
        self._decryptor: Decryptor | None = None
        self._start = b""

    @override
    def feed(self, data: bytes) -> Iterator[bytes]:
        try:
            yield from self._feed(data)
        except EnvelopeError as error:
            raise InvalidSealError("seal-broken", f"The seal cannot be opened: {error}.") from error

    def _feed(self, data: bytes) -> Iterator[bytes]:
        if self._decryptor is None:
            self._require_seal(data)
            found = self._headers.feed(data)
            if found is None:
                return
            header, data = found
            if dict(header.context) != dict(self._context):
                sealed_as = f"{header.context.get('name')} {header.context.get('version')}"
                raise InvalidSealError(
                    "seal-mismatch", f"The archive was sealed as {sealed_as}. Pack it again."
                )
            key = self._opener.unwrap(header.key)
            self._decryptor = Decryptor(header, key, context=self._context)
        yield from self._decryptor.feed(data)

    def _require_seal(self, data: bytes) -> None:
        self._start = (self._start + data[: len(MAGIC)])[: len(MAGIC)]
        if MAGIC.startswith(self._start) or self._start.startswith(MAGIC):
            return
        if self._start.startswith(b"PK"):
            raise InvalidSealError(
                "not-sealed", "The archive is not sealed. Use `slipway publish`."
            )
        raise InvalidSealError("not-an-archive", "This is not an app that `slipway pack` made.")

    @override
    def finish(self) -> bytes:
        if self._decryptor is None:
            raise InvalidSealError("seal-broken", "The archive is cut off.")
        try:
            return self._decryptor.finish()
        except EnvelopeError as error:
            raise InvalidSealError("seal-broken", f"The seal cannot be opened: {error}.") from error
