"""One API, two servers: whatever a test here expects, it expects of the fake and of the real one.

Expectations are written down by hand in each test; none is computed from what a server said.
"""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from slipway_scheduler.kubernetes.api import Connection
from support.kubernetes.asking import Server
from support.kubernetes.real import ControlPlane, control_plane
from support.kubernetes.server import FakeApiServer
from support.waiting import eventually


@dataclass(frozen=True, slots=True)
class Address:
    kubeconfig: Path
    forget: Callable[[], Awaitable[None]]
    audit_log: Path


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture(params=["fake", "real"])
def address(request: pytest.FixtureRequest) -> Address | None:
    """None: of a fake that is to be started."""
    if request.param == "fake":
        return None
    real: ControlPlane = request.getfixturevalue("real")
    return Address(real.kubeconfig, real.forget, real.audit_log)


@pytest.fixture
async def server(address: Address | None, tmp_path: Path) -> AsyncIterator[Server]:
    async with AsyncExitStack() as stack:
        if address is None:
            fake = await stack.enter_async_context(FakeApiServer.run(tmp_path))

            async def forget() -> None:
                fake.store.compact()

            address = Address(fake.kubeconfig(), forget, fake.audit)
        connection = await Connection.open(address.kubeconfig, connections=16)
        stack.push_async_callback(connection.close)
        namespace = f"contract-{uuid.uuid4().hex[:10]}"
        here = Server(connection, namespace, address.forget, address.audit_log)
        await make_namespace(here)
        yield here
        await end_namespace(here)


async def make_namespace(here: Server) -> None:
    await here.ask("POST", "/api/v1/namespaces", {"metadata": {"name": here.namespace}})

    async def has_account() -> bool:
        return not await here.is_gone("serviceaccounts", "default")

    await eventually(has_account, what="the namespace's service account")


async def end_namespace(here: Server) -> None:
    """Nobody runs the pods of these tests, so nobody else would end them."""
    for found in (await here.ask("GET", here.path("pods")))["items"]:
        name = found["metadata"]["name"]
        await here.patch("pods", name, {"metadata": {"finalizers": None}})
        if not await here.is_gone("pods", name):
            await here.ask("DELETE", here.path("pods", name), {"gracePeriodSeconds": 0})
    await here.ask("DELETE", f"/api/v1/namespaces/{here.namespace}")
