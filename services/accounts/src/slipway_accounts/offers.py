"""What the operator offers to all accounts: resource profiles, external services, ranges of limits.

Read once, at the start; a file that is wrong in any way stops it, with the place that is wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from math import ceil
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from slipway_accounts.settings import Settings
from slipway_common.contracts.sessions import ExternalService, Resources
from slipway_common.contracts.views import ProfileView, Range, ServiceView
from slipway_common.errors import PermanentError

T = TypeVar("T")

STANDARD = "standard"
"""The profile of apps that name none; there always is one."""

SHORT_DIGEST = 12

_Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$")]


class OffersError(PermanentError):
    """A file of the operator's cannot be used."""


class _Strict(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, extra="forbid", use_attribute_docstrings=True
    )


class Figures(_Strict):
    memory_mib: Annotated[int, Field(gt=0)] = Resources().memory_mib
    cpu_millis: Annotated[int, Field(gt=0)] = Resources().cpu_millis
    processes: Annotated[int, Field(gt=0)] = Resources().processes
    disk_mib: Annotated[int, Field(gt=0)] = Resources().disk_mib

    def named(self, profile: str) -> Resources:
        return Resources(profile=profile, **self.model_dump())


class ServiceOffer(_Strict):
    """One entry of the file of external services."""

    title: Annotated[str, Field(min_length=1, max_length=120)]
    image: Annotated[str, Field(pattern=r"^\S{1,500}$")]
    port: Annotated[int, Field(ge=1024, le=65535)]
    """Where the container listens; below 1024 it would need rights that it does not get."""
    command: tuple[Annotated[str, Field(max_length=1000)], ...] = ()
    environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = {}
    """No secrets: it goes into an event."""
    resources: Figures = Figures()
    idle_seconds: Annotated[int, Field(gt=0)] = 900
    max_seconds: Annotated[int, Field(gt=0)] = 12 * 3600

    @property
    def version(self) -> str:
        return version_of_image(self.image)

    def container(self, name: str) -> ExternalService:
        """What is to run; its figures are its own, and named after it."""
        return ExternalService(
            image=self.image,
            port=self.port,
            command=self.command,
            environment=self.environment,
            resources=self.resources.named(name),
        )


def version_of_image(image: str) -> str:
    """The tag, or else the beginning of the digest; an image without either is the latest."""
    name, _, digest = image.partition("@")
    # A colon before the last slash belongs to the port of a registry.
    tag = name.rpartition("/")[2].partition(":")[2]
    return tag or digest.partition(":")[2][:SHORT_DIGEST] or "latest"


_STANDARD_ALONE: Mapping[str, Resources] = MappingProxyType({STANDARD: Resources()})
_NO_SERVICES: Mapping[str, ServiceOffer] = MappingProxyType({})
_IDLE_RANGE = Range(lowest=5, highest=24 * 3600)
_MAX_SESSION_RANGE = Range(lowest=60, highest=7 * 24 * 3600)
_PROFILES = TypeAdapter(dict[_Name, Figures])
_SERVICES = TypeAdapter(dict[_Name, ServiceOffer])


@dataclass(frozen=True, slots=True)
class Offers:
    profiles: Mapping[str, Resources] = field(default_factory=lambda: _STANDARD_ALONE)
    services: Mapping[str, ServiceOffer] = field(default_factory=lambda: _NO_SERVICES)
    idle_range: Range = _IDLE_RANGE
    """Seconds; what an admin may choose each kind's idle time from."""
    max_session_range: Range = _MAX_SESSION_RANGE

    @classmethod
    def read(cls, settings: Settings) -> Self:
        """Raise OffersError if a file or a range cannot be used."""
        figures = _read(settings.resource_profiles_file, _PROFILES, {})
        profiles = {name: each.named(name) for name, each in figures.items()}
        return cls(
            profiles={STANDARD: Resources(), **profiles},
            services=_read(settings.external_services_file, _SERVICES, {}),
            idle_range=_range(
                "idle", shortest=settings.shortest_idle_time, longest=settings.longest_idle_time
            ),
            max_session_range=_range(
                "session",
                shortest=settings.shortest_session_time,
                longest=settings.longest_session_time,
            ),
        )

    def profile_views(self) -> list[ProfileView]:
        """By size, the standard one first."""
        by_size = sorted(
            self.profiles.values(),
            key=lambda each: (each.profile != STANDARD, each.memory_mib, each.cpu_millis),
        )
        return [ProfileView(name=each.profile, **each.model_dump()) for each in by_size]

    def service_views(self) -> list[ServiceView]:
        return [
            ServiceView(name=name, title=offer.title)
            for name, offer in sorted(self.services.items(), key=lambda item: item[1].title)
        ]


def _read(
    path: Path | None, adapter: TypeAdapter[dict[str, T]], absent: dict[str, T]
) -> dict[str, T]:
    if path is None:
        return absent
    try:
        return adapter.validate_json(path.read_bytes())
    except OSError as error:
        raise OffersError(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'the file'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise OffersError(f"{path} is wrong: {faults}") from error


def _range(what: str, *, shortest: timedelta, longest: timedelta) -> Range:
    if shortest > longest:
        raise OffersError(f"the shortest {what} time that is allowed is above the longest one")
    # Rounded inwards, and never to nothing.
    return Range(
        lowest=max(ceil(shortest.total_seconds()), 1), highest=int(longest.total_seconds())
    )
