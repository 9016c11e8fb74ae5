"""Certificates and CMS messages in which any part can be wrong, made when a test needs them."""

import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import new as new_hash
from pathlib import Path
from typing import Any

from asn1crypto import algos, cms, core
from asn1crypto import x509 as asn1
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs7,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

AT = datetime(2030, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
CODE_SIGNING = ExtendedKeyUsageOID.CODE_SIGNING
# To prove that it is refused.
SHA1 = hashes.SHA1()  # noqa: S303

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def rsa_key(bits: int = 2048, number: int = 0) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(number: int = 0, curve: type[ec.EllipticCurve] = ec.SECP256R1) -> Key:
    return ec.generate_private_key(curve())


@dataclass(frozen=True)
class Identity:
    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> asn1.Certificate:
        return asn1.Certificate.load(self.certificate.public_bytes(Encoding.DER))


def identity(
    name: str = "Vendor",
    *,
    key: Key | None = None,
    issuer: Identity | None = None,
    authority: bool = False,
    constraints: bool = True,
    path_length: int | None = None,
    purposes: Sequence[ObjectIdentifier] | None = (CODE_SIGNING,),
    signs: bool | None = None,
    start: datetime = AT - 100 * DAY,
    end: datetime = AT + 100 * DAY,
    extra: Sequence[tuple[x509.ExtensionType, bool]] = (),
    digest: hashes.HashAlgorithm | None = None,
) -> Identity:
    key = key or ec_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    if constraints:
        builder = builder.add_extension(
            x509.BasicConstraints(ca=authority, path_length=path_length), critical=True
        )
    if purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    if signs is not None:
        builder = builder.add_extension(_usage(signs=signs, authority=authority), critical=True)
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical=critical)
    signing_key = issuer.key if issuer else key
    plain = isinstance(signing_key, ed25519.Ed25519PrivateKey)
    return Identity(builder.sign(signing_key, None if plain else (digest or hashes.SHA256())), key)


def _usage(*, signs: bool, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=not signs,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


@cache
def root() -> Identity:
    return identity("Vendor root", key=ec_key(1), authority=True, purposes=None)


@cache
def vendor() -> Identity:
    return identity(issuer=root(), signs=True)


@cache
def rsa_vendor() -> Identity:
    return identity(key=rsa_key(), issuer=root())


def pkcs7_signature(manifest: bytes, signer: Identity, *others: Identity) -> bytes:
    builder = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(manifest)
        .add_signer(signer.certificate, signer.key, hashes.SHA256())
    )
    for other in others:
        builder = builder.add_certificate(other.certificate)
    return builder.sign(
        Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    )


def openssl_signature(
    manifest: bytes,
    signers: Sequence[Identity],
    folder: Path,
    *options: str,
    others: Sequence[Identity] = (),
) -> bytes:
    """What ``openssl cms -sign`` writes, with further options."""
    (folder / "manifest.json").write_bytes(manifest)
    command = ["openssl", "cms", "-sign", "-binary", "-outform", "DER", "-in", "manifest.json"]
    for number, signer in enumerate(signers):
        (folder / f"{number}.crt").write_bytes(signer.certificate.public_bytes(Encoding.PEM))
        (folder / f"{number}.key").write_bytes(
            signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        command += ["-signer", f"{number}.crt", "-inkey", f"{number}.key"]
    if others:
        (folder / "others.crt").write_bytes(
            b"".join(other.certificate.public_bytes(Encoding.PEM) for other in others)
        )
        command += ["-certfile", "others.crt"]
    command += [*options, "-out", "manifest.p7s"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return (folder / "manifest.p7s").read_bytes()


def attribute(kind: str, *values: Any) -> cms.CMSAttribute:
    return cms.CMSAttribute({"type": kind, "values": list(values)})


def attributes(
    manifest: bytes, *, digest: str = "sha256", content_type: str = "data"
) -> list[cms.CMSAttribute]:
    return [
        attribute("content_type", content_type),
        attribute("signing_time", cms.Time({"utc_time": core.UTCTime(AT - DAY)})),
        attribute("message_digest", new_hash(digest, manifest).digest()),
    ]


def craft(
    manifest: bytes,
    signer: Identity,
    *,
    signed: Sequence[cms.CMSAttribute] | bool | None = True,
    digest: str = "sha256",
    algorithm: Any = None,
    sign: Callable[[bytes], bytes] | None = None,
    certificates: Sequence[Any] | None = None,
    content: bytes | None = None,
    content_type: str = "data",
    identifier: Any = None,
    copies: int = 1,
    unsigned: Sequence[cms.CMSAttribute] | None = None,
) -> bytes:
    """A message that is right but for what the arguments say; ``signed=None`` leaves it out."""
    chosen = attributes(manifest, digest=digest) if signed is True else signed
    info: dict[str, Any] = {
        "version": "v1",
        "sid": identifier
        or {
            "issuer_and_serial_number": {
                "issuer": signer.der.issuer,
                "serial_number": signer.der.serial_number,
            }
        },
        "digest_algorithm": {"algorithm": digest},
        "signature_algorithm": algorithm or _algorithm(signer.key, digest),
    }
    payload = manifest
    if chosen is not None:
        info["signed_attrs"] = cms.CMSAttributes(chosen)
        payload = cms.CMSAttributes(chosen).dump()
    if unsigned is not None:
        info["unsigned_attrs"] = cms.CMSAttributes(unsigned)
    info["signature"] = sign(payload) if sign else _sign(signer.key, payload, digest)
    encapsulated: dict[str, Any] = {"content_type": content_type}
    if content is not None:
        encapsulated["content"] = content
    brought = [signer.der] if certificates is None else certificates
    message: dict[str, Any] = {
        "version": "v1",
        "digest_algorithms": [{"algorithm": digest}],
        "encap_content_info": encapsulated,
        "signer_infos": [cms.SignerInfo(info)] * copies,
    }
    if brought:
        message["certificates"] = brought
    return cms.ContentInfo(
        {"content_type": "signed_data", "content": cms.SignedData(message)}
    ).dump()


def _algorithm(key: Key, digest: str) -> dict[str, Any]:
    match key:
        case ed25519.Ed25519PrivateKey():
            return {"algorithm": "ed25519"}
        case rsa.RSAPrivateKey():
            return {"algorithm": f"{digest}_rsa"}
        case _:
            return {"algorithm": f"{digest}_ecdsa"}


def _sign(key: Key, payload: bytes, digest: str) -> bytes:
    algorithm = {
        "sha1": type(SHA1),
        "sha224": hashes.SHA224,
        "sha256": hashes.SHA256,
        "sha384": hashes.SHA384,
        "sha512": hashes.SHA512,
        "sha3_256": hashes.SHA3_256,
    }[digest]()
    match key:
        case ed25519.Ed25519PrivateKey():
            return key.sign(payload)
        case rsa.RSAPrivateKey():
            return key.sign(payload, padding.PKCS1v15(), algorithm)
        case _:
            return key.sign(payload, ec.ECDSA(algorithm))


def pss(
    *,
    digest: str = "sha256",
    mask: str = "sha256",
    salt: int = 32,
    generator: str = "mgf1",
    trailer: int = 1,
) -> algos.SignedDigestAlgorithm:
    return algos.SignedDigestAlgorithm(
        {
            "algorithm": "rsassa_pss",
            "parameters": {
                "hash_algorithm": {"algorithm": digest},
                "mask_gen_algorithm": {"algorithm": generator, "parameters": {"algorithm": mask}},
                "salt_length": salt,
                "trailer_field": trailer,
            },
        }
    )


def sign_pss(key: Key, *, mask: hashes.HashAlgorithm, salt: int) -> Callable[[bytes], bytes]:
    assert isinstance(key, rsa.RSAPrivateKey)
    return lambda payload: key.sign(
        payload, padding.PSS(mgf=padding.MGF1(mask), salt_length=salt), hashes.SHA256()
    )
