"""How a member that waits becomes a session's: the commitment, and the patch that keeps it."""

from dataclasses import dataclass

from slipway_common.contracts.base import utc_now
from slipway_common.contracts.sessions import SessionWanted
from slipway_scheduler.kubernetes import labels, manifests
from slipway_scheduler.kubernetes.objects import Meta, Pod


@dataclass(frozen=True, slots=True)
class Reference:
    """The pod that a session's secret names, and the secret that does."""

    secret_uid: str
    secret_version: str
    pod: str
    pod_uid: str | None
    """None of a pod that is made for the session under the session's own name."""


def reference_of(secret: Meta) -> Reference:
    name, _, uid = secret.annotations[labels.UNIT].partition("/")
    return Reference(secret.uid, secret.resource_version, name, uid or None)


def could_be_claimed(pod: Pod) -> bool:
    return pod.metadata.labels.get(labels.ROLE) == labels.MEMBER_ROLE and not pod.terminating


def claim_patch(
    wanted: SessionWanted, reference: Reference, seen: Pod | None
) -> list[dict[str, object]]:
    """Holds only for this very pod, and only while it is nobody's session.

    ``seen``: the member as the mirror has it; its start is where its time limit counts from.
    """
    role = _pointer("metadata", "labels", labels.ROLE)
    changes: list[dict[str, object]] = [
        {"op": "test", "path": "/metadata/uid", "value": reference.pod_uid},
        {"op": "test", "path": "/metadata/deletionTimestamp", "value": None},
        {"op": "test", "path": role, "value": labels.MEMBER_ROLE},
        {"op": "replace", "path": role, "value": labels.SESSION_ROLE},
        {"op": "add", "path": "/metadata/finalizers", "value": [labels.FINALIZER]},
        {
            "op": "add",
            "path": "/metadata/ownerReferences/-",
            "value": {
                "apiVersion": "v1",
                "kind": "Secret",
                "name": manifests.unit_name(wanted.session_id),
                "uid": reference.secret_uid,
            },
        },
    ]
    if seen is not None and seen.status.start_time is not None:
        since = (utc_now() - seen.status.start_time).total_seconds()
        limit = manifests.deadline_seconds(wanted, after=since)
        changes.append({"op": "add", "path": "/spec/activeDeadlineSeconds", "value": limit})
    for name, value in manifests.session_labels(wanted).items():
        changes.append({"op": "add", "path": _pointer("metadata", "labels", name), "value": value})
    for name, value in manifests.session_annotations().items():
        changes.append(
            {"op": "add", "path": _pointer("metadata", "annotations", name), "value": value}
        )
    return changes


def _pointer(*parts: str) -> str:
    """A JSON pointer: a slash inside a name is written ``~1``."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)
