"""Kafka, PostgreSQL and the storage where pods of the local cluster reach them.

For the services from ``k8s/``: what they need is passed on from the address of this machine among
the pods, and the two of their own addresses that others call lead to whichever pods are ready.
"""

import ipaddress
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from typing_extensions import override

from slipway_local.cluster.api import Api
from slipway_local.cluster.doors import Doors, Place, always, ready_endpoints
from slipway_local.cluster.images.debian import USER_ID
from slipway_local.cluster.machine.network import NUMBERS, Network
from slipway_local.environment import PodPlace
from slipway_local.errors import LocalError
from slipway_local.files import write_atomically
from slipway_local.part import Report
from slipway_local.ports import LOOPBACK
from slipway_local.settings import Settings, read_settings
from slipway_local.stack import PARTS, Stack, unheard

NAMESPACE = "slipway"
GATEWAY_PORT, ACCOUNTS_PORT = 8080, 8081
PRIVATE_FOLDER, SHARED_FOLDER, SHARED_FILE = 0o700, 0o770, 0o660


class StackForPods(Stack):
    def __init__(
        self,
        place: PodPlace,
        state_folder: Path | None = None,
        *,
        settings: Settings | None = None,
        fsync: bool = True,
        preferred_ports: Mapping[str, int] | None = None,
    ) -> None:
        settings = settings or read_settings()
        if settings.externals != type(settings.externals)():
            raise LocalError("services in pods need Kafka, PostgreSQL and storage of this stack")
        super().__init__(
            state_folder,
            services=(),
            settings=settings,
            fsync=fsync,
            preferred_ports=preferred_ports,
            advertised_host=place.host_address,
        )
        self._place = place
        self._network = _network_of(place.host_address)
        self._doors = Doors(self._network.bridge)
        self._api: Api | None = None

    @property
    def gateway_address(self) -> str:
        """Of the gateway's service; reached by pods and by this machine alone."""
        # Clusters share the range of services, and each has a number of its own in its addresses.
        return f"10.212.{self._network.number}.10"

    @property
    def accounts_address(self) -> str:
        return f"10.212.{self._network.number}.11"

    @property
    @override
    def gateway_url(self) -> str:
        """Where a browser on this machine finds the portal, once the services run."""
        return f"http://localhost:{self._ports['gateway']}"

    @property
    def folder(self) -> Path:
        """``options``, ``secrets`` and ``keys``, for the scripts of ``k8s/``."""
        return self._state.for_pods

    def options(self) -> list[str]:
        """The options of ``k8s/overlays/dev/generate.py`` for this stack and cluster."""
        host = self._place.host_address
        api = self._api
        if api is None:
            raise LocalError("nothing has an address yet: the stack was never started")
        addresses = {
            "kafka": f"{host}:{self.port('kafka')}",
            "postgres": f"{host}:{self.port('postgres')}",
            "storage": f"{host}:{self.port('azurite')}",
            "api-server": urlsplit(api.server).netloc,
            "gateway-address": self.gateway_address,
            "accounts-address": self.accounts_address,
            "keys-folder": str(self.folder / "keys"),
            "public-url": self.gateway_url,
            "sessions-host": f"sessions.localhost:{self._ports['gateway']}",
        }
        return [f"--{name}={value}" for name, value in addresses.items()]

    def port(self, part: str) -> int:
        return self._ports[part]

    @override
    def exports(self) -> dict[str, str]:
        exported = super().exports()
        return exported if self._api is None else exported | {"SLIPWAY_URL": self.gateway_url}

    @override
    async def start(self, progress: Report = unheard) -> None:
        if self._api is not None:
            return
        await super().start(progress)
        try:
            self._port("gateway")
            self._api = await Api.open(self._place.kubeconfig)
            await self._open_doors(self._api)
            self._write()
        except BaseException:
            await self.stop()
            raise

    @override
    async def stop(self) -> None:
        await self._doors.close()
        if self._api is not None:
            bring_keys(self.folder / "keys", self.secrets.keys_folder)
            await self._api.close()
            self._api = None
        await super().stop()

    async def _open_doors(self, api: Api) -> None:
        for name in PARTS:
            port = self.port(name)
            await self._doors.open(Place(self._place.host_address, port), always(LOOPBACK, port))
        gateway = ready_endpoints(api, namespace=NAMESPACE, service="slipway-gateway")
        accounts = ready_endpoints(api, namespace=NAMESPACE, service="slipway-accounts")
        await self._doors.open(Place(LOOPBACK, self.port("gateway")), gateway)
        for at, find in (
            (Place(self.gateway_address, GATEWAY_PORT), gateway),
            (Place(self.accounts_address, ACCOUNTS_PORT), accounts),
        ):
            await self._doors.open(at, find, add_address=True)

    def _write(self) -> None:
        """Write what the scripts of ``k8s/`` read; it names addresses that pods reach."""
        secrets, keys = self.folder / "secrets", self.folder / "keys"
        for folder in (self.folder, secrets):
            folder.mkdir(exist_ok=True, mode=PRIVATE_FOLDER)
        for path in self.secrets.folder.iterdir():
            if path.is_file():
                write_atomically(secrets / path.name, path.read_bytes())
        write_atomically(
            secrets / self.secrets.blob_connection.name,
            self.blob_connection.replace(LOOPBACK, self._place.host_address),
        )
        bring_keys(self.secrets.keys_folder, keys)
        _share(keys)
        write_atomically(self.folder / "options", "".join(f"{one}\n" for one in self.options()))


def bring_keys(source: Path, target: Path) -> None:
    """Copy the accounts' keys that are missing; none is ever replaced."""
    target.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    for path in _files_below(source):
        copy = target / path
        if not copy.exists():
            copy.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
            write_atomically(copy, (source / path).read_bytes())


def _files_below(folder: Path) -> Sequence[Path]:
    return [path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file()]


def _share(folder: Path) -> None:
    """Let the services' user in pods, which is in the volume's group, have all of it."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, -1, USER_ID)
        path.chmod(SHARED_FOLDER if path.is_dir() else SHARED_FILE)


def _network_of(host: str) -> Network:
    number = ipaddress.ip_address(host).packed[2]
    network = Network(number)
    if number not in NUMBERS or network.host_address != host:
        raise LocalError(
            f"{host} is no address of a local cluster: only there can this machine make the "
            "services' addresses work"
        )
    return network
