"""Who runs the pods that were placed: each goes its course, from its placing to its last word."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from support.kubernetes.containers import Course, ended, running, waiting
from support.kubernetes.defaults import moment_of, timestamp
from support.kubernetes.hands import Hands
from support.kubernetes.kinds import POD
from support.kubernetes.server import FakeApiServer
from support.kubernetes.store import Change, Key, Object


@dataclass(slots=True)
class Machine:
    name: str
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared while it is lost: what runs on it runs on, and nobody hears of it."""


class Kubelets:
    """``course`` says how a pod goes, by its manifest."""

    def __init__(self, server: FakeApiServer, course: Callable[[Object], Course]) -> None:
        self.course = course
        self.machines: dict[str, Machine] = {}
        self._server = server
        self._lives: dict[str, asyncio.Task[None]] = {}
        self._told: dict[str, asyncio.Event] = {}
        """By uid of a pod: set once it should end, or is gone."""

        # The address that was freed last is given out next.
        self._addresses = [f"10.244.{a}.{b}" for a in range(255, -1, -1) for b in range(254, 0, -1)]
        server.store.listen(self._note)

    def drop(self, uid: str) -> None:
        """Its machine is gone, and it with it."""
        life = self._lives.pop(uid, None)
        if life is not None:
            life.cancel()

    async def close(self) -> None:
        for life in self._lives.values():
            life.cancel()
        await asyncio.gather(*self._lives.values(), return_exceptions=True)

    def _note(self, change: Change) -> None:
        pod = change.after or change.before
        if change.kind is not POD or pod is None:
            return
        uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
        told = self._told.setdefault(uid, asyncio.Event())
        if change.after is None or pod["metadata"].get("deletionTimestamp"):
            told.set()
        machine = self.machines.get(node)
        if change.after is not None and machine is not None and uid not in self._lives:
            self._lives[uid] = asyncio.create_task(self._live(pod, change.key, machine))

    async def _live(self, pod: Object, key: Key, machine: Machine) -> None:
        course, address = self.course(pod), self._addresses.pop()
        life = _Life(self._server, pod, key, machine, self._told[pod["metadata"]["uid"]])
        try:
            await life.go(course, address)
        finally:
            self._addresses.append(address)


class _Life:
    def __init__(
        self,
        server: FakeApiServer,
        pod: Object,
        key: Key,
        machine: Machine,
        told: asyncio.Event,
    ) -> None:
        self._hands = Hands(server, f"system:node:{machine.name}")
        self._pod = pod
        self._key = key
        self._machine = machine
        self._told = told

    async def go(self, course: Course, address: str) -> None:
        await self._tell(waiting(self._pod, course.trouble))
        if course.trouble:
            await self._told.wait()
        elif not await _within(course.start_seconds, self._told):
            await self._tell(running(self._pod, address))
            asked = await _within(course.ends_after, self._told)
            if asked and not course.obeys:
                await self._outlast_grace()
        code, reason = course.end(told=self._told.is_set())
        await self._tell(ended(self._pod, course, code=code, reason=reason))
        await self._told.wait()
        await self._machine.answers.wait()
        left = self._find()
        if left is not None:
            self._hands.delete(left, grace=0)

    async def _tell(self, status: Object) -> None:
        await self._machine.answers.wait()
        for condition in status.pop("newConditions"):
            pod = self._find()
            if pod is not None:
                self._hands.set_condition(pod, **condition)
        pod = self._find()
        if pod is not None:
            self._hands.set_status(pod, status)

    async def _outlast_grace(self) -> None:
        """One that does not obey is killed when its time is over, or when it is not known more."""
        while (left := self._find()) is not None:
            if moment_of(timestamp()) >= moment_of(left["metadata"]["deletionTimestamp"]):
                return
            await asyncio.sleep(0.05)

    def _find(self) -> Object | None:
        return self._hands.find(self._key, self._pod["metadata"]["uid"])


async def _within(seconds: float | None, told: asyncio.Event) -> bool:
    """Wait so long (None: for ever), or until told; False if nobody told."""
    try:
        async with asyncio.timeout(seconds):
            await told.wait()
    except TimeoutError:
        return False
    return True
