"""Every page comes with its protection, says things plainly, and needs no script."""

import re
from uuid import uuid4

import pytest
from starlette.requests import Request

from slipway_common.contracts.problems import Code, problem
from slipway_common.contracts.sessions import EndReason
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import ApiKeyView, Progress, SessionState, SessionStep
from slipway_gateway.pages import Pages, count, duration, number, ordinal
from unit.gateway.portal.documents import Element, read
from unit.gateway.portal.fakes import (
    NOW,
    Platform,
    ago,
    app_view,
    principal,
    session_view,
    task_view,
)

HOSTILE = "\"><script>alert('1')</script>&<b>"


def addresses(platform: Platform) -> list[str]:
    """A page of each kind, with something on it."""
    sessions = [session_view(state) for state in SessionState]
    tasks = [task_view(state) for state in TaskState]
    platform.add(*sessions, *tasks)
    return [
        "/login",
        "/apps",
        "/apps?q=depots",
        "/apps?q=nothing",
        "/launch/depots/1.0.0",
        "/launch/depots/tag/latest",
        "/sessions",
        "/sessions?all=1",
        "/tasks",
        "/account",
        "/nowhere",
        f"/sessions/{uuid4()}",
        f"/sessions/{sessions[0].id}/log",
        *(f"/sessions/{session.id}" for session in sessions),
    ]


def test_every_page_is_well_formed_and_protected(platform: Platform) -> None:
    for address in addresses(platform):
        client = platform.stranger if address == "/login" else platform.browser
        response = client.get(address)

        assert response.status_code in {200, 404}, address
        page = read(response.text)
        assert len(page.find("h1")) == 1, address
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "frame-ancestors 'none'" in policy
        assert "base-uri 'none'" in policy
        assert "unsafe" not in policy
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "same-origin"
        assert response.headers["cache-control"] == "no-store"


def test_no_page_has_anything_inline_or_from_elsewhere(platform: Platform) -> None:
    for address in addresses(platform):
        html = platform.browser.get(address).text

        assert not re.search(r"<[^>]+\s(style|on[a-z]+)=", html), address
        assert "<style" not in html
        assert re.findall(r"<script(?! src=\"/static/(?:portal|use)\.js\?v=)", html) == []
        assert re.findall(r"(?:src|href|action)=\"(?![/#\"])", html) == [], address


def test_every_field_has_a_label_and_every_table_a_caption(platform: Platform) -> None:
    for address in addresses(platform):
        client = platform.stranger if address == "/login" else platform.browser
        page = read(client.get(address).text)

        labelled = {label.attributes["for"] for label in page.find("label")}
        for element in page.find("input"):
            if element.attributes.get("type") != "hidden":
                assert element.attributes["id"] in labelled, address
        for table in page.find("table"):
            assert table.find("caption"), address
        assert page.find("p", **{"aria-live": "polite"})
        identifiers = [e.attributes["id"] for e in everything(page) if "id" in e.attributes]
        assert len(identifiers) == len(set(identifiers)), address


def everything(element: Element) -> list[Element]:
    return [element, *(below for child in element.children for below in everything(child))]


def test_hostile_names_are_only_text(platform: Platform) -> None:
    accounts = platform.accounts
    accounts.me = principal(account=HOSTILE, user=HOSTILE, admin=True)
    accounts.catalogue = [
        app_view(
            HOSTILE,
            HOSTILE,
            title=HOSTILE,
            description=HOSTILE,
            category=HOSTILE,
            runtime=HOSTILE,
            latest=index == 0,
        )
        for index in range(2)
    ]
    accounts.keys = [
        ApiKeyView(id=uuid4(), name=HOSTILE, scopes=("read",), created_at=NOW, expires_at=NOW)
    ]
    sessions = [
        session_view(state, app=HOSTILE, version=HOSTILE, user=HOSTILE, message=HOSTILE)
        for state in SessionState
    ]
    tasks = [
        task_view(
            state,
            app=HOSTILE,
            version=HOSTILE,
            service=HOSTILE,
            user=HOSTILE,
            problem={"title": HOSTILE, "detail": HOSTILE},
            progress=Progress(message=HOSTILE),
        )
        for state in TaskState
    ]
    platform.add(*sessions, *tasks)
    platform.vault.blobs |= {f"logs/{sessions[0].id}": HOSTILE.encode()}
    shown = ["/apps", "/sessions?all=1", "/tasks", "/account"]
    shown += [f"/sessions/{session.id}" for session in sessions]

    for address in shown:
        html = platform.browser.get(address).text

        assert "alert(" in html, address
        assert "<script>" not in html, address
        assert '">' + "<script" not in html
        for script in read(html).find("script"):
            assert script.attributes["src"].startswith("/static/"), address
            assert not script.text, address


def test_hostile_words_in_addresses_and_forms_are_only_text(platform: Platform) -> None:
    answers = [
        platform.browser.get("/apps", params={"q": HOSTILE}),
        platform.stranger.get("/login", params={"next": HOSTILE}),
        platform.stranger.post(
            "/login",
            data={"account": HOSTILE, "user": HOSTILE, "password": HOSTILE, "next": HOSTILE},
        ),
        platform.browser.post("/account/api-keys", data={"name": HOSTILE, "scopes": "read"}),
        platform.browser.get(f"/launch/{HOSTILE}/1"),
    ]

    for answer in answers:
        assert "text/html" in answer.headers["content-type"]
        assert len(read(answer.text).find("script")) == 1


def test_a_page_that_is_not_there_is_told_as_a_page_to_people_and_as_a_problem_to_programs(
    platform: Platform,
) -> None:
    page = platform.browser.get("/nowhere")
    program = platform.browser.get("/nowhere", headers={"Accept": "application/json"})
    of_api = platform.browser.get("/api/v1/nowhere")

    assert page.status_code == program.status_code == of_api.status_code == 404
    assert page.headers["content-type"].startswith("text/html")
    assert program.headers["content-type"] == "application/problem+json"
    assert of_api.headers["content-type"] == "application/problem+json"


def test_a_wrong_id_is_a_page_that_does_not_exist(platform: Platform) -> None:
    assert platform.browser.get("/sessions/1").status_code == 404


def test_while_accounts_is_away_every_page_says_so_and_tries_again(platform: Platform) -> None:
    platform.accounts.away = True

    for address in ("/login", "/apps", "/sessions", "/tasks", "/account"):
        response = platform.browser.get(address)

        assert response.status_code == 503
        assert response.headers["retry-after"]
        page = read(response.text)
        assert page.find("meta", **{"http-equiv": "refresh"})
        assert Code.UNAVAILABLE.title in page.find("h1")[0].text


def test_a_form_that_failed_is_not_sent_again_by_itself(platform: Platform) -> None:
    platform.accounts.away = True

    response = platform.stranger.post("/login", data={"account": "a", "user": "b", "password": "c"})

    assert response.status_code == 503
    assert not read(response.text).find("meta", **{"http-equiv": "refresh"})


def test_a_fault_of_ours_is_a_page_without_its_cause(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> list[object]:
        raise RuntimeError("secret cause")

    monkeypatch.setattr(platform.accounts, "tasks", broken)

    response = platform.browser.get("/tasks")

    assert response.status_code == 500
    assert "secret cause" not in response.text
    assert Code.INTERNAL.title in response.text


def test_style_and_script_are_kept_for_ever_under_their_digest(platform: Platform) -> None:
    page = platform.stranger.get("/login").text

    for link in re.findall(r"\"(/static/[^\"]+)\"", page):
        response = platform.stranger.get(link)
        assert response.status_code == 200
        assert "immutable" in response.headers["cache-control"]
        assert response.headers["x-content-type-options"] == "nosniff"
        stale = platform.stranger.get(link.partition("?")[0])
        assert stale.headers["cache-control"] == "no-cache"
    assert platform.stranger.get("/static/nothing.css").status_code == 404
    assert platform.stranger.get("/static/..%2f__init__.py").status_code == 404


def request_to(host: str, method: str = "GET") -> Request:
    return Request({"type": "http", "method": method, "headers": [(b"host", host.encode())]})


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.slug)
def test_a_problem_on_a_session_host_is_one_self_contained_page(code: Code) -> None:
    pages = Pages(public_url="https://portal.example")
    session_id = uuid4()

    response = pages.problem(
        request_to(f"{session_id}.sessions.test"), problem(code, HOSTILE).problem
    )

    html = bytes(response.body).decode()
    page = read(html)
    assert response.status_code == code.status
    assert "<script" not in html
    assert not page.find("link")
    assert f"https://portal.example/sessions/{session_id}" in html
    assert "style-src 'sha256-" in response.headers["content-security-policy"]


def test_a_problem_page_knows_no_portal_unless_told() -> None:
    response = Pages().problem(request_to("x.test"), problem(Code.SESSION_OVER).problem)

    assert not read(bytes(response.body).decode()).find("a")


def test_words_for_quantities() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 102, 111)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th",
    ]  # fmt: skip
    assert [duration(NOW - ago(s)) for s in (-1, 0.44, 59.9, 65, 7380, 90000)] == [
        "0.0 s", "0.4 s", "59 s", "1 min 05 s", "2 h 03 min", "1 d 1 h",
    ]  # fmt: skip
    assert (number(12.5), number(1234567.8), number(0.00123)) == ("12.5", "1,234,568", "0.00123")
    assert (count(1, "app"), count(2, "app")) == ("1 app", "2 apps")


@pytest.mark.parametrize("reason", list(EndReason))
def test_every_reason_for_an_end_has_its_words(platform: Platform, reason: EndReason) -> None:
    session = session_view(
        SessionState.FAILED,
        reason=reason,
        ended_at=NOW,
        steps=(SessionStep(at=NOW, state=SessionState.FAILED),),
    )
    platform.add(session)

    page = read(platform.browser.get(f"/sessions/{session.id}").text)

    assert len(page.find("h1", id="headline")[0].text) > 15
    assert page.find("p", id="message")[0].text.strip()
    assert page.find("a", id="log-link")
    assert page.find("form", action="/launch")
