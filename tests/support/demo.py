"""A running Slipway, as a test sees it."""

import asyncio
import shutil
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx2

from slipway_client import Slipway
from slipway_client.pack import pack, sealed_file
from slipway_common.contracts.views import PackageState, PackageView
from slipway_local.stack import Stack
from support.running import RunningStack
from support.waiting import wait_for


@dataclass(frozen=True)
class Person:
    """A user with a key of their own."""

    client: Slipway
    key: str


@dataclass
class Demo:
    """A running Slipway, as a test sees it."""

    running: RunningStack
    admin: Person
    repository: Path
    folder: Path

    @property
    def client(self) -> Slipway:
        return self.admin.client

    @property
    def url(self) -> str:
        return self.running.stack.gateway_url

    @property
    def password(self) -> str:
        return self.running.stack.secrets.admin_password.read_text().strip()

    def http(self, key: str | None = None, **more: Any) -> httpx2.Client:
        """A bare client, for requests that the SDK would not make."""
        headers = {"Authorization": f"Bearer {key or self.admin.key}"} | more.pop("headers", {})
        return httpx2.Client(base_url=self.url + "/api/v1", headers=headers, timeout=30, **more)

    def publish_app(self, folder: Path, *, by: Person | None = None) -> PackageView:
        person = by or self.admin
        with pack(folder) as packed, sealed_file() as sealed:
            packed.seal(person.client.seal(), sealed)
            package = person.client.packages.publish_app(sealed)
        return self.judged(package.id, by=person)

    def judged(self, package_id: uuid.UUID, *, by: Person | None = None) -> PackageView:
        """The package once it is ready or rejected."""

        def look() -> PackageView | None:
            with self.http((by or self.admin).key) as http:
                answer = http.get(f"/packages/{package_id}")
            if answer.status_code != 200:
                return None
            package = PackageView.model_validate_json(answer.content)
            return None if package.state is PackageState.PROCESSING else package

        return wait_for(look, what=f"verdict on package {package_id}")

    def copy_of(self, app: Path, *, version: str, name: str | None = None, **texts: str) -> Path:
        """The project of an app under another version, with words replaced in its model."""
        copy = self.folder / f"{name or app.name}-{version}"
        shutil.copytree(app, copy)
        manifest = copy / "slipway.toml"
        text = manifest.read_text().replace('version = "1.0.0"', f'version = "{version}"')
        manifest.write_text(text.replace(f'name = "{app.name}"', f'name = "{name or app.name}"'))
        for old, new in texts.items():
            model = copy / "model.py"
            model.write_text(model.read_text().replace(old, new))
        return copy

    def open_session(self, url: str) -> tuple[str, httpx2.Response]:
        """Host of the session, and its page, by the one-time link, as a browser would open it."""
        address = httpx2.URL(url)
        # Names below localhost are known to browsers, and not to every resolver.
        with httpx2.Client(base_url=self.url, headers={"Host": address.netloc.decode()}) as http:
            entered = http.get(address.raw_path.decode())
            assert entered.status_code == 303, entered.text
            cookie = entered.headers["set-cookie"].partition(";")[0]
            return address.host, http.get("/", headers={"Cookie": cookie})

    def run_service(self, *arguments: str, service: str = "accounts") -> None:
        """Run an operator's command in the environment of a service."""
        self.running.call(_operate(self.running.stack, service, arguments))

    def make_account(self, name: str, *, limit: int = 10, queues: bool = True) -> Person:
        """Another tenant; the person is its admin."""
        password = self.folder / f"{name}.password"
        password.write_text(f"password of {name}, long enough")
        self.run_service(
            "create-account",
            name,
            "--admin",
            "boss",
            "--password-file",
            str(password),
            "--session-limit",
            str(limit),
            "--queue" if queues else "--no-queue",
        )
        return self.log_on(name, "boss", password.read_text())

    def log_on(self, account: str, user: str, password: str) -> Person:
        with httpx2.Client(base_url=self.url + "/api/v1", timeout=30) as http:
            http.post(
                "/login", json={"account": account, "user": user, "password": password}
            ).raise_for_status()
            made = http.post(
                "/api-keys",
                json={
                    "name": "tests",
                    "scopes": ["read", "launch", "tasks", "publish", "admin"],
                },
                headers={"Origin": self.url},
            )
            made.raise_for_status()
        key = made.json()["key"]
        return Person(Slipway(self.url, api_key=key), key)

    async def sql(self, query: str, *arguments: Any) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.running.stack.postgres_dsn)
        try:
            return await connection.fetch(query, *arguments)
        finally:
            await connection.close()


RUNTIME_ID = "1.0.0.1-linux64-x64"
ACCOUNT, ADMIN = "demo", "admin"


def build_runtime(stack: Stack, repository: Path) -> Path:
    """The open runtime, signed by the demo vendor that this stack trusts."""
    output = stack.state.folder / "dist"
    subprocess.run(
        [
            sys.executable,
            str(repository / "runtimes/open/build.py"),
            "--output",
            str(output),
            "--signer",
            str(stack.secrets.vendor_signer),
            "--key",
            str(stack.secrets.vendor_signer_key),
            "--id",
            RUNTIME_ID,
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return output / f"{RUNTIME_ID}.zip"


def published(running: RunningStack, *, runtime: Path, repository: Path, folder: Path) -> Demo:
    """Slipway with the open runtime, ``depots`` and ``probe`` published."""
    subprocess.run(
        [sys.executable, str(repository / "examples/depots/prepare.py")],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    made = Demo(
        running=running,
        admin=Person(Slipway("http://127.0.0.1:1"), ""),
        repository=repository,
        folder=folder,
    )
    made.admin = made.log_on(ACCOUNT, ADMIN, made.password)
    package = made.client.packages.publish_runtime(runtime)
    assert made.judged(package.id).state is PackageState.READY
    for app in (repository / "examples/depots", repository / "tests/data/apps/probe"):
        assert made.publish_app(app).state is PackageState.READY
    return made


async def _operate(stack: Stack, service: str, arguments: tuple[str, ...]) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        f"slipway_{service}",
        *arguments,
        env=stack.service(service).full_environment,
    )
    assert await process.wait() == 0
