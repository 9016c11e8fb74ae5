"""From the wish for a session to its pod: many at once, and many per second.

Ours and the peer do the same work on the same cluster in the same run, one after the other.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench.cluster import audit, objects
from bench.cluster.audit import Entry
from bench.cluster.figures import Spread, spread, windows
from bench.cluster.traffic import FAILED, RUNNING, Heard, Wish, Wishes
from bench.cluster.usage import Use, used
from bench.cluster.world import World

AT_ONCE = 500
PER_SECOND = 100
SECONDS = 60
CALM_PER_SECOND = 40
CALM_SECONDS = 30
"""A load that leaves the machine some air, so that waits are not those for a processor."""

PATIENCE = 120.0
"""What has not come by then is counted as not having come."""

CLEARING_SECONDS = 300.0
"""The next one needs the room: here, and not before, a measurement gives up."""

LOG_SECONDS = 0.5
"""The record of a request is written after its answer."""


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    user: str
    pid: int


@dataclass(frozen=True, slots=True)
class Placed:
    """One load, and what came of it. Times are counted from when each session was due."""

    wanted: int
    running: int
    """How many were told to run before our patience ended."""

    refused: int
    """Requests to make a pod that the server did not carry out."""

    failed: int
    """Sessions that were given up."""

    created: Spread
    bound: Spread
    up: Spread
    """Until the node said that it runs."""

    told: Spread
    """Until the mesh was told, and we had heard of it."""

    late: Spread
    """How late the load itself was."""

    created_by_window: list[Spread]
    told_by_window: list[Spread]
    calls: Counter[str]
    cpu: float
    """Seconds of the contender."""

    use: Use

    @property
    def cpu_each(self) -> float:
        return self.cpu / self.wanted

    @property
    def calls_each(self) -> float:
        return self.calls.total() / self.wanted


@dataclass(frozen=True, slots=True)
class Ended:
    wanted: int
    over: bool
    seconds: float
    cpu: float
    calls: Counter[str]

    @property
    def cpu_each(self) -> float:
        return self.cpu / self.wanted


@dataclass(frozen=True, slots=True)
class Outcome:
    at_once: Placed
    calm: Placed
    steady: Placed
    ended: Ended


async def measure(world: World, who: Contender, wishes: Wishes, heard: Heard) -> Outcome:
    first, at_once = await place(world, who, wishes, heard, moments=[0.0] * AT_ONCE)
    calmly = [number / CALM_PER_SECOND for number in range(CALM_PER_SECOND * CALM_SECONDS)]
    second, calm = await place(world, who, wishes, heard, moments=calmly)
    steadily = [number / PER_SECOND for number in range(PER_SECOND * SECONDS)]
    third, steady = await place(world, who, wishes, heard, moments=steadily)
    ended = await end(world, who, wishes, heard, [*first, *second, *third])
    return Outcome(at_once, calm, steady, ended)


async def place(
    world: World, who: Contender, wishes: Wishes, heard: Heard, *, moments: Sequence[float]
) -> tuple[list[Wish], Placed]:
    """``moments`` are counted from now, and do not wait for anything."""
    started = time.time() + 0.2
    async with used(lambda: _processes(world, who)) as use:
        wanted = await wishes.at(started + moment for moment in moments)
        await heard.until_running(wanted, seconds=PATIENCE)
    await asyncio.sleep(LOG_SECONDS)
    entries = audit.read(world.cluster.audit_log, since=started)
    return wanted, _judge(who, wanted, heard, entries, use, started=started)


def _processes(world: World, who: Contender) -> dict[str, int]:
    """By whatever name, each of them once."""
    found = {name: pid for name, pid in world.pids().items() if pid != who.pid}
    return found | {who.name: who.pid}


def _judge(
    who: Contender,
    wanted: Sequence[Wish],
    heard: Heard,
    entries: Sequence[Entry],
    use: Use,
    *,
    started: float,
) -> Placed:
    created = audit.first_received(entries, verbs={"create"}, kind="pods", user=who.user)
    bound = audit.first_received(
        entries, verbs={"create"}, kind="pods/binding", user=audit.KUBE_SCHEDULER
    )
    up = audit.first_received(entries, verbs={"patch"}, kind="pods/status", user=audit.KWOK)
    told = {str(session_id): at for session_id, at in heard.of(RUNNING).items()}

    def waits(moments: dict[str, float], *, prefix: str = "session-") -> list[tuple[float, float]]:
        names = ((wish, f"{prefix}{wish.session_id}") for wish in wanted)
        return [
            (wish.due - started, moments[name] - wish.due)
            for wish, name in names
            if name in moments
        ]

    to_create, to_tell = waits(created), waits(told, prefix="")
    return Placed(
        wanted=len(wanted),
        running=len(to_tell),
        refused=sum(
            entry.user.username == who.user
            and (entry.verb, entry.kind) == ("create", "pods")
            and not entry.done
            for entry in entries
        ),
        failed=sum(wish.session_id in heard.of(FAILED) for wish in wanted),
        created=spread(seconds for _, seconds in to_create),
        bound=spread(seconds for _, seconds in waits(bound)),
        up=spread(seconds for _, seconds in waits(up)),
        told=spread(seconds for _, seconds in to_tell),
        late=spread(wish.sent - wish.due for wish in wanted),
        created_by_window=windows(to_create),
        told_by_window=windows(to_tell),
        calls=audit.calls(entries, user=who.user),
        cpu=use.cpu[who.name],
        use=use,
    )


async def end(
    world: World, who: Contender, wishes: Wishes, heard: Heard, wanted: Sequence[Wish]
) -> Ended:
    started = time.time()
    async with used(lambda: {who.name: who.pid}) as use:
        await wishes.no_more(wanted)
        over = await heard.until_over(wanted, seconds=PATIENCE)
        # The last words of a session are told before what is left of it is removed.
        await until_gone(world)
    await asyncio.sleep(LOG_SECONDS)
    entries = audit.read(world.cluster.audit_log, since=started)
    calls = audit.calls(entries, user=who.user)
    return Ended(len(wanted), over, use.seconds, use.cpu[who.name], calls)


async def until_gone(world: World) -> None:
    """Return when no pod and no secret of a session is left."""
    async with asyncio.timeout(CLEARING_SECONDS):
        for namespace in (objects.SESSIONS, objects.PEER):
            for plural in ("pods", "secrets"):
                while await _are_there(world, namespace, plural):
                    await asyncio.sleep(0.5)


async def _are_there(world: World, namespace: str, plural: str) -> bool:
    path = f"/api/v1/namespaces/{namespace}/{plural}?limit=1"
    found = await world.cluster.api.get(path)
    return bool(found and found["items"])
