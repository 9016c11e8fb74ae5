import asyncio
from pathlib import Path

import pytest

from slipway_local.cache import installed
from slipway_local.errors import LocalError


def contents(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def test_two_at_once_install_once(tmp_path: Path) -> None:
    installs: list[Path] = []

    async def install(target: Path) -> None:
        installs.append(target)
        await asyncio.sleep(0.1)
        (target / "program").touch()

    folders = await asyncio.gather(*(installed(tmp_path, "tool-1", install) for _ in range(3)))

    assert len(installs) == 1
    assert set(folders) == {tmp_path / "tool-1"}
    assert (tmp_path / "tool-1" / "program").exists()


async def test_failed_install_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    async def fail(target: Path) -> None:
        (target / "half").touch()
        raise LocalError("the line is down")

    async def succeed(target: Path) -> None:
        (target / "whole").touch()

    with pytest.raises(LocalError):
        await installed(tmp_path, "tool-1", fail)
    assert contents(tmp_path) == [".tool-1.lock"]

    folder = await installed(tmp_path, "tool-1", succeed)
    assert [path.name for path in folder.iterdir()] == ["whole"]


async def test_what_a_killed_install_left_is_removed(tmp_path: Path) -> None:
    abandoned = tmp_path / ".tool-1.new-abc"
    abandoned.mkdir()

    async def install(target: Path) -> None:
        (target / "program").touch()

    await installed(tmp_path, "tool-1", install)

    assert not abandoned.exists()


async def test_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def install(target: Path) -> None:
        raise AssertionError(target)

    with pytest.raises(LocalError, match="SLIPWAY_CACHE"):
        await installed(tmp_path / "file" / "cache", "tool-1", install)
