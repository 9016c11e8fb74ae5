"""Why an archive is refused: a code that never changes, and words that its publisher can act on."""

from typing import Literal

from slipway_common.errors import PermanentError

ArchiveRefusal = Literal[
    "attributes",
    "checksum",
    "comment",
    "data-descriptor",
    "deflate",
    "empty",
    "encrypted",
    "end-record",
    "entry-count",
    "entry-size",
    "extra-field",
    "flags",
    "header-mismatch",
    "link",
    "method",
    "multi-disk",
    "name-character",
    "name-collision",
    "name-duplicate",
    "name-encoding",
    "name-folder",
    "name-length",
    "name-path",
    "name-reserved",
    "not-a-zip",
    "ratio",
    "size",
    "stray-bytes",
    "total-size",
    "trailing-data",
    "truncated",
    "version",
    "zip64",
]

_SHOWN_LENGTH = 120


class InvalidArchiveError(PermanentError):
    """The archive breaks a rule; ``reason`` is stable, the message names the entry."""

    def __init__(self, reason: ArchiveRefusal, message: str) -> None:
        super().__init__(message)
        self.reason: ArchiveRefusal = reason


def shown(name: bytes | str) -> str:
    """A name as it may stand in a message: quoted, on one line, nothing invisible, not too long."""
    text = name.decode("utf-8", "backslashreplace") if isinstance(name, bytes) else name
    # What a terminal, a log or a page could act on is shown as its escape.
    visible = "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )
    if len(visible) > _SHOWN_LENGTH:
        visible = visible[:_SHOWN_LENGTH] + "…"
    return f"“{visible}”"
