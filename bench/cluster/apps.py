"""Accounts with a published runtime and app, made as an operator and an admin would."""

import asyncio
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from secrets import token_urlsafe
from uuid import UUID

import httpx2

from slipway_client import Slipway
from slipway_client.pack import pack, sealed_file
from slipway_common.contracts.views import PackageState
from slipway_local.settings import repository
from slipway_local.stack import Stack

ADMIN = "admin"
RUNTIME = "1.0.0.1-linux64-x64"
APP = "depots"
LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class Tenant:
    name: str
    key: str


def build_runtime(stack: Stack, folder: Path) -> Path:
    secrets = stack.secrets
    subprocess.run(
        [
            sys.executable,
            str(repository() / "runtimes/open/build.py"),
            *("--output", str(folder)),
            *("--signer", str(secrets.vendor_signer), "--key", str(secrets.vendor_signer_key)),
            *("--id", RUNTIME),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder / f"{RUNTIME}.zip"


async def make_tenant(stack: Stack, name: str, *, runtime: Path, folder: Path) -> Tenant:
    """An account with a high limit, in which the sample app is published."""
    password = folder / f"{name}.password"
    password.write_text(token_urlsafe())
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "slipway_accounts", "create-account", name, "--admin", ADMIN),
        *("--password-file", str(password), "--session-limit", str(LIMIT)),
        env=stack.service("accounts").full_environment,
    )
    assert await process.wait() == 0
    return await asyncio.to_thread(_publish, stack.gateway_url, name, password.read_text(), runtime)


def _publish(url: str, name: str, password: str, runtime: Path) -> Tenant:
    with httpx2.Client(base_url=url + "/api/v1", headers={"Origin": url}, timeout=30) as http:
        who = {"account": name, "user": ADMIN, "password": password}
        http.post("/login", json=who).raise_for_status()
        scopes = ["read", "launch", "publish"]
        made = http.post("/api-keys", json={"name": "bench", "scopes": scopes})
        key: str = made.raise_for_status().json()["key"]
    with Slipway(url, api_key=key) as client:
        _wait_for(client, client.packages.publish_runtime(runtime).id)
        with pack(repository() / "examples" / APP) as packed, sealed_file() as sealed:
            packed.seal(client.seal(), sealed)
            _wait_for(client, client.packages.publish_app(sealed).id)
    return Tenant(name, key)


def _wait_for(client: Slipway, package: UUID) -> None:
    for view in client.packages.watch(package):
        if view.state is not PackageState.PROCESSING:
            assert view.state is PackageState.READY, view
            return
