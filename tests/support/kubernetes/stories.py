"""Audit logs that never were: what servers and schedulers did, told line by line.

The lines have the shape of a real API server's. Each is a millisecond after the one before, and
each change has a revision of its own, unless a test says otherwise.
"""

import copy
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

NAMESPACE = "sessions"
SCHEDULER = "system:serviceaccount:slipway:slipway-scheduler"
KUBELET = "system:node:node-1"
MEMBER = {"slipway.dev/role": "member"}

Object = dict[str, Any]


@dataclass
class Story:
    lines: list[bytes] = field(default_factory=list)
    revision: int = 100
    _times: Iterator[int] = field(default_factory=lambda: itertools.count(1000))

    def secret(self, session: str, *, verb: str = "create", code: int = 201) -> None:
        """Only who touched it, as the policy for secrets wants it."""
        line = self.line(verb, f"session-{session}", code=code, resource="secrets")
        line["level"] = "Metadata"
        self.write(line)

    def create(
        self, name: str, *, session: str | None = None, labels: Object | None = None, **more: Any
    ) -> Object:
        """A session's pod belongs to its secret, as it should, unless ``owner`` is another."""
        made = self.pod(name, session=session, labels=labels, owner=more.pop("owner", session))
        self.answer("create", made, code=201, request=made, **more)
        return made

    def claim(self, pod: Object, session: str, *, owner: str | None = None, **more: Any) -> Object:
        claimed = copy.deepcopy(pod)
        claimed["metadata"]["labels"] |= labels_of(session)
        claimed["metadata"].setdefault("ownerReferences", []).append(owner_of(owner or session))
        request = [{"op": "add", "path": "/metadata/labels/slipway.dev~1session", "value": session}]
        self.answer("patch", claimed, request=request, **more)
        return claimed

    def status(self, pod: Object, phase: str, *, ended: bool = False, **more: Any) -> Object:
        told = copy.deepcopy(pod)
        state: Object = {"terminated": {"exitCode": 0}} if ended else {"running": {}}
        told["spec"]["nodeName"] = "node-1"
        told["status"] = {
            "phase": phase,
            "containerStatuses": [{"name": "runner", "state": state}],
        }
        more = {"user": KUBELET, "request": {"status": told["status"]}} | more
        self.answer("patch", told, subresource="status", **more)
        return told

    def delete(self, pod: Object, *, uid: str | None = None, grace: int = 0, **more: Any) -> Object:
        """What the answer shows: what is left of it, or what was removed."""
        marked = copy.deepcopy(pod)
        marked["metadata"]["deletionTimestamp"] = "2026-11-25T00:00:09Z"
        marked["metadata"]["deletionGracePeriodSeconds"] = grace
        meant = pod["metadata"]["uid"] if uid is None else uid
        request = {"kind": "DeleteOptions", "preconditions": {"uid": meant} if meant else None}
        self.answer("delete", marked, request=request, **more)
        return marked

    def free(self, pod: Object, **more: Any) -> None:
        """Take its finalizer away; of what has ended, that removes it, under its old version."""
        freed = copy.deepcopy(pod)
        del freed["metadata"]["finalizers"]
        request = {"metadata": {"finalizers": None}}
        self.answer("patch", freed, request=request, keep_version=True, **more)

    def pod(
        self,
        name: str,
        *,
        session: str | None = None,
        labels: Object | None = None,
        owner: str | None = None,
    ) -> Object:
        metadata: Object = {
            "name": name,
            "namespace": NAMESPACE,
            "uid": f"uid-{name}-{self.revision + 1}",
            "labels": (labels or {}) | (labels_of(session) if session else {}),
        }
        if owner is not None:
            metadata["ownerReferences"] = [owner_of(owner)]
        return {
            "kind": "Pod",
            "apiVersion": "v1",
            "metadata": metadata,
            "spec": {"containers": [{"name": "runner", "image": "i"}]},
            "status": {"phase": "Pending"},
        }

    def answer(
        self,
        verb: str,
        pod: Object,
        *,
        request: Any,
        code: int = 200,
        keep_version: bool = False,
        write: bool = True,
        **more: Any,
    ) -> Object:
        if not keep_version:
            self.revision += 1
            pod["metadata"]["resourceVersion"] = str(self.revision)
        line = self.line(verb, pod["metadata"]["name"], code=code, **more)
        line |= {"requestObject": request, "responseObject": pod}
        if write:
            self.write(line)
        return line

    def line(
        self,
        verb: str,
        name: str,
        *,
        code: int = 200,
        resource: str = "pods",
        subresource: str = "",
        user: str = SCHEDULER,
        takes: int = 0,
        uri: str = "",
    ) -> Object:
        """``takes``: milliseconds from the request to its end."""
        moment = next(self._times)
        reference = {"resource": resource, "namespace": NAMESPACE, "name": name, "apiVersion": "v1"}
        return {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "RequestResponse",
            "auditID": f"00000000-0000-4000-8000-{moment:012}",
            "stage": "ResponseComplete",
            "requestURI": uri or f"/api/v1/namespaces/{NAMESPACE}/{resource}/{name}",
            "verb": verb,
            "user": {"username": user, "groups": ["system:authenticated"]},
            "sourceIPs": ["127.0.0.1"],
            "objectRef": reference | ({"subresource": subresource} if subresource else {}),
            "responseStatus": {"metadata": {}, "code": code},
            "requestReceivedTimestamp": stamp(moment),
            "stageTimestamp": stamp(moment + takes, micro=500),
        }

    def write(self, line: Object) -> None:
        self.lines.append(json.dumps(line, separators=(",", ":")).encode() + b"\n")


def stamp(moment: int, *, micro: int = 0) -> str:
    seconds, thousandths = divmod(moment, 1000)
    return f"2026-11-25T00:{seconds // 60:02}:{seconds % 60:02}.{thousandths:03}{micro:03}Z"


def labels_of(session: str) -> Object:
    return {"slipway.dev/role": "session", "slipway.dev/session": session}


def owner_of(session: str) -> Object:
    name = f"session-{session}"
    return {"apiVersion": "v1", "kind": "Secret", "name": name, "uid": f"uid-of-{name}"}
