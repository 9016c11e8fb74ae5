"""The web page: its document, the form with and without script, and the live channel."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import aiohttp
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

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
        references = set(re.findall(r'(?:src|href|action|formaction)="([^"]*)"', text)) - {"data:,"}
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


PLAIN_MODEL = """
from pydantic import BaseModel
from slipway_open import App, Run, field

app = App(title="Greetings")

class Inputs(BaseModel):
    name: str = field("World", "Name")
    wait: bool = False

@app.service("greet", title="Greet")
def greet(run: Run, inputs: Inputs) -> dict:
    run.log("greeting " + inputs.name)
    model = run.highs()
    model.addBinary()
    while inputs.wait and not run.stop_requested():
        pass
    if inputs.name == "solver":
        run.solve(model)
    return {"text": "Hello", "parts": {"<name>": inputs.name}, "sizes": [1, 2.5]}
"""


@pytest.fixture
def plain_archive() -> bytes:
    return app_archive({"model.py": PLAIN_MODEL})


async def greet(engine: EngineProcess, **values: str) -> None:
    async with engine.client.post("/run", data=values, headers=JSON) as answer:
        assert answer.status == 202


async def test_result_without_views_is_shown_name_by_name(
    start_engine: StartEngine, plain_archive: bytes
) -> None:
    async with start_engine(plain_archive, kind="webui") as engine:
        await engine.until_loaded()
        await greet(engine, name="Ada")
        text = await until(engine, "completed")

    assert "<dt>text</dt><dd>Hello</dd>" in text
    assert "<dt>parts</dt><dd>{&quot;&lt;name&gt;&quot;:&quot;Ada&quot;}</dd>" in text
    assert "<dt>sizes</dt><dd>[1,2.5]</dd>" in text
    assert 'class="card plot-card" hidden' in text
    assert 'href="icon"' not in text


async def test_declared_result_is_not_shown_twice(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive, kind="webui") as engine:
        await engine.until_loaded()
        await post_form(engine, {"amount": "2"})
        text = await until(engine, "completed")

    assert '<dl id="plain"></dl>' in text


async def test_chart_of_the_search_comes_with_the_first_solution(
    start_engine: StartEngine, plain_archive: bytes
) -> None:
    async with start_engine(plain_archive, kind="webui") as engine:
        await engine.until_loaded()
        await greet(engine, name="solver")
        text = await until(engine, "completed")

    assert 'class="card plot-card">' in text


async def test_log_of_a_run_is_printed_unless_its_caller_reads_it(
    start_engine: StartEngine, plain_archive: bytes
) -> None:
    async with start_engine(plain_archive, kind="webui") as engine:
        await engine.until_loaded()
        await engine.call("greet", {"name": "caller"})
        await greet(engine, name="solver")
        await until(engine, "completed")
        printed = engine.output.read_text("utf-8").splitlines()
        async with engine.client.get("/state") as answer:
            shown = (await answer.json())["log"]

    assert "greeting caller" not in printed
    assert shown[0] == "greeting solver"
    assert len(shown) > 1
    assert [line for line in printed if line in shown] == shown


async def test_unknown_field_of_a_form_is_named(start_engine: StartEngine, archive: bytes) -> None:
    async with start_engine(archive, kind="webui") as engine:
        await engine.until_loaded()
        scripted = await post_form(engine, {"amount": "2", "amuont": "3"}, headers=JSON)
        problem = await scripted.json(content_type=None)
        plain = await (await post_form(engine, {"amount": "2", "amuont": "3"})).text()

    assert (scripted.status, problem["errors"][0]["path"]) == (422, "/amuont")
    assert "/amuont There is no such field. Known are: amount, wait." in plain


async def test_cancelled_run_leaves_the_figures_of_the_one_before(
    start_engine: StartEngine, archive: bytes
) -> None:
    async with start_engine(archive, kind="webui") as engine:
        await engine.until_loaded()
        await post_form(engine, {"amount": "2"})
        await until(engine, "completed")
        async with asyncio.timeout(10), engine.client.ws_connect("/live") as tab:
            await tab.receive_json()
            await post_form(engine, {"amount": "3", "wait": "true"})
            await until(engine, "running")
            await engine.client.post("/interrupt?scope=execution", headers=JSON)
            messages = [await tab.receive_json() for _ in range(3)]
        text = await until(engine, "cancelled")

    assert messages[-1]["now"] == "cancelled"
    assert messages[-1]["value"]["total"] == 1000.5
    assert "problem" not in messages[-1]
    assert "1,000.5 kg" in text
    assert '<div id="problem" class="problem" role="alert" hidden>' in text


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox"]
        )
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def reachable(engine: EngineProcess) -> AsyncIterator[str]:
    """Give an address for a browser, which has no way to a Unix socket."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = str(engine.folder.parent / "engine.sock")
        inner_reader, inner_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(carry(reader, inner_writer), carry(inner_reader, writer))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


async def open_page(browser: Browser, address: str) -> tuple[Page, list[str]]:
    page = await browser.new_page()
    mistakes: list[str] = []
    page.on("console", lambda said: mistakes.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    await page.goto(address)
    await expect(page.locator("body[data-live]")).to_be_visible()
    return page, mistakes


async def test_browser_shows_a_plain_result_and_a_cancelled_run(
    start_engine: StartEngine, plain_archive: bytes, browser: Browser
) -> None:
    async with start_engine(plain_archive, kind="webui") as engine:
        await engine.until_loaded()
        async with reachable(engine) as address:
            page, mistakes = await open_page(browser, address)
            await expect(page.locator("#plot-card")).to_be_hidden()
            await page.fill("[name=name]", "Ada")
            await page.click("#run")
            await expect(page.locator("#plain")).to_contain_text('{"<name>":"Ada"}')
            await page.check("[name=wait]")
            await page.click("#run")
            await page.click("#cancel")
            await expect(page.locator("#status-text")).to_contain_text("Cancelled")
            await expect(page.locator("#plain")).to_contain_text("Hello")
            await expect(page.locator("#problem")).to_be_hidden()
            await expect(page.locator("#plot-card")).to_be_hidden()
            await page.close()

    assert mistakes == []


@pytest.mark.parametrize("status", [409, 503])
async def test_browser_says_that_the_session_is_over(
    start_engine: StartEngine, plain_archive: bytes, browser: Browser, status: int
) -> None:
    async with start_engine(plain_archive, kind="webui") as engine:
        await engine.until_loaded()
        async with reachable(engine) as address:
            page, _ = await open_page(browser, address)
            await page.route("**/*", lambda route: route.fulfill(status=status))
            engine.process.kill()
            toast = page.locator("#toast")
            await expect(toast).to_contain_text("Trying again")
            await expect(toast).to_have_text(
                "This session is over. Launch the app again from the portal.", timeout=15_000
            )
            await page.close()
