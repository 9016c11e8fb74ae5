"""Text for people, and text from apps made storable.

PostgreSQL takes no NUL, and UTF-8 no half of a surrogate pair.
"""

from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
MAX_MESSAGE = 2000


def span(seconds: float) -> str:
    """Say how long: ``1 minute``, ``90 seconds``; from two minutes on, in minutes."""
    whole = round(seconds)
    brief = whole < 120 and whole != 60
    number, unit = (whole, "second") if brief else (round(whole / 60), "minute")
    return f"{number} {unit}" if number == 1 else f"{number} {unit}s"


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
