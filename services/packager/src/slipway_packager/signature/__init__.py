"""Signatures of runtimes: who signed the manifest, and that the archive is what it lists."""

from slipway_packager.signature.files import check_files
from slipway_packager.signature.refusal import InvalidSignatureError, SignatureRefusal
from slipway_packager.signature.verification import Signer, verify_runtime_signature

__all__ = [
    "InvalidSignatureError",
    "SignatureRefusal",
    "Signer",
    "check_files",
    "verify_runtime_signature",
]
