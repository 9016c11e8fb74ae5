"""What the other parts of a cluster write: statuses, conditions, and last words about pods."""

from collections.abc import Mapping
from typing import Any

from support.kubernetes.kinds import NODE, POD
from support.kubernetes.server import FakeApiServer
from support.kubernetes.store import Key, Object
from support.kubernetes.verbs import MERGE_PATCH, Ask, with_condition


def key_of(pod: Object) -> Key:
    return (pod["metadata"]["namespace"], pod["metadata"]["name"])


class Hands:
    """Writes in the name of one user."""

    def __init__(self, server: FakeApiServer, user: str) -> None:
        self._server = server
        self._user = user

    def find(self, key: Key, uid: str) -> Object | None:
        """None: it is gone, and whatever has its name now is another."""
        pod = self._server.store.get(POD, key)
        return pod if pod is not None and pod["metadata"]["uid"] == uid else None

    def set_status(self, pod: Object, status: Mapping[str, Any]) -> None:
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": dict(status)}
        self._do("patch", pod, body, subresource="status", content_type=MERGE_PATCH)

    def set_condition(self, pod: Object, kind: str, status: str, **words: str) -> None:
        conditions = with_condition(pod, kind, status, **words)
        if conditions != pod["status"].get("conditions"):
            self.set_status(pod, {"conditions": conditions})

    def bind(self, pod: Object, node: str) -> None:
        name = {"name": pod["metadata"]["name"]}
        body = {"metadata": name, "target": {"kind": "Node", "name": node}}
        self._do("create", pod, body, subresource="binding")

    def delete(self, pod: Object, *, grace: int | None = None) -> None:
        body: Object = {"preconditions": {"uid": pod["metadata"]["uid"]}}
        if grace is not None:
            body["gracePeriodSeconds"] = grace
        self._do("delete", pod, body)

    def create_node(self, node: Object) -> None:
        self._server.act(Ask("create", NODE, user=self._user, body=node))

    def patch_node(self, name: str, body: Object, *, subresource: str = "") -> None:
        ask = Ask("patch", NODE, "", name, subresource, self._user, body, MERGE_PATCH)
        self._server.act(ask)

    def delete_node(self, name: str) -> None:
        self._server.act(Ask("delete", NODE, "", name, user=self._user, body={}))

    def _do(
        self,
        verb: str,
        pod: Object,
        body: Object,
        *,
        subresource: str = "",
        content_type: str = "application/json",
    ) -> None:
        namespace, name = key_of(pod)
        place = f"/api/v1/namespaces/{namespace}/pods/{name}"
        self._server.act(
            Ask(
                verb=verb,
                kind=POD,
                namespace=namespace,
                name=name,
                subresource=subresource,
                user=self._user,
                body=body,
                content_type=content_type,
                uri=f"{place}/{subresource}" if subresource else place,
                agent="model",
            )
        )
