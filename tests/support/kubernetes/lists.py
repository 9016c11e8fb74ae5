"""Lists in pages: each page shows the same instant, for as long as that is remembered."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from support.kubernetes.answers import bad_request, expired_list
from support.kubernetes.kinds import Kind
from support.kubernetes.selectors import field_selector, label_selector
from support.kubernetes.store import Key, Store

Object = dict[str, Any]

ANY_REVISION = -1
"""In a token that was given out when the one before had expired."""


@dataclass(frozen=True, slots=True)
class Token:
    revision: int
    start: Key

    def encode(self) -> str:
        content = {"v": "meta.k8s.io/v1", "rv": self.revision, "start": "/".join(self.start)}
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Token":
        try:
            padded = text + "=" * (-len(text) % 4)
            content = json.loads(base64.urlsafe_b64decode(padded))
            namespace, _, name = content["start"].partition("/")
            return cls(content["rv"], (namespace, name))
        except (ValueError, KeyError, TypeError) as error:
            raise bad_request(
                f"invalid continue token: continue key is not valid: {error}"
            ) from error


def list_page(
    store: Store, kind: Kind, namespace: str, params: Mapping[str, str]
) -> tuple[list[Object], dict[str, Any]]:
    """Return the objects of one page, and the metadata of the list."""
    labels = label_selector(params.get("labelSelector", ""))
    fields = field_selector(params.get("fieldSelector", ""))
    try:
        limit = int(params.get("limit", "0"))
    except ValueError as error:
        text = params["limit"]
        raise bad_request(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error
    revision, after = store.revision, None
    if params.get("continue"):
        token = Token.decode(params["continue"])
        if params.get("resourceVersion", "") not in {"", "0"}:
            raise bad_request("specifying resource version is not allowed when using continue")
        after = token.start
        if token.revision != ANY_REVISION:
            if token.revision < store.oldest:
                raise expired_list(Token(ANY_REVISION, token.start).encode())
            revision = token.revision
    there = store.at(kind, revision)
    items = [
        there[key]
        for key in sorted(there)
        if (not namespace or key[0] == namespace)
        and (after is None or key > after)
        and labels(there[key])
        and fields(there[key])
    ]
    metadata: dict[str, Any] = {"resourceVersion": str(revision)}
    if limit and len(items) > limit:
        last = items[limit - 1]["metadata"]
        start = (last.get("namespace", ""), last["name"])
        metadata["continue"] = Token(revision, start).encode()
        if not params.get("labelSelector") and not params.get("fieldSelector"):
            metadata["remainingItemCount"] = len(items) - limit
        items = items[:limit]
    return items, metadata


def shown(item: Object, *, metadata_only: bool) -> Object:
    if not metadata_only:
        return item
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": item["metadata"],
    }


def shown_list(
    kind: Kind, items: list[Object], metadata: Mapping[str, Any], *, metadata_only: bool
) -> Object:
    if metadata_only:
        head = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        shown_items = [shown(item, metadata_only=True) for item in items]
    else:
        head = {"kind": f"{kind.name}List", "apiVersion": kind.api_version}
        # Members of a whole list do not repeat what kind they are.
        shown_items = [
            {key: value for key, value in item.items() if key not in {"kind", "apiVersion"}}
            for item in items
        ]
    return {**head, "metadata": dict(metadata), "items": shown_items}
