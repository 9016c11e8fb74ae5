"""The CMS message of a signature: taken apart, and held to the one form that is accepted.

What is checked here is only its form; whether it is right, and whose, is checked afterwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from asn1crypto import cms, core, x509

from slipway_packager.signature.der import check_der
from slipway_packager.signature.refusal import InvalidSignatureError

MAX_SIGNATURE_SIZE: Final = 64 * 1024
# Each certificate more multiplies the paths that a builder may have to try.
MAX_CERTIFICATES: Final = 5

_ONCE: Final = frozenset({"content_type", "message_digest", "signing_time"})


@dataclass(frozen=True, slots=True)
class SignedMessage:
    signer_info: Any
    """The asn1crypto value, untouched: its signed attributes are hashed as they came."""
    certificate: Any
    """The signer's own, as the message names it."""
    others: Sequence[Any]
    """Further certificates of the message; none of them is trusted for being there."""


def parse_message(signature: bytes) -> SignedMessage:
    if len(signature) > MAX_SIGNATURE_SIZE:
        raise InvalidSignatureError("malformed", "the signature is too large")
    check_der(signature)
    try:
        content = cms.ContentInfo.load(signature, strict=True)
        # The parser works when asked, so everything is asked for while errors are expected.
        _ = content.native
        return _checked(content)
    except InvalidSignatureError:
        raise
    except Exception as error:
        # On hostile bytes the parser fails in more ways than it documents.
        raise InvalidSignatureError("malformed", "the signature cannot be read") from error


def _checked(content: Any) -> SignedMessage:
    if content["content_type"].native != "signed_data":
        raise InvalidSignatureError("malformed", "this is not a CMS signature")
    signed = content["content"]
    encapsulated = signed["encap_content_info"]
    if not isinstance(encapsulated["content"], core.Void):
        raise InvalidSignatureError("embedded-content", "the signature brings content of its own")
    if encapsulated["content_type"].native != "data":
        raise InvalidSignatureError("malformed", "the signature is for another type of content")
    if len(signed["signer_infos"]) != 1:
        raise InvalidSignatureError("signer-count", "there must be exactly one signer")
    signer_info = signed["signer_infos"][0]
    _check_attributes(signer_info["signed_attrs"])
    certificates = _certificates(signed)
    own = [one for one in certificates if _is_named(signer_info["sid"], one)]
    if len(own) != 1:
        raise InvalidSignatureError(
            "signer-certificate", "the signature must bring the certificate of its signer once"
        )
    others = [one for one in certificates if one is not own[0]]
    return SignedMessage(signer_info, own[0], others)


def _check_attributes(attributes: Any) -> None:
    # Without signed attributes the same signature fits two messages (the content, or attributes
    # that look like content), so a signature over one could be passed off as one over the other.
    if isinstance(attributes, core.Void):
        raise InvalidSignatureError("signed-attributes", "there are no signed attributes")
    seen: set[str] = set()
    for attribute in attributes:
        kind = attribute["type"].native
        if kind in seen or len(attribute["values"]) != 1:
            raise InvalidSignatureError(
                "signed-attributes", f"the signed attribute {kind} must be there once"
            )
        seen.add(kind)
    if missing := _ONCE - seen:
        raise InvalidSignatureError(
            "signed-attributes", f"signed attributes are missing: {', '.join(sorted(missing))}"
        )
    for attribute in attributes:
        if attribute["type"].native == "content_type" and attribute["values"][0].native != "data":
            raise InvalidSignatureError(
                "signed-attributes", "the signed attributes are for another type of content"
            )


def _certificates(signed: Any) -> list[Any]:
    choices = signed["certificates"]
    if isinstance(choices, core.Void):
        return []
    if len(choices) > MAX_CERTIFICATES:
        raise InvalidSignatureError(
            "malformed", f"there are more than {MAX_CERTIFICATES} certificates"
        )
    certificates = [choice.chosen for choice in choices]
    if not all(isinstance(one, x509.Certificate) for one in certificates):
        raise InvalidSignatureError("malformed", "there are certificates of an old form")
    return certificates


def _is_named(identifier: Any, certificate: Any) -> bool:
    if identifier.name == "subject_key_identifier":
        return bool(certificate.key_identifier == identifier.chosen.native)
    wanted = identifier.chosen
    return bool(
        certificate.issuer == wanted["issuer"]
        and certificate.serial_number == wanted["serial_number"].native
    )
