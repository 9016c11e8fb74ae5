"""Fake nodes: the API server, the scheduler and the controllers take them for real ones."""

import asyncio
import contextlib
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address, ip_network

import aiohttp
import pytest

from slipway_local.cluster.api import Api
from support.running_cluster import RunningCluster
from support.waiting import eventually

POOL = "fakes"


def pod(name: str, *, pool: str = POOL, **annotations: str) -> dict:
    return {
        "metadata": {
            "name": name,
            "annotations": {
                f"slipway.dev/{key.replace('_', '-')}": text for key, text in annotations.items()
            },
        },
        "spec": {
            "nodeSelector": {"slipway.dev/pool": pool},
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "main",
                    "image": "anything",
                    "resources": {"requests": {"cpu": "1"}},
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


@pytest.fixture
def add_nodes(cluster: RunningCluster):
    """Make fake nodes, and let them go at the end."""
    made: list[str] = []

    async def add(count: int, **wanted: object) -> list[str]:
        names = await asyncio.to_thread(
            lambda: cluster.call(cluster.cluster.add_fake_nodes(count, **wanted))
        )
        made.extend(names)
        return names

    yield add
    for name in made:
        cluster.call(cluster.cluster.api.delete(f"/api/v1/nodes/{name}"))


@pytest.fixture
def until(api: Api, namespace: str):
    async def phase_is(name: str, wanted: str) -> dict:
        async def look():
            found = await api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
            return found if found is not None and found["status"]["phase"] == wanted else None

        return await eventually(look, what=f"{name} {wanted}", seconds=60)

    return phase_is


async def test_a_node_takes_pods_when_it_has_booted_and_not_before(
    api: Api, namespace: str, add_nodes, until
) -> None:
    began = time.monotonic()
    (name,) = await add_nodes(1, pool="slow", boot_seconds=4)
    await api.create(f"/api/v1/namespaces/{namespace}/pods", pod("waits", pool="slow"))

    placed = await until("waits", "Running")

    assert time.monotonic() - began >= 4
    assert placed["spec"]["nodeName"] == name


async def test_one_server_on_this_machine_answers_for_all_fake_pods(
    cluster: RunningCluster, api: Api, namespace: str, add_nodes, until
) -> None:
    class Echo(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(str(self.connection.getsockname()[0]).encode())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    await add_nodes(1, pool=POOL)
    for name in ("one", "two"):
        await api.create(f"/api/v1/namespaces/{namespace}/pods", pod(name))
    addresses = [(await until(name, "Running"))["status"]["podIP"] for name in ("one", "two")]

    assert len(set(addresses)) == 2
    network = ip_network(cluster.cluster.fake_pods)
    assert all(ip_address(address) in network for address in addresses)
    with ThreadingHTTPServer(("0.0.0.0", 0), Echo) as server:  # noqa: S104 - as told to its users
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        with contextlib.ExitStack() as stack:
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            async with aiohttp.ClientSession() as session:
                for address in addresses:
                    async with session.get(f"http://{address}:{server.server_port}/") as answer:
                        assert await answer.text() == address


async def test_pods_fill_one_node_before_they_open_the_next(
    api: Api, namespace: str, add_nodes, until
) -> None:
    await add_nodes(3, pool="packed", cpu="4")
    names = [f"pod-{number}" for number in range(4)]

    used = set()
    for name in names:
        await api.create(f"/api/v1/namespaces/{namespace}/pods", pod(name, pool="packed"))
        used.add((await until(name, "Running"))["spec"]["nodeName"])

    assert len(used) == 1


async def test_a_pod_starts_and_ends_as_its_annotations_say(
    api: Api, namespace: str, add_nodes, until
) -> None:
    await add_nodes(1, pool=POOL)
    began = time.monotonic()
    wanted = pod("brief", start_seconds="0.5", run_seconds="0.5", exit_code="3")
    await api.create(f"/api/v1/namespaces/{namespace}/pods", wanted)

    ended = await until("brief", "Failed")

    assert time.monotonic() - began >= 1
    (container,) = ended["status"]["containerStatuses"]
    assert container["state"]["terminated"]["exitCode"] == 3


async def test_a_pod_that_is_deleted_ends_first_and_then_goes(
    api: Api, namespace: str, add_nodes, until
) -> None:
    await add_nodes(1, pool=POOL)
    path = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(path, pod("leaves", stop_seconds="1.5"))
    await until("leaves", "Running")
    began = time.monotonic()

    await api.delete(f"{path}/leaves")

    still = await api.get(f"{path}/leaves")
    assert still is not None
    assert still["metadata"]["deletionTimestamp"]
    assert still["status"]["phase"] == "Running"

    async def is_gone():
        return await api.get(f"{path}/leaves") is None

    await eventually(is_gone, what="the end of the pod")
    assert time.monotonic() - began >= 1.5
