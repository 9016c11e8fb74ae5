"""JSON patch and merge patch, with the habits of the real server.

It is lenient in two places, and so are we: ``replace`` of a member that is not there adds it,
and ``test`` against null holds for one that is not there.
"""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from support.kubernetes.answers import bad_request, patch_does_not_apply

Object = dict[str, Any]

_NOTHING = object()


def json_patch(found: Object, operations: Any) -> Object:
    if not isinstance(operations, list):
        raise bad_request(
            "error decoding patch: json: cannot unmarshal object into Go value of type "
            "[]handlers.jsonPatchOp"
        )
    document = copy.deepcopy(found)
    for operation in operations:
        _apply(document, operation)
    return document


def merge_patch(found: Object, patch: Any) -> Object:
    merged = _merge(copy.deepcopy(found), patch)
    assert isinstance(merged, dict)
    return merged


def _merge(found: Any, patch: Any) -> Any:
    if not isinstance(patch, Mapping):
        return copy.deepcopy(patch)
    merged = dict(found) if isinstance(found, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge(merged.get(key), value)
    return merged


def _apply(document: Object, operation: Mapping[str, Any]) -> None:
    *parents, last = _steps(operation.get("path", ""))
    place = _walk(document, parents)
    value = copy.deepcopy(operation.get("value"))
    match operation.get("op"):
        case "test":
            found = _member(place, last)
            if found != value and not (found is _NOTHING and value is None):
                raise patch_does_not_apply()
        case "add":
            _put(place, last, value, insert=True)
        case "replace":
            _put(place, last, value, insert=False)
        case "remove":
            _remove(place, last)
        case "move":
            origin = _steps(operation["from"])
            source = _walk(document, origin[:-1])
            moved = _member(source, origin[-1])
            _remove(source, origin[-1])
            _put(_walk(document, parents), last, moved, insert=True)
        case "copy":
            origin = _steps(operation["from"])
            copied = copy.deepcopy(_member(_walk(document, origin[:-1]), origin[-1]))
            _put(place, last, copied, insert=True)
        case _:
            raise patch_does_not_apply()


def _steps(path: str) -> Sequence[str]:
    if not path.startswith("/"):
        raise patch_does_not_apply()
    return [step.replace("~1", "/").replace("~0", "~") for step in path[1:].split("/")]


def _walk(document: Any, steps: Sequence[str]) -> Any:
    place = document
    for step in steps:
        place = _member(place, step)
        if not isinstance(place, dict | list):
            raise patch_does_not_apply()
    return place


def _member(place: Any, step: str) -> Any:
    if isinstance(place, dict):
        return place.get(step, _NOTHING)
    return place[_index(place, step, limit=len(place) - 1)]


def _put(place: Any, step: str, value: Any, *, insert: bool) -> None:
    if value is _NOTHING:
        raise patch_does_not_apply()
    if isinstance(place, dict):
        place[step] = value
    elif insert:
        place.insert(
            len(place) if step == "-" else _index(place, step, limit=len(place)),
            value,
        )
    else:
        place[_index(place, step, limit=len(place) - 1)] = value


def _remove(place: Any, step: str) -> None:
    if isinstance(place, dict):
        if step not in place:
            raise patch_does_not_apply()
        del place[step]
    else:
        del place[_index(place, step, limit=len(place) - 1)]


def _index(place: Sequence[Any], step: str, *, limit: int) -> int:
    if not step.isdigit() or int(step) > limit:
        raise patch_does_not_apply()
    return int(step)
