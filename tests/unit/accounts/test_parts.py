"""What accounts decides without its database."""

import pytest

from slipway_accounts.catalogue import version_of
from slipway_accounts.changes import BACKLOG, EVERYTHING, Listener
from slipway_accounts.passwords import hash_password, verify_password
from slipway_accounts.sessions import request_digest


async def test_a_password_is_verified_against_its_hash_only() -> None:
    hashed = await hash_password("correct horse battery")

    assert "correct" not in hashed
    assert hashed != await hash_password("correct horse battery")
    assert await verify_password(hashed, "correct horse battery")
    assert not await verify_password(hashed, "correct horse batterY")
    assert not await verify_password("no hash at all", "correct horse battery")


async def test_nobody_logs_on_as_nobody() -> None:
    for password in ("", "nobody logs on with this"):
        assert not await verify_password(None, password)


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("1.0.9.9-linux64-x64", "1.0.10.0-linux64-x64"),
        ("1.0.0.1-linux64-x64", "1.0.0.2-linux64-x64"),
        ("1.9.0.0-linux64-x64", "1.10.0.0-linux64-x64"),
    ],
)
def test_hotfixes_compare_as_numbers(older: str, newer: str) -> None:
    assert version_of(older) < version_of(newer)


def test_requests_that_differ_in_any_part_have_other_digests() -> None:
    digests = {
        request_digest("launch", "a", "1"),
        request_digest("launch", "a", "2"),
        request_digest("launch", "b", "1"),
        request_digest("launch", "a1", ""),
    }

    assert len(digests) == 4


async def test_a_listener_waits_for_hints_about_its_table_only() -> None:
    listener = Listener()
    listener.tell("sessions 1")
    listener.tell("tasks 2")
    listener.tell("sessions 3")

    await listener.wait_for("tasks", timeout=5)

    assert await anext(listener.hints()) == "sessions 3"


async def test_a_listener_returns_when_its_time_is_up_or_hints_were_missed() -> None:
    listener = Listener()
    await listener.wait_for("tasks", timeout=0.01)
    listener.tell(EVERYTHING)

    await listener.wait_for("tasks", timeout=5)


async def test_a_listener_that_is_far_behind_looks_at_everything() -> None:
    listener = Listener()
    for number in range(BACKLOG + 1):
        listener.tell(f"sessions {number}")

    assert await anext(listener.hints()) == EVERYTHING
