"""Uploads, what became of them, and the catalogue that they end up in."""

from enum import StrEnum
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import override

from slipway_common.contracts.base import Event, PackageId, UserId

Sha256Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class PackageKind(StrEnum):
    APP = "app"
    RUNTIME = "runtime"


class PackageEvent(Event):
    """A fact about one package; account, kind, name, version and bytes make its id."""

    package_id: PackageId
    kind: PackageKind
    name: str
    """Name of the app, or id of the runtime."""
    version: str
    """Version of the app; of a runtime, the version part of its id."""

    @property
    @override
    def subject(self) -> UUID:
        return self.package_id


class UploadStored(PackageEvent):
    """The archive lies complete in the inbox of its account and has not been looked at."""

    type: Literal["slipway.upload.stored"] = "slipway.upload.stored"
    blob: str
    """Name of the staged blob in the account's container; its content is encrypted."""
    size_bytes: Annotated[int, Field(gt=0)]
    sha256: Sha256Hex
    """Digest of the bytes that the publisher sent."""
    uploaded_by: UserId


class ServiceFacts(BaseModel):
    """A procedure that a task may call."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    title: str = ""
    description: str = ""


class AppFacts(BaseModel):
    """What the manifest of an app says."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    title: str
    description: str = ""
    category: str = "other"
    runtime: str
    """Release of the runtime, MAJOR.MINOR; a session takes its newest hotfix."""
    services: tuple[ServiceFacts, ...] = ()
    icon: str | None = None
    """Path of the icon inside the archive."""
    profile: str = "standard"
    """What its sessions may use: the name of a resource profile of the installation."""


class RuntimeFacts(BaseModel):
    """What the manifest of a runtime says, and who signed it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    title: str
    signer: str


class PackageReady(PackageEvent):
    """The package was checked and lies encrypted in its account's container."""

    type: Literal["slipway.package.ready"] = "slipway.package.ready"
    blob: str
    size_bytes: int
    """Size of the archive itself, without its encryption."""
    sha256: Sha256Hex
    """Digest of the archive itself."""
    upload_sha256: Sha256Hex
    """Digest of the bytes that the publisher sent: sealed, where the app was sealed."""
    uploaded_by: UserId
    upload_event_id: UUID
    """Which upload this is the outcome of: the same bytes may be sent again."""
    app: AppFacts | None = None
    runtime: RuntimeFacts | None = None


class Reason(BaseModel):
    """Why a package was refused, in words for its publisher."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)

    code: str
    """Stable; the problem type that the API answers with is made of it."""
    message: str


class PackageRejected(PackageEvent):
    """The upload is refused, and nothing of it is kept."""

    type: Literal["slipway.package.rejected"] = "slipway.package.rejected"
    upload_sha256: Sha256Hex
    uploaded_by: UserId
    upload_event_id: UUID
    reasons: tuple[Reason, ...]


class PackagePublished(PackageEvent):
    """The package is in the catalogue: an app can be launched, a runtime be used."""

    type: Literal["slipway.package.published"] = "slipway.package.published"
    sha256: Sha256Hex
    size_bytes: int
    app: AppFacts | None = None
    runtime: RuntimeFacts | None = None
