"""What a cluster is made of, and what that needs from the machine."""

import sys
from enum import StrEnum

from slipway_local.cluster import binaries
from slipway_local.cluster.images import debian
from slipway_local.errors import LocalError
from slipway_local.settings import Settings, is_root
from slipway_local.tools import CNI_PLUGINS, CONTAINERD, DEBOOTSTRAP, IP, RUNC, Tool

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
KWOK = "kwok"
MACHINE = ("node", "containerd", "kubelet")
ELSEWHERE = "kubernetes"
"""The one member of a cluster that is not ours."""

PORTS = (
    "etcd",
    "etcd-peer",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kubelet",
    KWOK,
)


class Nodes(StrEnum):
    """Which nodes pods can run on."""

    KUBELET = "kubelet"
    """One real node, on which containers run. Needs Linux and root."""

    KWOK = "kwok"
    """As many as one likes, on which nothing runs; ``add_fake_nodes`` makes them."""

    BOTH = "both"
    NONE = "none"

    @property
    def real(self) -> bool:
        return self in {Nodes.KUBELET, Nodes.BOTH}

    @property
    def fake(self) -> bool:
        return self in {Nodes.KWOK, Nodes.BOTH}


def names(nodes: Nodes) -> tuple[str, ...]:
    """All parts, in the order of starting."""
    return (
        *CONTROL_PLANE,
        *((KWOK,) if nodes.fake else ()),
        *(MACHINE if nodes.real else ()),
    )


def needed_tools(nodes: Nodes, settings: Settings, *, images: bool) -> list[Tool]:
    """Programs of the machine that a start will use; ``images`` of our own need more."""
    tools = binaries.needed_tools(settings, kwok=nodes.fake)
    if nodes.real:
        tools += [CONTAINERD, RUNC, CNI_PLUGINS, IP]
        if images and not (settings.cache_folder / debian.cache_name()).is_dir():
            tools.append(DEBOOTSTRAP)
    return tools


def check_rights(nodes: Nodes) -> None:
    if nodes.real and (sys.platform != "linux" or not is_root()):
        raise LocalError(
            "a real node needs Linux and root: run this as root, or take fake nodes (kwok)"
        )
