"""Sessions in real containers: how long a start takes, and where.

A session and a bare pod take turns: the same image, the same walls, and in the bare one a Python
that answers its probe and does nothing else. What a session takes longer is our part.
"""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg

from bench.cluster import audit, objects
from bench.cluster.apps import APP, Tenant
from bench.cluster.bare import bare_pod
from bench.cluster.figures import Spread, spread
from bench.cluster.placing import LOG_SECONDS
from bench.cluster.sightings import CONTAINER, READY, Sightings
from bench.cluster.traffic import RUNNING, Heard
from bench.cluster.world import World

ROUNDS = 20
PATIENCE = 90.0

PARTS = (
    ("asked → pod created", "asked", "created"),
    ("→ machine found", "created", "bound"),
    ("→ container runs", "bound", CONTAINER),
    ("→ runner up, packages fetched", CONTAINER, "unpacking"),
    ("→ runtime unpacked", "unpacking", "loading"),
    ("→ engine ready", "loading", "answers"),
    ("→ told", "answers", "told"),
)
WARM_PARTS = (
    ("asked → claimed", "asked", "claimed"),
    ("→ activated, app fetched and loaded", "claimed", "answers"),
    ("→ told", "answers", "told"),
)

Moments = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Starts:
    n: int
    bare: Spread
    """From the request to make the pod until it was seen ready."""

    bare_container: Spread
    """The same until its container was seen to run."""

    cold: Spread
    """From when a session was asked for until we heard that it runs."""

    parts: list[tuple[str, Spread]]
    warm: Spread
    warm_parts: list[tuple[str, Spread]]

    @property
    def ours(self) -> tuple[float, float]:
        """What is on top of the pod's own start: of the medians, and of the p99."""
        return self.cold.p50 - self.bare.p50, self.cold.p99 - self.bare.p99


class Launcher:
    """One user with an API key."""

    def __init__(self, world: World, tenant: Tenant, heard: Heard) -> None:
        url = world.stack.gateway_url.replace("localhost", "127.0.0.1")
        headers = {"Authorization": f"Bearer {tenant.key}"}
        self._http = aiohttp.ClientSession(url, headers=headers)
        self._heard = heard

    async def close(self) -> None:
        await self._http.close()

    async def launch(self) -> tuple[UUID, float, float]:
        """Id, when it was asked for, and when we heard that it runs."""
        asked = time.time()
        async with self._http.post("/api/v1/sessions", json={"app": APP}) as answer:
            assert answer.status < 300, await answer.text()
            session_id = UUID((await answer.json())["id"])
        running = await self._heard.until_told({session_id}, seconds=PATIENCE)
        assert running, f"session {session_id} did not start"
        return session_id, asked, self._heard.of(RUNNING)[session_id]

    async def stop(self, session_id: UUID) -> str:
        """End it, and return its log."""
        async with self._http.post(f"/api/v1/sessions/{session_id}/stop") as answer:
            assert answer.status < 300, await answer.text()
        await self._heard.until_ended({session_id}, seconds=PATIENCE)
        async with self._http.get(f"/api/v1/sessions/{session_id}/log") as answer:
            return await answer.text()


def warm_environment(folder: Path) -> dict[str, str]:
    file = folder / "one-member.json"
    file.write_text(json.dumps([{"least": 1, "most": 1}]))
    return {"SLIPWAY_SCHEDULER_KUBERNETES__WARM_POLICIES_FILE": str(file)}


async def measure(
    world: World, tenant: Tenant, heard: Heard, sightings: Sightings, *, folder: Path
) -> Starts:
    started = time.time()
    launcher = Launcher(world, tenant, heard)
    try:
        bare, cold = await _take_turns(world, launcher, sightings)
        await world.stack.restart("scheduler", extra_env=warm_environment(folder))
        warm = [await _warm(launcher, sightings) for _ in range(ROUNDS)]
    finally:
        await launcher.close()
    await asyncio.sleep(LOG_SECONDS)
    moments = await _cold_moments(world, cold, sightings, started=started)
    warm_moments = _warm_moments(world, warm, started=started)
    return Starts(
        n=ROUNDS,
        bare=spread(seen[READY] - asked for asked, seen in bare),
        bare_container=spread(seen[CONTAINER] - asked for asked, seen in bare),
        cold=spread(one.told - one.asked for one in cold),
        parts=_parts(PARTS, moments),
        warm=spread(one.told - one.asked for one in warm),
        warm_parts=_parts(WARM_PARTS, warm_moments),
    )


@dataclass(frozen=True, slots=True)
class _Start:
    session_id: UUID
    asked: float
    told: float
    log: str
    member: str = ""


async def _take_turns(
    world: World, launcher: Launcher, sightings: Sightings
) -> tuple[list[tuple[float, Moments]], list[_Start]]:
    bare, cold = [], []
    for number in range(ROUNDS):
        bare.append(await _bare(world, sightings, f"bare-{number}"))
        session_id, asked, told = await launcher.launch()
        log = await launcher.stop(session_id)
        await sightings.until_gone(f"session-{session_id}", seconds=PATIENCE)
        cold.append(_Start(session_id, asked, told, log))
    return bare, cold


async def _bare(world: World, sightings: Sightings, name: str) -> tuple[float, Moments]:
    path = f"/api/v1/namespaces/{objects.SESSIONS}/pods"
    asked = time.time()
    await world.cluster.api.create(path, bare_pod(name, image=world.image))
    await sightings.until(name, READY, seconds=PATIENCE)
    await world.cluster.api.delete(f"{path}/{name}?gracePeriodSeconds=1")
    await sightings.until_gone(name, seconds=PATIENCE)
    return asked, sightings.first[name]


async def _warm(launcher: Launcher, sightings: Sightings) -> _Start:
    member = await sightings.until_member(seconds=PATIENCE)
    session_id, asked, told = await launcher.launch()
    log = await launcher.stop(session_id)
    await sightings.until_gone(member, seconds=PATIENCE)
    return _Start(session_id, asked, told, log, member)


async def _cold_moments(
    world: World, starts: Sequence[_Start], sightings: Sightings, *, started: float
) -> list[Moments]:
    entries = audit.read(world.cluster.audit_log, since=started)
    user = objects.user_of(objects.SCHEDULER)
    created = audit.first_received(entries, verbs={"create"}, kind="pods", user=user)
    bound = audit.first_received(entries, verbs={"create"}, kind="pods/binding")
    connection = await asyncpg.connect(world.stack.postgres_dsn)
    found: list[Moments] = []
    try:
        for one in starts:
            name = f"session-{one.session_id}"
            said = await _story(connection, one.session_id)
            found.append(
                {
                    "asked": one.asked,
                    "created": created[name],
                    "bound": bound[name],
                    **sightings.first[name],
                    "unpacking": said["Unpacking the runtime"],
                    "loading": said["Loading the app"],
                    "answers": logged(one.log, "session ready"),
                    "told": one.told,
                }
            )
    finally:
        await connection.close()
    return found


def _warm_moments(world: World, starts: Sequence[_Start], *, started: float) -> list[Moments]:
    entries = audit.read(world.cluster.audit_log, since=started)
    user = objects.user_of(objects.SCHEDULER)
    claimed = audit.first_received(entries, verbs={"patch"}, kind="pods", user=user)
    return [
        {
            "asked": one.asked,
            "claimed": claimed[one.member],
            "answers": logged(one.log, "session ready"),
            "told": one.told,
        }
        for one in starts
        if one.member in claimed
    ]


async def _story(connection: Any, session_id: UUID) -> dict[str, float]:
    """When each thing was first said of the session."""
    rows = await connection.fetch(
        "SELECT message, min(at) AS at FROM session_transitions WHERE session_id = $1"
        " GROUP BY message",
        session_id,
    )
    return {row["message"]: row["at"].timestamp() for row in rows}


def logged(log: str, text: str) -> float:
    """When the line with this text was written."""
    for line in log.splitlines():
        at, _, said = line.partition(" ")
        if said == text:
            return datetime.fromisoformat(at).timestamp()
    raise AssertionError(f"the log does not have: {text}")


def _parts(
    parts: Sequence[tuple[str, str, str]], moments: Sequence[Moments]
) -> list[tuple[str, Spread]]:
    return [
        (name, spread(one[later] - one[sooner] for one in moments)) for name, sooner, later in parts
    ]
