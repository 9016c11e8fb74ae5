"""Downloads, kept by version outside the tree and installed in one step.

An installation is made in a temporary folder and renamed, under a lock: two
processes can share the cache, and one that is killed leaves nothing half done.
"""

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from slipway_local.errors import LocalError
from slipway_local.files import locked

READABLE_FOLDER = 0o755


async def installed(cache: Path, name: str, install: Callable[[Path], Awaitable[None]]) -> Path:
    """Return the folder of that name; ``install`` fills it unless it is there."""
    folder = cache / name
    if folder.is_dir():
        return folder
    _make_folder(cache)
    async with locked(cache / f".{name}.lock"):
        if folder.is_dir():
            return folder
        work = _work_folder(cache, f".{name}.new-")
        try:
            await install(work)
            _move(work, folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    return folder


def _make_folder(cache: Path) -> None:
    try:
        cache.mkdir(parents=True, exist_ok=True, mode=READABLE_FOLDER)
    except OSError as error:
        raise LocalError(
            f"cannot make the cache folder {cache} ({error.strerror}); choose another with "
            "SLIPWAY_CACHE"
        ) from error


def _work_folder(cache: Path, prefix: str) -> Path:
    """Make a folder to install into, and remove those of earlier attempts that were killed."""
    for abandoned in cache.glob(f"{prefix}*"):
        shutil.rmtree(abandoned, ignore_errors=True)
    return Path(tempfile.mkdtemp(dir=cache, prefix=prefix))


def _move(work: Path, folder: Path) -> None:
    work.chmod(READABLE_FOLDER)
    work.rename(folder)
