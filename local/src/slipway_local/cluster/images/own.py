"""The images of our services and of session pods, made here and in no registry.

Laid out as the Dockerfiles of the services lay them out: a Debian, what they need
below ``/opt/slipway``, our code on top; user 10001. What has not changed comes out
the same, byte for byte, so that nodes are given nothing twice.
"""

import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from slipway_local.cluster.images.debian import HOME, USER_ID, VENV, base
from slipway_local.cluster.images.oci import Image, Run
from slipway_local.cluster.images.python_layers import PythonLayers
from slipway_local.cluster.images.requirements import Member
from slipway_local.errors import LocalError
from slipway_local.settings import Settings, repository

COMMON = Member("libs/common")
MESH = Member("libs/common", ("mesh",))
RUNNER = Member("libs/runner")
ENVIRONMENT = ("PYTHONUNBUFFERED=1", "PYTHONDONTWRITEBYTECODE=1", f"PATH={VENV}/bin:/usr/bin:/bin")


@dataclass(frozen=True, slots=True)
class Definition:
    """One of our images; its name says which module it runs."""

    members: tuple[Member, ...]
    shared: str
    """Images that name the same here share the layer of what they need."""

    working_folder: str = f"/{HOME}/work"


def _service(name: str, *others: Member) -> Definition:
    return Definition((MESH, *others, Member(f"services/{name}")), "services")


DEFINITIONS = {
    "slipway-runner": Definition((COMMON, RUNNER), "runner", working_folder="/"),
    "slipway-gateway": _service("gateway"),
    "slipway-accounts": _service("accounts"),
    "slipway-packager": _service("packager"),
    "slipway-scheduler": _service("scheduler", RUNNER),
}
NAMES = tuple(DEFINITIONS)


@asynccontextmanager
async def built(
    names: Sequence[str], *, settings: Settings, log: Path, note: Callable[[str], None]
) -> AsyncIterator[list[Image]]:
    """Make the images of these names; their files last as long as the context."""
    unknown = [name for name in names if name not in DEFINITIONS]
    if unknown:
        raise LocalError(f"unknown image {unknown[0]!r}; there are: {', '.join(NAMES)}")
    ground = await base(settings, log=log, note=note)
    layers = PythonLayers(repository(), ground, settings=settings, log=log)
    needs = {
        shared: await layers.dependencies(shared, members_of(shared), note)
        for shared in sorted({DEFINITIONS[name].shared for name in names})
    }
    with tempfile.TemporaryDirectory(prefix="slipway-images-") as work:
        code = Path(work) / "code"
        members = [member for name in names for member in DEFINITIONS[name].members]
        note("packing our own code")
        await layers.install_members(code, members)
        images = []
        for name in names:
            definition = DEFINITIONS[name]
            own = layers.code(Path(work) / f"{name}.tar", code, definition.members)
            run = Run(
                entrypoint=(f"{VENV}/bin/python", "-m", name.replace("-", "_")),
                user=f"{USER_ID}:{USER_ID}",
                environment=ENVIRONMENT,
                working_folder=definition.working_folder,
            )
            images.append(Image(name, (ground.layer, needs[definition.shared], own), run))
        yield images


def members_of(shared: str) -> list[Member]:
    """All members of all images that share a layer, so that it is the same for each."""
    found = {
        member
        for definition in DEFINITIONS.values()
        if definition.shared == shared
        for member in definition.members
    }
    return sorted(found, key=lambda member: (member.folder, member.extras))
