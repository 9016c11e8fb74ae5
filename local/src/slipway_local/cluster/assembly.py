"""Putting a cluster together: its parts around what they have to know of each other."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

from slipway_local.cluster import binaries, fakes
from slipway_local.cluster.api import Api
from slipway_local.cluster.component import Component
from slipway_local.cluster.configuration import ADMIN
from slipway_local.cluster.machine.box import Box
from slipway_local.cluster.machine.node import NODE_NAME
from slipway_local.cluster.machine.runtime import Runtime
from slipway_local.cluster.piece import Piece, Recipe
from slipway_local.cluster.probes import https_status, node_is_ready
from slipway_local.cluster.surroundings import Surroundings, control_plane, node
from slipway_local.ports import LOOPBACK
from slipway_local.processes import RECORD_SUFFIX
from slipway_local.program import http_status
from slipway_local.tools import CONTAINERD, require

OK = 200
KWOK_LEASE_SECONDS = 20


class Assembly:
    """Builds the parts, each around the same surroundings."""

    def __init__(self, around: Surroundings, api: Api) -> None:
        self._around = around
        self._api = api
        self._plane = control_plane(around)

    def control_plane(self) -> list[Piece]:
        """In the order of starting."""
        plane = self._plane
        loopback = {
            "etcd": (plane.etcd, plane.etcd_port, "/readyz"),
            "kube-controller-manager": (plane.controllers, plane.controllers_port, "/healthz"),
            "kube-scheduler": (plane.scheduler, plane.scheduler_port, "/healthz"),
        }
        first, *others = [
            self._piece(
                name,
                Recipe(
                    command=command,
                    environment=self._around.environment,
                    ready=self._probe(port, path),
                    ports=[port],
                    address=f"https://{LOOPBACK}:{port}",
                    fetch=self._kubernetes(name),
                ),
            )
            for name, (command, port, path) in loopback.items()
        ]
        server = self._piece(
            "kube-apiserver",
            Recipe(
                command=plane.api_server,
                environment=self._around.environment,
                ready=self._api.is_ready,
                ports=[plane.api_port],
                address=plane.server,
                fetch=self._kubernetes("kube-apiserver"),
            ),
        )
        return [first, server, *others]

    def kwok(self) -> Piece:
        around, name = self._around, "kwok"
        port = around.ports[name]

        async def fetch(note: Callable[[str], None]) -> Path:
            return await binaries.kwok(around.settings, log=around.state.log(name), note=note)

        async def is_ready() -> bool:
            return await http_status(port, "/healthz") == OK

        command = [
            str(around.settings.cache_folder / binaries.kwok_name() / "bin" / name),
            f"--kubeconfig={around.kubeconfig(name)}",
            f"--config={around.state.configuration / 'kwok.yaml'}",
            f"--manage-nodes-with-annotation-selector={fakes.FAKE_ANNOTATION}={fakes.FAKE}",
            "--manage-all-nodes=false",
            f"--cidr={around.fake_pods}",
            f"--node-ip={LOOPBACK}",
            f"--node-lease-duration-seconds={KWOK_LEASE_SECONDS}",
            f"--server-address={LOOPBACK}:{port}",
        ]
        recipe = Recipe(
            command=lambda: command,
            environment=around.environment,
            ready=is_ready,
            ports=[port],
            address=f"http://{LOOPBACK}:{port}",
            fetch=fetch,
        )
        return self._piece(name, recipe)

    def box(self) -> Box:
        around = self._around
        return Box(
            around.state.node,
            network=around.network,
            log=around.state.log("node"),
            record=self._record("node"),
            environment=around.environment,
        )

    def runtime(self, box: Box) -> Runtime:
        around = self._around
        return Runtime(
            box,
            folder=around.state.work,
            pause=around.binaries / "pause",
            environment=around.environment,
        )

    def containerd(self, box: Box, runtime: Runtime) -> Piece:
        around = self._around
        recipe = Recipe(
            command=lambda: node(around).containerd(require(CONTAINERD, around.settings)),
            environment=around.environment,
            ready=runtime.answers,
            box=box,
            fetch=self._kubernetes("containerd"),  # the pause image is built with it
            after_start=runtime.load_pause,
        )
        return self._piece("containerd", recipe)

    def kubelet(self, box: Box) -> Piece:
        around = self._around
        machine = node(around)
        started = datetime.now(UTC)

        def command() -> list[str]:
            nonlocal started
            started = datetime.now(UTC).replace(microsecond=0)
            return list(machine.kubelet())

        recipe = Recipe(
            command=command,
            environment=around.environment,
            ready=lambda: node_is_ready(self._api, NODE_NAME, since=started),
            ports=[machine.kubelet_port],
            address=f"https://{around.network.host_address}:{machine.kubelet_port}",
            box=box,
            fetch=self._kubernetes("kubelet"),
        )
        return self._piece("kubelet", recipe)

    def _piece(self, name: str, recipe: Recipe) -> Piece:
        component = Component(
            name,
            log=self._around.state.log(name),
            record=self._record(name),
            entered=recipe.box is not None,
        )
        return Piece(recipe, component)

    def _record(self, name: str) -> Path:
        return self._around.run_folder / f"{name}{RECORD_SUFFIX}"

    def _kubernetes(self, name: str) -> Callable[[Callable[[str], None]], Awaitable[Path]]:
        async def fetch(note: Callable[[str], None]) -> Path:
            log = self._around.state.log(name)
            return await binaries.kubernetes(self._around.settings, log=log, note=note)

        return fetch

    def _probe(self, port: int, path: str) -> Callable[[], Awaitable[bool]]:
        async def is_ready() -> bool:
            certificates = self._around.certificates
            status = await https_status(port, path, certificates=certificates, user=ADMIN)
            return status == OK

        return is_ready
