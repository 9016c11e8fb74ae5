"""Is this archive what it says it is? Pure decisions on what the archive gate reported."""

from collections.abc import Sequence
from datetime import datetime

from cryptography.x509 import Certificate

from slipway_common.contracts.packages import AppFacts, PackageKind, RuntimeFacts, ServiceFacts
from slipway_common.errors import PermanentError
from slipway_packager.archive import ArchiveReport
from slipway_packager.manifest import (
    APP_MANIFEST,
    RUNTIME_MANIFEST,
    SIGNATURE,
    SIGNED_MANIFEST,
    check_app,
    check_runtime,
    parse_app_manifest,
    parse_runtime_manifest,
    parse_signed_manifest,
)
from slipway_packager.signature import check_files, verify_runtime_signature

APP_CAPTURE = frozenset({APP_MANIFEST})
RUNTIME_CAPTURE = frozenset({RUNTIME_MANIFEST, SIGNED_MANIFEST, SIGNATURE})


class MismatchError(PermanentError):
    """The archive is not the one that its address says."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def capture_of(kind: PackageKind) -> frozenset[str]:
    return APP_CAPTURE if kind is PackageKind.APP else RUNTIME_CAPTURE


def judge_app(report: ArchiveReport, *, name: str, version: str) -> AppFacts:
    manifest = parse_app_manifest(_captured(report, APP_MANIFEST))
    check_app(manifest, report)
    if (manifest.name, manifest.version) != (name, version):
        raise MismatchError(
            "name-mismatch",
            f"{APP_MANIFEST} says {manifest.name} {manifest.version},"
            f" but it was sent as {name} {version}.",
        )
    return AppFacts(
        title=manifest.title,
        description=manifest.description,
        category=manifest.category,
        runtime=manifest.runtime,
        icon=manifest.icon,
        profile=manifest.profile,
        services=tuple(
            ServiceFacts(name=each.name, title=each.title, description=each.description)
            for each in manifest.services
        ),
    )


def judge_runtime(
    report: ArchiveReport, *, runtime_id: str, roots: Sequence[Certificate], at: datetime
) -> RuntimeFacts:
    """Check the signature first: before it holds, nothing that the archive says counts."""
    signed_bytes = _captured(report, SIGNED_MANIFEST)
    signer = verify_runtime_signature(
        signed_bytes, _captured(report, SIGNATURE), roots=roots, at=at
    )
    signed = parse_signed_manifest(signed_bytes)
    check_files(signed, report)
    manifest = parse_runtime_manifest(_captured(report, RUNTIME_MANIFEST))
    check_runtime(manifest, signed=signed, report=report)
    if str(manifest.id) != runtime_id:
        raise MismatchError(
            "name-mismatch", f"The archive holds {manifest.id}, but it was sent as {runtime_id}."
        )
    return RuntimeFacts(title=manifest.title, signer=signer.name)


def _captured(report: ArchiveReport, name: str) -> bytes:
    content = report.captured.get(name)
    if content is None:
        raise MismatchError("manifest-missing", f"The archive has no {name}.")
    return content
