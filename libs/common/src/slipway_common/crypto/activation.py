"""How a scheduler tells a waiting runner which session it is to become.

A runner that waits in a pool has a key that only it and the scheduler know. The session's token
travels encrypted under it: an address that meanwhile belongs to another pod gets nothing that it
can read, and cannot answer as the one that was meant.
"""

import hashlib
import hmac
import os
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from slipway_common.errors import PermanentError

KEY_BYTES = 32
_NONCE_BYTES = 12
_CONTEXT = b"slipway-activation:"


class NotForUsError(PermanentError):
    """The message was made for another member, or by somebody without the key."""


def member_key(root: bytes, member: str) -> bytes:
    """The key of one member, derived so that no scheduler has to remember it.

    ``root`` is a secret that all schedulers share; ``member`` is a name that is never used again.
    """
    return hmac.new(root, _CONTEXT + member.encode(), hashlib.sha256).digest()


def seal(key: bytes, content: bytes, *, member: str) -> bytes:
    nonce = os.urandom(_NONCE_BYTES)
    cipher = AESGCM(_derived(key, b"seal"))
    return nonce + cipher.encrypt(nonce, content, _CONTEXT + member.encode())


def unseal(key: bytes, message: bytes, *, member: str) -> bytes:
    """Raise NotForUsError unless the message was sealed for this member."""
    nonce, ciphertext = message[:_NONCE_BYTES], message[_NONCE_BYTES:]
    try:
        cipher = AESGCM(_derived(key, b"seal"))
        return cipher.decrypt(nonce, ciphertext, _CONTEXT + member.encode())
    except (InvalidTag, ValueError) as error:
        raise NotForUsError("the message was not made for this member") from error


def acknowledgement(key: bytes, session_id: UUID) -> str:
    """What a member answers once it has become the session: only it can know this."""
    return hmac.new(_derived(key, b"answer"), session_id.bytes, hashlib.sha256).hexdigest()


def _derived(key: bytes, purpose: bytes) -> bytes:
    """One key per use: what is known of one says nothing about another."""
    return hmac.new(key, b"slipway-activation-" + purpose, hashlib.sha256).digest()
