"""The certificates by which the parts of one cluster know each other.

The authority stays for as long as the state folder; all that it signs is made anew
at each start, because addresses may have changed.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from slipway_local.files import PRIVATE_FOLDER, write_atomically

LIFETIME = timedelta(days=3650)
CLOCK_SKEW = timedelta(hours=1)
MASTERS = "system:masters"
"""Whoever belongs to this group may do everything."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path


class Certificates:
    """Files below one folder, each readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authority: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None = None

    @property
    def authority(self) -> Path:
        return self.folder / "authority.pem"

    @property
    def accounts(self) -> Pair:
        """Not a certificate: the two halves of the key that signs service accounts' tokens."""
        return Pair(self.folder / "service-accounts.pub", self.folder / "service-accounts.key")

    def pair(self, name: str) -> Pair:
        return Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")

    def open(self) -> None:
        """Make the authority and the key of the service accounts, unless they are there."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
        if not self.authority.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            write_atomically(self.folder / "authority.key", _private(key))
            write_atomically(self.authority, _pem(_self_signed(key)))
        if not self.accounts.certificate.exists():
            key = ec.generate_private_key(ec.SECP256R1())
            write_atomically(self.accounts.key, _private(key))
            write_atomically(self.accounts.certificate, _public(key))
        self._authority = (
            x509.load_pem_x509_certificate(self.authority.read_bytes()),
            _load(self.folder / "authority.key"),
        )

    def make_server(self, name: str, addresses: Sequence[str]) -> Pair:
        """Make a certificate for a server, which may call others by it as well."""
        return self._make(name, common_name=name, addresses=addresses)

    def make_client(self, name: str, *, user: str, group: str | None = None) -> Pair:
        """Make a certificate by which the API server knows a user."""
        return self._make(name, common_name=user, organisation=group)

    def _make(
        self,
        name: str,
        *,
        common_name: str,
        organisation: str | None = None,
        addresses: Sequence[str] = (),
    ) -> Pair:
        if self._authority is None:
            self.open()
        assert self._authority is not None
        authority, authority_key = self._authority
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(
            _name(common_name, organisation), authority.subject, key.public_key()
        ).add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        # Newer clients insist on being told which key has signed.
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
        builder = builder.add_extension(signer, critical=False)
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        if addresses:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names = x509.SubjectAlternativeName([_alternative(text) for text in addresses])
            builder = builder.add_extension(names, critical=False)
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        pair = self.pair(name)
        write_atomically(pair.certificate, _pem(builder.sign(authority_key, hashes.SHA256())))
        write_atomically(pair.key, _private(key))
        return pair


def _self_signed(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = _name("slipway-local-cluster", None)
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        _builder(name, name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _name(common_name: str, organisation: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation is not None:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def _alternative(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} holds a key of another kind")
    return key


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _public(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
