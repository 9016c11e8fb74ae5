"""The lowest layer of our images: a small Debian with Python, from this machine's own mirror."""

import asyncio
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway_local.cache import installed
from slipway_local.cluster.images.oci import Layer, read_layer, write_layer
from slipway_local.errors import LocalError
from slipway_local.program import Program
from slipway_local.settings import Settings
from slipway_local.tools import DEBOOTSTRAP, require

RELEASE = "bookworm"
"""The one whose Python is the project's."""

PYTHON = "3.11"
RECIPE = 2
"""Raised when what is made below changes: older ones in the cache are then left alone."""

PACKAGES = ("python3", "ca-certificates")
USER, USER_ID = "slipway", 10001
HOME = "var/lib/slipway"
VENV = "/opt/slipway"
PYTHON_FOLDER = f"{VENV}/lib/python{PYTHON}/site-packages"
OWN_FOLDERS = (f"{HOME}/keys", f"{HOME}/work")
USELESS = (
    "etc/apt/sources.list",
    "usr/share/doc",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/man",
    "var/cache/apt",
    "var/cache/debconf",
    "var/lib/apt/lists",
    "var/log",
)
MADE_AT_RUN_TIME = ("/dev", "/proc", "/sys")
BOOTSTRAP_SECONDS = 1800.0
COMMAND_SECONDS = 300.0
PACKAGE_LIST = "Packages"

IN_PRIVATE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--")
"""With mounts that nobody else sees, and that are gone when the program is."""


@dataclass(frozen=True, slots=True)
class Base:
    root: Path
    """The files themselves, for programs that have to run among them."""

    layer: Layer


def cache_name() -> str:
    return f"debian-{RELEASE}-{RECIPE}"


async def base(settings: Settings, *, log: Path, note: Callable[[str], None]) -> Base:
    async def make(target: Path) -> None:
        note(f"making the Debian {RELEASE} that our images stand on, once")
        root = target / "root"
        program = Program("images", log=log, record=log.with_suffix(".pid"))
        await program.run_once(
            [
                # It mounts things below its folder, and would leave them there if it were killed.
                *IN_PRIVATE,
                *(str(require(DEBOOTSTRAP, settings)), "--variant=minbase"),
                *(f"--include={','.join(PACKAGES)}", RELEASE, str(root), mirror(settings)),
            ],
            environment={**settings.full, "DEBIAN_FRONTEND": "noninteractive"},
            seconds=BOOTSTRAP_SECONDS,
        )
        await asyncio.to_thread(_furnish, root)
        await asyncio.to_thread(
            write_layer,
            target / "layer.tar",
            [("/", root)],
            # The interpreter goes by the times of its own files when it looks for compiled ones.
            keep_times=True,
            without=MADE_AT_RUN_TIME,
        )

    folder = await installed(settings.cache_folder, cache_name(), make)
    return Base(folder / "root", read_layer(folder / "layer.tar"))


async def compile_inside(
    root: Path, folder: Path, *, place: str, log: Path, environment: Mapping[str, str]
) -> None:
    """Compile a folder of Python as if it lay at that place, by the Python that will run it.

    The place is one that ``base`` has made, the outcome not checked against its
    sources again, which an image never changes.
    """
    script = (
        'mount --bind "$1" "$2$3" && exec chroot "$2" '
        f'/usr/bin/python{PYTHON} -m compileall -q --invalidation-mode unchecked-hash "$3"'
    )
    program = Program("images", log=log, record=log.with_suffix(".pid"))
    await program.run_once(
        [*IN_PRIVATE, "sh", "-c", script, "sh", str(folder), str(root), place],
        environment=environment,
        seconds=COMMAND_SECONDS,
    )


def mirror(settings: Settings) -> str:
    """Return where this machine gets that Debian from."""
    try:
        answer = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(CREATED_BY) $(CODENAME) $(REPO_URI)"],
            env=dict(settings.full),
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            text=True,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise LocalError(f"images are made with the packages of Debian: {error}") from error
    found = mirror_in(answer.splitlines())
    if found is None:
        raise LocalError(
            f"no source of apt on this machine has Debian {RELEASE}, which our images stand on; "
            "add one below /etc/apt"
        )
    return found


def mirror_in(targets: Sequence[str]) -> str | None:
    """Find the release itself among the lists that apt knows; None if it is not there."""
    for target in targets:
        kind, release, address = target.split(" ", 2)
        if (kind, release) == (PACKAGE_LIST, RELEASE):
            return address
    return None


def _furnish(root: Path) -> None:
    """Throw out what no container needs, and make the user that ours run as."""
    for name in USELESS:
        path = root / name
        if path.is_dir():
            shutil.rmtree(path)
            path.mkdir()
        else:
            path.unlink(missing_ok=True)
    (root / PYTHON_FOLDER.lstrip("/")).mkdir(parents=True)
    lines = {
        "passwd": f"{USER}:x:{USER_ID}:{USER_ID}::/{HOME}:/usr/sbin/nologin",
        "group": f"{USER}:x:{USER_ID}:",
        "shadow": f"{USER}:!:::::::",
    }
    for name, line in lines.items():
        with (root / "etc" / name).open("a") as file:
            file.write(line + "\n")
    for name in OWN_FOLDERS:
        folder = root / name
        folder.mkdir(parents=True, mode=0o700)
        shutil.chown(folder, USER_ID, USER_ID)
