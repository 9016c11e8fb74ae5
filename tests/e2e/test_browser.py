"""A person in Chromium: logs on, launches depots, changes an input, solves, sees the result."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from slipway_common.contracts.views import SessionState
from support.demo import Demo
from support.waiting import wait_for

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(20_000)
    yield context.new_page()
    context.close()


@pytest.fixture
def pictures(repository: Path) -> Path:
    folder = repository / "test-results" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def log_on(page: Page, demo: Demo, *, password: str | None = None) -> None:
    page.goto(demo.url)
    page.fill("#account", "demo")
    page.fill("#user", "admin")
    page.fill("#password", password or demo.password)
    page.click("#log-on")


@pytest.mark.timeout(180)
def test_a_person_launches_depots_changes_an_input_and_sees_the_result(
    demo: Demo, page: Page, pictures: Path
) -> None:
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.goto(demo.url)
    page.screenshot(path=pictures / "1-log-on.png")
    log_on(page, demo)

    expect(page.locator("[data-app=depots]")).to_be_visible()
    page.screenshot(path=pictures / "2-apps.png")

    page.locator("[data-app=depots]").get_by_role("button", name="Launch").first.click()
    page.wait_for_url(re.compile(r"/sessions/[0-9a-f-]{36}"))
    session_id = page.url.rpartition("/")[2].partition("?")[0]
    page.screenshot(path=pictures / "3-launch.png")

    page.wait_for_url(re.compile(rf"http://{session_id}\.sessions\.localhost"), timeout=60_000)
    assert "ticket" not in page.url
    expect(page.locator("#run")).to_be_enabled()
    page.fill("input[name=max_depots]", "4")
    page.screenshot(path=pictures / "4-input.png")

    page.click("#run")
    body = page.locator("body")
    expect(body).to_have_attribute("data-state", "solving", timeout=20_000)
    plot = page.locator("#plot")
    seen = set()
    wait_for(lambda: seen.add(plot.inner_html()) or len(seen) >= 8, what="the plot to move")
    page.screenshot(path=pictures / "5-solving.png")

    if body.get_attribute("data-state") == "solving":
        page.click("#interrupt")
    over = re.compile("completed|interrupted")
    expect(body).to_have_attribute("data-state", over, timeout=60_000)
    expect(page.locator("#figures")).to_be_visible()
    depots = page.locator("#map [data-kind=depot], #map .depot, #map circle")
    assert depots.count() > 0
    page.screenshot(path=pictures / "6-result.png", full_page=True)

    page.goto(f"{demo.url}/sessions")
    page.screenshot(path=pictures / "7-sessions.png")
    page.goto(f"{demo.url}/sessions/{session_id}")
    page.locator("#stop summary").click()
    page.click("#stop-button")
    wait_for(lambda: demo.client.sessions.get(session_id).state is SessionState.ENDED)
    expect(page.locator("#headline")).to_contain_text(re.compile("stopp|ended|over", re.IGNORECASE))
    page.screenshot(path=pictures / "8-stopped.png")
    assert troubles == []


WAITS = """
    INSERT INTO sessions (
        id, account_id, user_id, kind, app_id, state, message, stage, expected_at
    )
    SELECT $1, a.id, u.id, 'webui', p.id, 'starting', 'Waiting for a machine with room for it',
           'waiting-for-node', now() + interval '90 seconds'
      FROM accounts a
      JOIN users u ON u.account_id = a.id AND u.name = 'admin'
      JOIN packages p ON p.account_id = a.id AND p.name = 'probe' AND p.state = 'ready'
     WHERE a.name = 'demo'
     LIMIT 1
"""
OVERDUE = "UPDATE sessions SET expected_at = now() - interval '1 second' WHERE id = $1"


def test_a_wait_for_a_node_counts_down_and_promises_nothing_once_it_is_late(
    demo: Demo, page: Page, browser: Browser, pictures: Path
) -> None:
    session_id = uuid4()
    demo.running.call(demo.sql(WAITS, session_id))
    log_on(page, demo)

    page.goto(f"{demo.url}/sessions/{session_id}")
    expect(page.locator("#headline")).to_have_text("Waiting for a machine")
    left = page.locator("#wait-left")
    expect(left).to_have_text(re.compile(r"1 min \d\d s"))
    seen = {left.inner_text()}
    wait_for(lambda: seen.add(left.inner_text()) or len(seen) >= 3, what="the countdown")
    page.screenshot(path=pictures / "10-waiting.png")

    plain = browser.new_context(java_script_enabled=False).new_page()
    log_on(plain, demo)
    plain.goto(f"{demo.url}/sessions/{session_id}")
    expect(plain.locator("#wait")).to_contain_text("left, going by earlier waits")
    plain.context.close()

    demo.running.call(demo.sql(OVERDUE, session_id))
    expect(left).to_have_text("Any moment now")
    expect(page.locator("#wait-words")).to_contain_text("longer than earlier waits")
    demo.client.sessions.stop(session_id)
    expect(page.locator("#wait")).to_have_count(0)


def test_the_page_of_a_session_draws_what_it_uses(demo: Demo, page: Page, pictures: Path) -> None:
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    session = demo.client.sessions.launch("probe")
    wait_for(lambda: demo.client.sessions.get(session.id).state is SessionState.RUNNING)
    log_on(page, demo)

    page.goto(f"{demo.url}/sessions/{session.id}")
    expect(page.locator("#charts")).to_be_visible()
    expect(page.locator("#use-memory .use-now")).to_contain_text(re.compile(r"\d MiB"))
    expect(page.locator("#chart-memory .chart-line")).to_have_attribute("d", re.compile("M.+L"))
    expect(page.locator("#chart-cpu .chart-now")).to_contain_text("core")
    page.screenshot(path=pictures / "9-use.png", full_page=True)

    demo.client.sessions.stop(session.id)
    expect(page.locator("#use-note")).to_have_text("It runs no more.")
    assert troubles == []


def test_a_wrong_password_is_told_on_the_page(demo: Demo, page: Page) -> None:
    log_on(page, demo, password="not the password")

    expect(page.locator("#refused")).to_be_visible()
    assert page.input_value("#user") == "admin"
    assert page.input_value("#password") == ""


def test_the_job_is_done_without_script(demo: Demo, browser: Browser) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_on(page, demo)
    page.locator("[data-app=probe]").get_by_role("button", name="Launch").first.click()
    session_id = page.url.rpartition("/")[2].partition("?")[0]
    wait_for(lambda: demo.client.sessions.get(session_id).state is SessionState.RUNNING)

    page.reload()
    page.click("#open-button")

    expect(page.locator("h1")).to_contain_text("Probe")
    demo.client.sessions.stop(session_id)
    context.close()


def test_the_portal_can_be_read_in_a_text_browser(demo: Demo) -> None:
    shown = subprocess.run(
        ["w3m", "-dump", f"{demo.url}/login"], capture_output=True, text=True, check=True
    ).stdout

    for word in ("Account", "User", "Password", "Log on"):
        assert word in shown


def test_a_session_cannot_read_the_portals_cookie_or_be_framed(demo: Demo, page: Page) -> None:
    log_on(page, demo)
    page.locator("[data-app=probe]").get_by_role("button", name="Launch").first.click()
    page.wait_for_url(re.compile(r"sessions\.localhost"), timeout=60_000)

    assert page.evaluate("document.cookie") == ""
    reached = page.evaluate(
        """async url => {
            try { return (await fetch(url, {credentials: "include"})).status } catch { return 0 }
        }""",
        f"{demo.url}/api/v1/me",
    )
    assert reached == 0
    session_id = page.url.split("//")[1].partition(".")[0]
    demo.client.sessions.stop(session_id)


def test_a_sibling_session_cannot_open_a_websocket_to_another(demo: Demo, page: Page) -> None:
    log_on(page, demo)
    page.locator("[data-app=probe]").get_by_role("button", name="Launch").first.click()
    page.wait_for_url(re.compile(r"sessions\.localhost"), timeout=60_000)
    first = page.url.split("//")[1].partition(".")[0]
    page.goto(f"{demo.url}/apps")
    page.locator("[data-app=probe]").get_by_role("button", name="Launch").first.click()
    page.wait_for_url(re.compile(rf"//(?!{first})[0-9a-f-]+\.sessions\.localhost"), timeout=60_000)
    second = page.url.split("//")[1].partition(".")[0]

    outcome = page.evaluate(
        """host => new Promise(done => {
            const socket = new WebSocket(`ws://${host}/live`);
            socket.onopen = () => done("open");
            socket.onerror = () => done("refused");
        })""",
        page.url.split("//")[1].partition("/")[0].replace(second, first),
    )

    assert outcome == "refused"
    for session_id in (first, second):
        demo.client.sessions.stop(session_id)
