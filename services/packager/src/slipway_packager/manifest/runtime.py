"""``runtime.json`` and the manifest that its vendor signs."""

import json
import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, PlainValidator
from pydantic_core import PydanticCustomError

from slipway_common.contracts.packages import Sha256Hex
from slipway_packager.archive.refusal import shown
from slipway_packager.archive.report import ArchiveReport
from slipway_packager.manifest.document import Manifest, parse_document
from slipway_packager.manifest.fields import ArchivePath, Line, RequiredTitle
from slipway_packager.manifest.identity import RuntimeId
from slipway_packager.manifest.refusal import InvalidManifestError

RUNTIME_MANIFEST: Final = "runtime.json"
SIGNED_MANIFEST: Final = "META-INF/manifest.json"
SIGNATURE: Final = "META-INF/manifest.p7s"

_MAX_SIZE: Final = 64 * 1024
_MAX_SIGNED_SIZE: Final = 4 * 1024 * 1024
_PLACEHOLDER: Final = re.compile(r"\{[^{}]*\}|[{}]")
_PLACEHOLDERS: Final = frozenset({"{python}", "{runtime}"})


def _parse_id(value: Any) -> RuntimeId:
    try:
        return RuntimeId.parse(value if isinstance(value, str) else "")
    except ValueError as error:
        raise PydanticCustomError("runtime_id", "{words}", {"words": str(error)}) from error


def _check_argument(argument: str) -> str:
    for placeholder in _PLACEHOLDER.findall(argument):
        if placeholder not in _PLACEHOLDERS:
            raise PydanticCustomError(
                "placeholder", "only {{python}} and {{runtime}} may stand in braces"
            )
    return argument


Id = Annotated[RuntimeId, PlainValidator(_parse_id)]
Argument = Annotated[Line, Field(min_length=1, max_length=1_000), AfterValidator(_check_argument)]


class RuntimeManifest(Manifest):
    id: Id
    title: RequiredTitle
    command: Annotated[tuple[Argument, ...], Field(min_length=1, max_length=64)]
    """What the runner starts; ``{python}`` and ``{runtime}`` are filled in."""
    python_path: Annotated[tuple[ArchivePath, ...], Field(max_length=16)] = ()
    preload: bool = False
    """Whether its engine can be started before there is an app for it."""


class SignedManifest(Manifest):
    id: Id
    files: Annotated[dict[str, Sha256Hex], Field(max_length=20_000)]
    """Digest of every file by its path, but for this manifest and its signature."""


def parse_runtime_manifest(raw: bytes) -> RuntimeManifest:
    return parse_document(RuntimeManifest, raw, file=RUNTIME_MANIFEST, limit=_MAX_SIZE)


def parse_signed_manifest(raw: bytes) -> SignedManifest:
    """Read it in its one spelling, so that what was signed cannot be read in another way."""
    manifest = parse_document(SignedManifest, raw, file=SIGNED_MANIFEST, limit=_MAX_SIGNED_SIZE)
    spelling = json.dumps(
        json.loads(raw), sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    if raw != spelling.encode():
        raise InvalidManifestError(
            "manifest-not-canonical",
            f"{SIGNED_MANIFEST} must have its keys sorted, and no white space",
        )
    return manifest


def check_runtime(
    manifest: RuntimeManifest, *, signed: SignedManifest, report: ArchiveReport
) -> None:
    """Check that the signed id is the runtime's own, and that its folders are in the archive."""
    if manifest.id != signed.id:
        raise InvalidManifestError(
            "id-mismatch",
            f"{RUNTIME_MANIFEST} is of {manifest.id}, and {SIGNED_MANIFEST} of {signed.id}",
        )
    for folder in manifest.python_path:
        if not any(path.startswith(f"{folder}/") for path in report.entries):
            raise InvalidManifestError(
                "folder-missing",
                f"{RUNTIME_MANIFEST}: the field “pythonPath” names {shown(folder)}, and the"
                " archive has no such folder",
            )
