"""Fetches what the session was granted, decrypts it in memory, and checks that it is the thing.

The app never touches a disk: it lives in a sealed memory file that only this process and the
engine can read.
"""

import base64
import fcntl
import hashlib
import os
from uuid import UUID

import stamina

from slipway_common.blobs.names import context_of
from slipway_common.contracts.internal import PackageGrant
from slipway_common.crypto.envelope import Decryptor, EnvelopeError, HeaderReader
from slipway_common.errors import PermanentError, TransientError
from slipway_runner.home import Home

ATTEMPTS = 5


class PackageDamagedError(PermanentError):
    """What came is not what the catalogue has: the session must not start."""


async def fetch(home: Home, which: str, grant: PackageGrant, key: str, *, account_id: UUID) -> int:
    """Return the descriptor of a sealed memory file that holds the archive."""
    async for attempt in stamina.retry_context(on=TransientError, attempts=ATTEMPTS, wait_max=3):
        with attempt:
            return await _fetch_once(home, which, grant, key, account_id=account_id)
    raise AssertionError("the last attempt returns or raises")


async def _fetch_once(
    home: Home, which: str, grant: PackageGrant, key: str, *, account_id: UUID
) -> int:
    descriptor = os.memfd_create(f"slipway-{which}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        digest = hashlib.sha256()
        with os.fdopen(os.dup(descriptor), "wb") as file:
            headers = HeaderReader()
            decryptor: Decryptor | None = None
            async for chunk in home.package("app" if which == "app" else "runtime"):
                rest: bytes = chunk
                if decryptor is None:
                    found = headers.feed(chunk)
                    if found is None:
                        continue
                    header, rest = found
                    decryptor = Decryptor(
                        header,
                        base64.b64decode(key),
                        context=context_of(account_id, grant.blob),
                    )
                for segment in decryptor.feed(rest):
                    digest.update(segment)
                    file.write(segment)
            if decryptor is None:
                raise EnvelopeError("the file is cut off")
            last = decryptor.finish()
            digest.update(last)
            file.write(last)
        if digest.hexdigest() != grant.sha256:
            raise PackageDamagedError(f"The {which} is not the one in the catalogue.")
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals | fcntl.F_SEAL_SEAL)
        os.lseek(descriptor, 0, os.SEEK_SET)
    except EnvelopeError as error:
        os.close(descriptor)
        raise PackageDamagedError(f"The {which} cannot be opened: {error}.") from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
