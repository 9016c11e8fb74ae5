"""The files of the running app, for its own code: ``project.read_json("data/cities.json")``."""

import json
from typing import Any

from slipway_open.archive import AppArchive


class ProjectFiles:
    """Read-only; names are those of the archive, with ``/`` and no leading ``./``."""

    def __init__(self) -> None:
        self._archive: AppArchive | None = None

    def open(self, archive: AppArchive) -> None:
        """Called by the engine before it imports the app."""
        self._archive = archive

    @property
    def names(self) -> list[str]:
        return sorted(self._opened().names)

    def read_bytes(self, name: str) -> bytes:
        return self._opened().read(name)

    def read_text(self, name: str) -> str:
        return self.read_bytes(name).decode("utf-8")

    def read_json(self, name: str) -> Any:
        return json.loads(self.read_bytes(name))

    def _opened(self) -> AppArchive:
        if self._archive is None:
            raise RuntimeError("the files of an app can be read only inside a session")
        return self._archive


project = ProjectFiles()
