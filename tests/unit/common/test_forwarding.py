"""Forwarding: nothing that two servers read differently, no header of ours from outside."""

import pytest
from yarl import URL

from slipway_common.web.forwarding import (
    Target,
    UnsafePathError,
    foreign_cookies,
    request_headers,
    response_headers,
    safe_target_path,
)

TRICKS = [
    b"",
    b"a",
    b"http://evil/",
    b"*",
    b"//evil",
    b"///evil",
    b"//evil/..",
    b"/..",
    b"/.",
    b"/../",
    b"/./",
    b"/a/..",
    b"/a/../b",
    b"/a/./b",
    b"/a/b/../../../c",
    b"/%2e%2e",
    b"/%2E%2E/",
    b"/%2e/",
    b"/.%2e/",
    b"/%2e./",
    b"/a/%2E%2e/b",
    b"/a/.%2E",
    b"/..\\",
    b"/\\..",
    b"/\\evil",
    b"\\evil",
    b"/a\\b",
    b"/%5c",
    b"/%5C..%5C",
    b"/..%5c..",
    b"/%2f",
    b"/%2F%2F",
    b"/a%2fb",
    b"/..%2f",
    b"/..%2F..%2F",
    b"/%252e%252e/",
    b"/%252f",
    b"/%25",
    b"/a%2500",
    b"/%00",
    b"/a%00.html",
    b"/;",
    b"/..;/",
    b"/a;b=c/d",
    b"/.;/",
    b"/%3b/../;",
    b"/a?b",
    b"/a#b",
    b"/#",
    b"/a b",
    b"/ ",
    b"/\t",
    b"/\r\n",
    b"/a\r\nX: y",
    b"/\x00",
    b"/\x7f",
    b"/%0d%0aX:%20y",
    b"/%0A",
    b"/%09",
    b"/%7f",
    b"/%",
    b"/%2",
    b"/%zz",
    b"/%u002e%u002e/",
    b"/%c0%ae%c0%ae/",
    b"/%c0%af",
    b"/%e0%80%af",
    b"/%f0%80%80%af",
    b"/%ff",
    b"/%c2%85",
    "/ä".encode(),
    b"/\xc0\xae\xc0\xae/",
    "/\uff0e\uff0e/".encode(),
    "/\u2025/".encode(),
]

HONEST = [
    b"/",
    b"/a",
    b"/a/b/",
    b"/a//b",
    b"/...",
    b"/..a/.b/c..",
    b"/.well-known/x",
    b"/a.b-c_d~e",
    b"/%20",
    b"/a%20b",
    b"/%C3%A4",
    b"/%E2%98%83",
    b"/a:b@c!$&'()*+,=",
    b"/%3A%40%3f%23",
    b"/" + b"x" * 4000,
]

TARGET = Target(URL("http://127.0.0.1:1"), {"Slipway-Secret": "ours"})


@pytest.mark.parametrize("path", TRICKS, ids=repr)
def test_a_path_that_servers_read_differently_is_refused(path: bytes) -> None:
    assert len(TRICKS) >= 60

    with pytest.raises(UnsafePathError):
        safe_target_path(path)


@pytest.mark.parametrize("path", HONEST, ids=lambda path: repr(path[:20]))
def test_an_honest_path_goes_on_as_it_came(path: bytes) -> None:
    assert safe_target_path(path) == path.decode()


@pytest.mark.parametrize(
    "name",
    [
        "Slipway-Secret",
        "SLIPWAY-SESSION",
        "slipway-anything",
        "Slipway_Secret",
        "X_Account",
        "X_Forwarded_For",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "x-forwarded-proto",
        "X-Real-IP",
        "Forwarded",
        "Authorization",
        "apikey",
        "Host",
        "Content-Length",
        "Connection",
        "Keep-Alive",
        "Transfer-Encoding",
        "TE",
        "Trailer",
        "Upgrade",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Extensions",
    ],
)
def test_a_header_that_is_ours_or_for_one_hop_does_not_go_on(name: str) -> None:
    passed = request_headers([(name, "evil"), ("Accept", "text/html")], TARGET)

    assert "evil" not in passed.values()
    assert passed["accept"] == "text/html"
    assert passed.getall("slipway-secret") == ["ours"]


def test_what_connection_lists_goes_no_further_and_takes_nothing_of_ours_along() -> None:
    passed = request_headers(
        [
            ("Connection", "close, X-Evil , slipway-secret"),
            ("connection", "X-More"),
            ("X-Evil", "1"),
            ("x-more", "2"),
            ("X-Good", "3"),
        ],
        TARGET,
    )

    assert dict(passed) == {"x-good": "3", "Slipway-Secret": "ours"}


def test_a_header_that_comes_twice_goes_on_twice() -> None:
    passed = request_headers([("Accept", "a"), ("Accept", "b")], TARGET)

    assert passed.getall("accept") == ["a", "b"]


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ("a=1; b=2", "a=1; b=2"),
        ("slipway=x", ""),
        ("slipway_session=x; a=1", "a=1"),
        ("__Host-slipway=x; a=1", "a=1"),
        ("__host-SLIPWAY-session=x; a=1", "a=1"),
        ("__Secure-slipway=x", ""),
        ("a=1;slipway=x;b=2", "a=1; b=2"),
        (' a=1 ;  slipway = x ; ; b="2"', 'a=1; b="2"'),
        ("a=slipway", "a=slipway"),
        ('a="1; slipway=x"', 'a="1'),
    ],
)
def test_cookies_of_ours_are_not_shown_to_apps(sent: str, passed: str) -> None:
    assert foreign_cookies(sent) == passed
    headers = request_headers([("Cookie", sent)], TARGET)
    assert headers.get("cookie", "") == passed


@pytest.mark.parametrize(
    ("sent", "passed"),
    [
        ("a=1", "a=1"),
        ("a=1; Domain=example.com; Path=/", "a=1; Path=/"),
        ("a=1; DOMAIN = .example.com", "a=1"),
        ("a=1;domain=x;domain=y;HttpOnly", "a=1;HttpOnly"),
        ("a=1; Secure; HttpOnly; SameSite=Lax", "a=1; Secure; HttpOnly; SameSite=Lax"),
        ("a=1; Partitioned", "a=1; Partitioned"),
        ('a={"json":[1,2]}; Path=/', 'a={"json":[1,2]}; Path=/'),
        (
            "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
            "a=1; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
        ),
    ],
)
def test_an_app_sets_cookies_for_its_own_host_only(sent: str, passed: str) -> None:
    assert response_headers({"Set-Cookie": sent}) == [("Set-Cookie", passed)]


@pytest.mark.parametrize(
    "sent",
    [
        "slipway=x",
        "SLIPWAY_session=x; Path=/",
        "__Host-slipway=x; Secure; Path=/",
        "__Secure-Slipway-a=x",
        "  slipway = x",
        "=slipway=x",
        "slipway",
        "",
        ";",
        " = x",
    ],
)
def test_an_app_sets_no_cookie_that_poses_as_ours(sent: str) -> None:
    assert response_headers({"Set-Cookie": sent}) == []


def test_an_answer_loses_what_is_for_one_hop_and_what_is_ours() -> None:
    passed = response_headers(
        {
            "Connection": "close",
            "Transfer-Encoding": "chunked",
            "Keep-Alive": "5",
            "Slipway-Session": "x",
            "Content-Type": "text/html",
        }
    )

    assert passed == [("Content-Type", "text/html")]
