"""What is known of an archive once its last byte was seen and every rule held."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    size: int
    """Bytes of the content itself, not of its compressed form."""
    sha256: str
    """Digest of the content, in hex."""


@dataclass(frozen=True, slots=True)
class ArchiveReport:
    entries: Mapping[str, Entry]
    """Every file by its path, in the order of the archive."""
    folders: frozenset[str]
    """Folders that have an entry of their own; without the slash at the end."""
    captured: Mapping[str, bytes]
    """Content of those entries that were asked for and are there."""
