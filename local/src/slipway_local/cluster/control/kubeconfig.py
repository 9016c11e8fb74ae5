"""Kubeconfig files: where the API server is, and who asks.

They are JSON, which every reader of YAML understands.
"""

import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slipway_local.cluster.control.certificates import Pair
from slipway_local.files import PRIVATE_FOLDER, write_atomically


def write_kubeconfig(
    path: Path, *, server: str, authority: bytes, user: Mapping[str, str], namespace: str
) -> None:
    """``user`` is what ``with_certificate`` or ``with_token`` returns."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=PRIVATE_FOLDER)
    name = "slipway"
    content: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {"server": server, "certificate-authority-data": _base64(authority)},
            }
        ],
        "users": [{"name": name, "user": dict(user)}],
        "contexts": [
            {"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}
        ],
        "current-context": name,
    }
    write_atomically(path, json.dumps(content, indent=2))


def with_certificate(pair: Pair) -> dict[str, str]:
    return {
        "client-certificate-data": _base64(pair.certificate.read_bytes()),
        "client-key-data": _base64(pair.key.read_bytes()),
    }


def with_token(token: str) -> dict[str, str]:
    return {"token": token}


def _base64(content: bytes) -> str:
    return b64encode(content).decode()
