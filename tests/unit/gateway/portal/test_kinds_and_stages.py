"""What a page says of a session's way to its start, of what it uses, and of each kind's end."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from slipway_common.contracts.internal import SessionUse
from slipway_common.contracts.sessions import SessionKind, SessionStage
from slipway_common.contracts.views import ServiceView, SessionState, SessionStep, SessionView
from slipway_gateway.portal.progress import StageStatus, track
from unit.gateway.portal.documents import read
from unit.gateway.portal.fakes import Platform, ago, principal, session_view


def later(seconds: float) -> datetime:
    """From now on, however long the tests have run by then."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def waiting(**changes: object) -> SessionView:
    steps = (
        SessionStep(at=ago(60), state=SessionState.REQUESTED),
        SessionStep(at=ago(50), state=SessionState.STARTING, message="Starting"),
        SessionStep(
            at=later(-40),
            state=SessionState.STARTING,
            message="No machine has room",
            stage=SessionStage.WAITING_FOR_NODE,
        ),
    )
    fields = {"stage": SessionStage.WAITING_FOR_NODE, "message": "No machine has room"}
    return session_view(SessionState.STARTING, steps=steps, **fields | changes)


def test_a_session_that_waits_for_a_node_says_how_long_and_why(platform: Platform) -> None:
    session = waiting(expected_at=later(125))
    platform.add(session)

    page = read(platform.browser.get(f"/sessions/{session.id}").text)

    assert page.find("h1", id="headline")[0].text == "Waiting for a machine"
    panel = page.find("section", id="wait")[0]
    assert re.search(r"\b[12] min \d\d s\s+left", panel.text)
    assert "No machine has room" in panel.text
    [bar] = panel.find("progress")
    assert 0.2 < float(bar.attributes["value"]) < 0.3
    assert bar.attributes["data-until"] == session.expected_at.isoformat()
    assert page.find("meta", **{"http-equiv": "refresh"})
    assert [pip.text.partition(":")[0] for pip in page.find("ol", id="track")[0].find("li")] == [
        "Place", "Image", "Container", "Fetch", "Load",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("expected_at", "words"),
    [(None, "cannot be told from earlier waits"), (ago(3), "longer than earlier waits did")],
)
def test_a_wait_that_nobody_can_tell_promises_nothing(
    platform: Platform, expected_at: datetime | None, words: str
) -> None:
    session = waiting(expected_at=expected_at)
    platform.add(session)

    panel = read(platform.browser.get(f"/sessions/{session.id}").text).find("section", id="wait")

    assert words in panel[0].text
    assert " left" not in panel[0].text


def test_the_way_of_a_start_is_shown_as_far_as_it_is_told() -> None:
    def reached(*steps: tuple[str, SessionStage | None]) -> str | None:
        story = tuple(
            SessionStep(at=ago(9), state=SessionState.STARTING, message=words, stage=stage)
            for words, stage in steps
        )
        pips = track(session_view(SessionState.STARTING, steps=story))
        return next((pip.label for pip in pips if pip.status is StageStatus.CURRENT), None)

    placed = ("A machine was found", SessionStage.PLACED)
    started = ("Its container runs", SessionStage.CONTAINER_STARTED)
    assert reached(("Starting", None)) is None
    assert reached(placed) == "Image"
    assert reached(placed, started) == "Fetch"
    assert reached(placed, started, ("Fetching app and runtime", started[1])) == "Fetch"
    assert reached(placed, started, ("Loading the app", started[1])) == "Load"
    assert reached(started, placed) == "Fetch"


def test_each_step_of_a_start_says_how_long_it_took(platform: Platform) -> None:
    session = session_view(
        SessionState.RUNNING,
        running_at=ago(10),
        node="pool-4x7",
        profile="large",
        steps=(
            SessionStep(at=ago(20), state=SessionState.STARTING, message="Starting"),
            SessionStep(at=ago(19), state=SessionState.STARTING, stage=SessionStage.PULLING_IMAGE),
            SessionStep(at=ago(13), state=SessionState.STARTING, message="Loading the app"),
            SessionStep(at=ago(10), state=SessionState.RUNNING),
        ),
    )
    platform.add(session)

    page = read(platform.browser.get(f"/sessions/{session.id}").text)

    notes = [" ".join(note.text.split()) for note in page.find("ul", class_="notes")[0].find("li")]
    assert re.fullmatch(r"Fetching its image \d\d:\d\d:\d\d ?6.0 s", notes[0]), notes
    assert re.fullmatch(r"Loading the app \d\d:\d\d:\d\d ?3.0 s", notes[1]), notes
    assert page.find("dd", id="node")[0].text == "pool-4x7"
    assert page.find("dd", id="profile")[0].text == "large"


def test_what_a_running_session_uses_can_be_read_without_script(platform: Platform) -> None:
    session = session_view(running_at=ago(100))
    platform.add(session)
    platform.uses[session.id] = SessionUse(
        memory_mib=1300,
        peak_memory_mib=1500,
        memory_limit_mib=2048,
        cpu_seconds=50,
        cpu_limit_millis=1000,
        processes=7,
    )

    page = read(platform.browser.get(f"/sessions/{session.id}").text)

    section = page.find("section", id="use")[0]
    assert section.attributes["data-use"] == f"/api/v1/sessions/{session.id}/use"
    assert "hidden" not in section.attributes
    cells = {
        row.attributes["id"]: [c.text for c in row.find("td")] for row in section.find("tr")[1:]
    }
    assert cells["use-memory"] == ["1,300 MiB", "2,048 MiB", "1,500 MiB"]
    assert cells["use-cpu"][0].endswith("cores on average")
    assert cells["use-cpu"][1] == "1 core"
    assert cells["use-processes"][0] == "7"


def test_a_session_whose_use_cannot_be_read_is_shown_all_the_same(platform: Platform) -> None:
    running, starting = session_view(), session_view(SessionState.STARTING)
    over = session_view(SessionState.ENDED)
    platform.add(running, starting, over)

    shown = {
        each.state: platform.browser.get(f"/sessions/{each.id}")
        for each in (running, starting, over)
    }

    assert {answer.status_code for answer in shown.values()} == {200}
    assert "cannot be read at the moment" in shown[SessionState.RUNNING].text
    waiting_for_it = read(shown[SessionState.STARTING].text).find("section", id="use")[0]
    assert "hidden" in waiting_for_it.attributes
    assert not read(shown[SessionState.ENDED].text).find("section", id="use")


def test_a_service_is_launched_from_the_apps_and_launched_again(platform: Platform) -> None:
    platform.accounts.offered = [ServiceView(name="notebooks", title="Notebooks")]
    page = read(platform.browser.get("/apps").text)
    [tile] = page.find("li", **{"data-service": "notebooks"})

    platform.browser.post("/launch", data=tile.find("form")[0].fields())

    [session] = platform.accounts.known.values()
    assert (session.kind, session.service) == (SessionKind.EXTERNAL, "notebooks")
    platform.accounts.known[session.id] = session.model_copy(update={"state": SessionState.FAILED})
    again = read(platform.browser.get(f"/sessions/{session.id}").text)
    fields = again.find("form", action="/launch")[0].fields()
    assert (fields["kind"], fields["service"]) == ("external", "notebooks")
    assert platform.browser.post("/launch", data=fields).status_code == 303
    assert len(platform.accounts.known) == 2


def test_without_services_there_is_no_section_for_them(platform: Platform) -> None:
    assert "Services" not in platform.browser.get("/apps").text
    platform.accounts.offered = [ServiceView(name="notebooks", title="Notebooks")]
    assert "Notebooks" in platform.browser.get("/apps?q=note").text
    assert "Notebooks" not in platform.browser.get("/apps?q=depots").text


@pytest.mark.parametrize(
    "data",
    [
        {"kind": "task", "app": "depots"},
        {"kind": "external"},
        {"kind": "external", "service": "x", "app": "depots"},
        {"service": "x"},
        {},
    ],
)
def test_a_launch_of_nothing_or_of_two_things_is_told(
    platform: Platform, data: dict[str, str]
) -> None:
    response = platform.browser.post("/launch", data=data | {"key": "k"})

    assert response.status_code == 422
    assert read(response.text).find("section", id="problem")
    assert not platform.accounts.launches


def test_a_failed_session_is_launched_again_in_its_kind_and_a_task_session_is_not(
    platform: Platform,
) -> None:
    kinds = (SessionKind.WEBUI, SessionKind.SOLVE, SessionKind.TASK)
    sessions = [session_view(SessionState.FAILED, kind=kind) for kind in kinds]
    platform.add(*sessions)

    offered = []
    for session in sessions:
        page = read(platform.browser.get(f"/sessions/{session.id}").text)
        offered.append([form.fields()["kind"] for form in page.find("form", action="/launch")])

    assert offered == [["webui"], ["solve"], []]


def test_the_list_shows_kind_stage_node_and_profile(platform: Platform) -> None:
    platform.add(
        waiting(expected_at=later(125), profile="large"),
        session_view(kind=SessionKind.SOLVE, node="pool-4x7"),
        session_view(kind=SessionKind.EXTERNAL, app="notebooks", service="notebooks"),
    )

    page = read(platform.browser.get("/sessions").text)

    rows = [" ".join(row.text.split()) for row in page.find("tbody")[0].find("tr")]
    assert "Web pagelarge" in rows[0]
    assert re.search(r"Waiting for a machine, 2 min \d\d s", rows[0])
    assert "Solvestandard" in rows[1]
    assert "pool-4x7" in rows[1]
    assert "Service" in rows[2]
    assert len(page.find("form", action=f"/sessions/{list(platform.accounts.known)[2]}/open")) == 1


class TestTimes:
    """What an admin sets for the account."""

    def test_only_an_admin_sees_the_form(self, platform: Platform) -> None:
        assert not read(platform.browser.get("/account").text).find("form", id="limits-form")
        refused = platform.browser.post("/account/limits", data={"webui_idle_seconds": "60"})
        assert refused.status_code == 403

    def test_it_works_as_it_stands(self, platform: Platform) -> None:
        platform.accounts.me = principal(admin=True)
        form = read(platform.browser.get("/account").text).find("form", id="limits-form")[0]
        assert form.fields()["webui_idle_seconds"] == "900"

        response = platform.browser.post(
            form.attributes["action"], data=form.fields() | {"webui_idle_seconds": " 120 "}
        )

        assert response.headers["location"] == "/account?saved=1"
        assert platform.accounts.limits.webui_idle_seconds == 120
        assert platform.accounts.limits.task_idle_seconds == 60
        assert "from now on" in platform.browser.get("/account?saved=1").text

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ("soon", "Not a whole number of seconds: Idle task session."),
            ("1.5", "Not a whole number of seconds: Idle task session."),
            ("1", "Idle task session: allowed are 5 to 86400."),
        ],
    )
    def test_what_cannot_be_set_is_told_beside_the_form(
        self, platform: Platform, value: str, words: str
    ) -> None:
        platform.accounts.me = principal(admin=True)

        response = platform.browser.post(
            "/account/limits", data={"task_idle_seconds": value, "webui_idle_seconds": "77"}
        )

        assert response.status_code == 422
        page = read(response.text)
        assert page.find("div", id="times-refused")[0].text.strip() == words
        field = page.find("input", id="task_idle_seconds")[0]
        assert field.attributes["value"] == value
        assert platform.accounts.limits.task_idle_seconds == 60
