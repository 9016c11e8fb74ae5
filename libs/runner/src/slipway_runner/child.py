"""The engine's process: what it is given, and that it ends with us."""

import asyncio
import ctypes
import os
import signal
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path

from slipway_runner.runtime import Runtime

ENGINE_SOCKET = "engine.sock"
APP_SOCKET = "app.sock"
LONGEST_SOCKET_PATH = 80
"""The kernel takes 107 bytes, and an engine may bind under a longer name first."""

_PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ")
_PR_SET_PDEATHSIG = 1

# Found before any fork: between fork and exec nothing may be loaded that takes a lock.
_prctl = ctypes.CDLL(None).prctl


def _die_with_parent() -> None:
    """An engine whose runner is gone serves nobody, and nobody would end it."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def sockets_folder(folder: Path) -> Path:
    """The session's folder, unless that is too deep for the address of a Unix socket."""
    if len(str(folder / ENGINE_SOCKET)) <= LONGEST_SOCKET_PATH:
        return folder
    return Path(tempfile.mkdtemp(prefix="slipway-"))


async def start(
    runtime: Runtime,
    *,
    folder: Path,
    environment: Mapping[str, str],
    descriptors: Collection[int] = (),
) -> asyncio.subprocess.Process:
    """Start the runtime's command with an environment that holds nothing of ours."""
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *runtime.command,
        cwd=scratch,
        env={
            **passed_on,
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "PYTHONPATH": os.pathsep.join(str(path) for path in runtime.python_path),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            **environment,
        },
        pass_fds=tuple(descriptors),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=64 * 1024,
        preexec_fn=_die_with_parent,
    )
