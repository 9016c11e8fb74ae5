"""The contract of an engine, against the real process on its Unix socket."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest

from .conftest import StartEngine, app_archive

MODEL = '''
from random import Random

from pydantic import BaseModel
from slipway_open import App, Run, field, project

app = App(title="Test")

class Inputs(BaseModel):
    amount: int = field(..., "Amount", minimum=1, maximum=10)

@app.service("double", title="Double it")
def double(run: Run, inputs: Inputs) -> dict:
    print("marker-printed")
    return {"doubled": 2 * inputs.amount, "note": project.read_text("data/note.txt")}

@app.service("fail")
def fail(run: Run) -> dict:
    return {"content": open("/nowhere/at/all")}

@app.service("spin")
def spin(run: Run) -> dict:
    run.progress(0.25, "spinning")
    while not run.stop_requested():
        pass
    return {"stopped": True}

@app.service("split")
def split(run: Run) -> dict:
    """A market split problem: small, and hopeless to find any solution of."""
    model = run.highs()
    x = model.addBinaries(50)
    dice = Random(4)
    for row in range(5):
        weights = [dice.randint(1, 99) for _ in range(50)]
        model.addConstr(sum(w * x[c] for c, w in enumerate(weights)) == sum(weights) // 2)
    run.solve(model)
    return {"solved": True}
'''
FILES = {"model.py": MODEL, "data/note.txt": "marker-in-data"}


@pytest.fixture
def archive() -> bytes:
    return app_archive(FILES, services=[{"name": "double", "title": "Double it"}])


async def test_health_lists_the_services_with_the_schema_of_their_input(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive) as engine:
        status, body = await engine.until_loaded()

    assert (status, body["status"]) == (200, "ready")
    assert [entry["name"] for entry in body["services"]] == ["double", "fail", "spin", "split"]
    assert body["services"][0]["title"] == "Double it"
    assert body["services"][0]["inputSchema"]["properties"]["amount"]["maximum"] == 10


async def test_health_says_loading_until_the_app_is_there(start_engine: StartEngine) -> None:
    gated = "open('gate').read()\nfrom slipway_open import App\napp = App(title='Late')\n"
    async with start_engine(app_archive({"model.py": gated}), pipe="gate") as engine:
        status, body = await engine.health()
        async with engine.client.post("/_slipway/procedures/any", json={}) as refused:
            assert refused.status == 503
        await asyncio.to_thread((engine.folder / "gate").write_text, "open")
        ready, _ = await engine.until_loaded()

    assert (status, body) == (503, {"status": "loading"})
    assert ready == 200


@pytest.mark.parametrize(
    ("files", "manifest", "detail"),
    [
        pytest.param(
            {"model.py": "import os\n\nraise OSError(os.getcwd() + '/secret is gone')"},
            {},
            "OSError: secret is gone (model.py, line 3)",
            id="code that raises",
        ),
        pytest.param(
            {"model.py": "app = 1"}, {}, "'model:app' is not a slipway_open.App.", id="no app"
        ),
        pytest.param(
            {}, {}, "The entry 'model:app' names a module the app does not have.", id="no module"
        ),
        pytest.param(
            FILES,
            {"services": [{"name": "absent", "title": ""}]},
            "The manifest names the service 'absent', which 'model:app' does not offer.",
            id="a service that is not offered",
        ),
        pytest.param(
            FILES,
            {"colour": "red"},
            "slipway.json: colour: Extra inputs are not permitted.",
            id="bad manifest",
        ),
    ],
)
async def test_app_that_cannot_be_loaded_says_why(
    start_engine: StartEngine, files, manifest, detail
) -> None:
    async with start_engine(app_archive(files, **manifest)) as engine:
        status, problem = await engine.until_loaded()
        async with engine.client.post("/_slipway/procedures/double", json={}) as answer:
            assert answer.status == 500

    assert status == 500
    assert problem["type"] == "urn:slipway:problem:app-not-loadable"
    assert problem["detail"] == detail


async def test_procedure_answers_with_its_result(start_engine: StartEngine, archive: bytes) -> None:
    async with start_engine(archive) as engine:
        await engine.until_loaded()
        told, end = await engine.call("double", {"amount": 4})

    assert told == []
    assert end == {
        "type": "result",
        "outcome": "completed",
        "value": {"doubled": 8, "note": "marker-in-data"},
    }


@pytest.mark.parametrize(
    ("values", "message"),
    [({}, "Field required"), ({"amount": 11}, "Input should be less than or equal to 10")],
    ids=["missing", "too large"],
)
async def test_input_that_does_not_fit_is_named(
    start_engine: StartEngine, archive: bytes, values, message
) -> None:
    async with start_engine(archive) as engine:
        await engine.until_loaded()
        _, end = await engine.call("double", values)

    assert end["type"] == "failure"
    assert end["problem"]["type"] == "urn:slipway:problem:input-invalid"
    assert end["problem"]["errors"] == [{"path": "/amount", "message": message}]


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("procedures/absent", b"{}", 404, "service-unknown"),
        ("procedures/double", b"not json", 400, "body-malformed"),
        ("procedures/double", b"[1]", 400, "body-malformed"),
        ("procedures/double", b'{"amount": NaN}', 400, "body-malformed"),
        ("interrupt", b'{"scope": "all"}', 400, "body-malformed"),
        ("absent", b"{}", 404, "not-found"),
    ],
)
async def test_request_that_cannot_be_served_gets_a_problem(
    start_engine: StartEngine, archive: bytes, path, body, status, kind
) -> None:
    async with start_engine(archive) as engine:
        await engine.until_loaded()
        async with engine.client.post(f"/_slipway/{path}", data=body) as answer:
            problem = json.loads(await answer.text())

    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    assert problem["type"] == f"urn:slipway:problem:{kind}"


async def test_procedure_that_raises_names_its_line_and_no_machine(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive) as engine:
        await engine.until_loaded()
        _, end = await engine.call("fail", {})
        log = engine.output.read_text("utf-8")

    problem = end["problem"]
    assert problem["type"] == "urn:slipway:problem:procedure-failed"
    assert "FileNotFoundError" in problem["detail"]
    line = 1 + next(n for n, text in enumerate(MODEL.splitlines()) if "/nowhere" in text)
    assert problem["detail"].endswith(f"(model.py, line {line})")
    assert 'return {"content": open("/nowhere/at/all")}' in log
    assert str(Path(sys.prefix)) not in log


async def test_second_run_is_refused_while_one_goes_on(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive) as engine:
        await engine.until_loaded()
        async with engine.client.post(
            "/_slipway/procedures/spin", json={}, headers={"Slipway-Task-Id": "task-1"}
        ) as running:
            first = json.loads(await running.content.readline())
            async with engine.client.post("/_slipway/procedures/spin", json={}) as second:
                problem = json.loads(await second.text())
            async with engine.client.post(
                "/_slipway/interrupt", json={"scope": "solve"}, headers={"Slipway-Task-Id": "other"}
            ) as wrong_run:
                pass
            assert (await engine.health())[0] == 200
            assert await engine.interrupt("solve") == 202
            last = json.loads(await running.content.readline())

    assert (first["message"], first["fraction"]) == ("spinning", 0.25)
    assert (second.status, problem["type"]) == (409, "urn:slipway:problem:busy")
    assert wrong_run.status == 409
    assert (last["outcome"], last["value"]) == ("interrupted", {"stopped": True})


async def test_interrupt_before_any_solution_is_a_failure_that_says_so(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive) as engine:
        await engine.until_loaded()
        async with (
            asyncio.timeout(20),
            engine.client.post("/_slipway/procedures/split", json={}) as running,
        ):
            assert json.loads(await running.content.readline())["state"] == "solving"
            assert await engine.interrupt("solve") == 202
            last = json.loads((await running.content.read()).splitlines()[-1])

    assert last["problem"]["type"] == "urn:slipway:problem:interrupted"
    assert last["problem"]["detail"] == "The solve was interrupted before a solution was found."


@pytest.mark.parametrize("service", ["spin", "split"])
async def test_interrupt_of_the_execution_ends_the_procedure(
    start_engine: StartEngine, archive: bytes, service: str
) -> None:
    async with start_engine(archive) as engine:
        await engine.until_loaded()
        async with (
            asyncio.timeout(20),
            engine.client.post(f"/_slipway/procedures/{service}", json={}) as running,
        ):
            await running.content.readline()
            assert await engine.interrupt("execution") == 202
            last = json.loads((await running.content.read()).splitlines()[-1])
        _, after = await engine.call("double", {"amount": 1})

    assert last["problem"]["type"] == "urn:slipway:problem:interrupted"
    assert after["value"]["doubled"] == 2


async def test_interrupt_with_nothing_to_interrupt_does_nothing(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive) as engine:
        await engine.until_loaded()
        assert await engine.interrupt("execution") == 202
        _, end = await engine.call("double", {"amount": 1})

    assert end["outcome"] == "completed"


async def test_client_that_goes_away_ends_its_run(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive) as engine:
        await engine.until_loaded()
        running = await engine.client.post("/_slipway/procedures/spin", json={})
        await running.content.readline()
        running.close()

        async with asyncio.timeout(5):
            while True:
                async with engine.client.post(
                    "/_slipway/procedures/double", json={"amount": 3}
                ) as answer:
                    if answer.status == 200:
                        end = json.loads(await answer.text())
                        break
                await asyncio.sleep(0.01)

    assert end["value"]["doubled"] == 6


async def test_engine_ends_in_time_in_the_middle_of_a_solve(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive) as engine:
        await engine.until_loaded()
        async with engine.client.post("/_slipway/procedures/split", json={}) as running:
            await running.content.readline()
            engine.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(5):
                assert await engine.process.wait() == 0


async def test_app_is_never_on_disk(start_engine: StartEngine, archive: bytes) -> None:
    async with start_engine(archive, kind="webui") as engine:
        await engine.until_loaded()
        await engine.call("double", {"amount": 1})
        await engine.call("fail", {})
        async with engine.client.get("/") as page:
            assert page.status == 200
        written = list(engine.folder.rglob("*"))
        log = engine.output.read_bytes()

    assert written == []
    assert b"marker-printed" in log
    assert b"marker-in-data" not in log


async def test_only_a_webui_session_has_a_page(start_engine: StartEngine, archive: bytes) -> None:
    async with start_engine(archive, kind="task") as engine:
        await engine.until_loaded()
        async with engine.client.get("/") as answer:
            assert answer.status == 404
