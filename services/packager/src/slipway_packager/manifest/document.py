"""JSON that can be read in one way only: bounded, no key twice, nothing that a schema lacks."""

import json
from typing import Annotated, Any, NoReturn, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from slipway_packager.archive.refusal import shown
from slipway_packager.manifest.refusal import InvalidManifestError, ManifestRefusal

MAX_DEPTH = 8

_BRACKETS = b"[]{}"
_NO_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_OPENING = frozenset(b"[{")


class Document(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


class Manifest(Document):
    # A literal would take true for 1.
    schema_version: Annotated[int, Field(alias="schema", ge=1, le=1)]


_Model = TypeVar("_Model", bound=BaseModel)


class _DuplicateKeyError(ValueError):
    pass


def parse_document(model: type[_Model], raw: bytes, *, file: str, limit: int) -> _Model:
    """Read the file of that name, or say which field of it is wrong."""
    if len(raw) > limit:
        raise InvalidManifestError(
            "manifest-too-large", f"{file} has {len(raw)} bytes, where {limit} are allowed"
        )
    # Before any parser sees it: parsers recurse, and a stack is not for publishers to fill.
    if _is_too_deep(raw):
        raise InvalidManifestError(
            "manifest-too-deep", f"{file} is nested more than {MAX_DEPTH} deep"
        )
    try:
        json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except _DuplicateKeyError as error:
        raise InvalidManifestError(
            "manifest-duplicate-key", f"{file} has the key {shown(str(error))} twice"
        ) from error
    except ValueError as error:
        raise InvalidManifestError(
            "manifest-not-json", f"{file} is not JSON in UTF-8: {_place(error)}"
        ) from error
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise _translated(error.errors(include_url=False)[0], file) from error


def _is_too_deep(raw: bytes) -> bool:
    # Without its escapes a string ends at the next quote, so every other piece is outside of one.
    pieces = raw.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    depth = 0
    for bracket in b"".join(pieces[::2]).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in _OPENING else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise _DuplicateKeyError(key)
        seen[key] = value
    return seen


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _place(error: ValueError) -> str:
    match error:
        case json.JSONDecodeError():
            return f"line {error.lineno}, column {error.colno}"
        case UnicodeDecodeError():
            return f"byte {error.start}"
        case _:
            return "it holds a number that cannot be read"


def _translated(error: ErrorDetails, file: str) -> InvalidManifestError:
    path = ""
    for part in error["loc"]:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    field = f"{file}: the field {shown(path)}" if path else file
    match error["type"]:
        case "missing":
            return InvalidManifestError("field-missing", f"{field} is missing")
        case "extra_forbidden":
            return InvalidManifestError("field-unknown", f"{field} is not known")
        case "json_invalid":
            return InvalidManifestError("manifest-not-json", f"{file} is not JSON in UTF-8")
        case _:
            reason: ManifestRefusal = "schema-unknown" if path == "schema" else "field-invalid"
            return InvalidManifestError(reason, f"{field} is wrong: {error['msg']}")
