"""What network policies say, worked out from the manifests alone.

The network of the local cluster enforces none, so this stands in for one that does. It follows the
rules of ``networking.k8s.io/v1``: a pod that no policy selects for a direction is open in it; one
that is selected is open to what any of them allows, and to nothing else. Where networks differ, it
is the more lenient: a block of addresses covers the pods that have addresses in it.
"""

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Manifest = Mapping[str, Any]
Direction = Literal["Ingress", "Egress"]

NAME_LABEL = "kubernetes.io/metadata.name"
PEERS = {"Ingress": "from", "Egress": "to"}


@dataclass(frozen=True)
class Party:
    """One end of a connection."""

    address: str
    namespace: str | None = None
    """None of what is no pod of this cluster, a node's own processes included."""

    labels: Mapping[str, str] = field(default_factory=dict)


class Network:
    def __init__(
        self, manifests: Iterable[Manifest], *, namespaces: Mapping[str, Mapping[str, str]]
    ) -> None:
        """``namespaces``: labels of those that are not among the manifests."""
        found = list(manifests)
        self._policies = [one for one in found if one["kind"] == "NetworkPolicy"]
        self._namespaces: dict[str, Mapping[str, str]] = {
            one["metadata"]["name"]: one["metadata"].get("labels") or {}
            for one in found
            if one["kind"] == "Namespace"
        }
        self._namespaces |= namespaces

    def allows(self, source: Party, target: Party, port: int, protocol: str = "TCP") -> bool:
        return self._permits(
            "Egress", source, target, port=port, protocol=protocol
        ) and self._permits("Ingress", target, source, port=port, protocol=protocol)

    def _permits(
        self, direction: Direction, subject: Party, peer: Party, *, port: int, protocol: str
    ) -> bool:
        policies = [one for one in self._policies if _concerns(one, subject, direction)]
        if not policies:
            return True
        rules = [
            rule
            for policy in policies
            for rule in policy["spec"].get(direction.lower()) or []
            if _has_port(rule, port, protocol)
        ]
        return any(self._has_peer(rule, direction, subject, peer) for rule in rules)

    def _has_peer(self, rule: Manifest, direction: Direction, subject: Party, peer: Party) -> bool:
        peers = rule.get(PEERS[direction])
        if not peers:
            return True  # a rule that names nobody is for everybody
        return any(self._is_peer(entry, peer, subject.namespace) for entry in peers)

    def _is_peer(self, entry: Manifest, peer: Party, own_namespace: str | None) -> bool:
        if "ipBlock" in entry:
            return _in_block(entry["ipBlock"], peer.address)
        if peer.namespace is None:
            return False
        namespace = entry.get("namespaceSelector")
        if namespace is None:
            in_namespace = peer.namespace == own_namespace
        else:
            labels = {NAME_LABEL: peer.namespace} | dict(self._namespaces[peer.namespace])
            in_namespace = selects(namespace, labels)
        return in_namespace and selects(entry.get("podSelector") or {}, peer.labels)


def selects(selector: Manifest, labels: Mapping[str, str]) -> bool:
    """An empty selector selects everything."""
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(name) == value for name, value in wanted.items()) and all(
        _holds(expression, labels) for expression in selector.get("matchExpressions") or []
    )


def _holds(expression: Manifest, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case other:
            raise ValueError(f"no such operator: {other}")


def _concerns(policy: Manifest, subject: Party, direction: Direction) -> bool:
    spec = policy["spec"]
    if subject.namespace is None or policy["metadata"]["namespace"] != subject.namespace:
        return False
    types = spec.get("policyTypes") or ["Ingress", *(["Egress"] if spec.get("egress") else [])]
    return direction in types and selects(spec["podSelector"], subject.labels)


def _has_port(rule: Manifest, port: int, protocol: str) -> bool:
    ports = rule.get("ports")
    if not ports:
        return True
    return any(
        entry.get("protocol", "TCP") == protocol
        and ("port" not in entry or entry["port"] <= port <= entry.get("endPort", entry["port"]))
        for entry in ports
    )


def _in_block(block: Manifest, address: str) -> bool:
    number = ipaddress.ip_address(address)
    return number in ipaddress.ip_network(block["cidr"]) and not any(
        number in ipaddress.ip_network(each) for each in block.get("except") or []
    )
