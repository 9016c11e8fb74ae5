"""What the scheduler asks of the API server, as a table: its rights, and nothing more."""

from dataclasses import dataclass

from support.kubectl import Manifest

SCHEDULER = "system:serviceaccount:slipway:slipway-scheduler"
SESSIONS, OWN, CLUSTER = "slipway-sessions", "slipway", None


@dataclass(frozen=True)
class Right:
    verb: str
    resource: str
    namespace: str | None
    group: str = ""
    name: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        what = "/".join(filter(None, (self.resource, self.subresource, self.name)))
        return f"{self.verb} {what} in {self.namespace or 'the cluster'}"

    def review(self) -> Manifest:
        attributes = {
            "verb": self.verb,
            "resource": self.resource,
            "group": self.group,
            "namespace": self.namespace or "",
            "name": self.name,
            "subresource": self.subresource,
        }
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }


def rights(verbs: str, resource: str, namespace: str | None, **more: str) -> list[Right]:
    return [Right(verb, resource, namespace, **more) for verb in verbs.split()]


POLICIES = "networking.k8s.io"
LEASES = "coordination.k8s.io"

NEEDED = [
    *rights("create delete get list patch watch", "pods", SESSIONS),
    *rights("create delete get list patch", "secrets", SESSIONS),
    *rights("create delete list update", "networkpolicies", SESSIONS, group=POLICIES),
    *rights("create", "leases", OWN, group=LEASES),
    *rights("get update", "leases", OWN, group=LEASES, name="slipway-scheduler"),
    *rights("create get update", "configmaps", OWN),
    *rights("get list watch", "nodes", CLUSTER),
]
"""Verb by verb what units, warm pools, policies, leftovers and the elector ask of the API."""

NEEDED_FOR_NODE_POOLS = [
    *rights("create patch", "nodes", CLUSTER),
]
