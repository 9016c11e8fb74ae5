"""Password hashes: argon2id, a bounded number at a time, off the event loop."""

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

# Memory and passes of OWASP's first recommendation: 18 ms here, where the library's default takes
# 96 ms and 64 MiB for each log-on that anybody attempts.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_SLOTS = asyncio.Semaphore(2)


async def hash_password(password: str) -> str:
    async with _SLOTS:
        return await asyncio.to_thread(_HASHER.hash, password)


async def verify_password(password_hash: str | None, password: str) -> bool:
    """None stands for a user who does not exist; that takes as long as a wrong password."""
    async with _SLOTS:
        return await asyncio.to_thread(_verify, password_hash or _NOBODY, password)


def _verify(password_hash: str, password: str) -> bool:
    try:
        _HASHER.verify(password_hash, password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash != _NOBODY


_NOBODY = _HASHER.hash("nobody logs on with this")
