"""How pods of sessions end: asked, forced, and removed when nobody asks about them any more."""

import asyncio
import json
from contextlib import suppress

import msgspec

from slipway_common.contracts.sessions import EndReason
from slipway_common.errors import TransientError
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.api import KubernetesApi, Resource
from slipway_scheduler.kubernetes.errors import ConflictError, NotFoundError
from slipway_scheduler.kubernetes.limits import Rank
from slipway_scheduler.kubernetes.objects import Node, Pod

_SURE = frozenset({EndReason.STOPPED, EndReason.TIME_LIMIT})
"""Reasons to end a pod that do not depend on what we last saw of it."""

LAG_SECONDS = 5.0
"""How long the mirror may take to show that a pod is ending, before it is asked again."""

_NODE = msgspec.json.Decoder(Node)


class PodEnds:
    """Each is of the very pod that is meant, and none of it fails because it is gone already."""

    def __init__(self, api: KubernetesApi, *, namespace: str) -> None:
        self._api = api
        self._pods = Resource("v1", "pods", namespace)
        self._secrets = Resource("v1", "secrets", namespace)
        self._nodes = Resource("v1", "nodes")
        self._asked: set[str] = set()
        """Pods by uid that were asked just now."""

    async def ask(self, pod: Pod, *, reason: EndReason, message: str) -> None:
        """Let it end by itself, and remember why with it.

        TransientError if what speaks against it is not so any more.
        """
        if pod.terminating or pod.metadata.uid in self._asked:
            return
        if reason is EndReason.NODE_LOST:
            await self._check_that_node_is_lost(pod)
        if reason is not EndReason.STOPPED:
            await self._note_ending(pod, reason=reason, message=message)
        with suppress(NotFoundError, ConflictError):  # gone already, or another one's by now
            await self._api.delete(
                self._pods, pod.metadata.name, uid=pod.metadata.uid, rank=Rank.END
            )
        self._asked.add(pod.metadata.uid)
        asyncio.get_running_loop().call_later(LAG_SECONDS, self._asked.discard, pod.metadata.uid)

    async def _note_ending(self, pod: Pod, *, reason: EndReason, message: str) -> None:
        """ConflictError if it is not any more what it was when it was judged."""
        meant = {"uid": pod.metadata.uid}
        if reason not in _SURE:
            meant["resourceVersion"] = pod.metadata.resource_version
        note = json.dumps({"reason": reason, "message": message})
        with suppress(NotFoundError):
            await self._api.merge(
                self._pods,
                pod.metadata.name,
                {"metadata": {**meant, "annotations": {labels.ENDING: note}}},
                rank=Rank.END,
            )

    async def _check_that_node_is_lost(self, pod: Pod) -> None:
        """A mirror that hears nothing must not end sessions on a node that has come back."""
        name = pod.spec.node_name
        assert name is not None
        with suppress(NotFoundError):
            node = _NODE.decode(await self._api.get(self._nodes, name))
            if node.status.ready:
                raise TransientError(f"node {name} answers again")

    async def force(self, pod: Pod) -> None:
        with suppress(NotFoundError, ConflictError):
            await self._api.delete(
                self._pods, pod.metadata.name, uid=pod.metadata.uid, rank=Rank.END, grace_seconds=0
            )

    async def remove(self, pod: Pod) -> None:
        """Let nothing of it be left, its secrets included."""
        if not pod.waits_only_for_finalizers:
            await self.force(pod)
        await self._let_go(pod)
        for owner in pod.metadata.owner_references:
            with suppress(NotFoundError, ConflictError):
                await self._api.delete(self._secrets, owner.name, uid=owner.uid, rank=Rank.END)

    async def _let_go(self, pod: Pod) -> None:
        """Take our finalizer away, and nobody else's."""
        if labels.FINALIZER not in pod.metadata.finalizers:
            return
        place = f"/metadata/finalizers/{pod.metadata.finalizers.index(labels.FINALIZER)}"
        with suppress(NotFoundError):
            await self._api.patch(
                self._pods,
                pod.metadata.name,
                [
                    {"op": "test", "path": "/metadata/uid", "value": pod.metadata.uid},
                    {"op": "test", "path": place, "value": labels.FINALIZER},
                    {"op": "remove", "path": place},
                ],
                rank=Rank.END,
            )
