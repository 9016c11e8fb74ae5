"""The stack: the parts in their order, the services on top, and the lifeline.

It runs in the process that makes it, and ends with that process. Several can
run at once, each in a state folder of its own.
"""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from slipway_local import azurite, kafka
from slipway_local.azurite import Azurite
from slipway_local.environment import PodPlace, Surroundings, service_environment
from slipway_local.errors import BusyError, LocalError
from slipway_local.external import External
from slipway_local.files import try_lock, write_atomically
from slipway_local.kafka import Kafka
from slipway_local.lifeline import Lifeline
from slipway_local.part import Part, PartState, Progress, Report
from slipway_local.ports import LOOPBACK, Ports
from slipway_local.postgres import Postgres, passfile_content
from slipway_local.processes import RECORD_SUFFIX, become_subreaper, remove_leftovers
from slipway_local.secrets import Secrets
from slipway_local.service import SERVICES, Service, ServiceDefinition
from slipway_local.settings import Settings, read_settings
from slipway_local.state import LIFELINE_NAME, Remembered, State
from slipway_local.together import together
from slipway_local.tools import Tool

PARTS = ("postgres", "kafka", "azurite")
VARIABLES = {
    "postgres": "SLIPWAY_POSTGRES_DSN",
    "kafka": "SLIPWAY_KAFKA_BOOTSTRAP",
    "azurite": "SLIPWAY_BLOB_CONNECTION",
}


EXPORTED = {
    "postgres": "SLIPWAY_LOCAL_POSTGRES",
    "kafka": "SLIPWAY_LOCAL_KAFKA",
    "azurite": "SLIPWAY_LOCAL_BLOBS",
}
"""Other names than above: a shell that has them must not take our parts for external ones."""


def unheard(_: Progress) -> None:
    """Report to nobody."""


class Stack:
    def __init__(
        self,
        state_folder: Path | None = None,
        *,
        parts: Sequence[str] = PARTS,
        services: Sequence[ServiceDefinition] = SERVICES,
        settings: Settings | None = None,
        fsync: bool = True,
        preferred_ports: Mapping[str, int] | None = None,
        service_environment: Mapping[str, str] | None = None,
        pods: PodPlace | None = None,
        advertised_host: str = LOOPBACK,
    ) -> None:
        """``state_folder`` and ``settings`` come from the environment unless given.

        ``preferred_ports`` are tried at the first start, by name: ``gateway``,
        ``gateway-health``, ``kafka``. ``service_environment`` is set on top for each
        service, and stays. With ``pods``, sessions run in that cluster. Clients of Kafka
        are sent to ``advertised_host``, from where somebody has to pass them on to loopback.
        """
        unknown = [name for name in parts if name not in PARTS]
        if unknown:
            raise LocalError(f"unknown part {unknown[0]!r}; there are: {', '.join(PARTS)}")
        self._settings = settings or read_settings()
        self._part_names = tuple(name for name in PARTS if name in parts)
        self._definitions = tuple(services)
        self._fsync = fsync
        self._preferred = dict(preferred_ports or {})
        self._service_environment = dict(service_environment or {})
        self._pods = pods
        self._advertised_host = advertised_host
        self._state = State(state_folder or self._settings.state_folder)
        self._lock: int | None = None
        self._ports = Ports(self._settings.cache_folder / "ports", {})
        self._lifeline: Lifeline | None = None
        self._surroundings: Surroundings | None = None
        self._members: dict[str, Part] = {}
        self._states = dict.fromkeys(self.names, PartState.WAITING)
        self._report: Report = unheard
        self.secrets = Secrets(self._state.secrets)

    @property
    def names(self) -> tuple[str, ...]:
        """All parts and services, in the order of starting."""
        return (*self._part_names, *(definition.name for definition in self._definitions))

    @property
    def state(self) -> State:
        return self._state

    @property
    def states(self) -> Mapping[str, PartState]:
        return dict(self._states)

    @property
    def kafka_bootstrap(self) -> str:
        return self.part("kafka").address

    @property
    def postgres_dsn(self) -> str:
        return self.part("postgres").address

    @property
    def blob_connection(self) -> str:
        return self.part("azurite").address

    @property
    def postgres_folder(self) -> Path:
        """Where the database's files lie; not always below the state folder."""
        remembered = self._state.read()
        if remembered is None:
            raise LocalError("there is no database yet: the stack was never started")
        return remembered.postgres_folder

    @property
    def gateway_url(self) -> str:
        """Where a browser on this machine finds the portal."""
        self.part("gateway")
        return self._around.gateway_url

    @property
    def accounts_url(self) -> str:
        return self.part("accounts").address

    @property
    def lifeline(self) -> Path:
        return self._around.lifeline

    def part(self, name: str) -> Part:
        if name not in self._states:
            raise LocalError(f"unknown part {name!r}; there are: {', '.join(self.names)}")
        if name not in self._members:
            raise LocalError(f"{name} has no address yet: the stack was never started")
        return self._members[name]

    def service(self, name: str) -> Service:
        found = self.part(name)
        if not isinstance(found, Service):
            raise LocalError(f"{name} is not a service")
        return found

    def log(self, name: str) -> Path:
        if name not in self._states:
            raise LocalError(f"unknown part {name!r}; there are: {', '.join(self.names)}")
        return self._state.log(name)

    def needed_tools(self) -> list[Tool]:
        """Programs of the machine that the next start will use."""
        tools: list[Tool] = []
        if "kafka" in self._part_names and self._settings.externals.kafka is None:
            tools += kafka.needed_tools(self._settings)
        if "azurite" in self._part_names and self._settings.externals.blobs is None:
            tools += azurite.needed_tools(self._settings)
        return tools

    def exports(self) -> dict[str, str]:
        """Addresses as shell words, by variable; a secret is named by its file, not shown.

        An address that was given from outside is left out: the shell has it.
        """
        words = {}
        for name in self._part_names:
            part = self.part(name)
            if isinstance(part, External):
                continue
            if name == "azurite":
                words[EXPORTED[name]] = f'"$(cat {shlex.quote(str(self.secrets.blob_connection))})"'
            else:
                words[EXPORTED[name]] = shlex.quote(part.address)
        if "gateway" in self.names:
            words["SLIPWAY_URL"] = shlex.quote(self.gateway_url)
        return words

    async def start(self, progress: Report = unheard) -> None:
        """Start everything and return when all is ready; if something fails, stop it all."""
        if self._lock is not None:
            return
        self._report = progress
        remembered = self._state.open()
        self._lock = try_lock(self._state.lock_file)
        if self._lock is None:
            raise BusyError(f"another process runs a stack in {self._state.folder}")
        try:
            become_subreaper()
            await remove_leftovers(remembered.run_folder)
            self._assemble(remembered)
            await self._start_all()
        except BaseException:
            failed = [name for name in self.names if self._states[name] is PartState.FAILED]
            await self.stop()
            for name in failed:
                self._enter(name, PartState.FAILED)
            raise

    async def stop(self) -> None:
        """Stop what runs, the services first, and let go of the lifeline."""
        if self._lock is None:
            return
        for name in reversed(self.names):
            if name in self._members:
                await self._members[name].stop()
                self._enter(name, PartState.STOPPED)
        if self._lifeline is not None:
            await self._lifeline.close()
        self._ports.release()
        os.close(self._lock)
        self._lock = None

    async def kill(self, name: str) -> None:
        """End one part as a crash would; ``restart`` brings it back."""
        part = self.part(name)
        self._enter(name, PartState.STOPPED)
        await part.kill()

    async def restart(self, name: str, *, extra_env: Mapping[str, str] | None = None) -> None:
        """Stop one part, if it runs, and start it again at the same address.

        ``extra_env`` is set on top for a service, and stays until the next restart.
        """
        part = self.part(name)
        if isinstance(part, Service):
            part.extra_environment = dict(extra_env or {})
        elif extra_env:
            raise LocalError(f"{name} takes no environment; only services do")
        self._enter(name, PartState.STOPPED)
        await part.stop()
        await self.revive(name)

    async def revive(self, name: str) -> None:
        """Start one part that has ended."""
        part = self.part(name)
        self._enter(name, PartState.PREPARING)
        try:
            await part.prepare(lambda detail: self._enter(name, PartState.PREPARING, detail))
            self._enter(name, PartState.STARTING)
            await part.start()
        except LocalError:
            self._enter(name, PartState.FAILED)
            raise
        external = isinstance(part, External)
        self._enter(name, PartState.EXTERNAL if external else PartState.RUNNING)

    def note_crashes(self) -> list[str]:
        """Return the parts that should run and have ended since the last call."""
        crashed = [
            name
            for name, state in self._states.items()
            if state is PartState.RUNNING and self._members[name].pid is None
        ]
        for name in crashed:
            self._enter(name, PartState.CRASHED, "ended by itself")
        return crashed

    @property
    def _around(self) -> Surroundings:
        if self._surroundings is None:
            raise LocalError("nothing has an address yet: the stack was never started")
        return self._surroundings

    def _enter(self, name: str, state: PartState, detail: str = "") -> None:
        self._states[name] = state
        self._report(Progress(name, state, detail))

    async def _start_all(self) -> None:
        if self._lifeline is not None:
            await self._lifeline.open()
        await together([self.revive(name) for name in self._part_names])
        if "azurite" in self._part_names:
            write_atomically(self.secrets.blob_connection, self.blob_connection)
        # Together, because one may only get ready when it hears from another.
        await together([self.revive(definition.name) for definition in self._definitions])

    def _assemble(self, remembered: Remembered) -> None:
        """Choose ports, make secrets, and build every part around them."""
        self._ports = Ports(self._settings.cache_folder / "ports", dict(remembered.ports))
        self.secrets.make()
        run = remembered.run_folder
        self._lifeline = Lifeline(run / LIFELINE_NAME)
        externals = self._settings.externals
        given = {
            "postgres": externals.postgres,
            "kafka": externals.kafka,
            "azurite": externals.blobs,
        }
        builders: dict[str, Callable[[], Part]] = {
            "postgres": lambda: self._postgres(remembered),
            "kafka": lambda: self._kafka(run),
            "azurite": lambda: self._azurite(run),
        }
        self._members = {}
        for name in self._part_names:
            address = given[name]
            self._members[name] = (
                builders[name]()
                if address is None
                else External(name, address, variable=VARIABLES[name])
            )
        ports = {
            definition.name: self._port(definition.name) if definition.http else None
            for definition in self._definitions
        }
        self._surroundings = Surroundings(
            kafka_bootstrap=self._address("kafka"),
            postgres_dsn=self._address("postgres"),
            secrets=self.secrets,
            lifeline=self._lifeline.path,
            work_folder=self._state.work,
            accounts_port=ports.get("accounts"),
            gateway_port=ports.get("gateway"),
            pods=self._pods,
        )
        for definition in self._definitions:
            self._members[definition.name] = self._service(definition, ports[definition.name], run)
        self._state.write(
            Remembered(self._ports.numbers, remembered.run_folder, remembered.postgres_folder)
        )

    def _postgres(self, remembered: Remembered) -> Postgres:
        password = self.secrets.postgres_password.read_text()
        write_atomically(self.secrets.postgres_passfile, passfile_content(password))
        return Postgres(
            remembered.postgres_folder,
            port=self._port("postgres"),
            password=password,
            passfile=self.secrets.postgres_passfile,
            log=self._state.log("postgres"),
            record=self._record(remembered.run_folder, "postgres"),
            settings=self._settings,
            fsync=self._fsync,
        )

    def _kafka(self, run: Path) -> Kafka:
        return Kafka(
            self._state.data("kafka"),
            port=self._port("kafka"),
            controller_port=self._port("kafka-controller"),
            log=self._state.log("kafka"),
            record=self._record(run, "kafka"),
            settings=self._settings,
            advertised_host=self._advertised_host,
        )

    def _azurite(self, run: Path) -> Azurite:
        return Azurite(
            self._state.data("azurite"),
            port=self._port("azurite"),
            account_key=self.secrets.blob_account_key.read_text(),
            log=self._state.log("azurite"),
            record=self._record(run, "azurite"),
            settings=self._settings,
        )

    def _service(self, definition: ServiceDefinition, port: int | None, run: Path) -> Service:
        health_port = self._port(f"{definition.name}-health")
        return Service(
            definition,
            folder=self._state.work,
            port=port,
            health_port=health_port,
            environment={
                **service_environment(
                    definition.name, self._around, port=port, health_port=health_port
                ),
                **self._service_environment,
            },
            log=self._state.log(definition.name),
            record=self._record(run, definition.name),
            settings=self._settings,
        )

    def _address(self, name: str) -> str:
        return self._members[name].address if name in self._members else ""

    def _port(self, name: str) -> int:
        return self._ports.take(name, preferred=self._preferred.get(name))

    @staticmethod
    def _record(run: Path, name: str) -> Path:
        return run / f"{name}{RECORD_SUFFIX}"
