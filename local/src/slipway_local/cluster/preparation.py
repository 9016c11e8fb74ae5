"""Everything that a first start would have to build, built ahead of it."""

from collections.abc import Callable
from pathlib import Path

from slipway_local.cluster import binaries
from slipway_local.cluster.images.own import NAMES, built
from slipway_local.cluster.members import Nodes
from slipway_local.settings import Settings


async def prepare(
    nodes: Nodes, *, settings: Settings, log: Path, note: Callable[[str], None]
) -> None:
    """Fill the cache; what lies there already costs nothing."""
    await binaries.kubernetes(settings, log=log, note=note)
    if nodes.fake:
        await binaries.kwok(settings, log=log, note=note)
    if nodes.real:
        async with built(NAMES, settings=settings, log=log, note=note):
            note("all images can be made")
