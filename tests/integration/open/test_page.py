"""The web page: its document, the form with and without script, and the live channel."""

import asyncio
import re
from urllib.parse import urlencode

import aiohttp
import pytest

from .conftest import EngineProcess, StartEngine, app_archive

MODEL = """
from pydantic import BaseModel
from slipway_open import App, Column, Figure, Page, Run, TableView, field

app = App(
    title="Bread & <Butter>",
    page=Page(
        figures=(Figure(key="total", title="Total", unit="kg", decimals=1),),
        tables=(TableView(key="rows", title="Rows", columns=(Column(key="name", title="Name"),)),),
    ),
)

class Inputs(BaseModel):
    amount: int = field(3, "Amount", minimum=1, maximum=10)
    wait: bool = False

@app.service("bake", title="Bake")
def bake(run: Run, inputs: Inputs) -> dict:
    run.progress(0.5, "baking")
    while inputs.wait and not run.stop_requested():
        pass
    return {"total": inputs.amount * 500.25, "rows": [{"name": "<loaf>"}]}
"""


@pytest.fixture
def archive() -> bytes:
    return app_archive({"model.py": MODEL})


JSON = {"accept": "application/json"}


async def post_form(engine: EngineProcess, values: dict, **options) -> aiohttp.ClientResponse:
    return await engine.client.post(
        "/run?service=bake", data=urlencode(values).encode(), allow_redirects=False, **options
    )


async def until(engine: EngineProcess, state: str) -> str:
    async with asyncio.timeout(5):
        while True:
            async with engine.client.get("/") as answer:
                text = await answer.text()
            if f'data-state="{state}"' in text:
                return text


async def test_page_has_its_form_and_nothing_from_elsewhere(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive, kind="webui") as engine:
        await engine.until_loaded()
        async with engine.client.get("/") as answer:
            text = await answer.text()
            policy = answer.headers["content-security-policy"]
        references = set(re.findall(r'(?:src|href|action|formaction)="([^"]*)"', text))
        for reference in references - {"run?service=bake", "interrupt", "icon"}:
            if not reference.startswith("interrupt"):
                async with engine.client.get(f"/{reference}") as asset:
                    assert asset.status == 200

    assert not [reference for reference in references if re.match(r"/|[a-z]+:", reference)]
    assert "Bread &amp; &lt;Butter&gt;" in text
    assert 'data-state="idle"' in text
    assert re.search(r'<input type="number"[^>]*name="amount"[^>]*value="3" min="1" max="10"', text)
    for identity in ("run", "interrupt", "status", "plot", "map", "figures"):
        assert f'id="{identity}"' in text
    assert "<script>" not in text
    assert "unsafe" not in policy
    assert "style=" not in text


async def test_form_without_script_shows_the_result_as_a_page(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive, kind="webui") as engine:
        await engine.until_loaded()
        answer = await post_form(engine, {"amount": "2"})
        text = await until(engine, "completed")

    assert (answer.status, answer.headers["location"]) == (303, "./")
    assert "1,000.5 kg" in text
    assert "&lt;loaf&gt;" in text


async def test_page_reloads_itself_only_while_a_run_goes_on(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive, kind="webui") as engine:
        await engine.until_loaded()
        await post_form(engine, {"amount": "2", "wait": "true"})
        running = await until(engine, "running")
        await engine.client.post("/interrupt", allow_redirects=False)
        ended = await until(engine, "interrupted")

    assert 'http-equiv="refresh"' in running
    assert 'http-equiv="refresh"' not in ended


async def test_wrong_value_stays_in_the_form_with_its_message(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive, kind="webui") as engine:
        await engine.until_loaded()
        plain = await post_form(engine, {"amount": "99"})
        text = await plain.text()
        scripted = await post_form(engine, {"amount": "99"}, headers=JSON)
        problem = await scripted.json(content_type=None)

    assert (plain.status, scripted.status) == (422, 422)
    assert 'value="99"' in text
    assert "less than or equal to 10" in text
    assert problem["errors"][0]["path"] == "/amount"


async def test_all_tabs_see_the_same_run(start_engine: StartEngine, archive: bytes) -> None:
    async with start_engine(archive, kind="webui") as engine:
        await engine.until_loaded()
        async with (
            asyncio.timeout(10),
            engine.client.ws_connect("/live") as first,
            engine.client.ws_connect("/live") as second,
        ):
            greetings = [await tab.receive_json() for tab in (first, second)]
            await post_form(engine, {"amount": "2", "wait": "true"}, headers=JSON)
            starts = [await tab.receive_json() for tab in (first, second)]
            progress = [await tab.receive_json() for tab in (first, second)]
            async with engine.client.ws_connect("/live") as late:
                caught_up = await late.receive_json()
            await engine.client.post("/interrupt", headers=JSON)
            ends = [await tab.receive_json() for tab in (first, second)]

    assert [greeting["state"] for greeting in greetings] == ["idle", "idle"]
    assert starts[0] | {"elapsed": 0} == starts[1] | {"elapsed": 0}
    assert [message["message"] for message in progress] == ["baking", "baking"]
    assert caught_up["progress"]["fraction"] == 0.5
    assert [(end["now"], end["value"]["total"]) for end in ends] == [("interrupted", 1000.5)] * 2


async def test_run_goes_on_when_the_tab_is_closed(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive, kind="webui") as engine:
        await engine.until_loaded()
        async with engine.client.ws_connect("/live") as tab:
            await post_form(engine, {"amount": "2", "wait": "true"}, headers=JSON)
            await tab.receive_json()
        await until(engine, "running")
        await engine.client.post("/interrupt", allow_redirects=False)
        text = await until(engine, "interrupted")

    assert "1,000.5 kg" in text


async def test_other_sites_may_not_start_a_run(start_engine: StartEngine, archive: bytes) -> None:
    elsewhere = {"sec-fetch-site": "cross-site"}
    async with start_engine(archive, kind="webui") as engine:
        await engine.until_loaded()
        refused = await post_form(engine, {"amount": "2"}, headers=elsewhere)
        with pytest.raises(aiohttp.WSServerHandshakeError):
            await engine.client.ws_connect("/live", headers=elsewhere)

    assert refused.status == 403
