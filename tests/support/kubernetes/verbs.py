"""The verbs of the API, each done at once: what was asked, decided and kept without a pause."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from support.kubernetes import answers, deletion
from support.kubernetes.admission import admit
from support.kubernetes.defaults import completed, timestamp
from support.kubernetes.kinds import NAMESPACE, POD, SERVICE_ACCOUNT, Kind
from support.kubernetes.lists import list_page, shown, shown_list
from support.kubernetes.patches import json_patch, merge_patch
from support.kubernetes.store import Key, Store
from support.kubernetes.validation import check_change, check_new

Object = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, once it is known what it is about."""

    verb: str
    """As audit logs name it: create, get, list, watch, update, patch, delete."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    user: str = ""
    body: Any = None
    content_type: str = "application/json"
    params: Mapping[str, str] = field(default_factory=dict)
    metadata_only: bool = False
    uri: str = ""
    agent: str = ""

    @property
    def key(self) -> Key:
        return (self.namespace if self.kind.namespaced else "", self.name)

    @property
    def dry(self) -> bool:
        return "dryRun" in self.params


def perform(store: Store, ask: Ask) -> tuple[int, Object]:
    """Return the status and body of the answer; Refusal if it is none of success."""
    if ask.subresource and ask.subresource not in ask.kind.subresources:
        raise answers.not_found(ask.kind, ask.name)
    match ask.verb, ask.subresource:
        case "get", "" | "status":
            return 200, shown(_there(store, ask), metadata_only=ask.metadata_only)
        case "list", "":
            items, metadata = list_page(store, ask.kind, ask.namespace, ask.params)
            found = shown_list(ask.kind, items, metadata, metadata_only=ask.metadata_only)
            return 200, found
        case "create", "":
            return 201, _create(store, ask)
        case "create", "binding":
            _bind(store, ask)
            return 201, answers.success(201)
        case "create", "eviction":
            _evict(store, ask)
            return 201, answers.success(201)
        case "update", "" | "status":
            return 200, _update(store, ask)
        case "patch", "" | "status":
            return 200, _patch(store, ask)
        case "delete", "":
            options = ask.body or {}
            return 200, deletion.delete(store, ask.kind, ask.key, options)
        case _:
            raise answers.not_allowed()


def _there(store: Store, ask: Ask) -> Object:
    found = store.get(ask.kind, ask.key)
    if found is None:
        raise answers.not_found(ask.kind, ask.name)
    return found


def _create(store: Store, ask: Ask) -> Object:
    body = ask.body
    if not isinstance(body, dict):
        raise answers.bad_request(f"the object provided is unrecognized (of type {ask.kind.name})")
    stated = body.get("metadata", {}).get("namespace")
    if stated and ask.kind.namespaced and stated != ask.namespace:
        raise answers.bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    item = completed(ask.kind, body, namespace=ask.namespace)
    key = (ask.key[0], item["metadata"].get("name", ""))
    admit(store, ask.kind, item)
    check_new(ask.kind, item)
    if store.get(ask.kind, key) is not None:
        raise answers.already_exists(ask.kind, key[1])
    if ask.dry:
        return item
    created = store.put(ask.kind, key, item)
    if ask.kind is NAMESPACE:
        # A controller does this in a real cluster, a moment later.
        account = {"metadata": {"name": "default"}}
        filled = completed(SERVICE_ACCOUNT, account, namespace=key[1])
        store.put(SERVICE_ACCOUNT, (key[1], "default"), filled)
    return created


def _update(store: Store, ask: Ask) -> Object:
    found = _there(store, ask)
    after = copy.deepcopy(ask.body)
    metadata = after.setdefault("metadata", {})
    if metadata.get("name", ask.name) != ask.name:
        raise answers.bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL "
            f"({ask.name})"
        )
    uid = found["metadata"]["uid"]
    if metadata.setdefault("uid", uid) != uid:
        raise answers.replaced_since(
            ask.kind, ask.name, namespace=ask.namespace, meant=metadata["uid"], found=uid
        )
    return _keep(store, ask, found, after)


def _patch(store: Store, ask: Ask) -> Object:
    match ask.content_type:
        case "application/json-patch+json":
            after = json_patch(_there(store, ask), ask.body)
        case "application/merge-patch+json":
            after = merge_patch(_there(store, ask), ask.body)
        case _:
            raise answers.unsupported_media_type()
    return _keep(store, ask, _there(store, ask), after)


def _keep(store: Store, ask: Ask, found: Object, after: Object) -> Object:
    """Decide what of a changed object counts, and keep it if anything has changed."""
    version = after["metadata"].get("resourceVersion") or found["metadata"]["resourceVersion"]
    if version != found["metadata"]["resourceVersion"]:
        raise answers.modified(ask.kind, ask.name)
    after = _of_subresource(ask, found, after)
    for own in ("name", "namespace", "creationTimestamp", "resourceVersion", "generation",
                "deletionTimestamp", "deletionGracePeriodSeconds"):  # fmt: skip
        after["metadata"].pop(own, None)
        if own in found["metadata"]:
            after["metadata"][own] = found["metadata"][own]
    for empty in ("labels", "annotations", "finalizers", "ownerReferences"):
        if not after["metadata"].get(empty, True):
            del after["metadata"][empty]
    check_change(ask.kind, found, after)
    if after == found or ask.dry:
        return after
    if deletion.removed_by_change(found, after):
        store.remove(ask.kind, ask.key)
        return after
    return store.put(ask.kind, ask.key, after)


def _of_subresource(ask: Ask, found: Object, after: Object) -> Object:
    """A status is changed through its own door only, and nothing but it and labels there."""
    after = {"kind": ask.kind.name, "apiVersion": ask.kind.api_version, **after}
    if "status" not in ask.kind.subresources:
        return after
    if ask.subresource == "status":
        return {**found, "metadata": after["metadata"], "status": after.get("status", {})}
    return {**after, "status": found["status"]}


def _bind(store: Store, ask: Ask) -> None:
    found, node = _there(store, ask), ask.body["target"]["name"]
    assigned = found["spec"].get("nodeName")
    why = None
    if found["metadata"].get("deletionTimestamp"):
        why = f"pod {ask.name} is being deleted, cannot be assigned to a host"
    elif assigned:
        why = f'pod {ask.name} is already assigned to node "{assigned}"'
    if why is not None:
        refusal = answers.modified(POD, ask.name, why)
        refusal.status["message"] = refusal.status["message"].replace("on pods", "on pods/binding")
        raise refusal
    conditions = with_condition(found, "PodScheduled", "True")
    store.put(
        POD,
        ask.key,
        {
            **found,
            "spec": {**found["spec"], "nodeName": node},
            "status": {**found["status"], "conditions": conditions},
        },
    )


def _evict(store: Store, ask: Ask) -> None:
    options = ask.body.get("deleteOptions") or {}
    found = _there(store, ask)
    deletion.check_preconditions(POD, found, options.get("preconditions") or {})
    conditions = with_condition(
        found,
        "DisruptionTarget",
        "True",
        reason="EvictionByEvictionAPI",
        message="Eviction API: evicting",
    )
    store.put(POD, ask.key, {**found, "status": {**found["status"], "conditions": conditions}})
    deletion.delete(store, POD, ask.key, options)


def with_condition(
    item: Object, kind: str, status: str, *, reason: str = "", message: str = ""
) -> list[Object]:
    """Return its conditions with this one; the time is that of the last change of its status."""
    conditions: list[Object] = item.get("status", {}).get("conditions", [])
    before = next((found for found in conditions if found["type"] == kind), {})
    same = before.get("status") == status
    condition = {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": before["lastTransitionTime"] if same else timestamp(),
        **({"reason": reason} if reason else {}),
        **({"message": message} if message else {}),
    }
    return [*(found for found in conditions if found["type"] != kind), condition]
