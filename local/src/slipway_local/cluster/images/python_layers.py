"""The layers of Python: what our code needs, held to its hashes, and our code itself."""

import asyncio
import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from slipway_local.cache import installed
from slipway_local.cluster.images.debian import PYTHON, PYTHON_FOLDER, VENV, Base, compile_inside
from slipway_local.cluster.images.oci import Layer, read_layer, write_layer
from slipway_local.cluster.images.requirements import (
    Member,
    name_of,
    outside_requirements,
    read_projects,
)
from slipway_local.program import Program
from slipway_local.settings import Settings

# The C library of the Debian below, which what is installed has to get along with.
LIBRARY = "manylinux_2_36"
RECIPE = 1
INSTALL_SECONDS = 900.0
KEY_LENGTH = 16
MACHINE_FILES = ("direct_url.json", "uv_cache.json")
"""What tells of an installation where it was made, and when."""


class PythonLayers:
    def __init__(self, repository: Path, base: Base, *, settings: Settings, log: Path) -> None:
        self._repository = repository
        self._base = base
        self._settings = settings
        self._log = log

    async def dependencies(
        self, name: str, members: Sequence[Member], note: Callable[[str], None]
    ) -> Layer:
        """Make the layer of everything that the members need and that is not ours."""
        named = [(name_of(member, self._repository), member.extras) for member in members]
        wanted = outside_requirements(read_projects(self._repository), named)
        locked = self._repository / "requirements.txt"
        ingredients = [RECIPE, self._base.layer.digest, wanted, locked.read_text()]
        key = hashlib.sha256(json.dumps(ingredients).encode()).hexdigest()[:KEY_LENGTH]

        async def make(target: Path) -> None:
            note(f"installing what {name} needs, once")
            venv = target / "venv"
            listed = target / "wanted.txt"
            _furnish(venv)
            listed.write_text("\n".join(wanted))
            await self._install(
                venv / Path(PYTHON_FOLDER).relative_to(VENV),
                *("--require-hashes", "--constraint", str(locked)),
                *("--only-binary", ":all:", "--requirement", str(listed)),
            )
            await self._compile(venv, VENV)
            await asyncio.to_thread(write_layer, target / "layer.tar", [(VENV, venv)])
            shutil.rmtree(venv)

        folder = await installed(self._settings.cache_folder, f"image-{name}-{key}", make)
        return read_layer(folder / "layer.tar")

    async def install_members(self, folder: Path, members: Iterable[Member]) -> None:
        """Install our own code as a release would, without what it needs."""
        folders = sorted({member.folder for member in members})
        sources = [str(self._repository / each) for each in folders]
        # Without a cache: it would go by the project files, and not see that code has changed.
        await self._install(folder, "--no-cache", "--no-deps", "--no-build-isolation", *sources)
        _forget_machine(folder)
        await self._compile(folder, PYTHON_FOLDER)

    def code(self, path: Path, folder: Path, members: Iterable[Member]) -> Layer:
        """Write the layer of these members, out of what was installed."""
        found: list[Path] = []
        for member in members:
            module = name_of(member, self._repository).replace("-", "_")
            found += [folder / module, *folder.glob(f"{module}-*.dist-info")]
        return write_layer(path, [(f"{PYTHON_FOLDER}/{each.name}", each) for each in sorted(found)])

    async def _install(self, target: Path, *arguments: str) -> None:
        program = Program("images", log=self._log, record=self._log.with_suffix(".pid"))
        await program.run_once(
            [
                *(str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet"),
                *("--python", sys.executable, "--target", str(target)),
                *("--python-version", PYTHON),
                *("--python-platform", f"{platform.machine()}-{LIBRARY}"),
                *arguments,
            ],
            environment=self._settings.full,
            seconds=INSTALL_SECONDS,
            folder=self._repository,
        )
        # Commands would start by an interpreter of this machine, and nothing calls them.
        shutil.rmtree(target / "bin", ignore_errors=True)

    async def _compile(self, folder: Path, place: str) -> None:
        await compile_inside(
            self._base.root,
            folder,
            place=place,
            log=self._log,
            environment=self._settings.inherited,
        )


def _furnish(venv: Path) -> None:
    """Make an environment by hand: the interpreter that it stands on is not of this machine."""
    binaries = venv / "bin"
    binaries.mkdir(parents=True)
    (binaries / "python").symlink_to(f"/usr/bin/python{PYTHON}")
    for name in ("python3", f"python{PYTHON}"):
        (binaries / name).symlink_to("python")
    (venv / "pyvenv.cfg").write_text(
        f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {PYTHON}\n"
    )


def _forget_machine(folder: Path) -> None:
    """Take out of the installations' own records what differs from machine to machine."""
    for told in folder.glob("slipway_*.dist-info"):
        for name in MACHINE_FILES:
            (told / name).unlink(missing_ok=True)
        record = told / "RECORD"
        lines = record.read_text().splitlines(keepends=True)
        kept = [line for line in lines if Path(line.split(",")[0]).name not in MACHINE_FILES]
        record.write_text("".join(sorted(kept)))
