"""From a user's click to a session that answers, where pods wait for it: through all services.

The pods are fake and so are their runners, who answer at once: what is measured is everything that
is ours on the way, the real Kafka, database and API server included, and no engine.
"""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp

from bench.cluster import audit, objects
from bench.cluster.apps import APP, Tenant
from bench.cluster.audit import Entry
from bench.cluster.figures import Spread, spread, windows
from bench.cluster.members import Members
from bench.cluster.placing import LOG_SECONDS
from bench.cluster.traffic import RUNNING, Heard, openly, poisson
from bench.cluster.usage import Use, used
from bench.cluster.world import World
from slipway_common.contracts.registry import LAUNCHES

PER_SECOND = 45.0
SECONDS = 60.0
POOLS = 4
SIZE = 160
"""Of each pool: they are refilled by ten a second, which is a little less than what they lose."""

FILL_SECONDS = 90.0
PATIENCE = 60.0
WANTED = "slipway.session.wanted"
SEED = 45


@dataclass(frozen=True, slots=True)
class Launch:
    session_id: UUID
    due: float
    accepted: float


@dataclass(frozen=True, slots=True)
class Split:
    """Where the time goes, each counted from the one before."""

    accepted: Spread
    wanted: Spread
    committed: Spread
    claimed: Spread
    activated: Spread
    running: Spread


@dataclass(frozen=True, slots=True)
class Warmth:
    launched: int
    refused: int
    """Launches that the gateway did not accept."""

    ran: int
    warm: int
    cold: int
    times: Spread
    """From when a launch was due until we heard that its session runs."""

    warm_times: Spread
    by_window: list[Spread]
    split: Split
    handling: float
    """Seconds that accounts took for a launch's event, on average; it handles one at a time."""

    cpu_each: dict[str, float]
    """Seconds of each of our services."""

    use: Use


def environment(folder: Path) -> dict[str, str]:
    file = folder / "warm-pools.json"
    file.write_text(json.dumps([{"least": SIZE, "most": 2 * SIZE}]))
    return {"SLIPWAY_SCHEDULER_KUBERNETES__WARM_POLICIES_FILE": str(file)}


async def fill(world: World) -> None:
    """Return when every pool has as many members as it should, and all of them are ready."""
    selector = "labelSelector=slipway.dev%2Frole%3Dmember&fieldSelector=status.phase%3DRunning"
    path = f"/api/v1/namespaces/{objects.SESSIONS}/pods?{selector}"
    async with asyncio.timeout(FILL_SECONDS):
        while len(await world.cluster.api.names(path)) < POOLS * SIZE:
            await asyncio.sleep(1)


async def measure(
    world: World, tenants: Sequence[Tenant], members: Members, heard: Heard, wanted: Heard
) -> Warmth:
    started = time.time() + 0.5
    moments = poisson(per_second=PER_SECOND, seconds=SECONDS, start=started, seed=SEED)
    turns = iter(range(len(moments)))
    before = await _handled(world)
    async with _client(world) as http, used(world.pids) as use:

        async def launch(due: float) -> Launch | None:
            return await _launch(http, tenants[next(turns) % len(tenants)], due)

        answers = await openly(moments, launch)
        launches = [answer for answer in answers if answer is not None]
        await heard.until_told({one.session_id for one in launches}, seconds=PATIENCE)
    await asyncio.sleep(LOG_SECONDS)
    after = await _handled(world)
    entries = audit.read(world.cluster.audit_log, since=started)
    running = heard.of(RUNNING)
    ran = [one for one in launches if one.session_id in running]
    warm = [one for one in ran if one.session_id in members.activated]
    times = [(one.due - started, running[one.session_id] - one.due) for one in ran]
    return Warmth(
        launched=len(moments),
        refused=len(moments) - len(launches),
        ran=len(ran),
        warm=len(warm),
        cold=len(ran) - len(warm),
        times=spread(seconds for _, seconds in times),
        warm_times=spread(running[one.session_id] - one.due for one in warm),
        by_window=windows(times),
        split=_split(warm, entries, members, running=running, wanted=wanted.of(WANTED)),
        handling=(after[0] - before[0]) / max(1.0, after[1] - before[1]),
        cpu_each={
            name: use.cpu[name] / len(moments) for name in ("gateway", "accounts", "scheduler")
        },
        use=use,
    )


async def _handled(world: World) -> tuple[float, float]:
    """For how long accounts has handled events of launches, in seconds, and how many."""
    url = world.stack.service("accounts").health_address
    async with aiohttp.ClientSession(url) as http, http.get("/metrics") as answer:
        text = await answer.text()
    found = {
        part: float(value)
        for part, value in re.findall(
            rf'^slipway_event_handling_seconds_(sum|count){{topic="{LAUNCHES.name}"}} (\S+)$',
            text,
            re.MULTILINE,
        )
    }
    return found.get("sum", 0.0), found.get("count", 0.0)


def _client(world: World) -> aiohttp.ClientSession:
    # By number: the name of this machine is looked up in a thread, again and again.
    url = world.stack.gateway_url.replace("localhost", "127.0.0.1")
    return aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0))


async def _launch(http: aiohttp.ClientSession, tenant: Tenant, due: float) -> Launch | None:
    """None if it was refused."""
    headers = {"Authorization": f"Bearer {tenant.key}", "Idempotency-Key": str(uuid4())}
    async with http.post("/api/v1/sessions", json={"app": APP}, headers=headers) as answer:
        if answer.status >= 300:
            return None
        content = await answer.json()
    return Launch(UUID(content["id"]), due, time.time())


def _split(
    launches: Sequence[Launch],
    entries: Sequence[Entry],
    members: Members,
    *,
    running: dict[UUID, float],
    wanted: dict[UUID, float],
) -> Split:
    user = objects.user_of(objects.SCHEDULER)
    secrets = audit.first_received(entries, verbs={"create"}, kind="secrets", user=user)
    claims = audit.first_received(entries, verbs={"patch"}, kind="pods", user=user)
    rows = []
    for one in launches:
        member, called = members.activated[one.session_id]
        moments = (
            one.due,
            one.accepted,
            wanted.get(one.session_id),
            secrets.get(f"session-{one.session_id}"),
            claims.get(member),
            called,
            running[one.session_id],
        )
        known = [moment for moment in moments if moment is not None]
        if len(known) == len(moments):
            rows.append([later - sooner for sooner, later in pairwise(known)])
    return Split(*(spread(column) for column in zip(*rows, strict=True)))
