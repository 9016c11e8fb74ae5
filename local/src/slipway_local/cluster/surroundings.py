"""All that the parts of one cluster have to know of each other."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway_local.cluster import binaries
from slipway_local.cluster.control.certificates import Certificates
from slipway_local.cluster.control.control_plane import ControlPlane
from slipway_local.cluster.machine.network import Network
from slipway_local.cluster.machine.node import Node
from slipway_local.cluster.state import ClusterState
from slipway_local.settings import Settings
from slipway_local.tools import SYSTEM_FOLDERS


@dataclass(frozen=True, slots=True)
class Surroundings:
    state: ClusterState
    run_folder: Path
    settings: Settings
    network: Network
    ports: Mapping[str, int]
    address: str
    """Where the API server listens."""

    fake_pods: str
    node_labels: dict[str, str]

    @property
    def binaries(self) -> Path:
        return self.settings.cache_folder / binaries.kubernetes_name() / "bin"

    @property
    def certificates(self) -> Certificates:
        return Certificates(self.state.pki)

    def kubeconfig(self, name: str) -> Path:
        return self.state.configuration / f"{name}.kubeconfig"

    @property
    def environment(self) -> dict[str, str]:
        """What a part gets to see; a person's path leaves out where the system's programs lie."""
        own = dict(self.settings.inherited)
        own["PATH"] = os.pathsep.join([own.get("PATH", ""), *SYSTEM_FOLDERS])
        return own


def control_plane(around: Surroundings) -> ControlPlane:
    return ControlPlane(
        binaries=around.binaries,
        configuration=around.state.configuration,
        data=around.state.etcd,
        audit_log=around.state.audit / "audit.log",
        certificates=around.certificates,
        address=around.address,
        etcd_port=around.ports["etcd"],
        etcd_peer_port=around.ports["etcd-peer"],
        api_port=around.ports["kube-apiserver"],
        controllers_port=around.ports["kube-controller-manager"],
        scheduler_port=around.ports["kube-scheduler"],
    )


def node(around: Surroundings) -> Node:
    return Node(
        network=around.network,
        binaries=around.binaries,
        configuration=around.state.configuration,
        pod_logs=around.state.pod_logs,
        certificates=around.certificates,
        kubelet_port=around.ports["kubelet"],
        labels=around.node_labels,
    )
