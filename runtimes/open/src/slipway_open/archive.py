"""The app archive, held in memory from the first byte to the last.

Nothing here writes a file: the archive reaches the engine as a sealed memory file, and its
content must not outlive the process.
"""

import io
import os
import zipfile
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slipway_open.problems import AppNotLoadableError

MANIFEST_NAME = "slipway.json"


class ServiceEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    title: str = ""
    description: str = ""


class AppManifest(BaseModel):
    """``slipway.json``; the packager has judged it before, so only its shape is checked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Annotated[int, Field(alias="schema", ge=1, le=1)]
    name: str
    version: str
    title: str
    description: str = ""
    category: str = ""
    runtime: str
    profile: str = ""
    entry: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")]
    icon: str | None = None
    services: tuple[ServiceEntry, ...] = ()


class AppArchive:
    def __init__(self, content: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(content))
        except zipfile.BadZipFile as error:
            raise AppNotLoadableError("The app archive is not a ZIP file.") from error
        self._names = frozenset(name for name in self._zip.namelist() if not name.endswith("/"))

    @classmethod
    def from_descriptor(cls, descriptor: int) -> Self:
        """Read the inherited file from its start, and close it."""
        try:
            with os.fdopen(descriptor, "rb") as file:
                file.seek(0)
                return cls(file.read())
        except OSError as error:
            raise AppNotLoadableError(
                f"The app archive cannot be read: {error.strerror}."
            ) from error

    @property
    def names(self) -> frozenset[str]:
        return self._names

    def read(self, name: str) -> bytes:
        """Raise ``FileNotFoundError`` if the archive has no such entry."""
        if name not in self._names:
            raise FileNotFoundError(f"the app has no file {name!r}")
        return self._zip.read(name)

    def manifest(self) -> AppManifest:
        try:
            return AppManifest.model_validate_json(self.read(MANIFEST_NAME))
        except FileNotFoundError as error:
            raise AppNotLoadableError(f"The app archive has no {MANIFEST_NAME}.") from error
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise AppNotLoadableError(f"{MANIFEST_NAME}: {place}: {first['msg']}.") from error
