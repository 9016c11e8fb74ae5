"""Why a signature does not count; the code is for the audit log, the publisher learns less."""

from typing import Literal

from slipway_common.errors import PermanentError

SignatureRefusal = Literal[
    "malformed",
    "trailing-data",
    "embedded-content",
    "signer-count",
    "signer-certificate",
    "signed-attributes",
    "message-digest",
    "algorithm",
    "key",
    "signature",
    "untrusted",
    "not-yet-valid",
    "expired",
    "purpose",
    "constraints",
    "file-missing",
    "file-unlisted",
    "file-changed",
]


class InvalidSignatureError(PermanentError):
    def __init__(self, reason: SignatureRefusal, message: str) -> None:
        super().__init__(message)
        self.reason: SignatureRefusal = reason
