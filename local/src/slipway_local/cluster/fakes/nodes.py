"""The objects of fake nodes."""

import itertools
from collections.abc import Collection, Mapping
from typing import Any

from slipway_local.cluster.fakes import BOOT_SECONDS, FAKE, FAKE_ANNOTATION


def fake_nodes(
    count: int,
    *,
    prefix: str,
    taken: Collection[str],
    labels: Mapping[str, str],
    capacity: Mapping[str, str],
    boot_seconds: float,
) -> list[dict[str, Any]]:
    """The objects of fake nodes, named by their prefix and the next numbers that are free."""
    free = (name for number in itertools.count(1) if (name := f"{prefix}-{number}") not in taken)
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "annotations": {FAKE_ANNOTATION: FAKE, BOOT_SECONDS: f"{boot_seconds:g}"},
                "labels": {
                    "kubernetes.io/hostname": name,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    **labels,
                },
            },
            "status": {
                "capacity": dict(capacity),
                "allocatable": dict(capacity),
                "conditions": [
                    # As a kubelet does: without it, pods would be placed there at once.
                    {"type": "Ready", "status": "False", "reason": "KubeletNotReady"}
                ],
            },
        }
        for name in itertools.islice(free, count)
    ]
