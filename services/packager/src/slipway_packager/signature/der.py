"""A look at bytes before a lenient parser gets them: one whole DER value, and nothing behind."""

from typing import Final

from slipway_packager.signature.refusal import InvalidSignatureError

_MAX_DEPTH: Final = 32
_CONSTRUCTED: Final = 0x20
_LONG_TAG: Final = 0x1F
_LONG_LENGTH: Final = 0x80


def check_der(data: bytes) -> None:
    """Refuse what BER allows and DER does not: lengths left open, or written longer than needed."""
    if _check_value(data, 0, len(data), depth=0) != len(data):
        raise InvalidSignatureError("trailing-data", "there are bytes after the signature")


def _check_value(data: bytes, start: int, limit: int, *, depth: int) -> int:
    """Check the value that starts there, and return where it ends."""
    if depth > _MAX_DEPTH or limit - start < 2:
        raise _malformed()
    tag, length = data[start], data[start + 1]
    position = start + 2
    # Tags above 30 do not occur in CMS.
    if tag & _LONG_TAG == _LONG_TAG or length == _LONG_LENGTH:
        raise _malformed()
    if length > _LONG_LENGTH:
        count = length - _LONG_LENGTH
        digits = data[position : min(position + count, limit)]
        length = int.from_bytes(digits, "big")
        position += count
        if len(digits) != count or digits[0] == 0 or length < _LONG_LENGTH:
            raise _malformed()
    end = position + length
    if end > limit:
        raise _malformed()
    if tag & _CONSTRUCTED:
        while position < end:
            position = _check_value(data, position, end, depth=depth + 1)
    return end


def _malformed() -> InvalidSignatureError:
    return InvalidSignatureError("malformed", "the signature is not DER")
