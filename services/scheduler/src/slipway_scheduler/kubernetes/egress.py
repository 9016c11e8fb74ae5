"""Where an account's sessions may connect to beyond the gateway: one network policy per account.

What every session may and may not do is a manifest of the installation; policies only add up, so
one of these can open a destination and never close one. Metadata services are never opened.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, TypeAdapter

from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.errors import ConflictError
from slipway_scheduler.kubernetes.limits import Rank

NEVER = tuple(
    ipaddress.ip_network(network)
    for network in ("169.254.0.0/16", "168.63.129.16/32", "fe80::/10", "fd00:ec2::254/128")
)
"""Link-local addresses, and those at which clouds tell machines their secrets."""


class Destination(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    network: IPvAnyNetwork
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = ()
    """TCP; empty: all."""


_FILE: TypeAdapter[dict[UUID, tuple[Destination, ...]]] = TypeAdapter(
    dict[UUID, tuple[Destination, ...]]
)


def read_destinations(path: Path | None) -> Mapping[UUID, tuple[Destination, ...]]:
    """JSON: account id to its destinations."""
    return {} if path is None else _FILE.validate_json(path.read_bytes())


def policy(
    account_id: UUID,
    destinations: Iterable[Destination],
    *,
    namespace: str,
    never: Iterable[IPvAnyNetwork] = (),
) -> dict[str, Any]:
    """``never``: what stays closed whatever a destination says: the cluster's own ranges."""
    closed = [*NEVER, *never]
    rules = [rule for each in destinations if (rule := _rule(each, closed)) is not None]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": f"account-{account_id}",
            "namespace": namespace,
            "labels": {labels.ACCOUNT: str(account_id)},
        },
        "spec": {
            "podSelector": {"matchLabels": {labels.ACCOUNT: str(account_id)}},
            "policyTypes": ["Egress"],
            "egress": rules,
        },
    }


def _rule(destination: Destination, closed: Iterable[IPvAnyNetwork]) -> dict[str, Any] | None:
    """None if all of it is closed."""
    network = destination.network
    same_kind = [each for each in closed if each.version == network.version]
    if any(network.subnet_of(each) for each in same_kind):  # type: ignore[arg-type]
        return None
    inside = [str(each) for each in same_kind if each.subnet_of(network)]  # type: ignore[arg-type]
    block: dict[str, Any] = {"cidr": str(network)}
    if inside:
        block["except"] = inside
    rule: dict[str, Any] = {"to": [{"ipBlock": block}]}
    if destination.ports:
        rule["ports"] = [{"protocol": "TCP", "port": port} for port in destination.ports]
    return rule


class EgressPolicies:
    """Holds the cluster's policies to what the operator's file says."""

    def __init__(
        self,
        api: KubernetesApi,
        *,
        namespace: str,
        destinations: Mapping[UUID, tuple[Destination, ...]],
        never: Iterable[IPvAnyNetwork],
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._destinations = destinations
        self._never = tuple(never)
        self._policies = Resource("networking.k8s.io/v1", "networkpolicies", namespace)

    async def step(self) -> None:
        for account_id, destinations in self._destinations.items():
            body = policy(account_id, destinations, namespace=self._namespace, never=self._never)
            try:
                await self._api.create(self._policies, body, rank=Rank.REFILL)
            except ConflictError:
                name = body["metadata"]["name"]
                await self._api.replace(self._policies, name, body, rank=Rank.REFILL)
        known = {str(account_id) for account_id in self._destinations}
        for found in await self._api.list_metadata(self._policies, selector=labels.ACCOUNT):
            if found.metadata.labels[labels.ACCOUNT] not in known:
                await self._api.delete(
                    self._policies, found.metadata.name, uid=found.metadata.uid, rank=Rank.REFILL
                )
