"""Writes ZIP archives in which any field can be made to lie, while all the others stay true."""

import struct
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

STORED = 0
DEFLATED = 8
UTF8 = 0x0800


def deflate(content: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def extra(kind: int, value: bytes, *, size: int | None = None) -> bytes:
    return struct.pack("<2H", kind, len(value) if size is None else size) + value


@dataclass(frozen=True)
class Part:
    """One entry; ``both`` changes fields in both headers, ``local`` and ``central`` in one."""

    name: str | bytes
    content: bytes = b""
    method: int = STORED
    data: bytes | None = None
    """Compressed form, where it is not the one that belongs to the content."""
    both: Mapping[str, Any] = field(default_factory=dict)
    local: Mapping[str, Any] = field(default_factory=dict)
    central: Mapping[str, Any] = field(default_factory=dict)
    before: bytes = b""
    """Bytes between the entry before this one and its own header."""
    after: bytes = b""

    @property
    def raw_name(self) -> bytes:
        return self.name if isinstance(self.name, bytes) else self.name.encode()

    @property
    def body(self) -> bytes:
        if self.data is not None:
            return self.data
        return deflate(self.content) if self.method == DEFLATED else self.content

    def fields(self, own: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "made_by": (3 << 8) | 20,
            "version": 20,
            "flags": 0 if self.raw_name.isascii() else UTF8,
            "method": self.method,
            "time": 0x6020,
            "date": 0x5A21,
            "checksum": zlib.crc32(self.content),
            "compressed": len(self.body),
            "size": len(self.content),
            "name": self.raw_name,
            "extra": b"",
            "comment": b"",
            "disk": 0,
            "internal": 0,
            "external": (0o40755 << 16 | 0x10) if self.raw_name.endswith(b"/") else 0o100644 << 16,
            **self.both,
            **own,
        }


def local_header(values: Mapping[str, Any]) -> bytes:
    return (
        struct.pack(
            "<4s5H3I2H",
            b"PK\x03\x04",
            *(values[name] for name in ("version", "flags", "method", "time", "date")),
            *(values[name] for name in ("checksum", "compressed", "size")),
            len(values["name"]),
            len(values["extra"]),
        )
        + values["name"]
        + values["extra"]
    )


def central_header(values: Mapping[str, Any]) -> bytes:
    return (
        struct.pack(
            "<4s6H3I5H2I",
            b"PK\x01\x02",
            *(values[name] for name in ("made_by", "version", "flags", "method", "time", "date")),
            *(values[name] for name in ("checksum", "compressed", "size")),
            len(values["name"]),
            len(values["extra"]),
            len(values["comment"]),
            *(values[name] for name in ("disk", "internal", "external", "offset")),
        )
        + values["name"]
        + values["extra"]
        + values["comment"]
    )


def build(
    parts: Iterable[Part],
    *,
    before: bytes = b"",
    between: bytes = b"",
    before_end: bytes = b"",
    after: bytes = b"",
    order: Sequence[int] | None = None,
    end: Mapping[str, Any] | None = None,
    without_end: bool = False,
) -> bytes:
    """``order`` says which parts the central directory has, and in which order."""
    parts = list(parts)
    archive = bytearray(before)
    lines = []
    for part in parts:
        archive += part.before
        offset = len(archive)
        archive += local_header(part.fields(part.local)) + part.body + part.after
        lines.append(central_header({"offset": offset, **part.fields(part.central)}))
    archive += between
    start = len(archive)
    chosen = list(range(len(parts))) if order is None else list(order)
    for index in chosen:
        archive += lines[index]
    values = {
        "disk": 0,
        "start_disk": 0,
        "disk_entries": len(chosen),
        "entries": len(chosen),
        "size": len(archive) - start,
        "offset": start,
        "comment": b"",
        **(end or {}),
    }
    archive += before_end
    if not without_end:
        archive += struct.pack(
            "<4s4H2IH",
            b"PK\x05\x06",
            *(values[name] for name in ("disk", "start_disk", "disk_entries", "entries")),
            values["size"],
            values["offset"],
            values.get("comment_length", len(values["comment"])),
        )
        archive += values["comment"]
    return bytes(archive + after)
