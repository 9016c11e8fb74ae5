"""Who signed a runtime's manifest, if the signature is one that counts at that time.

Pure: no network, no clock, no trust but in the roots that are given.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asn1crypto import x509 as asn1
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate
from pyhanko.sign.validation.generic_cms import validate_sig_integrity

from slipway_packager.signature.algorithms import check_digest, check_signature_algorithm
from slipway_packager.signature.chain import check_chain
from slipway_packager.signature.message import SignedMessage, parse_message
from slipway_packager.signature.refusal import InvalidSignatureError


@dataclass(frozen=True, slots=True)
class Signer:
    name: str
    """Common name of the certificate, or its whole subject where it has none."""
    serial: str
    """Serial number of the certificate, in hex."""
    not_after: datetime


def verify_runtime_signature(
    manifest: bytes, signature: bytes, *, roots: Sequence[Certificate], at: datetime
) -> Signer:
    """Raise ``InvalidSignatureError`` unless one signer under a pinned root signed these bytes."""
    pinned = [asn1.Certificate.load(root.public_bytes(Encoding.DER)) for root in roots]
    message = parse_message(signature)
    try:
        _check_signature(manifest, message)
        check_chain(message, roots=pinned, at=at)
        return _signer(message.certificate)
    except InvalidSignatureError:
        raise
    except Exception as error:
        # Hostile certificates make the libraries fail in more ways than they document.
        raise InvalidSignatureError("malformed", "the signature cannot be checked") from error


def _check_signature(manifest: bytes, message: SignedMessage) -> None:
    info = message.signer_info
    digest = check_digest(info["digest_algorithm"]["algorithm"].native)
    check_signature_algorithm(
        info["signature_algorithm"], key=message.certificate.public_key, digest=digest
    )
    intact, valid = validate_sig_integrity(
        info,
        message.certificate,
        expected_content_type="data",
        actual_digest=hashlib.new(digest, manifest).digest(),
    )
    if not intact:
        raise InvalidSignatureError("message-digest", "the signature is for another manifest")
    if not valid:
        raise InvalidSignatureError("signature", "the signature does not match its certificate")


def _signer(certificate: Any) -> Signer:
    name = certificate.subject.native.get("common_name")
    return Signer(
        name=name if isinstance(name, str) else certificate.subject.human_friendly,
        serial=f"{certificate.serial_number:x}",
        not_after=certificate.not_valid_after,
    )
