"""From the signer's certificate to a pinned root: nothing that the message brings is trusted."""

from collections.abc import Coroutine, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final, TypeVar

from pyhanko_certvalidator import ValidationContext, find_valid_path
from pyhanko_certvalidator.errors import (
    DisallowedAlgorithmError,
    ExpiredError,
    NotYetValidError,
    PathBuildingError,
    ValidationError,
)
from pyhanko_certvalidator.path import ValidationPath
from pyhanko_certvalidator.policy_decl import NO_REVOCATION, CertRevTrustPolicy

from slipway_packager.signature.algorithms import check_signature_algorithm
from slipway_packager.signature.message import SignedMessage
from slipway_packager.signature.refusal import InvalidSignatureError

_T = TypeVar("_T")

_PURPOSE: Final = "code_signing"
_UNDERSTOOD: Final = frozenset(
    {"basic_constraints", "key_usage", "extended_key_usage", "certificate_policies"}
)


def check_chain(message: SignedMessage, *, roots: Sequence[Any], at: datetime) -> None:
    _check_signer(message.certificate)
    path = _find_path(message, roots=roots, at=at)
    chain: list[Any] = list(path.iter_certs(include_root=True))
    root = chain[0]
    if len(chain) < 2:
        raise InvalidSignatureError("untrusted", "a root does not sign runtimes itself")
    if not root.not_valid_before <= at:
        raise InvalidSignatureError("not-yet-valid", "the root is not valid yet")
    if not at <= root.not_valid_after:
        raise InvalidSignatureError("expired", "the root is no longer valid")
    for issuer, certificate in pairwise(chain):
        check_signature_algorithm(
            certificate["signature_algorithm"], key=issuer.public_key, digest=None
        )
    for authority in chain[1:-1]:
        purposes = authority.extended_key_usage_value
        if purposes is not None and not {_PURPOSE, "any_extended_key_usage"} & set(purposes.native):
            raise InvalidSignatureError(
                "purpose", "an authority in between is not meant for signing code"
            )


def _check_signer(certificate: Any) -> None:
    purposes = certificate.extended_key_usage_value
    if purposes is None or _PURPOSE not in purposes.native:
        raise InvalidSignatureError("purpose", "the certificate is not meant for signing code")
    usage = certificate.key_usage_value
    if usage is not None and not {"digital_signature", "non_repudiation"} & usage.native:
        raise InvalidSignatureError("purpose", "the certificate's key is not meant for signing")
    if certificate.ca:
        raise InvalidSignatureError("constraints", "the certificate is one of an authority")
    if unknown := certificate.critical_extensions - _UNDERSTOOD:
        raise InvalidSignatureError(
            "constraints", f"the certificate has conditions not known here: {sorted(unknown)}"
        )


def _find_path(message: SignedMessage, *, roots: Sequence[Any], at: datetime) -> ValidationPath:
    context = ValidationContext(
        # An empty list trusts nobody; None would mean the roots of the operating system.
        trust_roots=list(roots),
        other_certs=list(message.others),
        moment=at,
        allow_fetching=False,
        revinfo_policy=CertRevTrustPolicy(NO_REVOCATION),
        time_tolerance=timedelta(0),
    )
    candidates = context.path_builder.async_build_paths_lazy(message.certificate)
    try:
        path: ValidationPath = _completed(
            find_valid_path(message.certificate, candidates, validation_context=context)
        )
    except ExpiredError as error:
        raise InvalidSignatureError("expired", "a certificate is no longer valid") from error
    except NotYetValidError as error:
        raise InvalidSignatureError("not-yet-valid", "a certificate is not valid yet") from error
    except DisallowedAlgorithmError as error:
        raise InvalidSignatureError(
            "algorithm", "a certificate is signed with an algorithm not accepted"
        ) from error
    except (ValidationError, PathBuildingError) as error:
        raise InvalidSignatureError("untrusted", "no path leads to a pinned root") from error
    return path


def _completed(work: Coroutine[Any, Any, _T]) -> _T:
    """Run a coroutine to its end; with fetching off there is nothing that it could wait for."""
    try:
        work.send(None)
    except StopIteration as end:
        result: _T = end.value
        return result
    work.close()
    raise InvalidSignatureError("untrusted", "the path cannot be checked without a network")
