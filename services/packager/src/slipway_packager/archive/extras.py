"""Extra fields: the two kinds that common tools write and that say nothing about the content.

Any other kind is refused, since some change name, size or place of an entry for those who read it.
"""

import struct
from typing import Final

from slipway_packager.archive.refusal import InvalidArchiveError

MAX_EXTRA_SIZE: Final = 64

_ZIP64 = 0x0001
_TIMES = 0x5455
"""Modification, access and creation time; the central directory repeats only the first."""
_OWNER = 0x7875
"""Numbers of the Unix user and group; nobody here restores them."""

_HEADER = struct.Struct("<2H")
_ACCEPTED = frozenset({_TIMES, _OWNER})


def parse_local_extras(label: str, raw: bytes) -> dict[int, bytes]:
    """Read the fields of a local header, which hold all that can be said."""
    fields = _parse(label, raw)
    for kind, value in fields.items():
        if not (_are_times(value) if kind == _TIMES else _is_owner(value)):
            raise _malformed(label)
    return fields


def check_central_extras(label: str, raw: bytes, *, local: dict[int, bytes]) -> None:
    """Check that the central directory has the same fields with the same values."""
    fields = _parse(label, raw)
    expected = {
        kind: _first_time(value) if kind == _TIMES else value for kind, value in local.items()
    }
    if fields != expected:
        raise InvalidArchiveError(
            "header-mismatch", f"{label} has other extra fields in the central directory"
        )


def _parse(label: str, raw: bytes) -> dict[int, bytes]:
    fields: dict[int, bytes] = {}
    position = 0
    while position < len(raw):
        if len(raw) - position < _HEADER.size:
            raise _malformed(label)
        kind, size = _HEADER.unpack_from(raw, position)
        value = raw[position + _HEADER.size : position + _HEADER.size + size]
        position += _HEADER.size + size
        if kind == _ZIP64:
            raise InvalidArchiveError("zip64", f"{label} uses ZIP64, which is not accepted")
        if kind not in _ACCEPTED:
            raise InvalidArchiveError(
                "extra-field", f"{label} has an extra field of a kind not accepted: {kind:#06x}"
            )
        if len(value) != size or kind in fields:
            raise _malformed(label)
        fields[kind] = value
    return fields


def _are_times(value: bytes) -> bool:
    return bool(value) and value[0] < 8 and len(value) == 1 + 4 * value[0].bit_count()


def _first_time(value: bytes) -> bytes:
    return value[:5] if value[0] & 1 else value[:1]


def _is_owner(value: bytes) -> bool:
    """Version 1, then user and group, each after its own length."""
    if len(value) < 3 or value[0] != 1:
        return False
    group = 2 + value[1]
    return group < len(value) and len(value) == group + 1 + value[group]


def _malformed(label: str) -> InvalidArchiveError:
    return InvalidArchiveError("extra-field", f"{label} has a malformed or repeated extra field")
