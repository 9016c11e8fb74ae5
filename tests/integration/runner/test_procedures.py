"""A solve session: procedures called one by one, under the rules of tasks."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from integration.runner.conftest import RunnerProcess, StartRunner
from integration.runner.home import SECRET
from slipway_common.contracts.sessions import SessionKind
from support.waiting import eventually


@pytest.fixture
async def runner(session_of, start_runner: StartRunner) -> AsyncIterator[RunnerProcess]:
    async with start_runner(session_of(SessionKind.SOLVE)) as running:
        await running.until_ready()
        yield running


def lines_of(body: str) -> list[dict]:
    return [json.loads(line) for line in body.splitlines()]


@asynccontextmanager
async def calling(runner: RunnerProcess, service: str, **headers: str):
    """The answer to a call of which the first line has come."""
    sent = {"Slipway-Session-Secret": SECRET} | headers
    async with runner.http.post(f"{runner.url}/procedures/{service}", headers=sent) as answer:
        assert answer.status == 200, await answer.text()
        first = json.loads(await answer.content.readline())
        assert first["type"] in {"progress", "log"}
        yield answer


async def test_a_procedure_gives_its_lines_and_its_result(runner: RunnerProcess) -> None:
    headers = {"Slipway-Session-Secret": SECRET}
    url = runner.url + "/procedures/echo"
    async with runner.http.post(url, json={"text": "hello"}, headers=headers) as answer:
        *before, last = lines_of(await answer.text())

    assert answer.status == 200
    assert answer.content_type == "application/x-ndjson"
    assert {"type": "log", "text": "echo of hello"} in before
    assert last["type"] == "result"
    assert last["outcome"] == "completed"
    assert last["value"]["text"] == "hello"
    assert last["value"]["kind"] == "solve"


async def test_there_is_nothing_else(runner: RunnerProcess) -> None:
    headers = {"Slipway-Session-Secret": SECRET}
    for method, path in (
        ("GET", "/"),
        ("GET", "/page.json"),
        ("GET", "/procedures/echo"),
        ("POST", "/procedures/"),
        ("POST", "/procedures/echo/more"),
        ("POST", "/procedures/%2e%2e"),
        ("POST", "/procedures/unknown"),
        ("PUT", "/interrupt"),
    ):
        async with runner.http.request(method, runner.url + path, headers=headers) as answer:
            assert answer.status == 404, path
            assert answer.content_type == "application/problem+json"


async def test_a_stranger_calls_nothing(runner: RunnerProcess) -> None:
    assert (await runner.post("/procedures/echo", secret=None))[0] == 403
    assert (await runner.post("/interrupt", secret="a guess"))[0] == 403
    headers = {"Slipway-Session-Secret": SECRET}
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await runner.http.ws_connect(runner.url + "/", headers=headers)


async def test_a_limit_that_is_no_time_is_refused(runner: RunnerProcess) -> None:
    for limit in ("soon", "0", "-1", "nan", "inf", ""):
        status, body = await runner.post("/procedures/echo", Time_Limit_Seconds=limit)

        assert status == 422, limit
        assert json.loads(body)["type"] == "urn:slipway:problem:invalid-request"


async def test_a_second_procedure_waits_for_nobody(runner: RunnerProcess) -> None:
    async with calling(runner, "best"):
        status, body = await runner.post("/procedures/echo")

        assert status == 409
        assert json.loads(body)["type"] == "urn:slipway:problem:busy"
        assert (await runner.post("/interrupt", b'{"scope": "solve"}'))[0] == 202

    async def another() -> bool:
        return (await runner.post("/procedures/echo", b"{}"))[0] == 200

    await eventually(another, what="room for another procedure")


async def test_the_time_limit_keeps_the_best_result(runner: RunnerProcess) -> None:
    async with calling(runner, "best", **{"Time-Limit-Seconds": "0.4"}) as answer:
        last = lines_of(await answer.text())[-1]

    assert last["type"] == "result"
    assert last["outcome"] == "interrupted"
    assert last["value"]["best"] > 0


async def test_what_gives_no_result_in_its_grace_is_told_so(runner: RunnerProcess) -> None:
    async with calling(runner, "stubborn", **{"Time-Limit-Seconds": "0.3"}) as answer:
        last = lines_of(await answer.text())[-1]

    assert last["type"] == "failure"
    assert last["problem"]["type"] == "urn:slipway:problem:task-time-limit"
    assert runner.process.returncode is None
    assert (await runner.post("/procedures/echo"))[0] == 200


async def test_what_hears_nothing_goes_down_with_its_session(runner: RunnerProcess) -> None:
    status, body = await runner.post("/procedures/deaf", Time_Limit_Seconds="0.2")
    ending = await runner.until_gone()

    last = lines_of(body)[-1]
    assert status == 200
    assert last["problem"]["type"] == "urn:slipway:problem:task-time-limit"
    assert ending["reason"] == "finished"
    assert "time limit" in ending["message"]


async def test_an_interrupt_of_the_solve_keeps_the_best_result(runner: RunnerProcess) -> None:
    async with calling(runner, "best") as answer:
        assert (await runner.post("/interrupt", b'{"scope": "solve"}'))[0] == 202
        last = lines_of(await answer.text())[-1]

    assert (last["type"], last["outcome"]) == ("result", "interrupted")


async def test_an_interrupt_of_the_execution_ends_it(runner: RunnerProcess) -> None:
    async with calling(runner, "stubborn") as answer:
        assert (await runner.post("/interrupt", b'{"scope": "execution"}'))[0] == 202
        last = lines_of(await answer.text())[-1]

    assert last["problem"]["type"] == "urn:slipway:problem:interrupted"


async def test_a_wish_that_is_none_is_refused(runner: RunnerProcess) -> None:
    for body in (b"", b"no json", b'{"scope": "all"}', b'{"other": 1}'):
        assert (await runner.post("/interrupt", body))[0] == 422, body


async def test_an_interrupt_without_a_procedure_does_nothing(runner: RunnerProcess) -> None:
    assert (await runner.post("/interrupt", b'{"scope": "solve"}'))[0] == 202
    status, body = await runner.post("/procedures/echo")
    assert (status, lines_of(body)[-1]["outcome"]) == (200, "completed")


async def test_a_caller_that_leaves_ends_its_procedure(runner: RunnerProcess) -> None:
    async with calling(runner, "stubborn") as answer:
        answer.close()

    async def is_free() -> bool:
        return (await runner.post("/procedures/echo"))[0] == 200

    await eventually(is_free, what="the end of a procedure without a caller")


async def test_a_deaf_procedure_without_a_caller_ends_its_session(
    session_of, start_runner: StartRunner
) -> None:
    session = session_of(SessionKind.SOLVE)
    async with start_runner(session) as runner:
        await runner.until_ready()
        call = asyncio.create_task(runner.post("/procedures/deaf"))

        async def has_begun() -> bool:
            return "deaf to everything" in session.log

        await eventually(has_begun, what="a procedure that has begun")
        call.cancel()

        ending = await runner.until_gone()
    assert ending["reason"] == "finished"
    assert "its caller had left" in ending["message"]


async def test_an_engine_that_dies_is_told_to_the_caller(runner: RunnerProcess) -> None:
    async with calling(runner, "best") as answer:
        os.kill(runner.engine(), signal.SIGKILL)
        last = lines_of(await answer.text())[-1]
    ending = await runner.until_gone()

    assert last["type"] == "failure"
    assert last["problem"]["type"] == "urn:slipway:problem:task-failed"
    assert ending["reason"] == "out-of-memory"


async def test_a_procedure_that_runs_is_use(session_of, start_runner: StartRunner) -> None:
    async with start_runner(session_of(SessionKind.SOLVE), IDLE_SECONDS=1) as runner:
        await runner.until_ready()
        async with calling(runner, "best", **{"Time-Limit-Seconds": "2.5"}) as answer:
            last = lines_of(await answer.text())[-1]

        assert last["outcome"] == "interrupted"
        assert (await runner.until_gone())["reason"] == "idle"
