"""Keepers of keys: one key-encryption key per account, and the platform's seal."""

import os
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap,
    aes_key_wrap,
)
from typing_extensions import override

from slipway_common.crypto.envelope import EnvelopeError, WrappedKey
from slipway_common.errors import PermanentError

_KEY_SIZE = 32
_OAEP = padding.OAEP(
    mgf=padding.MGF1(algorithm=hashes.SHA256()), algorithm=hashes.SHA256(), label=None
)


class UnknownKeyError(PermanentError):
    """The account has no such key, or has it no more."""


class KeyRing(Protocol):
    """Wraps data keys for an account; the keys that do so stay where they are kept."""

    async def create(self, account_id: UUID) -> None:
        """Give the account a key, unless it has one."""
        ...

    async def wrap(self, account_id: UUID, data_key: bytes) -> WrappedKey: ...

    async def unwrap(self, account_id: UUID, key: WrappedKey) -> bytes:
        """Raise EnvelopeError if the key is not one of this account's."""
        ...


class FileKeyRing(KeyRing):
    """Keys in files of a folder, ``<account>/<number>.key``; the highest number wraps.

    For one machine, or for a volume that a secret store fills.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @override
    async def create(self, account_id: UUID) -> None:
        folder = self._folder / str(account_id)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not self._numbers(account_id):
            draft = folder / f".{uuid4()}.draft"
            _write_durably(draft, os.urandom(_KEY_SIZE))
            # A link fails where the name exists, so that of two makers one wins for both.
            try:
                os.link(draft, folder / "1.key")
            except FileExistsError:
                pass
            finally:
                draft.unlink()

    @override
    async def wrap(self, account_id: UUID, data_key: bytes) -> WrappedKey:
        numbers = self._numbers(account_id)
        if not numbers:
            raise UnknownKeyError(f"account {account_id} has no key")
        number = max(numbers)
        return WrappedKey(
            key_id=f"file:{account_id}/{number}",
            wrapped=aes_key_wrap(self._read(account_id, number), data_key),
        )

    @override
    async def unwrap(self, account_id: UUID, key: WrappedKey) -> bytes:
        owner, _, number = key.key_id.removeprefix("file:").partition("/")
        if owner != str(account_id):
            raise EnvelopeError("the file belongs to another account")
        if number not in map(str, self._numbers(account_id)):
            raise UnknownKeyError(f"account {account_id} has no key {number[:20]}")
        try:
            return aes_key_unwrap(self._read(account_id, int(number)), key.wrapped)
        except InvalidUnwrap as error:
            raise EnvelopeError("the key of the file is damaged") from error

    def _numbers(self, account_id: UUID) -> list[int]:
        return [
            int(path.stem)
            for path in (self._folder / str(account_id)).glob("*.key")
            if path.stem.isdecimal()
        ]

    def _read(self, account_id: UUID, number: int) -> bytes:
        try:
            return (self._folder / str(account_id) / f"{number}.key").read_bytes()
        except FileNotFoundError as error:
            raise UnknownKeyError(f"account {account_id} has no key {number}") from error


def _write_durably(path: Path, content: bytes) -> None:
    """What a key has encrypted may be safe elsewhere before the key's own page is on disk."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _fingerprint(certificate: x509.Certificate) -> str:
    return f"seal:{certificate.fingerprint(hashes.SHA256()).hex()}"


class Seal:
    """What a publisher seals an app with: only the platform can open it, not even they."""

    def __init__(self, certificate_pem: bytes) -> None:
        self._certificate = x509.load_pem_x509_certificate(certificate_pem)

    def wrap(self, data_key: bytes) -> WrappedKey:
        public_key = self._certificate.public_key()
        if not isinstance(public_key, rsa.RSAPublicKey):
            raise UnknownKeyError("the platform's certificate holds no RSA key")
        return WrappedKey(
            key_id=_fingerprint(self._certificate), wrapped=public_key.encrypt(data_key, _OAEP)
        )


class SealOpener:
    """The platform's side of the seal."""

    def __init__(self, certificate_pem: bytes, key_pem: bytes) -> None:
        self._id = _fingerprint(x509.load_pem_x509_certificate(certificate_pem))
        key = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise UnknownKeyError("the platform's seal key is no RSA key")
        self._key = key

    def unwrap(self, key: WrappedKey) -> bytes:
        if key.key_id != self._id:
            raise EnvelopeError("the app was sealed for another platform")
        try:
            return self._key.decrypt(key.wrapped, _OAEP)
        except ValueError as error:
            raise EnvelopeError("the seal is damaged") from error
