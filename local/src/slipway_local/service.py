"""One of our own services, or anything else that tells by HTTP when it is ready."""

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway_local.ports import LOOPBACK
from slipway_local.program import Program, http_status
from slipway_local.settings import Settings

START_SECONDS = 60.0
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class ServiceDefinition:
    name: str
    command: tuple[str, ...]
    http: bool = False
    """It serves more than its health, on a port of its own."""


def own_service(name: str, *, http: bool = False) -> ServiceDefinition:
    return ServiceDefinition(name, (sys.executable, "-m", f"slipway_{name}"), http=http)


# In the order of starting: those that answer before those that ask.
SERVICES = (
    own_service("accounts", http=True),
    own_service("gateway", http=True),
    own_service("packager"),
    own_service("scheduler"),
)


class Service:
    def __init__(
        self,
        definition: ServiceDefinition,
        *,
        folder: Path,
        port: int | None,
        health_port: int,
        environment: Mapping[str, str],
        log: Path,
        record: Path,
        settings: Settings,
    ) -> None:
        """``port`` is None for a service that serves nothing but its health."""
        self._definition = definition
        self._folder = folder
        self._port = port
        self._health_port = health_port
        self._environment = environment
        self._settings = settings
        self._program = Program(definition.name, log=log, record=record)
        self.extra_environment: Mapping[str, str] = {}
        """On top of the rest from the next start on: failpoints, a setting under test."""

    @property
    def name(self) -> str:
        return self._definition.name

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK}:{self._port or self._health_port}"

    @property
    def shown_address(self) -> str:
        return self.address

    @property
    def health_address(self) -> str:
        return f"http://{LOOPBACK}:{self._health_port}"

    @property
    def pid(self) -> int | None:
        return self._program.pid

    @property
    def log(self) -> Path:
        return self._program.log

    @property
    def full_environment(self) -> dict[str, str]:
        """All that the service sees; an operator's command of it needs the same."""
        return {**self._settings.inherited, **self._environment, **self.extra_environment}

    async def prepare(self, note: Callable[[str], None]) -> None:
        """There is nothing to fetch: a service comes with the checkout."""

    async def start(self) -> None:
        ports = [self._health_port] if self._port is None else [self._health_port, self._port]
        await self._program.start(
            self._definition.command,
            environment=self.full_environment,
            ports=ports,
            ready=self._is_ready,
            seconds=START_SECONDS,
            folder=self._folder,
        )

    async def stop(self) -> None:
        await self._program.stop(signal_number=signal.SIGTERM, grace=STOP_SECONDS)

    async def kill(self) -> None:
        # Not with descendants: sessions outlive the scheduler that started them.
        await self._program.kill(with_descendants=False)

    async def _is_ready(self) -> bool:
        return await http_status(self._health_port, "/readyz") == 200
