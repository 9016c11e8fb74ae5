"""Seeing from outside that a part of the control plane is ready."""

import asyncio
import ssl
import time
from datetime import datetime

from slipway_local.cluster.api import Api
from slipway_local.cluster.control.certificates import Certificates
from slipway_local.errors import PartError
from slipway_local.ports import LOOPBACK

NAMESPACE_SECONDS = 30.0
STATUS_LENGTH = len("HTTP/1.1 200")
LOOK_SECONDS = 0.2
"""Between two questions to the API server, which has others to answer at that time."""


async def https_status(port: int, path: str, *, certificates: Certificates, user: str) -> int:
    """Return the status of a GET request to a port of this machine, as that user."""
    pair = certificates.pair(user)
    context = ssl.create_default_context(cafile=str(certificates.authority))
    context.load_cert_chain(str(pair.certificate), str(pair.key))
    reader, writer = await asyncio.open_connection(LOOPBACK, port, ssl=context)
    try:
        request = f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}:{port}\r\nConnection: close\r\n\r\n"
        writer.write(request.encode())
        return int((await reader.readexactly(STATUS_LENGTH))[-3:])
    finally:
        writer.close()


async def node_is_ready(api: Api, name: str, *, since: datetime) -> bool:
    """Whether the node says that it is ready, and said so after the time given."""
    await asyncio.sleep(LOOK_SECONDS)
    node = await api.get(f"/api/v1/nodes/{name}")
    conditions = (node or {}).get("status", {}).get("conditions", [])
    return any(
        condition["type"] == "Ready"
        and condition["status"] == "True"
        and datetime.fromisoformat(condition["lastHeartbeatTime"]) >= since
        for condition in conditions
    )


async def wait_for_namespace(api: Api, name: str) -> None:
    """Wait until pods can be made there: each needs the account that a controller makes."""
    deadline = time.monotonic() + NAMESPACE_SECONDS
    while await api.get(f"/api/v1/namespaces/{name}/serviceaccounts/default") is None:
        if time.monotonic() > deadline:
            raise PartError(
                "kube-controller-manager", f"made no service account in {NAMESPACE_SECONDS:.0f} s"
            )
        await asyncio.sleep(LOOK_SECONDS)
