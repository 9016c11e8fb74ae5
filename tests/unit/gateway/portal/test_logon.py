"""One logs on with a form; nobody is sent elsewhere by it, and no password comes back."""

from urllib.parse import parse_qs, urlsplit

import pytest

from slipway_gateway.portal.failures import local_path
from unit.gateway.portal.documents import read
from unit.gateway.portal.fakes import COOKIE, PASSWORD, SECRET, Platform

RIGHT = {"account": "northwind", "user": "ada", "password": PASSWORD}


def test_the_form_works_as_it_stands(platform: Platform) -> None:
    form = read(platform.stranger.get("/login?next=/sessions").text).find("form")[0]

    response = platform.stranger.post(form.attributes["action"], data=form.fields() | RIGHT)

    assert response.status_code == 303
    assert response.headers["location"] == "/sessions"
    assert platform.stranger.cookies[COOKIE.name] == SECRET
    assert platform.stranger.get("/apps").status_code == 200


def test_the_account_is_remembered_and_nothing_else(platform: Platform) -> None:
    platform.stranger.post("/login", data=RIGHT | {"account": "Nord & Süd"})
    platform.stranger.cookies.delete(COOKIE.name)

    fields = read(platform.stranger.get("/login").text).find("form")[0].fields()

    assert fields["account"] == "Nord & Süd"
    assert fields["user"] == fields["password"] == ""


def test_a_wrong_password_keeps_the_fields_but_not_the_password(platform: Platform) -> None:
    response = platform.stranger.post(
        "/login", data=RIGHT | {"password": "wrong-guess", "next": "/tasks"}
    )

    assert response.status_code == 401
    assert "wrong-guess" not in response.text
    page = read(response.text)
    assert page.find("div", role="alert")
    fields = page.find("form")[0].fields()
    assert fields == {"next": "/tasks", "account": "northwind", "user": "ada", "password": ""}
    assert COOKIE.name not in platform.stranger.cookies


def test_a_name_that_is_too_long_is_as_wrong_as_any_other(platform: Platform) -> None:
    response = platform.stranger.post("/login", data=RIGHT | {"user": "x" * 300})

    assert response.status_code == 401


def test_a_huge_form_is_not_read(platform: Platform) -> None:
    response = platform.stranger.post("/login", data=RIGHT | {"user": "x" * 200_000})

    assert response.status_code == 413
    assert "text/html" in response.headers["content-type"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Origin": "http://a.sessions.test:8080"},
        {"Origin": "http://portal.test.evil.test"},
        {"Origin": "http://portal.test:81"},
        {"Origin": "http://evil.test", "Sec-Fetch-Site": "same-origin"},
    ],
)
def test_nobody_is_logged_on_by_another_site(platform: Platform, headers: dict[str, str]) -> None:
    response = platform.stranger.post("/login", data=RIGHT, headers=headers)

    assert response.status_code == 403
    assert COOKIE.name not in platform.stranger.cookies


@pytest.mark.parametrize(
    "goal",
    [
        "//evil.test",
        "///evil.test",
        "////evil.test/x",
        "/\\evil.test",
        "\\\\evil.test",
        "\\/evil.test",
        "/a\\..\\evil.test",
        "https:evil.test",
        "https://evil.test",
        "HTTPS://evil.test",
        "http:/evil.test",
        "javascript:alert(1)",
        "data:text/html,x",
        "evil.test",
        "?x",
        "#x",
        "",
        " /apps",
        "\t//evil.test",
        "/\t/evil.test",
        "/\n/evil.test",
        "/\r\nSet-Cookie: a=b",
        "/\x00/evil.test",
        "/\x7f",
        "/\u2028evil.test",
        "/\uff0fevil.test",
        "/login",
        "/login?next=/login",
        "/logout",
        "/api/v1/me",
        "/" + "a" * 2000,
    ],
)
def test_a_goal_elsewhere_leads_to_the_first_page(platform: Platform, goal: str) -> None:
    assert local_path(goal) == "/"

    response = platform.stranger.post("/login", data=RIGHT | {"next": goal})

    assert response.headers["location"] == "/"


@pytest.mark.parametrize(
    "goal", ["/", "/apps?q=a%20b", "/sessions/1#x", "/launch/My%20App/tag/latest", "/a//b"]
)
def test_a_goal_in_the_portal_is_kept(goal: str) -> None:
    assert local_path(goal) == goal


@pytest.mark.parametrize("address", ["/", "/apps?q=a b", "/sessions", "/tasks", "/account"])
def test_whoever_is_not_logged_on_is_asked_to_and_comes_back(
    platform: Platform, address: str
) -> None:
    response = platform.stranger.get(address)
    if address == "/":
        response = platform.stranger.get(response.headers["location"])

    assert response.status_code == 303
    where = urlsplit(response.headers["location"])
    assert where.path == "/login"
    assert where.netloc == ""
    assert parse_qs(where.query)["next"] == [
        {"/": "/apps", "/apps?q=a b": "/apps?q=a%20b"}.get(address, address)
    ]


def test_a_form_of_whoever_is_logged_on_no_more_leads_back_to_its_page(platform: Platform) -> None:
    response = platform.stranger.post(
        "/launch",
        data={"app": "depots", "version": "1.0.0", "key": "k"},
        headers={"Referer": "http://portal.test/launch/depots/tag/latest"},
    )

    assert response.status_code == 303
    assert response.headers["location"] == "/login?next=%2Flaunch%2Fdepots%2Ftag%2Flatest"


def test_whoever_is_logged_on_need_not_do_so_again(platform: Platform) -> None:
    response = platform.browser.get("/login?next=/tasks")

    assert response.status_code == 303
    assert response.headers["location"] == "/tasks"


def test_a_cookie_that_counts_no_more_leads_to_the_form(platform: Platform) -> None:
    platform.stranger.cookies.set(COOKIE.name, "forgotten")

    assert platform.stranger.get("/apps").headers["location"].startswith("/login")
    assert platform.stranger.get("/login").status_code == 200


def test_logging_off_revokes_and_forgets_the_cookie(platform: Platform) -> None:
    response = platform.browser.post("/logout")

    assert response.status_code == 303
    assert response.headers["location"] == "/login"
    assert platform.accounts.revoked == [platform.accounts.me.credential_id]
    assert 'slipway=""' in response.headers["set-cookie"]


def test_logging_off_twice_is_no_problem(platform: Platform) -> None:
    assert platform.stranger.post("/logout").headers["location"] == "/login"
