"""Somebody else than who is tested makes, changes and deletes pods of the fake API server."""

from typing import Any

from slipway_scheduler.kubernetes.api import Resource
from support.kubernetes.kinds import NAMESPACE, POD, SECRET
from support.kubernetes.server import FakeApiServer
from support.kubernetes.verbs import MERGE_PATCH, Ask

NAMESPACE_NAME = "sessions"
PODS = Resource("v1", "pods", NAMESPACE_NAME)


class Pods:
    def __init__(self, server: FakeApiServer) -> None:
        self._server = server
        self._ask("create", "", {"metadata": {"name": NAMESPACE_NAME}}, kind=NAMESPACE)

    def create(self, name: str, *, labels: dict[str, str] | None = None, **more: Any) -> Any:
        metadata = {"name": name, "labels": labels or {}} | more.pop("metadata", {})
        spec = {"containers": [{"name": "runner", "image": "none"}], **more}
        return self._ask("create", "", {"metadata": metadata, "spec": spec})

    def secret(self, name: str) -> Any:
        return self._ask("create", "", {"metadata": {"name": name}}, kind=SECRET)

    def label(self, name: str, **labels: str | None) -> Any:
        return self._ask("patch", name, {"metadata": {"labels": labels}})

    def end(self, name: str) -> Any:
        """Tell it to end, and leave it its grace."""
        found = self._server.store.get(POD, (NAMESPACE_NAME, name))
        assert found is not None
        return self._ask("delete", name, {"preconditions": {"uid": found["metadata"]["uid"]}})

    def delete(self, name: str) -> Any:
        """Remove it, whatever becomes of what runs."""
        return self._ask("delete", name, {"gracePeriodSeconds": 0})

    def _ask(self, verb: str, name: str, body: Any, *, kind: Any = POD) -> Any:
        namespace = NAMESPACE_NAME if kind.namespaced else ""
        return self._server.act(
            Ask(verb, kind, namespace, name, user="other", body=body, content_type=MERGE_PATCH)
        )
