"""The cluster for a stack: one that the environment names, or else the local one.

Of a cluster that was not started here we know no more than its API server. Pods find this machine
where that server is, if it is on this machine; else somebody has to say where.
"""

import socket
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from slipway_local.cluster.api import Api
from slipway_local.cluster.configuration import ADMIN
from slipway_local.cluster.outside import VARIABLE, Outside
from slipway_local.cluster.state import ClusterState
from slipway_local.environment import PodPlace
from slipway_local.errors import LocalError
from slipway_local.ports import LOOPBACK
from slipway_local.settings import Settings

USUAL_VARIABLE = "KUBECONFIG"
HOST_VARIABLE = "SLIPWAY_PODS_HOST"
IMAGE_VARIABLE = "SLIPWAY_PODS_IMAGE"
SCHEDULER = "/apis/apps/v1/namespaces/slipway/statefulsets/slipway-scheduler"
RUNNER_IMAGE = "slipway-runner:dev"


@dataclass(frozen=True, slots=True)
class Named:
    """A cluster that the environment names."""

    kubeconfig: Path
    variable: str


def named_cluster(settings: Settings, *, own_runs: bool) -> Named | None:
    """None: the local cluster, which comes before what every kubectl would take."""
    ours = settings.full.get(VARIABLE)
    if ours:
        return Named(Path(ours).absolute(), VARIABLE)
    usual = settings.full.get(USUAL_VARIABLE)
    if not usual or own_runs or Path(usual).absolute() == own_kubeconfig(settings):
        return None
    return Named(Path(usual).absolute(), USUAL_VARIABLE)


def cluster_state(settings: Settings) -> ClusterState:
    return ClusterState(settings.state_folder / "cluster")


def own_kubeconfig(settings: Settings) -> Path:
    return cluster_state(settings).configuration / f"{ADMIN}.kubeconfig"


async def own_place(settings: Settings) -> PodPlace:
    """In the local cluster, which has to run and has our images."""
    kubeconfig = own_kubeconfig(settings)
    host = this_machine(await _server(kubeconfig))
    if host is None:
        raise LocalError("the local cluster has no real node; stop it with: cluster down")
    return PodPlace(kubeconfig=kubeconfig, host_address=host, runner_image=RUNNER_IMAGE)


async def named_place(named: Named, settings: Settings) -> PodPlace:
    """In a cluster that answers, and whose pods are known to find this machine."""
    await Outside(named.kubeconfig, variable=named.variable).start()
    server = await _server(named.kubeconfig)
    host = settings.full.get(HOST_VARIABLE) or this_machine(server)
    if host is None:
        raise LocalError(
            f"{named.variable} names a cluster ({server}) that is not on this machine: say in "
            f"{HOST_VARIABLE} at which address its pods reach this machine, and in "
            f"{IMAGE_VARIABLE} which image of the runner its nodes can pull; or unset "
            f"{named.variable}, and a cluster is started here"
        )
    image = settings.full.get(IMAGE_VARIABLE, RUNNER_IMAGE)
    return PodPlace(
        kubeconfig=named.kubeconfig,
        host_address=host,
        runner_image=image,
        pull_policy="IfNotPresent",
    )


async def refuse_other_services(kubeconfig: Path) -> None:
    """Raise LocalError if Slipway runs in the cluster itself: two would fight for its sessions."""
    async with await Api.open(kubeconfig) as api:
        if await api.get(SCHEDULER) is not None:
            raise LocalError(
                "Slipway itself is deployed in this cluster, and its scheduler takes all session "
                "pods for its own. Remove it first: kubectl --namespace slipway delete "
                "statefulset,deployment --all"
            )


def this_machine(server: str) -> str | None:
    """The host of a URL, if it is an address of this machine that others can reach."""
    host = urlsplit(server).hostname
    if host is None or host == "localhost" or host.startswith("127."):
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return None
        found: str = probe.getsockname()[0]
    return None if found in {LOOPBACK, "0.0.0.0"} else found  # noqa: S104 - compared, not bound


async def _server(kubeconfig: Path) -> str:
    async with await Api.open(kubeconfig) as api:
        return api.server
