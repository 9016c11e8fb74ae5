"""The content of one entry as it streams by: counted, inflated, hashed, and held to its header."""

import zlib
from hashlib import sha256
from typing import Final

from slipway_packager.archive.records import DEFLATED, Facts
from slipway_packager.archive.refusal import InvalidArchiveError
from slipway_packager.archive.report import Entry

# Small enough that the rest which inflating leaves behind, and copies, stays small.
_INFLATE_INPUT: Final = 16 * 1024
_INFLATE_OUTPUT: Final = 256 * 1024


class ContentReader:
    """Takes exactly the compressed bytes that the header claims."""

    def __init__(self, label: str, facts: Facts, *, capture: bool) -> None:
        self._label = label
        self._facts = facts
        self._compressed_left = facts.compressed
        self._left = facts.size
        self._checksum = 0
        self._digest = sha256(usedforsecurity=True)
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if facts.method == DEFLATED else None
        self._captured = bytearray() if capture else None

    @property
    def compressed_left(self) -> int:
        return self._compressed_left

    def feed(self, data: memoryview) -> None:
        """Take at most ``compressed_left`` bytes."""
        if self._inflater is None:
            self._compressed_left -= len(data)
            self._take(data)
            return
        for start in range(0, len(data), _INFLATE_INPUT):
            piece = data[start : start + _INFLATE_INPUT]
            self._compressed_left -= len(piece)
            self._inflate(self._inflater, piece)

    def finish(self) -> tuple[Entry, bytes | None]:
        """Return what the content was, and the content itself if it was to be captured."""
        if self._inflater is not None and not self._inflater.eof:
            raise InvalidArchiveError("deflate", f"the compressed data of {self._label} is cut off")
        if self._left:
            raise InvalidArchiveError(
                "size", f"{self._label} claims {self._facts.size} bytes and holds fewer"
            )
        if self._checksum != self._facts.checksum:
            raise InvalidArchiveError(
                "checksum", f"the content of {self._label} does not match its checksum"
            )
        entry = Entry(size=self._facts.size, sha256=self._digest.hexdigest())
        return entry, None if self._captured is None else bytes(self._captured)

    def _inflate(self, inflater: "zlib._Decompress", piece: memoryview) -> None:
        pending: memoryview | bytes = piece
        while not inflater.eof:
            # One byte more than is left tells too much from just enough.
            room = min(_INFLATE_OUTPUT, self._left + 1)
            try:
                output = inflater.decompress(pending, room)
            except zlib.error as error:
                raise InvalidArchiveError(
                    "deflate", f"the compressed data of {self._label} is damaged"
                ) from error
            self._take(output)
            pending = inflater.unconsumed_tail
            # As long as the room was filled there may be more, even if no input is left.
            if len(output) < room:
                break
        # Whatever follows the end of the stream would be read by nobody but those who look for it.
        if inflater.eof and (inflater.unused_data or self._compressed_left):
            raise InvalidArchiveError(
                "deflate", f"there are bytes after the end of the compressed data of {self._label}"
            )

    def _take(self, content: memoryview | bytes) -> None:
        if len(content) > self._left:
            raise InvalidArchiveError(
                "size", f"{self._label} claims {self._facts.size} bytes and holds more"
            )
        self._left -= len(content)
        self._checksum = zlib.crc32(content, self._checksum)
        self._digest.update(content)
        if self._captured is not None:
            self._captured += content
