"""Schedulers as they run in an installation: real processes, Kafka, and a real API server.

The nodes are fake; pods on them get addresses of this machine, where one small server answers for
all runners that wait for a session.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID, uuid4

import msgspec
import yaml
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from slipway_common.contracts.base import Event, utc_now
from slipway_common.contracts.cloudevents import ACCOUNT_HEADER, body_of, headers_of
from slipway_common.contracts.internal import Activation
from slipway_common.contracts.packages import PackageKind, PackagePublished
from slipway_common.contracts.registry import CATALOGUE, SESSIONS, SESSIONS_WANTED
from slipway_common.contracts.sessions import SessionKind, SessionWanted
from slipway_common.crypto import activation
from slipway_common.kafka.broker import ensure_topics
from slipway_common.settings import KafkaSettings
from slipway_local.cluster.cluster import Cluster
from slipway_scheduler.kubernetes.manifests import PORT
from slipway_scheduler.tokens import TokenSigner
from support.waiting import eventually
from support.weather import Weather

NAMESPACE = "slipway-sessions"
OWN_NAMESPACE = "slipway"
RUNTIME = "1.0.0.1-linux64-x64"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/slipway/leases"


async def prepare(cluster: Cluster, manifests: Path) -> None:
    """Apply what the schedulers expect to find, straight from the manifests of an installation."""
    await cluster.api.ensure(
        "/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": OWN_NAMESPACE}}
    )
    paths = {
        "Namespace": "/api/v1/namespaces",
        "ServiceAccount": f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts",
        "PriorityClass": "/apis/scheduling.k8s.io/v1/priorityclasses",
    }
    for name in ("namespace.yaml", "account.yaml", "priority.yaml"):
        for document in yaml.safe_load_all((manifests / "sessions" / name).read_text()):
            await cluster.api.ensure(paths[document["kind"]], document)


@dataclass
class Runners:
    """Answers in place of all runners of fake pods, as real ones would."""

    root_key: bytes
    sessions: dict[str, UUID] = field(default_factory=dict)
    """By member: once a session, never another."""

    async def open(self, stack: AsyncExitStack) -> None:
        app = web.Application()
        app.router.add_post("/_slipway/activate", self._activate)
        app.router.add_get("/_slipway/ready", self._ready)
        runner = web.AppRunner(app)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)

        async def listens() -> bool:
            try:
                # Each pod has its address.
                await web.TCPSite(runner, "0.0.0.0", PORT).start()  # noqa: S104
            except OSError:
                return False
            return True

        await eventually(listens, what="an end of whoever listens there", seconds=150)

    async def _activate(self, request: web.Request) -> web.Response:
        message = await request.read()
        address = request.transport.get_extra_info("sockname")[0]  # type: ignore[union-attr]
        member = self.members.get(address)
        if member is None:
            return web.Response(status=503)
        key = activation.member_key(self.root_key, member)
        try:
            content = activation.unseal(key, message, member=member)
        except activation.NotForUsError:
            # We may not have seen yet whose address this is now; a real runner knows who it is.
            return web.Response(status=503)
        session_id = Activation.model_validate_json(content).session_id
        if self.sessions.setdefault(member, session_id) != session_id:
            return web.Response(status=409)
        return web.Response(text=activation.acknowledgement(key, session_id))

    async def _ready(self, _: web.Request) -> web.Response:
        return web.Response(text="ready")

    members: dict[str, str] = field(default_factory=dict)
    """By address; kept by whoever watches the pods."""


class SchedulerProcess:
    """One scheduler, reached by the API server through weather of its own."""

    def __init__(self, name: str, environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._environment = dict(environment)
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "slipway_scheduler",
                env=self._environment,
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self.resume()
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), 30)
            except TimeoutError:
                await self.kill()


class Mesh:
    """What accounts would say and hear."""

    def __init__(self, bootstrap: str) -> None:
        self.settings = KafkaSettings(bootstrap_servers=bootstrap)
        self.account = uuid4()
        self.heard: dict[UUID, list[Event]] = {}
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap, enable_idempotence=True, acks="all"
        )
        self._consumer = AIOKafkaConsumer(
            SESSIONS.name, bootstrap_servers=bootstrap, auto_offset_reset="earliest"
        )

    async def open(self, stack: AsyncExitStack) -> None:
        await ensure_topics(self.settings)
        await self._producer.start()
        stack.push_async_callback(self._producer.stop)
        await self._consumer.start()
        stack.push_async_callback(self._consumer.stop)
        listening = asyncio.create_task(self._listen())
        stack.callback(listening.cancel)

    async def _listen(self) -> None:
        async for record in self._consumer:
            event = SESSIONS.parse(record.value)
            self.heard.setdefault(event.subject, []).append(event)

    async def publish_runtime(self) -> None:
        event = PackagePublished(
            account_id=self.account,
            package_id=uuid4(),
            kind=PackageKind.RUNTIME,
            name=RUNTIME,
            version=RUNTIME,
            sha256="0" * 64,
            size_bytes=1,
        )
        await self._producer.send_and_wait(
            CATALOGUE.name, body_of(event), key=event.key, headers=headers_of(event)
        )

    async def want(self, *, profile: str = "standard") -> UUID:
        wanted = SessionWanted.model_validate(
            {
                "account_id": self.account,
                "session_id": uuid4(),
                "kind": SessionKind.WEBUI,
                "app_name": "depots",
                "app_version": "1",
                "runtime": RUNTIME,
                "resources": {"profile": profile, "memory_mib": 64, "cpu_millis": 10},
                "admitted_at": utc_now(),
            }
        )
        await self._producer.send_and_wait(
            SESSIONS_WANTED.name, body_of(wanted), key=wanted.key, headers=headers_of(wanted)
        )
        return wanted.session_id

    async def unwant(self, session_id: UUID) -> None:
        await self._producer.send_and_wait(
            SESSIONS_WANTED.name,
            None,
            key=str(session_id).encode(),
            headers=[(ACCOUNT_HEADER, str(self.account).encode())],
        )

    def said_of(self, session_id: UUID) -> list[str]:
        return [
            event.type.removeprefix("slipway.session.") for event in self.heard.get(session_id, [])
        ]

    def is_over(self, session_id: UUID) -> bool:
        return any(said in {"ended", "failed"} for said in self.said_of(session_id))


@dataclass
class Place:
    cluster: Cluster
    mesh: Mesh
    runners: Runners
    folder: Path
    signing_key: Path
    weather: dict[str, Weather] = field(default_factory=dict)
    schedulers: dict[str, SchedulerProcess] = field(default_factory=dict)
    _ports: int = 0

    async def add_scheduler(
        self, name: str, stack: AsyncExitStack, **settings: str
    ) -> SchedulerProcess:
        weather = await stack.enter_async_context(Weather(port=self._api_port()))
        self.weather[name] = weather
        kubeconfig = yaml.safe_load(self.cluster.kubeconfig.read_text())
        kubeconfig["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{weather.port}"
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(yaml.safe_dump(kubeconfig))
        prefix = "SLIPWAY_SCHEDULER_"
        environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        environment |= {
            f"{prefix}{key}": value
            for key, value in {
                "ADAPTER": "pods",
                "INSTANCE": name,
                "KAFKA__BOOTSTRAP_SERVERS": self.mesh.settings.bootstrap_servers,
                "HEALTH__PORT": "0",
                "GATEWAY_URL": "http://127.0.0.1:1",
                "RUNNER_SIGNING_KEY_FILE": str(self.signing_key),
                "KUBERNETES__KUBECONFIG": str(path),
                "KUBERNETES__DISK_LIMITS": "false",
                "STOP_GRACE": "PT1S",
                **settings,
            }.items()
        }
        process = SchedulerProcess(name, environment, self.folder / f"{name}.log")
        self.schedulers[name] = process
        stack.push_async_callback(process.stop)
        await process.start()
        return process

    def _api_port(self) -> int:
        server = yaml.safe_load(self.cluster.kubeconfig.read_text())["clusters"][0]["cluster"][
            "server"
        ]
        return int(server.rpartition(":")[2])

    async def pods(self) -> list[dict[str, object]]:
        found = await self.cluster.api.get(f"/api/v1/namespaces/{NAMESPACE}/pods")
        assert found is not None
        items: list[dict[str, object]] = found["items"]
        return items

    async def watch_members(self) -> None:
        """Tell the runners' stand-in which member has which address."""
        while True:
            for pod in await self.pods():
                status = msgspec.convert(pod["status"], dict)
                metadata = msgspec.convert(pod["metadata"], dict)
                # Addresses are used again; what is on its way out answers no more.
                alive = status.get("phase") == "Running" and "deletionTimestamp" not in metadata
                if alive and status.get("podIP") and metadata["name"].startswith("member-"):
                    self.runners.members[status["podIP"]] = metadata["name"]
            await asyncio.sleep(0.2)


async def make_signing_key(path: Path) -> TokenSigner:
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return TokenSigner(path.read_bytes())


async def no_pods_are_left(place: Place, *, seconds: float) -> None:
    async def none() -> bool:
        pods = await place.pods()
        return not [
            pod
            for pod in pods
            if msgspec.convert(pod["metadata"], dict)["labels"].get("slipway.dev/session")
        ]

    await eventually(none, seconds=seconds, what="the end of all session pods")
