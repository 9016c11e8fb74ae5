"""Text from apps, made storable: PostgreSQL takes no NUL, and UTF-8 no half of a surrogate pair."""

from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_MESSAGE = 2000


def storable(text: str) -> str:
    return text.replace("\0", REPLACEMENT).encode("utf-8", "replace").decode()


def storable_message(text: str) -> str:
    """One that people read: bounded, too."""
    shown = storable(text)
    return shown if len(shown) <= MAX_MESSAGE else shown[:MAX_MESSAGE] + "…"


def storable_json(value: Any) -> Any:
    """The same value with every text in it, keys included, made storable."""
    match value:
        case str():
            return storable(value)
        case dict():
            return {storable(str(key)): storable_json(each) for key, each in value.items()}
        case list() | tuple():
            return [storable_json(each) for each in value]
        case _:
            return value
