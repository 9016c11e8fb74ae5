"""A file that only its key opens, written and read as a stream (docs/envelope.md).

``magic | length of core | core | commitment | segment | segment | …``

The core is JSON: how the data key is wrapped, salt, nonce prefix, segment size and the context
that the file belongs to. Key and commitment are derived from the data key with the core as
``info``, and every segment is bound to the header, its place and whether it is the last one. So a
file that was cut, re-ordered, spliced, moved to another context or opened with another key fails
before any byte of the segment concerned comes out.
"""

import base64
import binascii
import hmac
import json
import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from slipway_common.errors import PermanentError

MAGIC = b"SLIPWAY\x01"
SEGMENT_SIZE = 1024 * 1024
TAG_SIZE = 16
DATA_KEY_SIZE = 32
MAX_CORE_SIZE = 16 * 1024

_ALGORITHM = "AES-256-GCM-STREAM/HKDF-SHA-512"
_INFO = b"slipway envelope v1\n"
_LENGTH = struct.Struct(">I")
_COMMITMENT_SIZE = 32
_SALT_SIZE = 32
_PREFIX_SIZE = 7
_MAX_SEGMENTS = 2**32

Context = Mapping[str, str]
"""What the file belongs to (account, package, …); it opens only for whoever names the same."""


class EnvelopeError(PermanentError):
    """The file is damaged, or was made for another key or context."""


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A data key, itself encrypted by a key that never leaves its keeper."""

    key_id: str
    """Which key unwraps it, in words that its keeper understands."""
    wrapped: bytes


@dataclass(frozen=True, slots=True)
class Header:
    key: WrappedKey
    context: Context
    salt: bytes
    prefix: bytes
    segment_size: int
    core: bytes
    commitment: bytes

    @property
    def encoded(self) -> bytes:
        return MAGIC + _LENGTH.pack(len(self.core)) + self.core + self.commitment


def new_data_key() -> bytes:
    return os.urandom(DATA_KEY_SIZE)


def _derive(data_key: bytes, *, salt: bytes, core: bytes) -> tuple[bytes, bytes]:
    okm = HKDF(algorithm=SHA512(), length=64, salt=salt, info=_INFO + core).derive(data_key)
    return okm[:32], okm[32:]


def _nonce(prefix: bytes, *, index: int, last: bool) -> bytes:
    if index >= _MAX_SEGMENTS:
        raise EnvelopeError("the file has too many segments")
    return prefix + index.to_bytes(4, "big") + bytes([last])


class Encryptor:
    """Feed plaintext, take ciphertext; nothing is whole before ``finish``."""

    def __init__(
        self,
        data_key: bytes,
        *,
        key: WrappedKey,
        context: Context,
        salt: bytes | None = None,  # given by test vectors only
        prefix: bytes | None = None,  # given by test vectors only
        segment_size: int = SEGMENT_SIZE,
    ) -> None:
        salt = salt or os.urandom(_SALT_SIZE)
        prefix = prefix or os.urandom(_PREFIX_SIZE)
        core = json.dumps(
            {
                "algorithm": _ALGORITHM,
                "context": dict(context),
                "key": {"id": key.key_id, "wrapped": _encode(key.wrapped)},
                "prefix": _encode(prefix),
                "salt": _encode(salt),
                "segment": segment_size,
            },
            sort_keys=True,
            separators=(",", ":"),
        ).encode()
        if len(core) > MAX_CORE_SIZE:
            raise EnvelopeError("the context is too large")
        content_key, commitment = _derive(data_key, salt=salt, core=core)
        header = Header(key, context, salt, prefix, segment_size, core, commitment)
        self._cipher = AESGCM(content_key)
        self._prefix = prefix
        self._segment_size = segment_size
        self._bound = sha256(header.encoded).digest()
        self._pending = bytearray()
        self._index = 0
        self.header = header.encoded
        """First bytes of the file."""

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """Yield the segments that are full; at least one byte is kept back for the last one."""
        self._pending += data
        while len(self._pending) > self._segment_size:
            with memoryview(self._pending) as view:
                segment = self._seal(view[: self._segment_size], last=False)
            del self._pending[: self._segment_size]
            yield segment

    def finish(self) -> bytes:
        return self._seal(self._pending, last=True)

    def _seal(self, plaintext: bytearray | memoryview, *, last: bool) -> bytes:
        nonce = _nonce(self._prefix, index=self._index, last=last)
        self._index += 1
        return self._cipher.encrypt(nonce, plaintext, self._bound)


class HeaderReader:
    """Collects the first bytes of a stream until the header is whole."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> tuple[Header, bytes] | None:
        """Return the header, and what of the data already belongs to the segments."""
        self._buffer += data
        start = len(MAGIC) + _LENGTH.size
        if not MAGIC.startswith(bytes(self._buffer[: len(MAGIC)])):
            raise EnvelopeError("this is not an encrypted file of Slipway")
        if len(self._buffer) < start:
            return None
        (size,) = _LENGTH.unpack(self._buffer[len(MAGIC) : start])
        if size > MAX_CORE_SIZE:
            raise EnvelopeError("the header is too large")
        end = start + size + _COMMITMENT_SIZE
        if len(self._buffer) < end:
            return None
        header = _parse(
            bytes(self._buffer[start : start + size]), bytes(self._buffer[end - 32 : end])
        )
        return header, bytes(self._buffer[end:])


class Decryptor:
    """Feed ciphertext, take plaintext; what comes out is right, and whole after ``finish``."""

    def __init__(self, header: Header, data_key: bytes, *, context: Context) -> None:
        if dict(header.context) != dict(context):
            raise EnvelopeError("the file belongs to something else")
        content_key, commitment = _derive(data_key, salt=header.salt, core=header.core)
        if not hmac.compare_digest(commitment, header.commitment):
            raise EnvelopeError("the key is not the one that the file was made with")
        self._cipher = AESGCM(content_key)
        self._prefix = header.prefix
        self._step = header.segment_size + TAG_SIZE
        self._bound = sha256(header.encoded).digest()
        self._pending = bytearray()
        self._index = 0

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Yield segments that were checked; the last one needs ``finish`` to be known as such."""
        self._pending += data
        while len(self._pending) > self._step:
            with memoryview(self._pending) as view:
                segment = self._open(view[: self._step], last=False)
            del self._pending[: self._step]
            yield segment

    def finish(self) -> bytes:
        if len(self._pending) < TAG_SIZE:
            raise EnvelopeError("the file is cut off")
        return self._open(self._pending, last=True)

    def _open(self, ciphertext: bytearray | memoryview, *, last: bool) -> bytes:
        nonce = _nonce(self._prefix, index=self._index, last=last)
        self._index += 1
        try:
            return self._cipher.decrypt(nonce, ciphertext, self._bound)
        except InvalidTag as error:
            raise EnvelopeError("the file is damaged or cut off") from error


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _parse(core: bytes, commitment: bytes) -> Header:
    try:
        fields: dict[str, Any] = json.loads(core)
        header = Header(
            key=WrappedKey(
                key_id=str(fields["key"]["id"]),
                wrapped=base64.b64decode(fields["key"]["wrapped"], validate=True),
            ),
            context={str(name): str(value) for name, value in fields["context"].items()},
            salt=base64.b64decode(fields["salt"], validate=True),
            prefix=base64.b64decode(fields["prefix"], validate=True),
            segment_size=int(fields["segment"]),
            core=core,
            commitment=commitment,
        )
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OverflowError,  # a segment size of infinity
        RecursionError,  # a thousand brackets
        binascii.Error,
    ) as error:
        raise EnvelopeError("the header cannot be read") from error
    if fields.get("algorithm") != _ALGORITHM:
        raise EnvelopeError("the file was made with an algorithm that is not known here")
    if len(header.prefix) != _PREFIX_SIZE or not 1 <= header.segment_size <= 16 * SEGMENT_SIZE:
        raise EnvelopeError("the header cannot be right")
    return header
