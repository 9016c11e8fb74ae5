"""A runtime on disk: unpacked once per session, and the command that starts its engine."""

import json
import os
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Runtime:
    folder: Path
    command: tuple[str, ...]
    python_path: tuple[Path, ...]
    preload: bool
    """Whether its engine can be started before there is an app for it."""


def unpack(descriptor: int, folder: Path) -> Runtime:
    """Unpack an archive that the packager has let pass: its names are safe and its sizes true."""
    folder.mkdir(parents=True)
    with os.fdopen(descriptor, "rb") as file, zipfile.ZipFile(file) as archive:
        archive.extractall(folder)  # see above
    manifest = json.loads((folder / "runtime.json").read_bytes())
    return Runtime(
        folder=folder,
        command=tuple(
            part.replace("{python}", sys.executable).replace("{runtime}", str(folder))
            for part in manifest["command"]
        ),
        python_path=tuple(folder / part for part in manifest.get("pythonPath", ())),
        preload=manifest.get("preload", False),
    )
