"""Pods of a cluster as the place where sessions run, put together."""

import socket
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from uuid import UUID

from slipway_common.errors import TransientError
from slipway_common.health import Check
from slipway_common.metrics import scheduler as metrics
from slipway_common.periodic import Periodic
from slipway_scheduler.chores import Chore, Chores
from slipway_scheduler.kubernetes.api import KubernetesApi
from slipway_scheduler.kubernetes.egress import EgressPolicies, read_destinations
from slipway_scheduler.kubernetes.leftovers import LeftoverSecrets
from slipway_scheduler.kubernetes.limits import WriteLimiter
from slipway_scheduler.kubernetes.manifests import Template
from slipway_scheduler.leadership import Elector
from slipway_scheduler.nodes.aks import AksPools
from slipway_scheduler.nodes.autoscaler import AutoscalerPools
from slipway_scheduler.nodes.base import NodePools
from slipway_scheduler.nodes.kwok import KwokPools
from slipway_scheduler.nodes.loop import NodeLoop
from slipway_scheduler.nodes.placeholders import PlaceholderStyle
from slipway_scheduler.nodes.specs import PoolSpec, read_pools
from slipway_scheduler.place import Place
from slipway_scheduler.settings import KubernetesSettings, Settings
from slipway_scheduler.tokens import TokenSigner
from slipway_scheduler.units.activation import Activations
from slipway_scheduler.units.pods import PodUnits
from slipway_scheduler.warm.members import FreeMembers
from slipway_scheduler.warm.policies import read_policies
from slipway_scheduler.warm.pools import WarmPools
from slipway_scheduler.warm.runtimes import PublishedRuntimes

LEASE = "slipway-scheduler"
KILL_MARGIN = timedelta(seconds=10)
"""Kubernetes itself kills after the grace; only what is left after that is our affair."""

STALE_SECONDS = 120.0
"""Bookmarks come every minute: a mirror that has heard nothing for two is not to be trusted."""


async def pods(
    settings: Settings,
    signer: TokenSigner,
    stack: AsyncExitStack,
    *,
    look_at: Callable[[UUID], None],
) -> Place:
    cluster = settings.kubernetes
    limiter = WriteLimiter(per_second=cluster.writes_per_second, burst=cluster.writes_burst)
    api = await KubernetesApi.open(cluster.kubeconfig, stack, limiter=limiter)
    activations = Activations(signer.activation_root)
    stack.push_async_callback(activations.close)
    template = template_of(settings)

    def estimate(pool: str | None, now: datetime) -> datetime | None:
        return nodes.estimate(pool, now)

    units = PodUnits(
        api,
        template,
        token_for=signer.token_for,
        activations=activations,
        members=FreeMembers(),
        look_at=look_at,
        estimate=estimate,
        give_up_after=cluster.give_up_after,
    )
    runtimes = PublishedRuntimes(settings.kafka)
    warm = WarmPools(
        api,
        template,
        pods=units.pods.objects,
        policies=read_policies(cluster.warm_policies_file),
        runtimes=runtimes,
        member_token=signer.member_token,
        key_of=activations.key_of,
    )
    units.follow_with(warm.on_change)
    nodes = await node_loop(cluster, api, units, stack)
    units.follow_with(lambda _, __: nodes.wake())
    elector = Elector(
        api,
        namespace=cluster.own_namespace,
        name=LEASE,
        identity=settings.instance or socket.gethostname(),
    )
    leftovers = LeftoverSecrets(api, namespace=cluster.namespace, pods=units.pods)
    egress = EgressPolicies(
        api,
        namespace=cluster.namespace,
        destinations=read_destinations(cluster.egress_file),
        never=cluster.never_networks,
    )
    chores = Chores(
        elector,
        (
            Chore("warm.pools", warm.step, timedelta(seconds=1)),
            Chore("secrets.leftovers", leftovers.step, timedelta(minutes=1)),
            Chore("egress.policies", egress.step, timedelta(minutes=5)),
        ),
        works=(nodes.run,),
    )
    outlook = Periodic("nodes.outlook", nodes.outlook.refresh, every=timedelta(seconds=10))
    return Place(
        units=units,
        stop_grace=settings.stop_grace + KILL_MARGIN,
        look_every=settings.resync_interval,
        loops=(units.pods, units.nodes, runtimes),
        leading=(chores, outlook),
        checks={"kubernetes": _check_of(units)},
        ready=_both_mirrors(units),
    )


async def node_loop(
    cluster: KubernetesSettings, api: KubernetesApi, units: PodUnits, stack: AsyncExitStack
) -> NodeLoop:
    specs = read_pools(cluster.node_pools_file)
    return NodeLoop(
        api,
        await _cloud(cluster, api, units, specs, stack),
        specs=specs,
        pods=units.pods,
        nodes=units.nodes,
        own_namespace=cluster.own_namespace,
        placeholders=PlaceholderStyle(
            image=cluster.placeholder_image,
            namespace=cluster.namespace,
            pull_policy=cluster.image_pull_policy,
        ),
        limits=cluster.node_limits,
    )


async def _cloud(
    cluster: KubernetesSettings,
    api: KubernetesApi,
    units: PodUnits,
    specs: tuple[PoolSpec, ...],
    stack: AsyncExitStack,
) -> NodePools:
    match cluster.cloud:
        case "autoscaler":
            return AutoscalerPools(specs)
        case "kwok":
            return KwokPools(api, specs, nodes=units.nodes.objects, boot=cluster.fake_boot)
        case "aks":
            assert cluster.aks is not None  # the settings see to it
            return await AksPools.open(cluster.aks, stack)


def _both_mirrors(units: PodUnits) -> Callable[[], Awaitable[None]]:
    async def wait() -> None:
        await units.pods.synced.wait()
        await units.nodes.synced.wait()

    return wait


def _check_of(units: PodUnits) -> Check:
    async def check() -> None:
        for mirror in (units.pods, units.nodes):
            metrics.kubernetes_mirror_age_seconds.labels(mirror.plural).set(mirror.age_seconds)
            if mirror.age_seconds > STALE_SECONDS:
                raise TransientError(f"nothing was heard of {mirror.plural} for too long")

    return check


def template_of(settings: Settings) -> Template:
    cluster = settings.kubernetes
    return Template(
        namespace=cluster.namespace,
        image=cluster.runner_image,
        gateway_url=settings.gateway_url,
        pull_policy=cluster.image_pull_policy,
        service_account=cluster.service_account,
        priority_class=cluster.priority_class,
        runtime_class=cluster.runtime_class,
        stop_grace=settings.stop_grace,
        task_grace=settings.task_grace,
        node_lost_after=cluster.node_lost_after,
        disk_limits=cluster.disk_limits,
        node_pools=cluster.node_pool_of,
    )
