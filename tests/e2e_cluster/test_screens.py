"""What a person sees of a session in a real pod: its launch, its use, and a wait for a machine."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from e2e_cluster.pods_demo import Pods, reach
from slipway_common.contracts.views import SessionState
from support.chromium import CHROMIUM, FLAGS
from support.demo import Demo


@pytest.fixture
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
        page.set_default_timeout(30_000)
        yield page
        browser.close()


@pytest.fixture
def pictures(repository: Path) -> Path:
    folder = repository / "test-results" / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def log_on(page: Page, demo: Demo) -> None:
    page.goto(demo.url)
    page.fill("#account", "demo")
    page.fill("#user", "admin")
    page.fill("#password", demo.password)
    page.click("#log-on")


@pytest.mark.timeout(180)
def test_a_launch_in_a_pod_is_seen_step_by_step_with_events_log_and_use(
    demo: Demo, page: Page, pictures: Path
) -> None:
    log_on(page, demo)
    page.locator("[data-app=depots]").get_by_role("button", name="Launch").first.click()
    page.wait_for_url(re.compile(r"/sessions/[0-9a-f-]{36}"))
    session_id = page.url.rpartition("/")[2].partition("?")[0]
    page.screenshot(path=pictures / "pod-1-launch.png")
    page.wait_for_url(re.compile(rf"http://{session_id}\.sessions\.localhost"), timeout=90_000)
    expect(page.locator("#run")).to_be_enabled()
    page.click("#run")
    page.screenshot(path=pictures / "pod-2-app.png")

    page.goto(f"{demo.url}/sessions/{session_id}")

    expect(page.locator("#node")).to_have_text("slipway-local")
    expect(page.locator("#timeline")).to_contain_text("Ready to use")
    expect(page.locator("#use")).to_be_visible()
    expect(page.locator("#use")).to_contain_text(re.compile(r"\d+ (of 1,?024 )?MiB"))
    page.screenshot(path=pictures / "pod-3-session.png", full_page=True)
    page.click("#log-link")
    expect(page.locator("body")).to_contain_text("session ready")
    page.screenshot(path=pictures / "pod-4-log.png")


@pytest.mark.timeout(180)
def test_a_session_that_waits_for_a_machine_says_so(
    demo: Demo, page: Page, pods: Pods, probe: Path, pictures: Path
) -> None:
    large = demo.copy_of(probe, version="1.0.0", name="roomy")
    manifest = large / "slipway.toml"
    text = manifest.read_text()
    manifest.write_text(text.replace('name = "roomy"', 'name = "roomy"\nprofile = "huge"'))
    demo.publish_app(large)
    session = demo.client.sessions.launch("roomy")
    log_on(page, demo)

    page.goto(f"{demo.url}/sessions/{session.id}")

    expect(page.locator("#wait")).to_be_visible()
    page.screenshot(path=pictures / "pod-5-waits-for-a-machine.png", full_page=True)
    found = demo.client.sessions.get(session.id)
    assert (found.state, found.stage) == (SessionState.STARTING, "waiting-for-node")
    assert pods.of(session.id) is not None
    demo.client.sessions.stop(session.id)
    reach(demo, session, SessionState.ENDED)
