"""The real node: containers run there as they would anywhere, from images that were made here."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import aiohttp
import pytest

from slipway_local.cluster.api import Api, ApiError
from slipway_local.cluster.images.own import NAMES
from support.running_cluster import RunningCluster
from support.waiting import eventually

PYTHON = "/opt/slipway/bin/python"
PORT = 8080
SERVE = [PYTHON, "-m", "http.server", str(PORT), "--directory", "/etc"]


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"hello from the host")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def listening(address: str) -> Iterator[str]:
    with ThreadingHTTPServer((address, 0), Hello) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://{address}:{server.server_port}/"
        server.shutdown()
        thread.join()


async def pod_in(api: Api, namespace: str, name: str, **wanted: object) -> dict:
    """Wait until the pod's status has these fields."""

    async def look():
        pod = await api.get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        assert pod is not None
        status = pod["status"]
        return status if all(status.get(key) == value for key, value in wanted.items()) else None

    return await eventually(look, what=f"{name} with {wanted}", seconds=120)


async def log_of(api: Api, namespace: str, name: str) -> str:
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
    async with api._session.get(f"{api.server}{path}") as answer:
        return await answer.text()


async def test_a_restricted_pod_and_the_host_reach_each_other(
    cluster: RunningCluster, api: Api, namespace: str, restricted, runner_image: str
) -> None:
    pods = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(pods, restricted("server", image=runner_image, command=SERVE))

    address = (await pod_in(api, namespace, "server", phase="Running"))["podIP"]

    async def answers():
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://{address}:{PORT}/hostname") as answer,
            ):
                return await answer.text()
        except aiohttp.ClientError:
            return None

    assert await eventually(answers, what="an answer of the pod") == "server\n"
    with listening(cluster.cluster.host_address) as url:
        ask = f"import urllib.request as r; print(r.urlopen({url!r}, timeout=5).read().decode())"
        await api.create(
            pods,
            restricted(
                "client", image=runner_image, command=[PYTHON, "-c", ask], restartPolicy="Never"
            ),
        )
        await pod_in(api, namespace, "client", phase="Succeeded")
    assert await log_of(api, namespace, "client") == "hello from the host\n"


async def test_a_pod_that_is_not_restricted_is_refused(
    api: Api, namespace: str, restricted, runner_image: str
) -> None:
    pod = restricted("greedy", image=runner_image, command=SERVE)
    del pod["spec"]["securityContext"]["runAsNonRoot"]

    with pytest.raises(ApiError, match="violates PodSecurity") as refusal:
        await api.create(f"/api/v1/namespaces/{namespace}/pods", pod)

    assert refusal.value.status == 403


async def test_each_of_our_images_runs_its_module_as_the_user_of_the_dockerfiles(
    cluster: RunningCluster, api: Api, namespace: str, restricted
) -> None:
    images = await asyncio.to_thread(
        lambda: cluster.call(cluster.cluster.load_own_images(), seconds=900)
    )
    assert set(images) == set(NAMES)

    for name, image in images.items():
        module = name.replace("-", "_")
        look = f"import os, {module}.__main__; print(os.getuid(), {module}.__name__)"
        pod = restricted(name, image=image, command=[PYTHON, "-c", look], restartPolicy="Never")
        await api.create(f"/api/v1/namespaces/{namespace}/pods", pod)

    for name in images:
        await pod_in(api, namespace, name, phase="Succeeded")
        assert await log_of(api, namespace, name) == f"10001 {name.replace('-', '_')}\n"


async def test_an_image_without_a_command_starts_the_module_that_it_is_named_after(
    api: Api, namespace: str, restricted, runner_image: str
) -> None:
    pod = restricted("bare", image=runner_image, command=[], restartPolicy="Never")
    await api.create(f"/api/v1/namespaces/{namespace}/pods", pod)

    await pod_in(api, namespace, "bare", phase="Failed")

    # It has been told nothing, and says what it would have to know.
    assert "gateway_url" in await log_of(api, namespace, "bare")


async def test_images_that_have_not_changed_are_loaded_once(
    cluster: RunningCluster, runner_image: str
) -> None:
    notes: list[str] = []

    again = await asyncio.to_thread(
        lambda: cluster.call(
            cluster.cluster.load_own_images(["slipway-runner"], notes.append), seconds=900
        )
    )

    assert again == {"slipway-runner": runner_image}
    assert notes == ["packing our own code"]


@pytest.mark.parametrize("name", ["kubelet", "containerd"])
async def test_containers_outlive_a_crash_of_what_started_them(
    cluster: RunningCluster, api: Api, namespace: str, restricted, runner_image: str, name: str
) -> None:
    path = f"/api/v1/namespaces/{namespace}/pods"
    await api.create(path, restricted("before", image=runner_image, command=SERVE))
    await pod_in(api, namespace, "before", phase="Running")

    await asyncio.to_thread(lambda: cluster.call(cluster.cluster.kill(name)))
    await asyncio.to_thread(lambda: cluster.call(cluster.cluster.restart(name), seconds=150))

    await api.create(path, restricted("after", image=runner_image, command=SERVE))
    await pod_in(api, namespace, "after", phase="Running")
    before = await pod_in(api, namespace, "before", phase="Running")
    assert before["containerStatuses"][0]["restartCount"] == 0


async def test_pods_run_again_after_a_reboot_of_their_node(
    cluster: RunningCluster, api: Api, namespace: str, restricted, runner_image: str
) -> None:
    await api.create(
        f"/api/v1/namespaces/{namespace}/pods",
        restricted("server", image=runner_image, command=SERVE),
    )
    await pod_in(api, namespace, "server", phase="Running")

    await asyncio.to_thread(lambda: cluster.call(cluster.cluster.kill("node")))
    await asyncio.to_thread(lambda: cluster.call(cluster.cluster.restart("node"), seconds=120))

    async def started_again():
        pod = await api.get(f"/api/v1/namespaces/{namespace}/pods/server")
        assert pod is not None
        (container,) = pod["status"]["containerStatuses"]
        return container["restartCount"] > 0 and container["ready"]

    await eventually(started_again, what="the pod after the reboot", seconds=150)


async def test_a_node_that_hangs_is_given_up_and_taken_back(
    cluster: RunningCluster, api: Api
) -> None:
    async def is_ready(wanted: str):
        node = await api.get("/api/v1/nodes/slipway-local")
        assert node is not None
        states = {each["type"]: each["status"] for each in node["status"]["conditions"]}
        return states["Ready"] == wanted

    await asyncio.to_thread(lambda: cluster.call(cluster.cluster.pause("node")))
    try:
        await eventually(lambda: is_ready("Unknown"), what="a lost node", seconds=60)
    finally:
        await asyncio.to_thread(lambda: cluster.call(cluster.cluster.resume("node")))

    await eventually(lambda: is_ready("True"), what="a node that is back", seconds=60)
