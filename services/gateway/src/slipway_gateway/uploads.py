"""Archives on their way in: hashed and encrypted while they stream, told to the mesh when whole.

The name of an upload is made of what it is (account, kind, name, version, bytes). So a client
that sends the same archive again, because it never saw our answer, gets the same package.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4, uuid5

from starlette.requests import ClientDisconnect, Request

from slipway_common.blobs.names import inbox_blob
from slipway_common.blobs.vault import Vault
from slipway_common.contracts.base import AccountId, PackageId, UserId
from slipway_common.contracts.packages import PackageKind, UploadStored
from slipway_common.contracts.problems import Code, ProblemError, problem
from slipway_common.contracts.views import PackageState, PackageView
from slipway_common.deadline import Deadline, DeadlineExceededError
from slipway_common.errors import TransientError
from slipway_common.failpoints import failpoint
from slipway_common.kafka.publisher import Publisher
from slipway_common.metrics import gateway as metrics
from slipway_gateway.accounts import AccountsClient
from slipway_gateway.changes import Changes
from slipway_gateway.identity import Caller

_NAMESPACE = UUID("5117a7b0-6c1d-4f6e-9d53-3f0b9a0c7e11")
SEEN_WITHIN = timedelta(seconds=5)

_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/=]+):")


@dataclass(frozen=True, slots=True)
class Upload:
    kind: PackageKind
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Received:
    package: PackageView
    known: bool
    """True if this very archive was published before; nothing was taken in."""


def package_id_of(account_id: UUID, upload: Upload, sha256: str) -> UUID:
    return uuid5(_NAMESPACE, f"{account_id}/{upload.kind}/{upload.name}/{upload.version}/{sha256}")


def announced_digest(header: str | None) -> str | None:
    """Hex SHA-256 from ``Repr-Digest``; None if it is not given."""
    if header is None:
        return None
    match = _DIGEST.search(header)
    try:
        digest = base64.b64decode(match[1], validate=True) if match else b""
    except binascii.Error:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise problem(Code.INVALID_REQUEST, "Repr-Digest must be sha-256=:BASE64:.")
    return digest.hex()


class UploadService:
    def __init__(
        self,
        accounts: AccountsClient,
        vault: Vault,
        publisher: Publisher,
        changes: Changes,
        *,
        max_bytes: int,
    ) -> None:
        self._changes = changes
        self._accounts = accounts
        self._vault = vault
        self._publisher = publisher
        self._max_bytes = max_bytes

    async def receive(self, caller: Caller, upload: Upload, request: Request) -> Received:
        caller.require_publisher()
        announced = announced_digest(request.headers.get("repr-digest"))
        if int(request.headers.get("content-length", "0")) > self._max_bytes:
            raise self._too_large()
        known = await self._published(caller, upload, request, announced=announced)
        if known is not None:
            return Received(known, known=True)
        blob = inbox_blob(uuid4())
        account_id = caller.principal.account_id
        size, sha256 = await self._store(account_id, blob, request, announced=announced)
        failpoint("gateway.upload-stored")
        package_id = package_id_of(account_id, upload, sha256)
        event = UploadStored(
            account_id=AccountId(account_id),
            package_id=PackageId(package_id),
            kind=upload.kind,
            name=upload.name,
            version=upload.version,
            blob=blob,
            size_bytes=size,
            sha256=sha256,
            uploaded_by=UserId(caller.principal.user_id),
        )
        await self._publisher.publish(event)
        failpoint("gateway.upload-published")
        return Received(await self._seen(caller, event), known=False)

    async def _seen(self, caller: Caller, event: UploadStored) -> PackageView:
        """Wait until accounts knows the package, so that whoever asks next finds it.

        Kafka has the event, so nothing is lost if that takes longer than we wait.
        """
        deadline = Deadline.after(SEEN_WITHIN, operation="an upload's event")
        with self._changes.watch("packages", event.package_id) as changed:
            while not deadline.expired:
                changed.clear()
                try:
                    return await self._accounts.package(caller.token, event.package_id)
                except (ProblemError, TransientError):
                    with contextlib.suppress(TimeoutError, DeadlineExceededError):
                        await asyncio.wait_for(changed.wait(), min(deadline.left(), 0.5))
        return PackageView(
            id=event.package_id,
            kind=event.kind,
            name=event.name,
            version=event.version,
            state=PackageState.PROCESSING,
            created_at=event.occurred_at,
            revision=0,
        )

    async def _published(
        self, caller: Caller, upload: Upload, request: Request, *, announced: str | None
    ) -> PackageView | None:
        """The package, if this very archive is published; a problem, if another one is.

        Whoever did not announce a digest has to send all bytes to be told which it is.
        """
        found = await self._accounts.published(
            caller.token, kind=upload.kind, name=upload.name, version=upload.version
        )
        if found is None:
            return None
        if (announced or await self._digest(request)) == found.upload_sha256:
            return found.package
        raise problem(
            Code.VERSION_EXISTS,
            f"{upload.name} {upload.version} is published already. Raise the version.",
        )

    async def _store(
        self, account_id: UUID, blob: str, request: Request, *, announced: str | None
    ) -> tuple[int, str]:
        """Size and hex digest of what was stored. Nothing is stored unless all of it came."""
        sha256 = hashlib.sha256()
        async with await self._vault.writer(account_id, blob) as writer:
            async for chunk in self._chunks(request):
                sha256.update(chunk)
                metrics.upload_bytes.inc(len(chunk))
                await writer.write(chunk)
            if writer.size == 0:
                raise problem(Code.EMPTY)
            if announced is not None and announced != sha256.hexdigest():
                raise problem(Code.DIGEST_MISMATCH, "Send it again.")
            failpoint("gateway.upload-before-commit")
            await writer.commit()
            return writer.size, sha256.hexdigest()

    async def _digest(self, request: Request) -> str:
        sha256 = hashlib.sha256()
        async for chunk in self._chunks(request):
            sha256.update(chunk)
        return sha256.hexdigest()

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        """The body as it comes, to its true end and no further than the limit."""
        size = 0
        try:
            async for chunk in request.stream():
                size += len(chunk)
                if size > self._max_bytes:
                    raise self._too_large()
                yield chunk
        except ClientDisconnect as error:
            raise problem(Code.TRUNCATED, "Send it again.") from error

    def _too_large(self) -> Exception:
        return problem(
            Code.TOO_LARGE, f"At most {self._max_bytes // 1024**2} MiB are taken in one archive."
        )
