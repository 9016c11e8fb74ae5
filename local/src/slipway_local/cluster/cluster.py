"""A Kubernetes cluster of real parts on this machine, or one that runs elsewhere.

It runs in the process that makes it, and ends with that process. Several can run
at once, each in a state folder and a network of its own.
"""

import asyncio
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from slipway_local.cluster import access, members
from slipway_local.cluster.api import Api
from slipway_local.cluster.assembly import Assembly
from slipway_local.cluster.configuration import ADMIN, write_files
from slipway_local.cluster.fakes.nodes import fake_nodes
from slipway_local.cluster.group import PartGroup, unheard
from slipway_local.cluster.images.own import NAMES, built
from slipway_local.cluster.machine import network
from slipway_local.cluster.machine.network import Claims, Network
from slipway_local.cluster.machine.node import DEFAULT_POOL, POOL_LABEL
from slipway_local.cluster.machine.runtime import Runtime
from slipway_local.cluster.members import ELSEWHERE, Nodes
from slipway_local.cluster.outside import VARIABLE, Outside
from slipway_local.cluster.probes import wait_for_namespace
from slipway_local.cluster.state import ClusterState
from slipway_local.cluster.surroundings import Surroundings
from slipway_local.errors import BusyError, LocalError
from slipway_local.files import try_lock
from slipway_local.part import Part, PartState, Report, silent
from slipway_local.ports import LOOPBACK, Ports
from slipway_local.processes import become_subreaper, remove_leftovers
from slipway_local.settings import Settings, read_settings
from slipway_local.state import Remembered
from slipway_local.together import together
from slipway_local.tools import Tool, require_all

TOKEN_LIFETIME = timedelta(days=1)


class Cluster(PartGroup):
    def __init__(
        self,
        folder: Path | None = None,
        *,
        nodes: str = Nodes.KUBELET,
        settings: Settings | None = None,
        fresh: bool = False,
        images: Sequence[str] = (),
        fake_pods: str | None = None,
        node_labels: Mapping[str, str] | None = None,
    ) -> None:
        """``folder`` and ``settings`` come from the environment unless given.

        ``nodes`` is one of ``Nodes``. ``fresh`` forgets what the API server knew before;
        images stay. ``images`` names those of our own that the real node shall have.
        ``fake_pods`` is the network of pods on fake nodes: one of loopback unless given, so
        that what listens on 0.0.0.0 answers for all of them.
        """
        self._settings = settings or read_settings()
        self._nodes = Nodes(nodes)
        outside = self._settings.full.get(VARIABLE)
        self._outside = Outside(Path(outside)) if outside else None
        super().__init__((ELSEWHERE,) if outside else members.names(self._nodes))
        self._fresh = fresh
        self._wanted_images = tuple(images) if self._nodes.real else ()
        self._loaded_images: Mapping[str, str] = {}
        self._fake_pods = fake_pods
        self._node_labels = {POOL_LABEL: DEFAULT_POOL, **(node_labels or {})}
        self._state = ClusterState(folder or self._settings.state_folder / "cluster")
        self._claims = Claims(self._settings.cache_folder / "networks")
        self._ports = Ports(self._settings.cache_folder / "ports", {})
        self._network: Network | None = None
        self._lock: int | None = None
        self._api: Api | None = None
        self._runtime: Runtime | None = None

    @property
    def state(self) -> ClusterState:
        return self._state

    @property
    def kubeconfig(self) -> Path:
        """Of one who may do everything."""
        if self._outside is not None:
            return self._outside.kubeconfig
        return self._state.configuration / f"{ADMIN}.kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON document per line and request, written when the request is over."""
        if self._outside is not None:
            raise self._outside.refusal("the audit log")
        return self._state.audit / "audit.log"

    @property
    def host_address(self) -> str:
        """Where pods reach what listens on this machine."""
        if self._outside is not None:
            raise self._outside.refusal("the address of this machine")
        return self._own_network.host_address if self._nodes.real else LOOPBACK

    @property
    def fake_pods(self) -> str:
        """The network of pods on fake nodes."""
        return self._fake_pods or self._own_network.fake_pods

    @property
    def api(self) -> Api:
        """A few plain calls as the admin, on the loop that started the cluster."""
        if self._api is None:
            raise LocalError("the cluster does not run")
        return self._api

    @property
    def images(self) -> Mapping[str, str]:
        """Our own images on the real node: name → the same with a tag that never moves."""
        return dict(self._loaded_images)

    def needed_tools(self) -> list[Tool]:
        """Programs of the machine that the next start will use."""
        if self._outside is not None:
            return []
        images = bool(self._wanted_images)
        return members.needed_tools(self._nodes, self._settings, images=images)

    def check(self) -> None:
        """Raise LocalError if this user, on this system, cannot run such a cluster."""
        if self._outside is None:
            members.check_rights(self._nodes)

    def exports(self) -> dict[str, str]:
        """Addresses as shell words, by variable."""
        return {"KUBECONFIG": shlex.quote(str(self.kubeconfig))}

    async def start(self, progress: Report = unheard) -> None:
        """Start everything and return when all is ready; if something fails, stop it all."""
        if self._api is not None:
            return
        self._report = progress
        try:
            if self._outside is None:
                await self._start_own()
            else:
                self._members = {ELSEWHERE: self._outside}
                await self.revive(ELSEWHERE)
                self._api = await Api.open(self._outside.kubeconfig)
        except BaseException:
            failed = [name for name in self.names if self._states[name] is PartState.FAILED]
            await self.stop()
            for name in failed:
                self._enter(name, PartState.FAILED)
            raise

    async def stop(self) -> None:
        """Stop what runs, and leave nothing of it on the machine but the state folder."""
        try:
            await self._stop_members()
            if self._network is not None and self._nodes.real:
                await asyncio.to_thread(network.remove, self._network)
        finally:
            await self._let_go()

    async def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """Write a kubeconfig of a service account, which has to exist; it is good for a day."""
        return await access.write_account_kubeconfig(
            self._state.tokens,
            self.api,
            namespace=namespace,
            account=service_account,
            lifetime=TOKEN_LIFETIME,
        )

    async def add_fake_nodes(
        self,
        count: int,
        *,
        pool: str,
        prefix: str | None = None,
        cpu: str = "8",
        memory: str = "32Gi",
        pods: int = 110,
        labels: Mapping[str, str] | None = None,
        boot_seconds: float = 0,
    ) -> list[str]:
        """Make nodes that run nothing; return their names. They are Ready when they have booted.

        Names are ``prefix``, or the pool's name, and a number that is not taken yet.
        """
        made = fake_nodes(
            count,
            prefix=prefix or pool,
            taken=await self.api.names("/api/v1/nodes"),
            labels={POOL_LABEL: pool, **(labels or {})},
            capacity={"cpu": cpu, "memory": memory, "pods": str(pods)},
            boot_seconds=boot_seconds,
        )
        await self.api.create_all("/api/v1/nodes", made)
        return [node["metadata"]["name"] for node in made]

    async def load_image(self, name: str, tar: Path) -> None:
        """Give the real node an image: an archive in the format of OCI or Docker."""
        await self._node_images.load(name, tar)

    async def load_own_images(
        self, names: Sequence[str] = NAMES, note: Callable[[str], None] = silent
    ) -> Mapping[str, str]:
        """Make our own images and give the real node those that it does not have yet.

        Return for each name the same with a tag that stays with the content; ``:dev`` moves.
        """
        log = self._state.log("images")
        async with built(names, settings=self._settings, log=log, note=note) as made:
            await self._node_images.load_images(made, note)
            loaded = {image.name: image.names[-1] for image in made}
        self._loaded_images = {**self._loaded_images, **loaded}
        return loaded

    @property
    def _own_network(self) -> Network:
        if self._network is None:
            raise LocalError("nothing has an address yet: the cluster does not run")
        return self._network

    @property
    def _node_images(self) -> Runtime:
        if self._runtime is None:
            raise LocalError("images need a real node that runs: there is none")
        return self._runtime

    async def _let_go(self) -> None:
        """Give up what was claimed: the network, the ports, the folder."""
        if self._api is not None:
            await self._api.close()
            self._api = None
        self._network = None
        self._claims.release()
        self._ports.release()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def _start_own(self) -> None:
        self.check()
        require_all(self.needed_tools(), self._settings)
        remembered = self._state.open()
        self._lock = try_lock(self._state.lock_file)
        if self._lock is None:
            raise BusyError(f"another process runs a cluster in {self._state.folder}")
        become_subreaper()
        await remove_leftovers(remembered.run_folder)
        if self._fresh:
            self._state.forget_objects()
        self._state.make_folders()
        await self._assemble(remembered)
        await self._start_in_order()

    async def _assemble(self, remembered: Remembered) -> None:
        """Claim a network and ports, write all files, and build every part around them."""
        self._network = self._claims.take(self._state.network_number, bridged=self._nodes.real)
        self._state.remember_network(self._network.number)
        self._ports = Ports(self._settings.cache_folder / "ports", dict(remembered.ports))
        for name in members.PORTS:
            self._ports.take(name)
        self._state.write(replace(remembered, ports=self._ports.numbers))
        around = Surroundings(
            state=self._state,
            run_folder=remembered.run_folder,
            settings=self._settings,
            network=self._network,
            ports=self._ports.numbers,
            address=self.host_address,
            fake_pods=self.fake_pods,
            node_labels=self._node_labels,
        )
        write_files(around)
        self._api = await Api.open(self.kubeconfig)
        assembly = Assembly(around, self._api)
        parts: list[Part] = [*assembly.control_plane()]
        if self._nodes.fake:
            parts.append(assembly.kwok())
        if self._nodes.real:
            box = assembly.box()
            self._runtime = assembly.runtime(box)
            parts += [box, assembly.containerd(box, self._runtime), assembly.kubelet(box)]
        self._members = {part.name: part for part in parts}

    async def _start_in_order(self) -> None:
        if self._nodes.real:
            # The API server listens on it, so that pods can reach it as well.
            network.make_bridge(self._own_network)
        first = [("etcd", "kube-apiserver"), ("node", "containerd")]
        chains = [[name for name in chain if name in self.names] for chain in first]
        await together([self._revive_in_turn(chain) for chain in chains])
        begun = {name for chain in chains for name in chain}
        await together([self.revive(name) for name in self.names if name not in begun])
        await wait_for_namespace(self.api, "default")
        if self._wanted_images:
            await self.load_own_images(self._wanted_images, self._note_on_images)
            self._enter("containerd", PartState.RUNNING)

    def _note_on_images(self, detail: str) -> None:
        self._enter("containerd", PartState.RUNNING, detail)

    async def _revive_in_turn(self, names: Sequence[str]) -> None:
        for name in names:
            await self.revive(name)
