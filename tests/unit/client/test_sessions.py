"""Kinds, services, profiles, limits, use and the reasons of ends, from the command line and SDK."""

import json
from datetime import timedelta

import pytest
from starlette.responses import JSONResponse

from slipway_client import Slipway
from slipway_common.contracts.problems import Code
from slipway_common.contracts.sessions import EndReason, SessionKind
from unit.client.conftest import Command
from unit.client.fake_platform import LATER, FakePlatform, refusal, session_view


def use(memory: int, cpu: float, **changes) -> JSONResponse:
    return JSONResponse(
        {
            "memory_mib": memory,
            "peak_memory_mib": 1500,
            "memory_limit_mib": 2048,
            "cpu_seconds": cpu,
            "cpu_limit_millis": 1000,
            "processes": 7,
        }
        | changes
    )


def test_solve_session_is_launched_by_its_kind(slipway: Command, platform: FakePlatform) -> None:
    platform.add("sessions", session_view("requested", kind="solve"))

    assert slipway("launch", "depots", "--kind", "solve", "--no-wait").exit_code == 0

    [sent] = platform.of("POST", "/sessions")
    assert sent.json == {"kind": "solve", "app": "depots", "version": "latest"}


def test_service_is_launched_by_its_name(slipway: Command, platform: FakePlatform) -> None:
    platform.add("sessions", session_view("requested", kind="external", service="notebooks"))

    assert slipway("launch", "--service", "notebooks", "--no-wait").exit_code == 0

    [sent] = platform.of("POST", "/sessions")
    assert sent.json == {"kind": "external", "service": "notebooks"}


def test_service_that_is_not_offered_is_not_found(slipway: Command, platform: FakePlatform) -> None:
    platform.script(
        "POST", "/sessions", refusal(Code.SERVICE_NOT_OFFERED, "Offered are: notebooks.")
    )

    result = slipway("launch", "--service", "unknown")

    assert result.exit_code == 4
    assert "Offered are: notebooks." in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("launch",),
        ("launch", "depots", "--service", "notebooks"),
        ("launch", "--service", "notebooks", "--kind", "solve"),
        ("launch", "depots", "--kind", "task"),
        ("launch", "depots", "--kind", "external"),
        ("account", "set"),
        ("account", "set", "--task-idle", "soon"),
        ("use", "abc"),
    ],
)
def test_usage_is_told_before_the_platform_is_asked(
    slipway: Command, platform: FakePlatform, command: tuple[str, ...]
) -> None:
    assert slipway(*command).exit_code == 2
    assert not platform.seen


def test_launch_tells_its_stage_and_when_a_node_is_expected(
    slipway: Command, platform: FakePlatform
) -> None:
    session = session_view("requested")
    waits = {
        "state": "starting",
        "stage": "waiting-for-node",
        "message": "Waiting for a machine with room for it",
        "expected_at": LATER,
    }
    pulls = {"state": "starting", "stage": "pulling-image", "node": "pool-4x7"}
    states = (waits, pulls, {"state": "running"})
    platform.add(
        "sessions", session, [{**session, **s, "revision": at} for at, s in enumerate(states, 2)]
    )

    result = slipway("launch", "depots")

    assert result.exit_code == 0, result.output
    assert "starting: waiting for node (Waiting for a machine" in result.stderr
    assert "until about " in result.stderr
    assert "starting: pulling image" in result.stderr


@pytest.mark.parametrize("reason", list(EndReason))
def test_launch_that_ends_says_why_and_what_to_do(
    slipway: Command, platform: FakePlatform, reason: EndReason
) -> None:
    session = session_view("requested")
    over = {**session, "state": "failed", "revision": 2, "reason": reason.value}
    platform.add("sessions", session, [over])

    result = slipway("launch", "depots")

    assert result.exit_code == 1
    short = session["id"][:8]
    told = [line for line in result.stderr.splitlines() if line.startswith(f"Session {short} ")]
    assert len(told) == 1
    assert len(told[0]) > len(f"Session {short} failed: ") + 15
    advised = reason not in {EndReason.STOPPED, EndReason.FINISHED}
    assert ("What to do: " in result.stderr) is advised


def test_launch_that_is_refused_says_what_to_do(slipway: Command, platform: FakePlatform) -> None:
    session = session_view("requested")
    platform.add("sessions", session, [{**session, "state": "refused", "revision": 2}])

    assert "Stop a session that you no longer need" in slipway("launch", "depots").stderr


def test_sessions_are_listed_with_kind_profile_node_and_stage(
    slipway: Command, platform: FakePlatform
) -> None:
    platform.add("sessions", session_view("running", kind="solve", profile="large", node="n1"))
    platform.add("sessions", session_view("starting", stage="placed", node="n2"))

    lines = slipway("sessions").stdout.splitlines()

    assert lines[0].split() == [
        "ID", "App", "Kind", "Profile", "Node", "State", "User", "Since",
    ]  # fmt: skip
    assert "solve" in lines[1]
    assert "large" in lines[1]
    assert "n1" in lines[1]
    assert "starting: placed" in lines[2]
    assert "standard" in lines[2]


def test_services_and_profiles_are_listed(slipway: Command, platform: FakePlatform) -> None:
    platform.add("services", {"id": "1", "name": "notebooks", "title": "Notebooks"})
    figures = {"memory_mib": 8192, "cpu_millis": 1500, "processes": 256, "disk_mib": 4096}
    platform.add("profiles", {"id": "1", "name": "large", **figures})

    services, profiles = slipway("services").stdout, slipway("profiles").stdout

    assert services.splitlines()[1].split() == ["notebooks", "Notebooks"]
    assert "8,192 MiB" in profiles
    assert "1.5 cores" in profiles
    [profile] = json.loads(slipway("profiles", "--json").stdout)["items"]
    assert profile == {"name": "large", **figures}


def test_use_is_a_table_or_a_document(slipway: Command, platform: FakePlatform) -> None:
    session = platform.add("sessions", session_view("running"))
    platform.uses[session["id"]] = [use(1300, 41.5)]

    words = slipway("use", session["id"][:8]).stdout
    document = json.loads(slipway("use", session["id"], "--json").stdout)

    assert "1,300 MiB" in words
    assert "2,048 MiB" in words
    assert "41.5 s" in words
    assert document["processes"] == 7


def test_use_without_limits_says_none(slipway: Command, platform: FakePlatform) -> None:
    session = platform.add("sessions", session_view("running"))
    unlimited = use(1300, 41.5, memory_limit_mib=None, cpu_limit_millis=None)
    platform.uses[session["id"]] = [unlimited]

    assert slipway("use", session["id"]).exit_code == 0


def test_use_is_followed_until_the_session_is_over(client: Slipway, platform: FakePlatform) -> None:
    session = platform.add("sessions", session_view("running"))
    platform.uses[session["id"]] = [
        use(1000, 1), use(1100, 2), refusal(Code.SESSION_OVER),
    ]  # fmt: skip

    every = timedelta(milliseconds=5)
    seen = [each.memory_mib for each in client.sessions.follow_use(session["id"], every=every)]

    assert seen == [1000, 1100]


def test_use_that_is_watched_is_one_document_for_programs(
    slipway: Command, platform: FakePlatform
) -> None:
    session = platform.add("sessions", session_view("running"))
    platform.uses[session["id"]] = [use(1000, 1), refusal(Code.SESSION_OVER)]
    spoken = slipway("use", session["id"], "--watch")
    platform.uses[session["id"]] = [use(1000, 1), refusal(Code.SESSION_OVER)]
    parsed = slipway("use", session["id"], "--watch", "--json")

    assert spoken.stdout == "memory 1,000 of 2,048 MiB, processor 1.0 s so far, 7 processes\n"
    assert [each["memory_mib"] for each in json.loads(parsed.stdout)["samples"]] == [1000]


def test_limits_are_shown_and_set(slipway: Command, platform: FakePlatform) -> None:
    shown = slipway("account", "show").stdout
    result = slipway("account", "set", "--task-idle", "120", "--max-session", "3600")

    assert "set by the operator" in shown
    assert "5 to 86,400 s" in shown
    assert result.exit_code == 0, result.output
    [sent] = platform.of("PATCH", "/account")
    assert sent.json == {"task_idle_seconds": 120, "max_session_seconds": 3600}
    assert json.loads(slipway("account", "show", "--json").stdout)["task_idle_seconds"] == 120


def test_limit_that_is_not_allowed_is_told(slipway: Command, platform: FakePlatform) -> None:
    words = "task_idle_seconds may be 5 to 86400."
    platform.script("PATCH", "/account", refusal(Code.LIMIT_OUT_OF_RANGE, words))

    result = slipway("account", "set", "--task-idle", "1")

    assert result.exit_code == 2
    assert words in result.stderr


def test_sdk_launches_each_kind(client: Slipway, platform: FakePlatform) -> None:
    platform.add("sessions", session_view("requested"))

    client.sessions.launch("depots", kind=SessionKind.SOLVE, version="1.0.0")
    client.sessions.launch_service("notebooks", idempotency_key="once")

    solve, service = platform.of("POST", "/sessions")
    assert solve.json == {"kind": "solve", "app": "depots", "version": "1.0.0"}
    assert service.json == {"kind": "external", "service": "notebooks"}
    assert service.headers["idempotency-key"] == "once"
