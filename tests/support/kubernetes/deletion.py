"""How things end: preconditions, grace, finalizers, and when an object is really gone."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from support.kubernetes import answers
from support.kubernetes.defaults import moment_of, timestamp
from support.kubernetes.kinds import NAMESPACE, Kind
from support.kubernetes.store import Key, Store

Object = dict[str, Any]

PROPAGATIONS = frozenset({None, "Background"})
"""What we ever ask for; the fake knows no other."""


def delete(store: Store, kind: Kind, key: Key, options: Mapping[str, Any]) -> Object:
    """Return what the server answers: what is left, or what was removed."""
    found = store.get(kind, key)
    if found is None:
        raise answers.not_found(kind, key[1])
    check_preconditions(kind, found, options.get("preconditions") or {})
    if options.get("propagationPolicy") not in PROPAGATIONS:
        raise answers.bad_request("the fake API server deletes in the background only")
    if kind.graceful or found["metadata"].get("finalizers") or kind is NAMESPACE:
        marked = _mark(store, kind, key, found, grace=options.get("gracePeriodSeconds"))
        if not _is_over(marked) or kind is NAMESPACE:
            return marked
        return store.remove(kind, key)
    store.remove(kind, key)
    return answers.success(200, name=key[1], kind=kind.plural, uid=found["metadata"]["uid"])


def check_preconditions(kind: Kind, found: Object, meant: Mapping[str, Any]) -> None:
    metadata = found["metadata"]
    for field, what in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        if meant.get(field) is not None and meant[field] != metadata[field]:
            raise answers.other_than_meant(
                kind, metadata["name"], what, meant=meant[field], found=metadata[field]
            )


def removed_by_change(before: Object, after: Object) -> bool:
    """A change that takes the last finalizer from what has ended removes it."""
    return before["metadata"].get("deletionTimestamp") is not None and _is_over(after)


def _is_over(item: Object) -> bool:
    metadata = item["metadata"]
    return not metadata.get("finalizers") and metadata.get("deletionGracePeriodSeconds", 0) == 0


def _mark(store: Store, kind: Kind, key: Key, found: Object, *, grace: int | None) -> Object:
    """Set the time by which it should be gone; a later delete can only bring that forward."""
    metadata = found["metadata"]
    earlier = metadata.get("deletionGracePeriodSeconds")
    now = datetime.now(UTC)
    if metadata.get("deletionTimestamp") is not None:
        if grace is None or earlier is None or grace >= earlier:
            return found
        end = moment_of(metadata["deletionTimestamp"]) + timedelta(seconds=grace - earlier)
        marks = {
            "deletionTimestamp": timestamp(max(end, now)),
            "deletionGracePeriodSeconds": grace,
        }
    else:
        seconds = _grace(kind, found, grace)
        marks = {
            "deletionTimestamp": timestamp(now + timedelta(seconds=seconds)),
            "deletionGracePeriodSeconds": seconds,
        }
        if "generation" in metadata:
            marks["generation"] = metadata["generation"] + 1
    status = {"status": {**found["status"], "phase": "Terminating"}} if kind is NAMESPACE else {}
    return store.put(kind, key, {**found, **status, "metadata": {**metadata, **marks}})


def _grace(kind: Kind, found: Object, asked: int | None) -> int:
    if not kind.graceful:
        return 0
    if not found["spec"].get("nodeName") or found["status"].get("phase") in {"Succeeded", "Failed"}:
        return 0  # nobody has to be waited for
    return int(found["spec"]["terminationGracePeriodSeconds"] if asked is None else asked)
