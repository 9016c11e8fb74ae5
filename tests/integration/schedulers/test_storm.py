"""One pod per session at every instant, whatever happens to schedulers, server and network.

The API server's own audit log is the witness.
"""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from uuid import UUID

import pytest

from integration.schedulers.place import (
    RUNTIME,
    Mesh,
    Place,
    Runners,
    make_signing_key,
    no_pods_are_left,
    prepare,
)
from slipway_local.cluster.cluster import Cluster
from slipway_local.stack import Stack
from support.kubernetes.audit import check_audit_log
from support.waiting import eventually

SEED = 20261125
STORM_SECONDS = 75
PER_SECOND = 4


@pytest.fixture
async def place(tmp_path: Path, repository: Path) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        parts = Stack(tmp_path / "state", parts=("kafka",), services=(), fsync=False)
        await parts.start()
        stack.push_async_callback(parts.stop)
        cluster = Cluster(tmp_path / "cluster", nodes="kwok", fresh=True)
        await cluster.start()
        stack.push_async_callback(cluster.stop)
        await cluster.add_fake_nodes(4, pool="default", cpu="64", memory="256Gi", pods=250)
        await prepare(cluster, repository / "k8s" / "base")
        mesh = Mesh(parts.kafka_bootstrap)
        await mesh.open(stack)
        await mesh.publish_runtime()
        signer = await make_signing_key(tmp_path / "signing.pem")
        runners = Runners(signer.activation_root)
        await runners.open(stack)
        policies = tmp_path / "warm.json"
        policies.write_text(
            json.dumps([{"least": 6, "most": 20, "profile": {"memory_mib": 64, "cpu_millis": 10}}])
        )
        made = Place(cluster, mesh, runners, tmp_path, tmp_path / "signing.pem")
        watching = asyncio.create_task(made.watch_members())
        stack.callback(watching.cancel)
        for name in ("one", "two"):
            await made.add_scheduler(name, stack, KUBERNETES__WARM_POLICIES_FILE=str(policies))
        yield made


async def demand(place: Place, over: asyncio.Event, random_: random.Random) -> list[UUID]:
    """Sessions come and go until the storm is over."""
    lives: list[asyncio.Task[UUID]] = []

    async def live() -> UUID:
        # Half of them find a pod that waits, the others need one of their own.
        session_id = await place.mesh.want(profile=random_.choice(["standard", "large"]))
        await asyncio.sleep(random_.uniform(0.0, 12))
        await place.mesh.unwant(session_id)
        return session_id

    while not over.is_set():
        lives.append(asyncio.create_task(live()))
        await asyncio.sleep(1 / PER_SECOND)
    return await asyncio.gather(*lives)


async def storm(place: Place, random_: random.Random) -> list[str]:
    """One fault after the other, each to one scheduler or to the server; returns what was done."""
    done: list[str] = []
    loop = asyncio.get_running_loop()
    end = loop.time() + STORM_SECONDS
    faults = ["kill", "pause", "cut", "silence", "lose answers", "refuse", "kill api server"]
    upcoming = [*faults, *random_.choices(faults, k=50)]
    for fault in upcoming:
        if loop.time() > end:
            break
        name = random_.choice(sorted(place.schedulers))
        scheduler, weather = place.schedulers[name], place.weather[name]
        done.append(f"{fault} {name}")
        match fault:
            case "kill":
                await scheduler.kill()
                await scheduler.start()
            case "pause":
                scheduler.pause()
                await asyncio.sleep(random_.uniform(2, 12))
                scheduler.resume()
            case "cut":
                weather.cut()
            case "silence":
                await weather.silence(random_.uniform(1, 6))
            case "lose answers":
                await weather.lose_answers(random_.uniform(0.2, 1))
            case "refuse":
                await weather.refuse(random_.uniform(1, 4))
            case "kill api server":
                await place.cluster.kill("kube-apiserver")
                await place.cluster.restart("kube-apiserver")
        await asyncio.sleep(random_.uniform(0.5, 3))
    return done


@pytest.mark.timeout(300)
async def test_a_session_never_has_two_pods_and_every_one_ends(place: Place) -> None:
    random_ = random.Random(SEED)
    mesh = place.mesh
    first = await mesh.want()

    async def first_runs() -> bool:
        return "running" in mesh.said_of(first)

    await eventually(first_runs, seconds=60, what=f"a first session of {RUNTIME}")
    over = asyncio.Event()
    sessions = asyncio.create_task(demand(place, over, random_))
    done = await storm(place, random_)
    over.set()
    wanted = [first, *await sessions]
    await mesh.unwant(first)

    await no_pods_are_left(place, seconds=90)

    async def all_are_told() -> bool:
        # Tombstones that nobody was there to hear are asked about again, as accounts does.
        silent = [session_id for session_id in wanted if not mesh.is_over(session_id)]
        for session_id in silent:
            await mesh.unwant(session_id)
        await asyncio.sleep(1)
        return not silent

    await eventually(all_are_told, seconds=60, what="the end of every session, told")
    # The fake nodes end pods in their own way, as a kubelet does by uid.
    found = check_audit_log(
        place.cluster.audit_log, answers_for=lambda user: user != "slipway:kwok"
    )
    print(f"{len(wanted)} sessions, {found.creates} pods made, {found.claims} claimed; {done}")
    assert found.violations == []
    assert found.creates > 50
    assert found.claims > 20
    assert len(set(place.runners.sessions.values())) == len(place.runners.sessions)
