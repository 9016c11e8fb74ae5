"""Schedulers on a cluster, fake or real, and whoever else there is, played: accounts, runners."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from aiohttp import web

from slipway_common.contracts.base import Event
from slipway_common.contracts.cloudevents import ACCOUNT_HEADER
from slipway_common.contracts.internal import Activation
from slipway_common.contracts.sessions import SessionEnded, SessionFailed, SessionWanted
from slipway_common.crypto import activation
from slipway_common.errors import TransientError
from slipway_scheduler.controller import Controller
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.api import Connection, KubernetesApi
from slipway_scheduler.kubernetes.errors import NotFoundError
from slipway_scheduler.kubernetes.limits import WriteLimiter
from slipway_scheduler.kubernetes.manifests import Template
from slipway_scheduler.units.activation import Activations
from slipway_scheduler.units.pods import PodUnits
from slipway_scheduler.warm.members import FreeMembers
from slipway_scheduler.warm.policies import WarmPolicy
from slipway_scheduler.warm.pools import WarmPools
from support.waiting import eventually

ROOT_KEY = bytes(range(32))
LOOK_SECONDS = 0.05
RUNTIME = "1.0.0.1-linux64-x64"

Json = dict[str, Any]


@dataclass(frozen=True)
class Server:
    """An API server as somebody else than a scheduler asks it, in a namespace of the test's own."""

    connection: Connection
    namespace: str

    async def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        return json.loads(await self.connection.request(method, path, body=body, **more))

    def path(self, *parts: str) -> str:
        return "/".join([f"/api/v1/namespaces/{self.namespace}", *parts])

    async def create(self, plural: str, body: Json) -> Any:
        return await self.ask("POST", self.path(plural), body)

    async def get(self, plural: str, name: str) -> Any:
        return await self.ask("GET", self.path(plural, name))

    async def merge(self, plural: str, name: str, body: Json) -> Any:
        content_type = "application/merge-patch+json"
        return await self.ask("PATCH", self.path(plural, name), body, content_type=content_type)

    async def is_gone(self, plural: str, name: str) -> bool:
        try:
            await self.get(plural, name)
        except NotFoundError:
            return True
        return False


@dataclass(frozen=True)
class Site:
    """A cluster, and a namespace of the test's own in it."""

    kubeconfig: Callable[[str], Path]
    """How a user of this name reaches it."""

    server: Server
    add_node: Callable[[], Any]
    counts_quota: bool = False
    """A controller counts what is there before a new quota holds."""

    @property
    def namespace(self) -> str:
        return self.server.namespace

    async def all(self, plural: str, **selector: str) -> list[Json]:
        """``selector``: values of our own labels, by their short names."""
        found = await self.server.ask("GET", self.server.path(plural))
        wanted = {labels.prefixed(name): value for name, value in selector.items()}
        return [
            item
            for item in found["items"]
            if wanted.items() <= (item["metadata"].get("labels") or {}).items()
        ]

    async def pods(self, **selector: str) -> list[Json]:
        return await self.all("pods", **selector)

    async def secrets(self) -> list[Json]:
        return await self.all("secrets")

    async def pod_of(self, session: SessionWanted) -> Json:
        [found] = await self.pods(session=str(session.session_id))
        return found

    async def delete_pod(self, pod: Json, **options: Any) -> None:
        path = self.server.path("pods", pod["metadata"]["name"])
        await self.server.ask("DELETE", path, options or {"kind": "DeleteOptions"})

    async def make_pod(self, name: str, **metadata: Any) -> Json:
        """Somebody else's, which the namespace admits."""
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, **metadata},
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsNonRoot": True,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": "main",
                        "image": "none",
                        "securityContext": {
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                    }
                ],
            },
        }
        made: Json = await self.server.create("pods", body)
        return made


class Runners:
    """Plays the runners of all members: each becomes one session, and no other."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.sessions: dict[str, UUID] = {}
        self.calls: list[str] = []
        """Sessions that were asked for, as often as they were."""

        self.answers = asyncio.Event()
        self.answers.set()
        self.port = 0

    @asynccontextmanager
    async def run(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/_slipway/activate", self._activate)
        app.router.add_get("/_slipway/ready", self._ready)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        # Each pod has an address of this machine.
        site = web.TCPSite(runner, "0.0.0.0", self.port)  # noqa: S104
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield
        finally:
            await runner.cleanup()

    async def _activate(self, request: web.Request) -> web.Response:
        member = await self._member_at(request)
        if member is None:
            return web.Response(status=503)
        key = activation.member_key(ROOT_KEY, member)
        content = activation.unseal(key, await request.read(), member=member)
        session_id = Activation.model_validate_json(content).session_id
        self.calls.append(str(session_id))
        if self.sessions.setdefault(member, session_id) != session_id:
            return web.Response(status=409)
        return web.Response(text=activation.acknowledgement(key, session_id))

    async def _ready(self, _: web.Request) -> web.Response:
        await self.answers.wait()
        return web.Response(text="ready")

    async def _member_at(self, request: web.Request) -> str | None:
        assert request.transport is not None
        address = request.transport.get_extra_info("sockname")[0]
        for pod in await self._site.pods():
            running = pod["status"].get("phase") == "Running"
            if running and pod["status"].get("podIP") == address:
                return str(pod["metadata"]["name"])
        return None


class Mesh:
    """Plays accounts: what should run, and what was told; it answers an end with a tombstone."""

    def __init__(self) -> None:
        self.rows: dict[UUID, SessionWanted] = {}
        self.events: list[Event] = []
        self.away = False
        self.keeps_what_is_over = False
        """Accounts has not got around to it yet."""

        self.owned: Callable[[str, UUID], bool] = lambda _, __: True
        self._controllers: dict[str, Controller] = {}

    def want(self, session: SessionWanted) -> SessionWanted:
        self.rows[session.session_id] = session
        for controller in self._controllers.values():
            controller.on_change(str(session.session_id), session)
        return session

    def unwant(self, session_id: UUID, account_id: UUID) -> None:
        self.rows.pop(session_id, None)
        for controller in self._controllers.values():
            controller.on_change(str(session_id), None)
            controller.on_tombstone(str(session_id), {ACCOUNT_HEADER: str(account_id)})

    def stop(self, session: SessionWanted) -> None:
        self.unwant(session.session_id, session.account_id)

    def join(self, name: str, controller: Controller) -> None:
        self._controllers[name] = controller

    def leave(self, name: str) -> None:
        self._controllers.pop(name, None)

    async def publish(self, event: Event) -> None:
        if self.away:
            raise TransientError("the broker is away")
        self.events.append(event)
        over = isinstance(event, SessionEnded | SessionFailed)
        if over and event.subject in self.rows and not self.keeps_what_is_over:
            self.unwant(event.subject, event.account_id)

    def of(self, session: SessionWanted, *kinds: str) -> list[Event]:
        """``kinds``: only these, such as ``running``."""
        found = [event for event in self.events if event.subject == session.session_id]
        return [event for event in found if not kinds or _kind(event) in kinds]

    def told(self, session: SessionWanted, *kinds: str) -> list[str]:
        return [_kind(event) for event in self.of(session, *kinds)]

    def ends(self, session: SessionWanted) -> list[Any]:
        return self.of(session, "ended", "failed")

    async def until(self, session: SessionWanted, kind: str, *, seconds: float = 20) -> Any:
        async def told() -> Event | None:
            found = self.of(session, kind)
            return found[-1] if found else None

        what = f"{kind} of {session.session_id}, of which was told: {self.told(session)}"
        return await eventually(told, seconds=seconds, what=what)


def _kind(event: Event) -> str:
    return str(event.model_dump()["type"]).rpartition(".")[2]


@dataclass(frozen=True)
class View:
    """What one scheduler is given of what is wanted."""

    mesh: Mesh
    name: str

    def find(self, session_id: UUID) -> SessionWanted | None:
        return self.mesh.rows.get(session_id)

    def ids(self) -> Collection[UUID]:
        return list(self.mesh.rows)

    def owns(self, session_id: UUID) -> bool:
        return self.mesh.owned(self.name, session_id)


@dataclass
class Scheduler:
    """One that runs; ``die`` leaves everything as it is, as a kill would."""

    name: str
    mesh: Mesh
    units: PodUnits
    controller: Controller
    pools: WarmPools
    activations: Activations
    _stack: AsyncExitStack
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    async def mirror(self) -> None:
        """See what there is, and do nothing."""
        self._run(self.units.pods.run(), self.units.nodes.run())
        async with asyncio.timeout(20):
            await self.units.pods.synced.wait()
            await self.units.nodes.synced.wait()

    async def begin(self) -> None:
        await self.mirror()
        self.mesh.join(self.name, self.controller)
        self._run(self.controller.run(), self._look_around())

    async def _look_around(self) -> None:
        while True:
            await self.controller.look_around()
            await asyncio.sleep(LOOK_SECONDS)

    async def dead(self) -> BaseException:
        """Wait until it dies by itself; return why."""
        async with asyncio.timeout(20):
            done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        error = next(iter(done)).exception()
        assert error is not None
        await self.die()
        return error

    async def die(self) -> None:
        self.mesh.leave(self.name)
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._stack.aclose()

    def check(self) -> None:
        """Nothing of it has ended by an error."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.result()

    def _run(self, *loops: Any) -> None:
        self._tasks += [asyncio.create_task(loop) for loop in loops]


class Place:
    """Where schedulers come and go; each is one that has just been started."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.mesh = Mesh()
        self.runners = Runners(site)
        self.template = Template(
            namespace=site.namespace,
            image="slipway-runner:1",
            gateway_url="http://gateway",
            service_account="default",
            stop_grace=timedelta(seconds=1),
            node_lost_after=timedelta(seconds=1),
            disk_limits=False,  # fake nodes have no disks
        )
        self.stop_grace = timedelta(seconds=20)
        self.give_up_after: timedelta | None = None
        self.policies: tuple[WarmPolicy, ...] = ()
        self.runtimes: list[tuple[UUID, str]] | None = []
        self.schedulers: list[Scheduler] = []

    def changed(self, **template: Any) -> None:
        self.template = replace(self.template, **template)

    async def new(self) -> Scheduler:
        """One that does nothing yet."""
        name = f"scheduler-{len(self.schedulers) + 1}"
        stack = AsyncExitStack()
        limiter = WriteLimiter(per_second=2000, burst=2000)
        api = await KubernetesApi.open(self.site.kubeconfig(name), stack, limiter=limiter)
        activations = Activations(ROOT_KEY)
        stack.push_async_callback(activations.close)

        def look_at(session_id: UUID) -> None:
            controller.look_at(session_id)

        units = PodUnits(
            api,
            self.template,
            token_for=lambda wanted: f"token of {wanted.session_id}",
            activations=activations,
            members=FreeMembers(),
            look_at=look_at,
            give_up_after=self.give_up_after,
        )
        pools = WarmPools(
            api,
            self.template,
            pods=units.pods.objects,
            policies=self.policies,
            runtimes=lambda: self.runtimes,
            member_token=lambda name, _, __: f"token of {name}",
            key_of=activations.key_of,
        )
        units.follow_with(pools.on_change)
        controller = Controller(View(self.mesh, name), units, self.mesh, stop_grace=self.stop_grace)
        scheduler = Scheduler(name, self.mesh, units, controller, pools, activations, stack)
        self.schedulers.append(scheduler)
        return scheduler

    async def scheduler(self) -> Scheduler:
        started = await self.new()
        await started.begin()
        return started

    async def member(self, session: SessionWanted, **policy: Any) -> Json:
        """Let one wait that can become this session."""
        self.runtimes = [(session.account_id, session.runtime)]
        self.policies = (WarmPolicy.model_validate({"least": 1, "most": 1} | policy),)
        maker = await self.new()
        await maker.mirror()
        await maker.pools.step()
        [found] = await self.ready_members()
        await maker.die()
        return found

    async def ready_members(self, count: int = 1) -> list[Json]:
        async def ready() -> list[Json]:
            found = await self.site.pods(role=labels.MEMBER_ROLE)
            waiting = [pod for pod in found if is_ready(pod)]
            return waiting if len(waiting) >= count else []

        return await eventually(ready, what=f"{count} members that wait")

    async def close(self) -> None:
        for scheduler in self.schedulers:
            await scheduler.die()


def is_ready(pod: Json) -> bool:
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in pod["status"].get("conditions", [])
    )


def names(objects: Iterable[Json]) -> list[str]:
    return [each["metadata"]["name"] for each in objects]


def versions(objects: Iterable[Json]) -> dict[str, str]:
    return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in objects}


@asynccontextmanager
async def namespace_in(kubeconfig: Path, **namespace_labels: str) -> AsyncIterator[Server]:
    """A namespace of the test's own, with what sessions need in it."""
    connection = await Connection.open(kubeconfig, connections=16)

    here = Server(connection, f"test-{uuid.uuid4().hex[:8]}")
    body = {"metadata": {"name": here.namespace, "labels": namespace_labels}}
    await here.ask("POST", "/api/v1/namespaces", body)

    async def has_account() -> bool:
        return not await here.is_gone("serviceaccounts", "default")

    await eventually(has_account, what="the namespace's account")
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    there = await here.ask("GET", classes)
    if "slipway-session" not in names(there["items"]):
        await here.ask("POST", classes, {"metadata": {"name": "slipway-session"}, "value": 1000})
    yield here
    await _empty(here)
    await here.ask("DELETE", f"/api/v1/namespaces/{here.namespace}")
    await connection.close()


async def _empty(here: Server) -> None:
    for pod in (await here.ask("GET", here.path("pods")))["items"]:
        name = pod["metadata"]["name"]
        if not await here.is_gone("pods", name):
            await here.merge("pods", name, {"metadata": {"finalizers": None}})
        if not await here.is_gone("pods", name):
            await here.ask("DELETE", here.path("pods", name), {"gracePeriodSeconds": 0})
