"""Why a manifest is refused: a code that never changes, and words that name the field."""

from typing import Literal

from slipway_common.errors import PermanentError

ManifestRefusal = Literal[
    "manifest-missing",
    "manifest-too-large",
    "manifest-not-json",
    "manifest-too-deep",
    "manifest-duplicate-key",
    "manifest-not-canonical",
    "schema-unknown",
    "field-missing",
    "field-unknown",
    "field-invalid",
    "entry-missing",
    "icon-missing",
    "icon-too-large",
    "icon-type",
    "folder-missing",
    "id-mismatch",
]


class InvalidManifestError(PermanentError):
    def __init__(self, reason: ManifestRefusal, message: str) -> None:
        super().__init__(message)
        self.reason: ManifestRefusal = reason
