"""``slipway.json``: what an app is, which runtime it needs and which procedures it offers."""

from typing import Annotated, Final, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from slipway_packager.archive.refusal import shown
from slipway_packager.archive.report import ArchiveReport
from slipway_packager.manifest.document import Document, Manifest, parse_document
from slipway_packager.manifest.fields import (
    ArchivePath,
    Category,
    Description,
    RequiredTitle,
    Title,
    spelled,
)
from slipway_packager.manifest.refusal import InvalidManifestError

APP_MANIFEST: Final = "slipway.json"
MAX_ICON_SIZE: Final = 256 * 1024

_MAX_SIZE: Final = 1024 * 1024
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_WHITE_SPACE: Final = b" \t\r\n"

AppName = Annotated[
    str,
    spelled(
        r"[A-Za-z0-9](?:[A-Za-z0-9._ -]{0,62}[A-Za-z0-9._-])?",
        "1 to 64 of the characters A-Z a-z 0-9 . _ - and blanks inside of it,"
        " starting with a letter or digit",
    ),
]
AppVersion = Annotated[
    str,
    spelled(
        r"[A-Za-z0-9][A-Za-z0-9._+-]{0,31}",
        "1 to 32 of the characters A-Z a-z 0-9 . _ + -, starting with a letter or digit",
    ),
]
Release = Annotated[
    str,
    spelled(
        r"(?:0|[1-9][0-9]{0,5})\.(?:0|[1-9][0-9]{0,5})",
        "the release of a runtime, MAJOR.MINOR, such as 1.0",
    ),
]
EntryPoint = Annotated[
    str,
    Field(max_length=200),
    spelled(
        r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*",
        "module:object, such as model:app",
    ),
]
ServiceName = Annotated[
    str, spelled(r"[A-Za-z0-9_-]{1,64}", "1 to 64 of the characters A-Z a-z 0-9 _ -")
]
ProfileName = Annotated[
    str,
    spelled(
        r"[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?",
        "1 to 32 of the characters a-z 0-9 and - inside of it, such as large",
    ),
]


class ServiceManifest(Document):
    name: ServiceName
    title: Title = ""
    description: Description = ""


class AppManifest(Manifest):
    name: AppName
    version: AppVersion
    title: RequiredTitle
    description: Description = ""
    category: Category = "other"
    runtime: Release
    profile: ProfileName = "standard"
    """Only its spelling is checked here: which profiles there are, the installation says."""
    entry: EntryPoint
    icon: ArchivePath | None = None
    services: Annotated[tuple[ServiceManifest, ...], Field(max_length=100)] = ()

    @model_validator(mode="after")
    def _check_service_names(self) -> Self:
        seen: set[str] = set()
        for service in self.services:
            if service.name in seen:
                raise PydanticCustomError(
                    "services", "two services are named {name}", {"name": service.name}
                )
            seen.add(service.name)
        return self


def parse_app_manifest(raw: bytes) -> AppManifest:
    return parse_document(AppManifest, raw, file=APP_MANIFEST, limit=_MAX_SIZE)


def check_app(manifest: AppManifest, report: ArchiveReport) -> None:
    """Check that the archive holds what the manifest names."""
    module, _, _ = manifest.entry.partition(":")
    path = module.replace(".", "/")
    if not report.entries.keys() & {f"{path}.py", f"{path}/__init__.py"}:
        raise InvalidManifestError(
            "entry-missing",
            f"{APP_MANIFEST}: the field “entry” names the module {module}, and the archive has"
            f" neither {path}.py nor {path}/__init__.py",
        )
    if manifest.icon is not None:
        _check_icon(manifest.icon, report)


def _check_icon(icon: str, report: ArchiveReport) -> None:
    field = f"{APP_MANIFEST}: the field “icon” names {shown(icon)}"
    entry = report.entries.get(icon)
    if entry is None:
        raise InvalidManifestError("icon-missing", f"{field}, which the archive does not have")
    if entry.size > MAX_ICON_SIZE:
        raise InvalidManifestError(
            "icon-too-large", f"{field}, which has more than {MAX_ICON_SIZE} bytes"
        )
    content = report.captured.get(icon)
    if content is None:
        fits = icon.lower().endswith((".svg", ".png"))
    else:
        fits = looks_like_png(content) or looks_like_svg(content)
    if not fits:
        raise InvalidManifestError("icon-type", f"{field}, which is neither SVG nor PNG")


def looks_like_png(content: bytes) -> bool:
    return content.startswith(_PNG)


def looks_like_svg(content: bytes) -> bool:
    """Tell whether the first element is an SVG; what it may do is up to how it is served."""
    rest = content.removeprefix(b"\xef\xbb\xbf").lstrip(_WHITE_SPACE)
    while rest.startswith((b"<?xml", b"<!--", b"<!DOCTYPE svg")):
        end = b"-->" if rest.startswith(b"<!--") else b">"
        _, found, rest = rest.partition(end)
        if not found:
            return False
        rest = rest.lstrip(_WHITE_SPACE)
    return rest.startswith((b"<svg ", b"<svg>", b"<svg\n", b"<svg\r", b"<svg\t", b"<svg/"))
