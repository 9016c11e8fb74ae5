"""The addresses of one cluster: its bridge, its pods, its fake pods.

A number is claimed on the whole machine for as long as the cluster runs, and all
else follows from it: two clusters never meet.
"""

import ipaddress
import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from slipway_local.cluster.machine import cgroups
from slipway_local.errors import LocalError
from slipway_local.files import try_lock

NUMBERS = range(1, 100)
BRIDGE_PREFIX = "slipway"
SERVICES = "10.212.0.0/16"
"""Addresses of services. Nothing routes them: there is no kube-proxy."""

FIRST_FAKE = 100
COMMAND_SECONDS = 20
INTERFACES = Path("/sys/class/net")


@dataclass(frozen=True, slots=True)
class Network:
    number: int

    @property
    def bridge(self) -> str:
        return f"{BRIDGE_PREFIX}{self.number}"

    @property
    def cgroup(self) -> str:
        """Below which the kubelet keeps its pods."""
        return self.bridge

    @property
    def pods(self) -> str:
        return f"10.213.{self.number}.0/24"

    @property
    def host_address(self) -> str:
        """Where pods reach this machine, and the gateway of their network."""
        return f"10.213.{self.number}.1"

    @property
    def fake_pods(self) -> str:
        """Addresses of loopback: what listens on 0.0.0.0 answers for all fake pods."""
        return f"127.{FIRST_FAKE + self.number}.0.0/16"


class Claims:
    """The numbers that are taken; ``folder`` is shared by all clusters of the machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._claim: int | None = None

    def take(self, remembered: int | None, *, bridged: bool) -> Network:
        """Claim the remembered number if it is free, else another.

        ``bridged`` asks for a subnet that the machine does not use otherwise, and for the
        rights of root; what dead clusters have left of theirs is removed on the way.
        """
        if bridged:
            self.sweep()
        used = _networks_of_others() if bridged else []
        for number in [*([remembered] if remembered in NUMBERS else []), *NUMBERS]:
            network = Network(number)
            pods = ipaddress.ip_network(network.pods)
            if any(pods.overlaps(other) for other in used):
                continue
            claim = self._try(number)
            if claim is not None:
                self._claim = claim
                return network
        raise LocalError(
            f"none of the networks {Network(NUMBERS[0]).pods} to {Network(NUMBERS[-1]).pods} is "
            "free: other clusters, or routes of this machine, take them all"
        )

    def release(self) -> None:
        if self._claim is not None:
            os.close(self._claim)
            self._claim = None

    def _try(self, number: int) -> int | None:
        self._folder.mkdir(parents=True, exist_ok=True)
        return try_lock(self._folder / str(number))

    def sweep(self) -> None:
        """Remove bridges and control groups of clusters whose process is gone."""
        for number in NUMBERS:
            network = Network(number)
            if not _has_bridge(network) and not cgroups.exists(network.cgroup):
                continue
            claim = self._try(number)
            if claim is not None:
                remove(network)
                os.close(claim)


def make_bridge(network: Network) -> None:
    """Make the bridge with the host's address on it; nothing if it is there."""
    if not _has_bridge(network):
        _ip("link", "add", "name", network.bridge, "type", "bridge")
    _ip("address", "replace", f"{network.host_address}/24", "dev", network.bridge)
    _ip("link", "set", network.bridge, "up")


def remove(network: Network) -> None:
    """Remove the bridge and the control groups; what of them is gone is gone."""
    if _has_bridge(network):
        _ip("link", "delete", network.bridge, "type", "bridge")
    cgroups.remove(network.cgroup)


def _has_bridge(network: Network) -> bool:
    return (INTERFACES / network.bridge / "bridge").is_dir()


def _networks_of_others() -> list[ipaddress.IPv4Network]:
    found = []
    for route in json.loads(_ip("-json", "-4", "route", "show", "table", "all")):
        device, destination = route.get("dev", ""), route.get("dst", "default")
        if destination == "default" or device.startswith(BRIDGE_PREFIX) or device == "lo":
            continue
        found.append(ipaddress.IPv4Network(destination, strict=False))
    return found


def _ip(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["ip", *arguments],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_SECONDS,
            text=True,
        ).stdout
    except subprocess.CalledProcessError as error:
        raise LocalError(f"ip {' '.join(arguments)}: {error.stderr.strip()}") from error
