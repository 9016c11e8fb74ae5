"""Manifests of apps and runtimes: what they may say, and that the archive holds what they name."""

from slipway_packager.manifest.app import (
    APP_MANIFEST,
    AppManifest,
    ServiceManifest,
    check_app,
    parse_app_manifest,
)
from slipway_packager.manifest.identity import RuntimeId
from slipway_packager.manifest.refusal import InvalidManifestError, ManifestRefusal
from slipway_packager.manifest.runtime import (
    RUNTIME_MANIFEST,
    SIGNATURE,
    SIGNED_MANIFEST,
    RuntimeManifest,
    SignedManifest,
    check_runtime,
    parse_runtime_manifest,
    parse_signed_manifest,
)

__all__ = [
    "APP_MANIFEST",
    "RUNTIME_MANIFEST",
    "SIGNATURE",
    "SIGNED_MANIFEST",
    "AppManifest",
    "InvalidManifestError",
    "ManifestRefusal",
    "RuntimeId",
    "RuntimeManifest",
    "ServiceManifest",
    "SignedManifest",
    "check_app",
    "check_runtime",
    "parse_app_manifest",
    "parse_runtime_manifest",
    "parse_signed_manifest",
]
