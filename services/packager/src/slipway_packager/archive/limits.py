"""How much an archive may hold, checked against what headers claim before a byte is inflated.

The content reader holds every entry to its claim, so no archive can cost more than these limits.
"""

from dataclasses import dataclass

from slipway_packager.archive.refusal import InvalidArchiveError

KIBI = 1024
MEBI = 1024 * KIBI
GIBI = 1024 * MEBI


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    entries: int = 10_000
    """Files and folders together, and folders count even if only a path mentions them."""
    entry_size: int = 1 * GIBI
    total_size: int = 4 * GIBI
    ratio: int = 100
    """How many times its compressed form an entry, or all of them, may be."""
    ratio_floor: int = 1 * MEBI
    """Up to this size the ratio does not matter: a short file of blanks is no bomb."""
    path_length: int = 240
    """In bytes of UTF-8; what every file system can still hold below a folder."""
    capture_size: int = 1 * MEBI
    """Of one captured entry; all captured entries are in memory at once."""


class Budget:
    """Adds up what the headers claim."""

    def __init__(self, limits: ArchiveLimits) -> None:
        self._limits = limits
        self._size = 0
        self._compressed = 0

    def spend(self, label: str, *, size: int, compressed: int, captured: bool) -> None:
        limits = self._limits
        self._size += size
        self._compressed += compressed
        if captured and size > limits.capture_size:
            raise InvalidArchiveError(
                "entry-size",
                f"{label} may hold at most {limits.capture_size} bytes, and claims {size}",
            )
        if size > limits.entry_size:
            raise InvalidArchiveError(
                "entry-size",
                f"{label} is too large: {size} bytes, where {limits.entry_size} are allowed",
            )
        if self._size > limits.total_size:
            raise InvalidArchiveError(
                "total-size",
                f"with {label} the content is larger than the {limits.total_size} bytes allowed",
            )
        if self._is_bomb(size, compressed):
            raise InvalidArchiveError(
                "ratio", f"{label} is compressed more than {limits.ratio} times"
            )
        if self._is_bomb(self._size, self._compressed):
            raise InvalidArchiveError(
                "ratio",
                f"with {label} the whole content is compressed more than {limits.ratio} times",
            )

    def _is_bomb(self, size: int, compressed: int) -> bool:
        return size > max(self._limits.ratio_floor, self._limits.ratio * compressed)
