"""Slipway on this machine whose sessions run as pods of a real node."""

import json
from pathlib import Path
from typing import Any
from uuid import UUID

from slipway_common.contracts.views import SessionState, SessionView
from slipway_local.environment import PodPlace
from slipway_local.stack import Stack
from support.demo import Demo
from support.running_cluster import RunningCluster
from support.waiting import wait_for

NAMESPACE = "slipway-sessions"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"

PROFILES = {
    "standard": {"memory_mib": 1024, "cpu_millis": 200},
    "tight": {"memory_mib": 400, "cpu_millis": 200},
    "huge": {"memory_mib": 1024, "cpu_millis": 16_000},
}
WARM = [{"release": "1.0", "least": 1, "most": 2, "profile": PROFILES["standard"]}]


def make_stack(
    folder: Path, cluster: RunningCluster, *, runner_image: str, failpoints: Path
) -> Stack:
    services = {
        "pages": {
            "title": "Pages",
            "image": runner_image,
            "port": 9000,
            "command": ["/opt/slipway/bin/python", "-m", "http.server", "9000", "-d", "/var/lib"],
            "resources": {"memory_mib": 128, "cpu_millis": 50},
            "idle_seconds": 60,
        },
        "nowhere": {"title": "Nowhere", "image": "no-such-image:1", "port": 9000},
    }
    files = {"profiles": PROFILES, "services": services, "warm": WARM}
    paths = {name: folder / f"{name}.json" for name in files}
    for name, content in files.items():
        paths[name].write_text(json.dumps(content))
    return Stack(
        folder / "state",
        fsync=False,
        service_environment={
            "SLIPWAY_FAILPOINTS": f"@{failpoints}",
            "SLIPWAY_ACCOUNTS_RESOURCE_PROFILES_FILE": str(paths["profiles"]),
            "SLIPWAY_ACCOUNTS_EXTERNAL_SERVICES_FILE": str(paths["services"]),
            "SLIPWAY_SCHEDULER_KUBERNETES__WARM_POLICIES_FILE": str(paths["warm"]),
        },
        pods=PodPlace(
            kubeconfig=cluster.cluster.kubeconfig,
            host_address=cluster.cluster.host_address,
            runner_image=runner_image,
        ),
    )


class Pods:
    """What runs in the cluster, asked of its API server."""

    def __init__(self, cluster: RunningCluster) -> None:
        self._cluster = cluster

    def all(self) -> list[dict[str, Any]]:
        found = self._cluster.call(self._cluster.cluster.api.get(PODS))
        assert found is not None
        items: list[dict[str, Any]] = found["items"]
        return items

    def of(self, session_id: UUID) -> dict[str, Any] | None:
        for pod in self.all():
            if pod["metadata"]["labels"].get("slipway.dev/session") == str(session_id):
                return pod
        return None

    def secrets_of(self, session_id: UUID) -> bool:
        path = f"/api/v1/namespaces/{NAMESPACE}/secrets/session-{session_id}"
        return self._cluster.call(self._cluster.cluster.api.get(path)) is not None

    def delete(self, session_id: UUID) -> None:
        pod = self.of(session_id)
        assert pod is not None
        self._cluster.call(self._cluster.cluster.api.delete(f"{PODS}/{pod['metadata']['name']}"))

    def waiting(self) -> list[dict[str, Any]]:
        """Members of warm pools that are ready."""
        return [
            pod
            for pod in self.all()
            if pod["metadata"]["labels"].get("slipway.dev/role") == "member"
            and "deletionTimestamp" not in pod["metadata"]
            and any(
                each["type"] == "Ready" and each["status"] == "True"
                for each in pod["status"].get("conditions", [])
            )
        ]


def reach(
    demo: Demo, session: SessionView, *states: SessionState, seconds: float = 60
) -> SessionView:
    """The session once it is in one of the states; fails at once if it is over in another one."""

    def look() -> SessionView | None:
        found = demo.client.sessions.get(session.id)
        assert not found.state.over or found.state in states, (found.reason, found.message)
        return found if found.state in states else None

    return wait_for(look, seconds=seconds, what=f"session in {states}")
