"""Fetches what the session was granted, decrypts it in memory, and checks that it is the thing.

The app never touches a disk: it lives in a sealed memory file that only this process and the
engine can read.
"""

import base64
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import UUID

import stamina

from slipway_common.blobs.names import context_of
from slipway_common.contracts.internal import PackageGrant
from slipway_common.crypto.envelope import Decryptor, EnvelopeError, HeaderReader
from slipway_common.errors import PermanentError, TransientError

ATTEMPTS = 5


class PackageDamagedError(PermanentError):
    """What came is not what the catalogue has: the session must not start."""


@dataclass(frozen=True, slots=True)
class Parcel:
    """A package that was granted, and what opens it."""

    what: str
    grant: PackageGrant
    account_id: UUID
    key: str
    """Base64 of its data key."""


async def fetch(parcel: Parcel, stream: Callable[[], AsyncIterator[bytes]]) -> int:
    """Return the descriptor of a sealed memory file that holds the archive.

    ``stream`` gives its ciphertext, from the start each time that it is called.
    """
    async for attempt in stamina.retry_context(on=TransientError, attempts=ATTEMPTS, wait_max=3):
        with attempt:
            return await _fetch_once(parcel, stream())
    raise AssertionError("the last attempt returns or raises")


async def _fetch_once(parcel: Parcel, ciphertext: AsyncIterator[bytes]) -> int:
    descriptor = os.memfd_create(f"slipway-{parcel.what}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        digest = hashlib.sha256()
        with os.fdopen(os.dup(descriptor), "wb") as file:
            async for segment in _opened(parcel, ciphertext):
                digest.update(segment)
                file.write(segment)
        if digest.hexdigest() != parcel.grant.sha256:
            raise PackageDamagedError(f"The {parcel.what} is not the one in the catalogue.")
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals | fcntl.F_SEAL_SEAL)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except EnvelopeError as error:
        os.close(descriptor)
        raise PackageDamagedError(f"The {parcel.what} cannot be opened: {error}.") from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


async def _opened(parcel: Parcel, ciphertext: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    headers = HeaderReader()
    decryptor: Decryptor | None = None
    async for chunk in ciphertext:
        rest: bytes = chunk
        if decryptor is None:
            found = headers.feed(chunk)
            if found is None:
                continue
            header, rest = found
            decryptor = Decryptor(
                header,
                base64.b64decode(parcel.key),
                context=context_of(parcel.account_id, parcel.grant.blob),
            )
        for segment in decryptor.feed(rest):
            yield segment
    if decryptor is None:
        raise EnvelopeError("the file is cut off")
    yield decryptor.finish()
