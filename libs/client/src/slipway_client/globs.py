"""Which files of a project are meant: patterns with ``*``, ``?`` and ``**``, from its folder on.

``*`` stays within one part of a path and ``**`` crosses parts; what names a folder names all that
is in it.
"""

import re
from functools import lru_cache
from pathlib import PurePosixPath


def matches(path: PurePosixPath, pattern: str) -> bool:
    return _compiled(pattern.removeprefix("./").rstrip("/")).match(str(path)) is not None


@lru_cache(maxsize=256)
def _compiled(pattern: str) -> re.Pattern[str]:
    expression = ""
    position = 0
    while position < len(pattern):
        rest = pattern[position:]
        if rest.startswith("**/"):
            expression += "(?:[^/]+/)*"
            position += 3
        elif rest.startswith("**"):
            expression += ".*"
            position += 2
        else:
            match rest[0]:
                case "*":
                    expression += "[^/]*"
                case "?":
                    expression += "[^/]"
                case character:
                    expression += re.escape(character)
            position += 1
    return re.compile(f"{expression}(?:/.*)?\\Z", re.DOTALL)
