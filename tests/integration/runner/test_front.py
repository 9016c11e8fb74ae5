"""What a runner shows before, while and after its session answers."""

import asyncio
import json
import time
from pathlib import Path

import aiohttp
import pytest

from integration.runner.conftest import RunnerProcess, StartRunner, app_archive
from integration.runner.home import SECRET, PlayedHome
from slipway_common.contracts.internal import SessionUse
from slipway_common.contracts.sessions import SessionKind


async def test_it_listens_before_anything_is_fetched(
    home: PlayedHome, session_of, start_runner: StartRunner
) -> None:
    home.opened.clear()
    async with start_runner(session_of(SessionKind.WEBUI)) as runner:
        await runner.until_live()

        for path in ("/", "/page.json", "/_slipway/use", "/_slipway/ready", "/_slipway/nothing"):
            assert (await runner.get(path))[0] == 503
        assert (await runner.post("/_slipway/activate", b"x"))[0] == 503
        assert (await runner.get("/_slipway/live", secret=None))[0] == 200


async def test_readiness_is_told_the_moment_it_is_there(
    home: PlayedHome, session_of, start_runner: StartRunner
) -> None:
    home.opened.clear()
    async with start_runner(session_of(SessionKind.WEBUI)) as runner:
        await runner.until_live()
        held = asyncio.create_task(runner.get("/_slipway/ready?wait=20", secret=None))
        began = time.monotonic()
        short, _ = await runner.get("/_slipway/ready?wait=0.3", secret=None)
        waited = time.monotonic() - began
        assert not held.done()

        home.opened.set()
        status, body = await held

        assert (status, body) == (200, "ready")
        assert (await runner.get("/"))[0] == 200
        assert short == 503
        assert 0.3 <= waited < 5


async def test_a_wait_that_is_no_time_is_refused(session_of, start_runner: StartRunner) -> None:
    async with start_runner(session_of(SessionKind.WEBUI)) as runner:
        await runner.until_live()

        for wait in ("soon", "-1", "nan", "inf", ""):
            assert (await runner.get(f"/_slipway/ready?wait={wait}"))[0] == 400, wait


async def test_a_held_question_is_answered_when_the_session_fails(
    home: PlayedHome, session_of, start_runner: StartRunner
) -> None:
    home.opened.clear()
    broken = home.store(app_archive("raise ValueError('no such model')"))
    async with start_runner(session_of(SessionKind.WEBUI, app=broken)) as runner:
        await runner.until_live()
        held = asyncio.create_task(runner.get("/_slipway/ready?wait=25"))
        home.opened.set()

        status, _ = await held
        ending = await runner.until_gone()

    assert status == 503
    assert ending["reason"] == "app-failed"
    assert "no such model" in ending["message"]


async def test_only_who_knows_the_secret_is_let_in(session_of, start_runner: StartRunner) -> None:
    async with start_runner(session_of(SessionKind.WEBUI)) as runner:
        await runner.until_ready()

        for path in ("/", "/_slipway/use", "/_slipway/nothing"):
            assert (await runner.get(path, secret=None))[0] == 403
            assert (await runner.get(path, secret="a guess"))[0] == 403
        for path in ("/_slipway/nothing", "/_slipway", "/_slipway/health", "/_slipway/enter"):
            assert (await runner.get(path))[0] == 404
        assert (await runner.post("/_slipway/activate", b"x"))[0] == 404
        page = await runner.get("/")
        assert page[0] == 200
        assert "Small" in page[1]


async def test_the_page_is_live_behind_the_door(session_of, start_runner: StartRunner) -> None:
    async with start_runner(session_of(SessionKind.WEBUI)) as runner:
        await runner.until_ready()

        with pytest.raises(aiohttp.WSServerHandshakeError):
            await runner.http.ws_connect(runner.url + "/live")
        headers = {"Slipway-Session-Secret": SECRET}
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await runner.http.ws_connect(runner.url + "/_slipway/ready", headers=headers)
        async with runner.http.ws_connect(runner.url + "/live", headers=headers) as live:
            message = await live.receive_json(timeout=10)

        assert isinstance(message, dict)


async def test_use_is_told_as_numbers(session_of, start_runner: StartRunner) -> None:
    async with start_runner(session_of(SessionKind.WEBUI)) as runner:
        await runner.until_ready()

        status, body = await runner.get("/_slipway/use")
        use = SessionUse.model_validate_json(body)

        assert status == 200
        # The runner and its engine, each a Python with its libraries.
        assert use.processes == 2
        assert 40 < use.memory_mib < 1000
        assert use.peak_memory_mib >= use.memory_mib
        assert 0.2 < use.cpu_seconds < 60


async def test_a_session_that_is_only_probed_is_idle(session_of, start_runner: StartRunner) -> None:
    async with start_runner(session_of(SessionKind.WEBUI), IDLE_SECONDS=1) as runner:
        await runner.until_ready()
        probing = asyncio.create_task(_probe(runner))

        ending = await runner.until_gone()

        probing.cancel()
    assert ending["reason"] == "idle"


async def _probe(runner: RunnerProcess) -> None:
    while True:
        try:
            await runner.get("/_slipway/ready", secret=None)
            await runner.get("/_slipway/use")
            await runner.get("/", secret="a guess")
        except aiohttp.ClientError:
            return
        await asyncio.sleep(0.05)


async def test_an_open_websocket_is_use(session_of, start_runner: StartRunner) -> None:
    async with start_runner(session_of(SessionKind.WEBUI), IDLE_SECONDS=1) as runner:
        await runner.until_ready()
        headers = {"Slipway-Session-Secret": SECRET}

        async with runner.http.ws_connect(runner.url + "/live", headers=headers) as live:
            await live.receive(timeout=10)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(runner.process.wait(), 2.5)

        assert (await runner.until_gone())["reason"] == "idle"


async def test_a_stopped_runner_leaves_what_it_used_and_why_it_ended(
    session_of, start_runner: StartRunner
) -> None:
    session = session_of(SessionKind.WEBUI)
    async with start_runner(session) as runner:
        await runner.until_ready()

        runner.process.terminate()
        ending = await runner.until_gone()
        files = {path.name for path in runner.folder.iterdir()}

    assert ending["reason"] == "stopped"
    assert ending["peakMemoryMib"] > 40
    assert ending["cpuSeconds"] > 0.2
    assert "session over: stopped" in session.log
    assert not {"unit.json", "ready.json"} & files


async def test_a_stop_before_it_has_come_up_is_not_lost(
    session_of, start_runner: StartRunner
) -> None:
    async with start_runner(session_of(SessionKind.WEBUI)) as runner:
        # Blocked from its first line on: it waits there until it can be heard.
        status = Path(f"/proc/{runner.process.pid}/status")
        async with asyncio.timeout(10):
            while not _blocks_sigterm(status):
                await asyncio.sleep(0.002)

        runner.process.terminate()

        assert (await runner.until_gone())["reason"] == "stopped"


def _blocks_sigterm(status: Path) -> bool:
    line = next(each for each in status.read_text().splitlines() if each.startswith("SigBlk"))
    return bool(int(line.split()[1], 16) & 1 << 14)


async def test_the_last_words_go_into_a_file_that_nothing_can_replace(
    session_of, start_runner: StartRunner
) -> None:
    async with start_runner(session_of(SessionKind.WEBUI)) as runner:
        ending_file = runner.folder / "termination"
        ending_file.write_text("")
        # Where a draft should go there is something else: no rename is possible.
        (runner.folder / "termination.draft").mkdir()
        inode = ending_file.stat().st_ino
        await runner.until_ready()

        runner.process.terminate()

        assert (await runner.until_gone())["reason"] == "stopped"
        assert ending_file.stat().st_ino == inode


async def test_children_without_parents_are_let_go(session_of, start_runner: StartRunner) -> None:
    async with start_runner(session_of(SessionKind.SOLVE)) as runner:
        await runner.until_ready()
        status, _ = await runner.post("/procedures/orphans")
        assert status == 200

        async def only_ours() -> bool:
            _, body = await runner.get("/_slipway/use")
            return json.loads(body)["processes"] == 2

        async with asyncio.timeout(10):
            while not await only_ours():
                await asyncio.sleep(0.05)
