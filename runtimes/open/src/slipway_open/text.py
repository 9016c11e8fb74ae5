"""What an app says, made sendable: UTF-8 has no half of a surrogate pair, JSON no infinity."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

LARGEST_TEXT = 8 * 1024
"""Bytes of one message; a longer one is cut."""


def sendable(text: str) -> str:
    """Replace what cannot be stored or sent."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def message(text: Any) -> Any:
    """The same for what people read, which is cut where it is far too long."""
    if not isinstance(text, str):
        return text
    encoded = sendable(text).encode()
    if len(encoded) <= LARGEST_TEXT:
        return encoded.decode()
    return encoded[:LARGEST_TEXT].decode("utf-8", "ignore") + "…"


Message = Annotated[str, BeforeValidator(message)]


def sendable_json(value: Any) -> Any:
    """Give the same value with every text in it, keys included, made sendable."""
    match value:
        case str():
            clean = sendable(value)
            return value if clean == value else clean
        case dict():
            return {sendable_json(key): sendable_json(each) for key, each in value.items()}
        case list():
            return [sendable_json(each) for each in value]
        case _:
            return value


def infinite_at(value: Any) -> tuple[int | str, ...] | None:
    """Say where the first number is that JSON does not have, or None."""
    match value:
        case float():
            return None if math.isfinite(value) else ()
        case Mapping():
            parts = list(value.items())
        case list() | tuple():
            parts = list(enumerate(value))
        case _:
            return None
    for key, part in parts:
        place = infinite_at(part)
        if place is not None:
            return (key if isinstance(key, int) else str(key), *place)
    return None
