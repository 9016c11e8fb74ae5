"""Passwords, keys and certificates of one stack: made once, kept private, never printed."""

import secrets as random_secrets
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificatePublicKeyTypes,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from slipway_local.files import PRIVATE_FOLDER, write_atomically

TOKEN_BYTES = 32
AZURITE_KEY_BYTES = 64
SEAL_KEY_BITS = 3072
CERTIFICATE_LIFETIME = timedelta(days=3650)
CLOCK_SKEW = timedelta(hours=1)

Maker = Callable[[], Mapping[str, bytes]]


class Secrets:
    """Files below one folder, each readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def keys_folder(self) -> Path:
        """Key-encryption keys of the accounts; the services fill it."""
        return self.folder / "keys"

    @property
    def service_token(self) -> Path:
        return self.folder / "service-token"

    @property
    def session_secret(self) -> Path:
        return self.folder / "session-secret"

    @property
    def admin_password(self) -> Path:
        return self.folder / "admin-password"

    @property
    def postgres_password(self) -> Path:
        return self.folder / "postgres-password"

    @property
    def postgres_passfile(self) -> Path:
        return self.folder / "postgres-passfile"

    @property
    def blob_account_key(self) -> Path:
        return self.folder / "blob-account-key"

    @property
    def blob_connection(self) -> Path:
        """The connection string of the blob storage; written when its address is known."""
        return self.folder / "blob-connection"

    @property
    def signing_key(self) -> Path:
        return self.folder / "signing.key"

    @property
    def runner_signing_key(self) -> Path:
        return self.folder / "runner-signing.key"

    @property
    def runner_verification_key(self) -> Path:
        return self.folder / "runner-verification.pem"

    @property
    def seal_key(self) -> Path:
        return self.folder / "seal.key"

    @property
    def seal_certificate(self) -> Path:
        return self.folder / "seal.pem"

    @property
    def vendor_root(self) -> Path:
        return self.folder / "vendor-root.pem"

    @property
    def vendor_signer(self) -> Path:
        return self.folder / "vendor-signer.pem"

    @property
    def vendor_signer_key(self) -> Path:
        return self.folder / "vendor-signer.key"

    def make(self) -> None:
        """Make what is missing. Files that belong together are only ever made together."""
        for folder in (self.folder, self.keys_folder):
            folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
            folder.chmod(PRIVATE_FOLDER)
        for path in (
            self.service_token,
            self.session_secret,
            self.postgres_password,
        ):
            self._make([path], lambda path=path: {path.name: _token()})  # type: ignore[misc]
        self._make([self.admin_password], lambda: {self.admin_password.name: _password()})
        self._make([self.blob_account_key], lambda: {self.blob_account_key.name: _account_key()})
        self._make([self.signing_key], lambda: {self.signing_key.name: _signing_pair()[0]})
        self._make([self.runner_signing_key, self.runner_verification_key], self._runner_pair)
        self._make([self.seal_key, self.seal_certificate], self._seal)
        self._make([self.vendor_root, self.vendor_signer, self.vendor_signer_key], self._vendor)

    def _make(self, paths: list[Path], maker: Maker) -> None:
        if all(path.exists() for path in paths):
            return
        for name, content in maker().items():
            write_atomically(self.folder / name, content)

    def _runner_pair(self) -> Mapping[str, bytes]:
        private, public = _signing_pair()
        return {self.runner_signing_key.name: private, self.runner_verification_key.name: public}

    def _seal(self) -> Mapping[str, bytes]:
        """The platform's own key pair, to which publishers seal their apps."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=SEAL_KEY_BITS)
        name = _name("Slipway local platform")
        certificate = (
            _certificate(name, issuer=name, key=key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(key_encipherment=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return {
            self.seal_key.name: _private_pem(key),
            self.seal_certificate.name: certificate.public_bytes(Encoding.PEM),
        }

    def _vendor(self) -> Mapping[str, bytes]:
        """A vendor of runtimes for the demo: its root, and what it signs packages with.

        The root's key is thrown away: nothing but this one signer will ever be trusted.
        """
        root_key = ec.generate_private_key(ec.SECP256R1())
        root_name = _name("Slipway demo vendor root")
        root_identifier = x509.SubjectKeyIdentifier.from_public_key(root_key.public_key())
        root = (
            _certificate(root_name, issuer=root_name, key=root_key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
            .sign(root_key, hashes.SHA256())
        )
        signer_key = ec.generate_private_key(ec.SECP256R1())
        signer = (
            _certificate(
                _name("Slipway demo vendor signer"), issuer=root_name, key=signer_key.public_key()
            )
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(root_identifier),
                critical=False,
            )
            .sign(root_key, hashes.SHA256())
        )
        return {
            self.vendor_root.name: root.public_bytes(Encoding.PEM),
            self.vendor_signer.name: signer.public_bytes(Encoding.PEM),
            self.vendor_signer_key.name: _private_pem(signer_key),
        }


def _token() -> bytes:
    return random_secrets.token_hex(TOKEN_BYTES).encode()


def _password() -> bytes:
    """Short enough to be typed from the screen, and far too long to be guessed."""
    return random_secrets.token_urlsafe(12).encode()


def _account_key() -> bytes:
    return b64encode(random_secrets.token_bytes(AZURITE_KEY_BYTES))


def _signing_pair() -> tuple[bytes, bytes]:
    key = ed25519.Ed25519PrivateKey.generate()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return _private_pem(key), public


def _private_pem(
    key: ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _certificate(
    subject: x509.Name, *, issuer: x509.Name, key: CertificatePublicKeyTypes
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + CERTIFICATE_LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(
    *,
    digital_signature: bool = False,
    key_encipherment: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_encipherment=key_encipherment,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
