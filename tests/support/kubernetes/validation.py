"""What an object must be like to be kept, and what of it may change later."""

import json
import re
from collections.abc import Mapping
from typing import Any

from support.kubernetes import answers
from support.kubernetes.kinds import POD, SECRET, Kind

Object = dict[str, Any]
Cause = tuple[str, str, str]

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LABEL_NAME = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")

_BAD_NAME = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
_BAD_LABEL_NAME = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
_BAD_LABEL_VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
MAY_CHANGE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only "
    "additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set "
    "to 1 if it was previously negative)"
)
ANNOTATION_BYTES = 256 * 1024


def check_new(kind: Kind, item: Object) -> None:
    name = item["metadata"].get("name", "")
    causes: list[Cause] = []
    if not _NAME.fullmatch(name) or len(name) > 253:
        causes.append(
            ("metadata.name", "FieldValueInvalid", f"Invalid value: {_quoted(name)}: {_BAD_NAME}")
        )
    causes += _metadata_causes(item["metadata"])
    if kind is POD and not item.get("spec", {}).get("containers"):
        causes.append(("spec.containers", "FieldValueRequired", "Required value"))
    if causes:
        raise answers.invalid(kind, name, causes)


def check_change(kind: Kind, before: Object, after: Object) -> None:
    """Refuse what must stay as it is; what the server decides by itself is not looked at."""
    name, old, new = before["metadata"]["name"], before["metadata"], after["metadata"]
    if new.get("uid") != old["uid"]:
        raise answers.immutable(kind, name, "metadata.uid", str(new.get("uid")))
    causes = _metadata_causes(new)
    added = [f for f in new.get("finalizers") or [] if f not in (old.get("finalizers") or [])]
    if added and old.get("deletionTimestamp"):
        words = ", ".join(_quoted(finalizer) for finalizer in added)
        causes.append(
            (
                "metadata.finalizers",
                "FieldValueForbidden",
                (
                    "Forbidden: no new finalizers can be added if the object is being deleted, "
                    f"found new finalizers []string{{{words}}}"
                ),
            )
        )
    if kind is POD and not _spec_may_become(before["spec"], after["spec"]):
        causes.append(("spec", "FieldValueForbidden", f"Forbidden: {MAY_CHANGE}"))
    if kind is SECRET and before.get("immutable") and before.get("data") != after.get("data"):
        words = "Forbidden: field is immutable when `immutable` is set"
        causes.append(("data", "FieldValueForbidden", words))
    if causes:
        raise answers.invalid(kind, name, causes)


def _metadata_causes(metadata: Mapping[str, Any]) -> list[Cause]:
    causes: list[Cause] = []
    for key, value in (metadata.get("labels") or {}).items():
        label = key.rpartition("/")[2]
        if not _LABEL_NAME.fullmatch(label) or len(label) > 63:
            words = f"Invalid value: {_quoted(key)}: {_BAD_LABEL_NAME}"
            causes.append(("metadata.labels", "FieldValueInvalid", words))
        if len(value) > 63:
            words = "Too long: may not be more than 63 bytes"
            causes.append(("metadata.labels", "FieldValueTooLong", words))
        elif not _LABEL_VALUE.fullmatch(value):
            words = f"Invalid value: {_quoted(value)}: {_BAD_LABEL_VALUE}"
            causes.append(("metadata.labels", "FieldValueInvalid", words))
    notes = metadata.get("annotations") or {}
    if sum(len(key.encode()) + len(value.encode()) for key, value in notes.items()) > (
        ANNOTATION_BYTES
    ):
        words = f"Too long: may not be more than {ANNOTATION_BYTES} bytes"
        causes.append(("metadata.annotations", "FieldValueTooLong", words))
    for owner in metadata.get("ownerReferences") or []:
        missing = {"apiVersion": "version must not be empty", "uid": "must not be empty"}
        causes += [
            (f"metadata.ownerReferences.{field}", "FieldValueInvalid",
             f'Invalid value: "": {words}')
            for field, words in missing.items()
            if not owner.get(field)
        ]  # fmt: skip
    return causes


def _spec_may_become(before: Object, after: Object) -> bool:
    old_tolerations, new_tolerations = before.get("tolerations", []), after.get("tolerations", [])
    if any(toleration not in new_tolerations for toleration in old_tolerations):
        return False
    return _fixed(before) == _fixed(after)


def _fixed(spec: Object) -> Object:
    """The parts of a pod that never change."""
    changeable = {"activeDeadlineSeconds", "tolerations"}
    fixed = {key: value for key, value in spec.items() if key not in changeable}
    for part in ("containers", "initContainers"):
        fixed[part] = [
            {key: value for key, value in container.items() if key != "image"}
            for container in spec.get(part, [])
        ]
    return fixed


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
