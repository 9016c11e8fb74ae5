"""A leader that was frozen in the middle of a write is refused when it wakes up as a former one."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from integration.scheduler.nodes.ground import Ground
from slipway_scheduler.leadership import FencedError, Leadership
from slipway_scheduler.nodes.records import Records
from support.waiting import eventually

PROGRAM = Path(__file__).parent / "leader_process.py"
TESTS = Path(__file__).parents[3]


@dataclass
class Scheduler:
    """Another process that may lead."""

    process: asyncio.subprocess.Process
    said: list[dict[str, Any]] = field(default_factory=list)

    async def listen(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            if line.startswith(b"{"):
                self.said.append(json.loads(line))

    async def says(self, what: str, *, seconds: float = 60, **more: Any) -> dict[str, Any]:
        async def found() -> dict[str, Any] | None:
            wanted = {"what": what, **more}
            return next((one for one in self.said if wanted.items() <= one.items()), None)

        return await eventually(found, what=f"word of {what} {more}", seconds=seconds)

    async def follows(self, other: "Scheduler") -> None:
        leads = await self.says("leads")
        assert leads["epoch"] > max(one["epoch"] for one in other.said if one["what"] == "leads")

    def wake(self) -> None:
        self.process.send_signal(signal.SIGCONT)


@asynccontextmanager
async def started(ground: Ground, *, stop_before: str = "") -> AsyncIterator[Scheduler]:
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAM),
        str(ground.kubeconfig),
        ground.own,
        ground.sessions,
        ground.pool,
        stop_before,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    scheduler = Scheduler(process)
    listening = asyncio.create_task(scheduler.listen())
    try:
        yield scheduler
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening


@dataclass
class Witness:
    """Every version of the pool's record, as the server has told it."""

    epochs: list[int] = field(default_factory=list)
    records: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
async def witness(ground: Ground) -> AsyncIterator[Witness]:
    seen = Witness()
    path = f"/api/v1/namespaces/{ground.own}/configmaps"

    async def watch() -> None:
        params = {"watch": "1", "labelSelector": "slipway.dev/node-pool"}
        lines = ground.api.watches.lines(
            path, params=params, accept="application/json", silence=300
        )
        async for line in lines:
            event = json.loads(line)
            if event["type"] in {"ADDED", "MODIFIED"}:
                record = json.loads(event["object"]["data"]["record.json"])
                seen.records.append(record)
                seen.epochs.append(record["epoch"])

    task = asyncio.create_task(watch())
    yield seen
    task.cancel()
    await asyncio.wait({task})


async def test_even_a_write_that_changes_nothing_shows_whether_somebody_else_leads(ground):
    earlier, later = (Records(ground.api, namespace=ground.own) for _ in range(2))
    first, second = (Leadership(epoch, until=time.monotonic() + 600) for epoch in (1, 2))
    record = await earlier.claim(ground.pool, first)
    await earlier.write(ground.pool, record, first)
    await later.claim(ground.pool, second)

    with pytest.raises(FencedError):
        await earlier.write(ground.pool, record, first)


async def test_a_size_that_was_about_to_be_written_down_is_not(ground, witness):
    async with started(ground, stop_before="record") as first:
        await first.says("leads")
        await ground.add_session("s0")
        await first.says("stops")
        async with started(ground) as second:
            await second.follows(first)
            await second.says("size", count=1)
            await ground.runs("s0")

            first.wake()
            await first.says("ended")
            assert not [one for one in first.said if one["what"] == "size"]
            assert len(ground.pool_nodes()) == 1

            # It waits for its turn like any other now, and the second still leads.
            await ground.end("s0")
            await ground.size_is(0)
    assert witness.epochs == sorted(witness.epochs)


async def test_it_is_refused_by_the_server_even_if_its_own_clock_stood_still(ground, witness):
    async with started(ground, stop_before="record-blind") as first:
        await first.says("leads")
        await ground.add_session("s0")
        await first.says("stops")
        async with started(ground) as second:
            await second.follows(first)
            await ground.runs("s0")

            first.wake()
            await first.says("refused", error="FencedError")
            assert not [one for one in first.said if one["what"] == "size"]
            assert len(ground.pool_nodes()) == 1
    assert witness.epochs == sorted(witness.epochs)


async def test_a_size_that_was_written_down_may_come_late_and_does_no_more(ground, witness):
    async with started(ground, stop_before="size") as first:
        await ground.add_session("s0")
        await first.says("stops")
        async with started(ground) as second:
            await second.says("size", count=1)
            await ground.runs("s0")
            for number in range(1, 5):
                await ground.add_session(f"s{number}")
            await ground.runs(*(f"s{number}" for number in range(5)))
            await ground.size_is(2)

            first.wake()
            await first.says("size", count=1)  # absolute: there are two already
            await first.says("ended")
            assert len(ground.pool_nodes()) == 2

            for number in range(5):
                await ground.end(f"s{number}")
            await ground.size_is(0)
    assert witness.epochs == sorted(witness.epochs)


async def test_a_removal_that_was_written_down_is_never_taken_back(ground, witness):
    """The frozen one may give the order at any time: so no session may come to that node."""
    async with started(ground, stop_before="remove") as first:
        await ground.add_session("s0")
        await ground.runs("s0")
        doomed = await ground.node_of("s0")
        await ground.end("s0")
        await first.says("stops")
        assert list(witness.records[-1]["removing"]) == [doomed]

        async with started(ground) as second:
            await second.follows(first)
            await ground.add_session("s1")
            await ground.runs("s1")
            assert await ground.node_of("s1") != doomed

            first.wake()
            await first.says("remove", nodes=[doomed])
            await first.says("ended")

            async def gone() -> bool:
                return doomed not in ground.pool_nodes()

            await eventually(gone, what="the end of the doomed node", seconds=60)
            await ground.runs("s1")
            assert await ground.node_of("s1") in ground.pool_nodes()
    assert witness.epochs == sorted(witness.epochs)


async def test_a_leader_that_is_killed_is_followed_and_its_work_finished(ground):
    async with started(ground) as first:
        await first.says("leads")
        for number in range(5):
            await ground.add_session(f"s{number}")
        await first.says("size", count=2)
        first.process.kill()
        await first.process.wait()
    async with started(ground) as second:
        await ground.runs(*(f"s{number}" for number in range(5)))
        assert len(ground.pool_nodes()) == 2
        await second.follows(first)
        for number in range(5):
            await ground.end(f"s{number}")
        await ground.size_is(0)
