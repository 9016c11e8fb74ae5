"""Launching, watching and stopping work with forms alone, and never at another site's wish."""

from datetime import timedelta
from uuid import uuid4

import pytest

from slipway_common.blobs.names import session_log_blob
from slipway_common.contracts.sessions import LaunchRequested, SessionKind, StopRequested
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import ApiKeyView, Progress, SessionState, SessionStep
from slipway_gateway.portal.apps import categories
from slipway_gateway.portal.progress import StageStatus, timeline
from unit.gateway.portal.documents import read
from unit.gateway.portal.fakes import (
    NOW,
    Platform,
    ago,
    app_view,
    principal,
    session_view,
    task_view,
)


@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://a.sessions.test:8080"])
def test_no_form_is_taken_from_another_site(platform: Platform, origin: str) -> None:
    session, task = session_view(), task_view()
    platform.add(session, task)
    forms = {
        "/launch": {"app": "depots", "version": "1.0.0", "key": "k"},
        f"/sessions/{session.id}/open": {},
        f"/sessions/{session.id}/stop": {},
        f"/tasks/{task.id}/interrupt": {"scope": "solve"},
        "/account/limits": {"webui_idle_seconds": "60"},
        "/account/api-keys": {"name": "x", "scopes": "read", "expires_in_days": "1"},
        f"/account/api-keys/{uuid4()}/revoke": {},
        "/logout": {},
    }
    assert len(forms) == len(platform.forms) - len(["/login"])
    for address, data in forms.items():
        for headers in ({"Origin": origin}, {"Origin": origin, "Sec-Fetch-Site": "cross-site"}):
            response = platform.browser.post(address, data=data, headers=headers)
            assert response.status_code == 403, address
            assert "text/html" in response.headers["content-type"]

    assert not platform.publisher.published
    assert not platform.accounts.launches
    assert not platform.accounts.interrupted
    assert not platform.accounts.revoked
    assert not platform.accounts.keys


def test_a_form_without_any_origin_is_refused(platform: Platform) -> None:
    del platform.browser.headers["Origin"]

    response = platform.browser.post(
        "/launch", data={"app": "depots", "version": "1.0.0", "key": "k"}
    )

    assert response.status_code == 403


def test_a_launch_sent_twice_gives_one_session(platform: Platform) -> None:
    form = read(platform.browser.get("/apps").text).find("form", action="/launch")[0]

    first = platform.browser.post("/launch", data=form.fields())
    second = platform.browser.post("/launch", data=form.fields())

    assert first.status_code == second.status_code == 303
    assert first.headers["location"] == second.headers["location"]
    assert len(platform.accounts.known) == 1
    events = platform.publisher.published
    assert {type(event) for event in events} == {LaunchRequested}
    assert len({event.subject for event in events}) == 1


def test_each_shown_form_has_a_key_of_its_own(platform: Platform) -> None:
    platform.accounts.catalogue = [app_view(f"app-{number}") for number in range(3)]

    keys = [
        form.fields()["key"]
        for _ in range(2)
        for form in read(platform.browser.get("/apps").text).find("form", action="/launch")
    ]

    assert len(keys) == len(set(keys)) == 6


@pytest.mark.parametrize("address", ["/launch/depots/1.0.0", "/launch/depots/tag/latest"])
def test_a_link_to_a_launch_only_shows_the_button(platform: Platform, address: str) -> None:
    page = read(platform.browser.get(address).text)

    assert not platform.accounts.launches
    form = page.find("form", action="/launch")[0]
    assert platform.browser.post("/launch", data=form.fields()).status_code == 303


def test_a_link_to_a_replaced_version_offers_the_newest(platform: Platform) -> None:
    platform.accounts.catalogue = [app_view(version="2.0"), app_view(version="1.0", latest=False)]

    old = platform.browser.get("/launch/depots/1.0")
    gone = platform.browser.get("/launch/depots/0.9")

    assert old.status_code == 200
    assert gone.status_code == 404
    for answer in (old, gone):
        assert read(answer.text).find("a", href="/launch/depots/tag/latest")


def test_older_versions_lie_under_the_newest_and_other_comes_last() -> None:
    apps = [
        app_view("zeta", "1", category="other"),
        app_view("beta", "2", category="planning", published_at=ago(5)),
        app_view("beta", "1", category="planning", published_at=ago(9), latest=False),
        app_view("alpha", "1", category="Planning"),
        app_view("omega", "1", category="Zoo"),
    ]

    found = categories(apps)

    assert [category.name for category in found] == ["Planning", "Zoo", "other"]
    assert [tile.app.name for tile in found[0].tiles] == ["alpha", "beta"]
    assert [old.version for old in found[0].tiles[1].older] == ["1"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("BUILD", ["a", "b"]),
        ("a logis", ["a"]),
        ("2.5", ["b"]),
        ("nothing", []),
        ("  ", ["a", "b"]),
    ],
)
def test_search_finds_all_words_anywhere(words: str, names: list[str]) -> None:
    apps = [
        app_view("a", "1", title="Alpha", category="Logistics"),
        app_view("b", "2.5", title="Beta", category="Shops"),
    ]

    found = categories(apps, words=words)

    assert [tile.app.name for category in found for tile in category.tiles] == names


def test_more_apps_than_one_call_brings_are_all_shown(platform: Platform) -> None:
    platform.accounts.catalogue = [app_view(f"app-{number}") for number in range(450)]

    assert len(read(platform.browser.get("/apps").text).find("li", class_="card tile")) == 450


@pytest.mark.parametrize(("publisher", "words"), [(True, "slipway publish"), (False, "Ask")])
def test_an_empty_catalogue_says_what_to_do(
    platform: Platform, publisher: bool, words: str
) -> None:
    platform.accounts.catalogue = []
    platform.accounts.me = principal(publisher=publisher)

    assert words in platform.browser.get("/apps").text


def test_what_cannot_be_launched_is_told_on_a_page(platform: Platform) -> None:
    wrong = platform.browser.post("/launch", data={"app": "../x", "version": "1", "key": "k"})
    reused = [
        platform.browser.post("/launch", data={"app": app, "version": "1.0.0", "key": "same"})
        for app in ("depots", "other")
    ][1]

    assert wrong.status_code == reused.status_code == 422
    assert read(wrong.text).find("section", id="problem")
    assert read(reused.text).find("section", id="problem")


@pytest.mark.parametrize("state", [s for s in SessionState if not s.over])
def test_a_page_that_waits_refreshes_without_script(
    platform: Platform, state: SessionState
) -> None:
    session = session_view(state)
    platform.add(session)

    page = read(platform.browser.get(f"/sessions/{session.id}").text)

    assert page.find("span", id="state")[0].attributes["data-state"] == state
    refreshes = page.find("meta", **{"http-equiv": "refresh"})
    assert bool(refreshes) is (state is not SessionState.RUNNING)
    assert bool(page.find("form", action=f"/sessions/{session.id}/open")) is (
        state is SessionState.RUNNING
    )


def test_a_queued_session_says_its_place(platform: Platform) -> None:
    session = session_view(SessionState.QUEUED, queue_position=3)
    platform.add(session)

    page = read(platform.browser.get(f"/sessions/{session.id}").text)

    assert page.find("h1", id="headline")[0].text == "3rd in the queue"


def test_opening_leads_to_the_sessions_own_host_and_the_page_allows_it(platform: Platform) -> None:
    session = session_view()
    platform.add(session)
    page = platform.browser.get(f"/sessions/{session.id}")

    response = platform.browser.post(f"/sessions/{session.id}/open")

    assert (
        "form-action 'self' http://*.sessions.test:8080;"
        in (page.headers["content-security-policy"])
    )
    assert response.status_code == 303
    assert response.headers["location"] == (
        f"http://{session.id}.sessions.test:8080/_slipway/enter?ticket=one-time"
    )
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("state", [SessionState.STARTING, SessionState.ENDED])
def test_opening_what_cannot_be_opened_leads_to_its_page(
    platform: Platform, state: SessionState
) -> None:
    session = session_view(state)
    platform.add(session)

    response = platform.browser.post(f"/sessions/{session.id}/open")

    assert response.headers["location"] == f"/sessions/{session.id}"


def test_stopping_asks_first_and_is_told_to_the_mesh(platform: Platform) -> None:
    session = session_view()
    platform.add(session)
    page = read(platform.browser.get(f"/sessions/{session.id}").text)
    confirmation = page.find("details", id="stop")[0]

    form = confirmation.find("form")[0]
    response = platform.browser.post(form.attributes["action"])

    assert response.headers["location"] == f"/sessions/{session.id}"
    assert [type(event) for event in platform.publisher.published] == [StopRequested]


def test_stopping_what_is_over_changes_nothing(platform: Platform) -> None:
    session = session_view(SessionState.ENDED)
    platform.add(session)

    assert platform.browser.post(f"/sessions/{session.id}/stop").status_code == 303
    assert not platform.publisher.published


def test_only_whoever_launched_a_session_is_offered_to_open_it(platform: Platform) -> None:
    platform.accounts.me = principal(user="grace", admin=True)
    mine, other = session_view(user="grace"), session_view(user="ada")
    task = session_view(user="grace", kind=SessionKind.TASK)
    platform.add(mine, other, task)

    page = read(platform.browser.get("/sessions").text)

    offered = {form.attributes["action"] for form in page.find("form")}
    assert f"/sessions/{mine.id}/open" in offered
    assert f"/sessions/{other.id}/open" not in offered
    assert f"/sessions/{task.id}/open" not in offered
    assert f"/sessions/{other.id}/stop" in offered
    assert page.find("td", **{"data-label": "User"})


def test_ended_sessions_are_shown_on_demand_page_by_page(platform: Platform) -> None:
    platform.add(*(session_view(SessionState.ENDED) for _ in range(60)))

    assert not read(platform.browser.get("/sessions").text).find("table")
    rows, address = 0, "/sessions?all=1"
    while address:
        page = read(platform.browser.get(address).text)
        rows += len(page.find("tbody")[0].find("tr"))
        following = page.find("a", rel="next")
        address = following[0].attributes["href"] if following else ""
    assert rows == 60


def test_the_log_is_shown_as_text(platform: Platform) -> None:
    session = session_view()
    platform.add(session)
    name = session_log_blob(session.id)
    platform.vault.blobs[name] = b"start\n<script>alert(1)</script>\n\xff" + b"x" * 300_000 + b"end"

    response = platform.browser.get(f"/sessions/{session.id}/log")

    page = read(response.text)
    assert page.find("pre", id="log")[0].text.endswith("end")
    assert "Only the end is shown" in response.text
    platform.vault.blobs[name] = b"<script>alert(1)</script>"
    assert "<script>alert" not in platform.browser.get(f"/sessions/{session.id}/log").text
    platform.vault.blobs.clear()
    assert "Nothing has been written" in platform.browser.get(f"/sessions/{session.id}/log").text


def test_the_timeline_tells_what_was_what_is_and_what_comes() -> None:
    view = session_view(
        SessionState.STARTING,
        steps=(
            SessionStep(at=ago(10), state=SessionState.REQUESTED),
            SessionStep(at=ago(9), state=SessionState.QUEUED),
            SessionStep(at=ago(5), state=SessionState.STARTING, message="Starting"),
            SessionStep(at=ago(3), state=SessionState.STARTING, message="Fetching app"),
        ),
    )

    stages = timeline(view, now=NOW)

    assert [stage.status for stage in stages] == [
        StageStatus.DONE,
        StageStatus.DONE,
        StageStatus.CURRENT,
        StageStatus.AHEAD,
    ]
    assert stages[1].lasted == timedelta(seconds=4)
    assert [note.text for note in stages[2].notes] == ["Fetching app"]


def test_tasks_show_how_far_they_are_and_can_be_interrupted(platform: Platform) -> None:
    solving = task_view(progress=Progress(state="solving", objective=1234.5, gap=0.031))
    done = task_view(TaskState.COMPLETED)
    failed = task_view(TaskState.FAILED, problem={"title": "No plan is feasible"})
    platform.add(solving, done, failed)

    response = platform.browser.get("/tasks")
    page = read(response.text)

    assert "Objective 1,234.5, gap 3.1\xa0%" in page.text
    assert "No plan is feasible" in response.text
    assert page.find("a", href=f"/api/v1/tasks/{done.id}/response")
    form = page.find("form", action=f"/tasks/{solving.id}/interrupt")[0]
    for button in form.find("button"):
        scope = button.attributes["value"]
        answer = platform.browser.post(form.attributes["action"], data={"scope": scope})
        assert answer.headers["location"] == "/tasks"
    assert platform.accounts.interrupted == [(solving.id, "solve"), (solving.id, "execution")]


def test_interrupting_what_is_over_just_shows_the_list(platform: Platform) -> None:
    task = task_view(TaskState.COMPLETED)
    platform.add(task)

    response = platform.browser.post(f"/tasks/{task.id}/interrupt", data={"scope": "solve"})

    assert response.headers["location"] == "/tasks"


def test_a_key_is_made_with_a_form_and_shown_once(platform: Platform) -> None:
    made = platform.browser.post(
        "/account/api-keys",
        data={"name": "nightly", "scopes": ["read", "tasks"], "expires_in_days": "30"},
    )

    assert made.status_code == 201
    assert made.headers["cache-control"] == "no-store"
    field = read(made.text).find("input", id="new-key")[0]
    assert field.attributes["value"] == "slp_shown-once"
    assert platform.accounts.keys[0].scopes == ("read", "tasks")
    again = platform.browser.get("/account").text
    assert "nightly" in again
    assert "slp_shown-once" not in again


@pytest.mark.parametrize(
    "data",
    [
        {"name": "", "scopes": "read", "expires_in_days": "30"},
        {"name": "x", "expires_in_days": "30"},
        {"name": "x", "scopes": "everything", "expires_in_days": "30"},
        {"name": "x", "scopes": "read", "expires_in_days": "367"},
        {"name": "x", "scopes": "read", "expires_in_days": "soon"},
        {},
    ],
)
def test_a_key_that_cannot_be_made_is_told_beside_the_form(
    platform: Platform, data: dict[str, str]
) -> None:
    response = platform.browser.post("/account/api-keys", data=data)

    assert response.status_code == 422
    page = read(response.text)
    assert page.find("div", role="alert")
    assert page.find("form", id="new-key-form")
    assert not platform.accounts.keys


def test_a_key_is_revoked_with_a_form(platform: Platform) -> None:
    key = ApiKeyView(id=uuid4(), name="k", scopes=("read",), created_at=NOW, expires_at=NOW)
    platform.accounts.keys = [key]
    page = read(platform.browser.get("/account").text)

    form = page.find("details", id=f"revoke-{key.id}")[0].find("form")[0]
    response = platform.browser.post(form.attributes["action"])

    assert response.headers["location"] == "/account"
    assert platform.accounts.revoked == [key.id]


def test_only_what_a_user_may_do_is_offered_for_a_key(platform: Platform) -> None:
    def offered() -> set[str]:
        page = read(platform.browser.get("/account").text)
        return {box.attributes["value"] for box in page.find("input", name="scopes")}

    assert offered() == {"read", "launch", "tasks"}
