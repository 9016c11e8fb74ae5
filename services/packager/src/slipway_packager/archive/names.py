"""Names of entries: which ones mean the same everywhere, and which get in each other's way.

A name that passes is a relative path below the folder it is unpacked to, wherever that is.
"""

import re
import unicodedata

from slipway_packager.archive.refusal import InvalidArchiveError, shown

# Windows finds a device behind these in any folder and with any extension.
_DEVICE = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\..*)?", re.IGNORECASE
)

# To Windows a backslash parts folders, a colon starts a drive or a stream; it refuses the rest.
_FORBIDDEN = frozenset('\\:*?"<>|')

# Control, format (which turns or hides text), surrogate, private, unassigned, line and paragraph.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


def decode_name(raw: bytes, *, utf8: bool) -> str:
    """Read the name in the one way that all programs agree on.

    Without the flag a name is in a code page that each program guesses, so only ASCII is clear.
    """
    try:
        return raw.decode("utf-8" if utf8 else "ascii")
    except UnicodeDecodeError as error:
        wanted = "UTF-8" if utf8 else "ASCII, nor flagged as UTF-8"
        raise InvalidArchiveError(
            "name-encoding", f"the name {shown(raw)} is not {wanted}"
        ) from error


def check_name(name: str) -> tuple[str, ...]:
    """Return the parts of the path; a folder's name ends in a slash, which is not a part."""
    label = shown(name)
    for character in name:
        if character in _FORBIDDEN or unicodedata.category(character) in _INVISIBLE:
            raise InvalidArchiveError(
                "name-character", f"the name {label} holds {character!a}, which is not allowed"
            )
    parts = tuple(name.removesuffix("/").split("/"))
    for part in parts:
        if part in {"", ".", ".."}:
            raise InvalidArchiveError(
                "name-path",
                f"the name {label} is not a plain relative path: no part may be empty, “.” or “..”",
            )
        # Windows drops these, so that two names become one.
        if part.endswith((".", " ")) or part.startswith(" "):
            raise InvalidArchiveError(
                "name-path", f"in the name {label} a part starts or ends with a blank or a dot"
            )
        if _DEVICE.fullmatch(part):
            raise InvalidArchiveError(
                "name-reserved", f"the name {label} holds {shown(part)}, a device on Windows"
            )
    return parts


class NameSet:
    """All paths so far, told apart the way that the least careful file system would."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._files: dict[str, str] = {}
        self._folders: dict[str, str] = {}
        self._explicit: set[str] = set()

    def add(self, name: str, parts: tuple[str, ...]) -> None:
        # Folders that are only mentioned count as well: a few deep paths would
        # otherwise make up millions of them.
        for depth in range(1, len(parts)):
            self._add_folder("/".join(parts[:depth]), owner=name)
        path = "/".join(parts)
        key = _folded(path)
        if name.endswith("/"):
            self._add_folder(path, owner=name)
            if key in self._explicit:
                raise _duplicate(name)
            self._explicit.add(key)
            return
        if key in self._folders:
            raise InvalidArchiveError(
                "name-folder", f"{shown(name)} is a file and also the folder of other entries"
            )
        if (known := self._files.get(key)) is not None:
            raise _duplicate(name) if known == path else _collision(name, known)
        self._files[key] = path
        self._check_count()

    def _add_folder(self, path: str, *, owner: str) -> None:
        key = _folded(path)
        if key in self._files:
            raise InvalidArchiveError(
                "name-folder",
                f"{shown(owner)} needs {shown(path)} to be a folder, and there is such a file",
            )
        known = self._folders.setdefault(key, path)
        if known != path:
            raise _collision(owner, known)
        self._check_count()

    def _check_count(self) -> None:
        if len(self._files) + len(self._folders) > self._limit:
            raise InvalidArchiveError(
                "entry-count", f"there are more than {self._limit} files and folders"
            )


def _folded(path: str) -> str:
    # Canonical caseless matching: the same for “é” as one character or as two, in any case.
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", path).casefold())


def _duplicate(name: str) -> InvalidArchiveError:
    return InvalidArchiveError("name-duplicate", f"there are two entries named {shown(name)}")


def _collision(name: str, known: str) -> InvalidArchiveError:
    return InvalidArchiveError(
        "name-collision",
        f"{shown(name)} and {shown(known)} differ only in case or in how letters are encoded",
    )
