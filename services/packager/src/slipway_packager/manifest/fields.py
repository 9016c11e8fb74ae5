"""Kinds of fields that manifests share, each with its rule in words for the publisher."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from slipway_packager.archive.names import check_name
from slipway_packager.archive.refusal import InvalidArchiveError

# A database refuses NUL, and a terminal or a log acts upon the others.
_CONTROL = r"\x00-\x1f\x7f-\x9f\u2028\u2029"


def spelled(pattern: str, words: str) -> AfterValidator:
    """Accept text that the whole pattern matches; else say in words what was expected."""
    expression = re.compile(pattern)

    def check(value: str) -> str:
        if not expression.fullmatch(value):
            raise PydanticCustomError("spelling", "it must be {words}", {"words": words})
        return value

    return AfterValidator(check)


def _check_path(path: str) -> str:
    try:
        check_name(path)
    except InvalidArchiveError as error:
        raise PydanticCustomError("path", "{words}", {"words": str(error)}) from error
    if path.endswith("/"):
        raise PydanticCustomError("path", "it must not end in a slash")
    return path


Line = Annotated[str, spelled(rf"[^{_CONTROL}]*", "one line without control characters")]
Title = Annotated[Line, Field(max_length=120)]
RequiredTitle = Annotated[Title, spelled(r".*\S.*", "at least one letter")]
Category = Annotated[Line, Field(max_length=64)]
Description = Annotated[
    str,
    Field(max_length=4_000),
    spelled(rf"(?:[^{_CONTROL}]|[\n\r\t])*", "text without control characters"),
]
ArchivePath = Annotated[str, Field(max_length=240), AfterValidator(_check_path)]
"""Relative path inside of the archive, of a file or a folder, without a slash at the end."""
