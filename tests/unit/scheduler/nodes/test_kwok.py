"""Fake machines: a size is absolute, however old the picture is of whoever orders it."""

from datetime import timedelta
from pathlib import Path

import pytest

from slipway_scheduler.nodes.kwok import KwokPools
from slipway_scheduler.nodes.models import PoolStatus
from unit.scheduler.nodes.making import spec
from unit.scheduler.nodes.world import World


@pytest.mark.parametrize(("there", "size", "made"), [(0, 2, 2), (1, 2, 1), (2, 1, 0), (2, 2, 0)])
async def test_only_what_the_server_lacks_is_made(
    tmp_path: Path, there: int, size: int, made: int
) -> None:
    async with World.run(tmp_path) as world:
        for number in range(there):
            await world.add_node(f"node-{number}")
        pools = KwokPools(world.api, [spec()], nodes={}, boot=timedelta(0))

        await pools.set_size(PoolStatus(spec().name, target=0), size)

        await world.refresh()
        assert len(world.nodes.objects) == there + made
