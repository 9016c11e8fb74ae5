"""What the node loop does to nodes and pods: it closes and opens nodes, and moves what may move."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.api import METADATA_LIST_ONLY, KubernetesApi, Resource
from slipway_scheduler.kubernetes.errors import ConflictError, NotFoundError
from slipway_scheduler.kubernetes.limits import Rank
from slipway_scheduler.kubernetes.objects import Metadata, Node
from slipway_scheduler.leadership import Leadership
from slipway_scheduler.nodes.models import Kind, PodSeen
from slipway_scheduler.nodes.sight import KINDS, LEAVING
from slipway_scheduler.nodes.specs import POOL_LABEL


class _Page(msgspec.Struct):
    items: list[Metadata] | None = None


_NODE = msgspec.json.Decoder(Node)
_PAGE = msgspec.json.Decoder(_Page)


class Hands:
    """Of one leader, for as long as it leads."""

    def __init__(
        self, api: KubernetesApi, leadership: Leadership, *, sessions_namespace: str
    ) -> None:
        self._api = api
        self._leadership = leadership
        self._nodes = Resource("v1", "nodes")
        self._pods = Resource("v1", "pods", sessions_namespace)

    async def close(self, node: str, *, pool: str) -> None:
        """Let the node take no more pods; a machine that is no node yet becomes a closed one."""
        try:
            await self._change(node, {"spec": {"unschedulable": True}})
        except NotFoundError:
            await self._stand_in(node, pool=pool)

    async def open(self, node: str) -> None:
        body = {"spec": {"unschedulable": False}, "metadata": {"annotations": {LEAVING: None}}}
        with suppress(NotFoundError):
            await self._change(node, body)

    async def put_away(self, pods: Iterable[PodSeen]) -> None:
        """A member that is claimed in the same moment stays: it is no member any more."""
        for pod in pods:
            if pod.kind is Kind.SESSION:
                continue
            self._leadership.check()
            # Gone, claimed, or being removed by its owner: the next look sees which.
            with suppress(NotFoundError, ConflictError):
                if pod.kind is Kind.MEMBER:
                    await self._api.patch(self._pods, pod.name, _retirement(pod), rank=Rank.NODE)
                await self._api.delete(self._pods, pod.name, uid=pod.uid, rank=Rank.NODE)

    async def is_free(self, node: str) -> bool:
        """Ask the server itself, for a mirror may not have shown the last pod yet."""
        try:
            found = _NODE.decode(await self._api.get(self._nodes, node))
        except NotFoundError:
            return True
        if not found.spec.unschedulable:
            return False
        selector = f"spec.nodeName={node},status.phase!=Succeeded,status.phase!=Failed"
        content = await self._api.watches.request(
            "GET", self._pods.path(), params={"fieldSelector": selector}, accept=METADATA_LIST_ONLY
        )
        pods = _PAGE.decode(content).items or []
        roles = (pod.metadata.labels.get(labels.ROLE, "") for pod in pods)
        return all(KINDS.get(role, Kind.SESSION) is not Kind.SESSION for role in roles)

    async def _change(self, node: str, body: Mapping[str, Any]) -> None:
        self._leadership.check()
        await self._api.merge(self._nodes, node, body, rank=Rank.NODE)

    async def _stand_in(self, machine: str, *, pool: str) -> None:
        """Make the node that the machine would become, closed: it can then come without harm."""
        body = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": machine,
                "labels": {POOL_LABEL: pool},
                "annotations": {LEAVING: "true"},
            },
            "spec": {"unschedulable": True},
        }
        self._leadership.check()
        try:
            await self._api.create(self._nodes, body, rank=Rank.NODE)
        except ConflictError:
            await self._change(machine, {"spec": {"unschedulable": True}})


def _retirement(pod: PodSeen) -> list[Mapping[str, Any]]:
    role = "/metadata/labels/" + labels.ROLE.replace("/", "~1")
    return [
        {"op": "test", "path": "/metadata/uid", "value": pod.uid},
        {"op": "test", "path": role, "value": labels.MEMBER_ROLE},
        {"op": "replace", "path": role, "value": labels.RETIRED_ROLE},
    ]
