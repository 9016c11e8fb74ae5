"""What becomes of an upload: judged while it streams past, encrypted for rest, or refused.

One pass: the bytes that are hashed, checked and encrypted are the same bytes, so nobody can swap
them in between. What is kept is committed only after the verdict. Every name is derived from the
package's id, so doing it twice, after a crash at any point, ends in the same place.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import uuid5

import structlog
from cryptography.x509 import Certificate

from slipway_common.blobs.names import package_blob
from slipway_common.blobs.store import BlobExistsError, BlobMissingError
from slipway_common.blobs.vault import Vault, VaultWriter
from slipway_common.contracts.base import Event, utc_now
from slipway_common.contracts.packages import (
    AppFacts,
    PackageKind,
    PackageReady,
    PackageRejected,
    Reason,
    RuntimeFacts,
    UploadStored,
)
from slipway_common.crypto.envelope import EnvelopeError
from slipway_common.crypto.keys import SealOpener
from slipway_common.failpoints import failpoint
from slipway_common.metrics import packager as metrics
from slipway_packager.archive import ArchiveGate, ArchiveLimits, InvalidArchiveError
from slipway_packager.intake import Intake, InvalidSealError, PlainIntake, SealedIntake
from slipway_packager.judgement import MismatchError, capture_of, judge_app, judge_runtime
from slipway_packager.manifest import InvalidManifestError
from slipway_packager.signature import InvalidSignatureError

logger = structlog.get_logger(__name__)


class EventSink(Protocol):
    async def publish(self, event: Event) -> None: ...


@dataclass(frozen=True, slots=True)
class _Stored:
    facts: AppFacts | RuntimeFacts
    sha256: str
    size: int


class PackageService:
    def __init__(
        self,
        vault: Vault,
        events: EventSink,
        *,
        opener: SealOpener,
        vendor_roots: Sequence[Certificate],
        limits: ArchiveLimits,
    ) -> None:
        self._vault = vault
        self._events = events
        self._opener = opener
        self._vendor_roots = vendor_roots
        self._limits = limits

    async def judge(self, upload: UploadStored) -> None:
        """Tell the mesh what became of the upload, then forget the upload."""
        failpoint("packager.upload-read")
        try:
            outcome = await self._outcome(upload)
        except BlobMissingError:
            # Its outcome was told before it was forgotten; this is a repetition.
            logger.info("upload was judged before", package_id=str(upload.package_id))
            return
        failpoint("packager.before-outcome")
        await self._events.publish(outcome)
        failpoint("packager.after-outcome")
        await self._vault.delete(upload.account_id, upload.blob)
        accepted = isinstance(outcome, PackageReady)
        metrics.packages_judged.labels(upload.kind, "ready" if accepted else "rejected").inc()
        metrics.package_seconds.observe((utc_now() - upload.occurred_at).total_seconds())
        logger.info(
            "upload judged",
            package_id=str(upload.package_id),
            kind=upload.kind,
            outcome=outcome.type,
            reasons=[] if isinstance(outcome, PackageReady) else [r.code for r in outcome.reasons],
        )

    async def _outcome(self, upload: UploadStored) -> PackageReady | PackageRejected:
        common = upload.model_dump(
            include={"account_id", "package_id", "kind", "name", "version", "uploaded_by"}
        ) | {"upload_sha256": upload.sha256, "upload_event_id": upload.event_id}
        try:
            stored = await self._store(upload)
        except (
            InvalidArchiveError,
            InvalidManifestError,
            InvalidSealError,
            InvalidSignatureError,
            MismatchError,
        ) as refusal:
            code = (
                # A forger learns only that the signature does not count.
                "signature-invalid"
                if isinstance(refusal, InvalidSignatureError)
                else refusal.reason
            )
            logger.warning("upload refused", reason=refusal.reason, kind=upload.kind)
            return PackageRejected(
                **common,
                event_id=uuid5(upload.event_id, "rejected"),
                reasons=(Reason(code=code, message=str(refusal)),),
            )
        return PackageReady(
            **common,
            event_id=uuid5(upload.event_id, "ready"),
            blob=package_blob(upload.package_id),
            size_bytes=stored.size,
            sha256=stored.sha256,
            app=stored.facts if isinstance(stored.facts, AppFacts) else None,
            runtime=stored.facts if isinstance(stored.facts, RuntimeFacts) else None,
        )

    async def _store(self, upload: UploadStored) -> _Stored:
        gate = ArchiveGate(self._limits, capture_of(upload.kind))
        blob = package_blob(upload.package_id)
        async with await self._vault.writer(upload.account_id, blob) as writer:
            sha256 = await self._stream(upload, gate, writer)
            facts = self._judge(upload, gate, at=upload.occurred_at)
            failpoint("packager.before-commit")
            try:
                await writer.commit()
            except BlobExistsError:
                if not await self._holds(upload, blob, sha256):
                    await writer.commit(replace=True)
            failpoint("packager.after-commit")
        return _Stored(facts, sha256, writer.size)

    async def _stream(self, upload: UploadStored, gate: ArchiveGate, writer: VaultWriter) -> str:
        """Pass every byte through all that looks at it; returns the archive's digest."""
        intake = self._intake(upload)
        sent = hashlib.sha256()
        archive = hashlib.sha256()

        async def take(data: bytes) -> None:
            gate.feed(data)
            archive.update(data)
            await writer.write(data)

        async for chunk in self._vault.read(upload.account_id, upload.blob):
            sent.update(chunk)
            for data in intake.feed(chunk):
                await take(data)
        await take(intake.finish())
        failpoint("packager.read-whole")
        if sent.hexdigest() != upload.sha256:
            raise MismatchError("digest-mismatch", "The upload was changed after it had arrived.")
        return archive.hexdigest()

    def _intake(self, upload: UploadStored) -> Intake:
        if upload.kind is PackageKind.RUNTIME:
            return PlainIntake()
        return SealedIntake(self._opener, name=upload.name, version=upload.version)

    def _judge(
        self, upload: UploadStored, gate: ArchiveGate, *, at: datetime
    ) -> AppFacts | RuntimeFacts:
        report = gate.finish()
        if upload.kind is PackageKind.APP:
            return judge_app(report, name=upload.name, version=upload.version)
        return judge_runtime(report, runtime_id=upload.name, roots=self._vendor_roots, at=at)

    async def _holds(self, upload: UploadStored, blob: str, sha256: str) -> bool:
        """Tell whether what lies there is the same archive, whole and readable."""
        found = hashlib.sha256()
        try:
            async for chunk in self._vault.read(upload.account_id, blob):
                found.update(chunk)
        except EnvelopeError:
            return False
        return found.hexdigest() == sha256
