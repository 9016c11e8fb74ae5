"""The images of the real node, over containerd's own command line in the node's box."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slipway_local.cluster.images.oci import Image, write_archive
from slipway_local.cluster.images.pause import write_pause_archive
from slipway_local.cluster.machine.box import Box
from slipway_local.cluster.machine.node import PAUSE_IMAGE
from slipway_local.errors import LocalError, PartError
from slipway_local.program import Program

COMMAND_SECONDS = 300.0


class Runtime:
    def __init__(
        self, box: Box, *, folder: Path, pause: Path, environment: Mapping[str, str]
    ) -> None:
        """``folder`` takes archives and what commands print, while they are needed."""
        self._box = box
        self._folder = folder
        self._pause = pause
        self._environment = environment

    async def answers(self) -> bool:
        """Whether that part of it is up which the kubelet talks to."""
        try:
            found = await self._ctr("plugins", "ls", "id==cri")
        except PartError:
            return False
        return any(line.strip().endswith("ok") for line in found.splitlines())

    async def load(self, name: str, archive: Path) -> None:
        """Import an archive that holds an image of that name."""
        await self._ctr("images", "import", str(archive))
        if await self._prefix() + name not in await self._images():
            raise LocalError(f"{archive} holds no image named {name}")

    async def load_pause(self) -> None:
        if any(name.endswith(f"/{PAUSE_IMAGE}") for name in await self._images()):
            return
        with tempfile.TemporaryDirectory(dir=self._folder) as work:
            archive = Path(work) / "pause.tar"
            write_pause_archive(archive, program=self._pause)
            await self._ctr("images", "import", str(archive))

    async def load_images(
        self, images: Sequence[Image], note: Callable[[str], None]
    ) -> Sequence[str]:
        """Import what is not there yet, and forget what it replaces; return what was imported."""
        prefix, imported = await self._prefix(), []
        for image in images:
            wanted = [prefix + name for name in image.names]
            known = await self._images()
            if all(known.get(name) == image.digest for name in wanted):
                continue
            note(f"loading image {image.name}")
            await self._import(image, wanted)
            imported.append(image.name)
            older = [name for name in known if name.startswith(f"{prefix}{image.name}:")]
            if superseded := [name for name in older if name not in wanted]:
                await self._ctr("images", "rm", *superseded)
        return imported

    async def _import(self, image: Image, names: Sequence[str]) -> None:
        present = set((await self._ctr("content", "ls", "--quiet")).split())
        with tempfile.TemporaryDirectory(dir=self._folder) as work:
            archive = Path(work) / "image.tar"
            write_archive(archive, image, names=names, present=present)
            await self._ctr("images", "import", str(archive))

    async def _images(self) -> dict[str, str]:
        """Names in full, and digests."""
        lines = (await self._ctr("images", "ls")).splitlines()[1:]
        return {fields[0]: fields[2] for fields in map(str.split, lines)}

    async def _prefix(self) -> str:
        """What containerd puts before a name that says no place, as it does for pods."""
        for name in await self._images():
            if name.endswith(f"/{PAUSE_IMAGE}"):
                return name.removesuffix(PAUSE_IMAGE)
        raise LocalError("the node has no pause image; restart containerd")

    async def _ctr(self, *arguments: str) -> str:
        # Not the loop's own way to start programs: others here collect what has ended.
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix="ctr-") as output:
            log = Path(output.name)
            program = Program("containerd", log=log, record=log.with_suffix(".pid"))
            await program.run_once(
                self._box.inside(["ctr", "--namespace=k8s.io", *arguments]),
                environment=self._environment,
                seconds=COMMAND_SECONDS,
            )
            return output.read().decode()
