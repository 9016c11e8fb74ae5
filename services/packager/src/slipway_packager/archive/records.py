"""The three records of a ZIP, each judged by itself; layouts are those of APPNOTE 4.3.

Every record starts with a signature of four bytes, which the gate has read by then.
"""

import stat
import struct
from dataclasses import dataclass
from typing import Final

from slipway_packager.archive.refusal import ArchiveRefusal, InvalidArchiveError

LOCAL_SIGNATURE: Final = b"PK\x03\x04"
CENTRAL_SIGNATURE: Final = b"PK\x01\x02"
END_SIGNATURE: Final = b"PK\x05\x06"

_LOCAL = struct.Struct("<5H3I2H")
_CENTRAL = struct.Struct("<6H3I5H2I")
_END = struct.Struct("<4H2IH")
LOCAL_SIZE: Final = _LOCAL.size
CENTRAL_SIZE: Final = _CENTRAL.size
END_SIZE: Final = _END.size

STORED: Final = 0
DEFLATED: Final = 8

_ENCRYPTED = 0x0001 | 0x0040 | 0x2000
_LEVEL = 0x0006
_DESCRIPTOR = 0x0008
_UTF8 = 0x0800
_VERSION = 20
_ZIP64_VERSION = 45
_ZIP64_SIZE = 0xFFFFFFFF

_DOS = 0
_UNIX = 3
_READ_ONLY, _HIDDEN, _SYSTEM, _FOLDER, _ARCHIVE = 0x01, 0x02, 0x04, 0x10, 0x20
_HARMLESS = _READ_ONLY | _HIDDEN | _SYSTEM | _FOLDER | _ARCHIVE


@dataclass(frozen=True, slots=True)
class Facts:
    """What both headers of an entry say, and must say alike."""

    version: int
    flags: int
    method: int
    time: int
    date: int
    checksum: int
    compressed: int
    size: int

    @property
    def utf8(self) -> bool:
        return bool(self.flags & _UTF8)


@dataclass(frozen=True, slots=True)
class LocalHeader:
    facts: Facts
    name_length: int
    extra_length: int


@dataclass(frozen=True, slots=True)
class CentralHeader:
    made_by: int
    facts: Facts
    name_length: int
    extra_length: int
    comment_length: int
    disk: int
    internal: int
    external: int
    offset: int


@dataclass(frozen=True, slots=True)
class EndRecord:
    disk: int
    start_disk: int
    disk_entries: int
    entries: int
    size: int
    offset: int
    comment_length: int


def parse_local(raw: bytes) -> LocalHeader:
    *facts, name_length, extra_length = _LOCAL.unpack(raw)
    return LocalHeader(Facts(*facts), name_length, extra_length)


def parse_central(raw: bytes) -> CentralHeader:
    made_by, *rest = _CENTRAL.unpack(raw)
    return CentralHeader(made_by, Facts(*rest[:8]), *rest[8:])


def parse_end(raw: bytes) -> EndRecord:
    return EndRecord(*_END.unpack(raw))


def check_facts(label: str, facts: Facts) -> None:
    def refuse(reason: ArchiveRefusal, what: str) -> InvalidArchiveError:
        return InvalidArchiveError(reason, f"{label} {what}")

    if facts.flags & _ENCRYPTED:
        raise refuse("encrypted", "is encrypted, which is not accepted")
    if facts.flags & _DESCRIPTOR:
        raise refuse("data-descriptor", "has its size after its content instead of before it")
    if facts.method not in {STORED, DEFLATED}:
        raise refuse("method", f"uses compression method {facts.method}; 0 and 8 are accepted")
    # How hard the packer tried stands in two bits, and only deflate has them.
    allowed = _UTF8 | (_LEVEL if facts.method == DEFLATED else 0)
    if facts.flags & ~allowed:
        raise refuse("flags", f"has flags that are not accepted: {facts.flags:#06x}")
    if facts.version == _ZIP64_VERSION or _ZIP64_SIZE in {facts.size, facts.compressed}:
        raise refuse("zip64", "uses ZIP64, which is not accepted")
    if facts.version > _VERSION:
        raise refuse("version", f"needs version {facts.version} of the format; 20 is accepted")


def check_central(label: str, header: CentralHeader, *, folder: bool) -> None:
    """Check what only the central directory says."""
    if header.comment_length:
        raise InvalidArchiveError("comment", f"{label} has a comment, which is not accepted")
    if header.disk:
        raise InvalidArchiveError("multi-disk", f"{label} claims to be on another disk")
    if header.made_by >> 8 not in {_DOS, _UNIX} or header.internal & ~1:
        raise InvalidArchiveError("attributes", f"{label} has attributes that are not known here")
    mode, dos = header.external >> 16, header.external & 0xFFFF
    # Some programs look at the mode whatever system made the entry, so it always counts.
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        raise InvalidArchiveError("link", f"{label} is a symbolic link, which is not accepted")
    if kind not in {0, stat.S_IFDIR if folder else stat.S_IFREG}:
        raise InvalidArchiveError(
            "attributes", f"{label} is marked as something else than a plain file or folder"
        )
    if mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        raise InvalidArchiveError(
            "attributes", f"{label} has one of the setuid, setgid and sticky bits"
        )
    if dos & ~_HARMLESS or (dos & _FOLDER and not folder):
        raise InvalidArchiveError("attributes", f"{label} has attributes that are not accepted")


def check_same(label: str, *, local: Facts, central: Facts) -> None:
    for field in Facts.__slots__:
        ours, theirs = getattr(local, field), getattr(central, field)
        if ours != theirs:
            raise InvalidArchiveError(
                "header-mismatch",
                f"{label} has {field} {ours} before its content and {theirs} in the central"
                " directory",
            )
