"""The audit log of the fake API server, in the shape in which the real one writes its own.

Pods and nodes are told of in full; of secrets it is told who touched them, and never what is in
them.
"""

import copy
import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.kubernetes.kinds import LEASE, NODE, POD
from support.kubernetes.verbs import Ask

Object = dict[str, Any]

IN_FULL = frozenset({POD, NODE, LEASE})
READS = frozenset({"get", "list", "watch"})


class Recorder:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, ask: Ask, code: int, answer: Object, *, received: datetime) -> None:
        in_full = ask.kind in IN_FULL and ask.verb not in READS
        failed = {key: value for key, value in answer.items() if key not in {"kind", "apiVersion"}}
        line: Object = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "RequestResponse" if in_full else "Metadata",
            "auditID": str(uuid.uuid4()),
            "stage": "ResponseComplete",
            "requestURI": ask.uri,
            "verb": ask.verb,
            "user": {"username": ask.user, "groups": ["system:authenticated"]},
            "sourceIPs": ["127.0.0.1"],
            "userAgent": ask.agent,
            "objectRef": self._reference(ask),
            "responseStatus": {"metadata": {}, "code": code} if code < 400 else failed,
        }
        if in_full and ask.body is not None:
            line["requestObject"] = copy.deepcopy(ask.body)
        if in_full:
            line["responseObject"] = answer
        line["requestReceivedTimestamp"] = _precise(received)
        line["stageTimestamp"] = _precise(datetime.now(UTC))
        line["annotations"] = {"authorization.k8s.io/decision": "allow"}
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")

    @staticmethod
    def _reference(ask: Ask) -> Object:
        name = ask.name
        if not name and isinstance(ask.body, dict):
            name = (ask.body.get("metadata") or {}).get("name", "")
        given = {
            "resource": ask.kind.plural,
            "namespace": ask.namespace,
            "name": name,
            "apiGroup": ask.kind.group,
            "apiVersion": "v1",
            "subresource": ask.subresource,
        }
        return {key: value for key, value in given.items() if value}


def _precise(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
