import json
import os
import signal
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import stamina
from starlette.responses import JSONResponse

from slipway_client.pack import pack
from slipway_common.contracts.problems import Code
from unit.client.conftest import Command, SealPair
from unit.client.fake_platform import (
    HOLD,
    KEY,
    PASSWORD,
    FakePlatform,
    FakeServer,
    app_view,
    package_view,
    refusal,
    session_view,
    task_view,
)

LOGIN = ("--account", "acme", "--user", "ann", "--password-stdin")


def test_help_names_the_exit_codes(slipway: Command) -> None:
    for command in ((), ("run",), ("publish",), ("launch",)):
        assert "Exit codes" in slipway(*command, "--help").stdout


def test_help_says_how_a_text_is_set_that_looks_like_json(slipway: Command) -> None:
    words = "".join(slipway("run", "--help").stdout.split())

    assert "--set'name=\"5\"'" in words.replace("│", "")


def test_log_on_is_kept_for_its_owner_alone(
    stranger: Command, server: FakeServer, platform: FakePlatform, config: Path
) -> None:
    result = stranger("login", "--url", server.url, *LOGIN, stdin=f"{PASSWORD}\n")

    assert result.exit_code == 0, result.output
    assert KEY not in result.output
    assert PASSWORD not in result.output
    file = config / "slipway" / "profiles.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert KEY in file.read_text()
    assert platform.of("POST", "/api-keys")[0].json["name"].startswith("slipway@")
    assert platform.count("POST", "/logout") == 1
    assert "ann of acme" in stranger("whoami").stdout


def test_log_on_again_revokes_the_key_before(
    stranger: Command, server: FakeServer, platform: FakePlatform
) -> None:
    for _ in range(2):
        stranger("login", "--url", server.url, *LOGIN, stdin=PASSWORD)

    assert len(platform.items["api-keys"]) == 1


def test_name_of_a_key_that_is_taken_gets_a_suffix(
    stranger: Command, server: FakeServer, platform: FakePlatform
) -> None:
    platform.script("POST", "/api-keys", refusal(Code.NAME_EXISTS))

    assert stranger("login", "--url", server.url, *LOGIN, stdin=PASSWORD).exit_code == 0

    first, second = (seen.json["name"] for seen in platform.of("POST", "/api-keys"))
    assert second.startswith(f"{first}-")


def test_key_asks_for_no_more_than_its_user_may(
    stranger: Command, server: FakeServer, platform: FakePlatform
) -> None:
    platform.principal |= {"admin": False, "publisher": False}

    stranger("login", "--url", server.url, *LOGIN, stdin=PASSWORD)

    assert platform.of("POST", "/api-keys")[0].json["scopes"] == ["read", "launch", "tasks"]


def test_profiles_stand_side_by_side(
    stranger: Command, server: FakeServer, platform: FakePlatform
) -> None:
    stranger("login", "--url", server.url, *LOGIN, "--profile", "work", stdin=PASSWORD)

    assert stranger("whoami", "--profile", "work").exit_code == 0
    assert stranger("whoami").exit_code == 3


def test_logout_revokes_and_forgets(
    stranger: Command, server: FakeServer, platform: FakePlatform
) -> None:
    stranger("login", "--url", server.url, *LOGIN, stdin=PASSWORD)

    assert stranger("logout").exit_code == 0

    assert platform.items["api-keys"] == {}
    assert stranger("whoami").exit_code == 3


def test_key_is_sent_to_no_other_address(
    stranger: Command, server: FakeServer, platform: FakePlatform
) -> None:
    stranger("login", "--url", server.url, *LOGIN, stdin=PASSWORD)
    other = Command({**stranger.env, "SLIPWAY_URL": server.url.replace("127.0.0.1", "localhost")})
    before = len(platform.seen)

    assert other("whoami").exit_code == 3
    assert len(platform.seen) == before


def test_damaged_profiles_are_told_without_their_keys(stranger: Command, config: Path) -> None:
    (config / "slipway").mkdir(parents=True)
    (config / "slipway" / "profiles.json").write_text(f'{{"profiles": "{KEY}"}}')

    result = stranger("whoami")

    assert result.exit_code == 2
    assert "is damaged" in result.stderr
    assert KEY not in result.output


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (Code.UNAUTHENTICATED, 3),
        (Code.FORBIDDEN, 3),
        (Code.NOT_FOUND, 4),
        (Code.NAME_EXISTS, 5),
        (Code.SESSION_LIMIT, 6),
        (Code.INTERNAL, 6),
        (Code.INVALID_REQUEST, 2),
        (Code.TOO_LARGE, 2),
    ],
)
def test_problem_is_shown_and_is_the_exit_code(
    slipway: Command, platform: FakePlatform, code: Code, expected: int
) -> None:
    answer = refusal(code, "What to do.")
    platform.script("GET", "/me", answer, answer)

    spoken, parsed = slipway("whoami"), slipway("whoami", "--json")

    assert (spoken.exit_code, parsed.exit_code) == (expected, expected)
    assert spoken.stdout == ""
    for words in (code.title, "What to do.", code.type):
        assert words in spoken.stderr
    assert json.loads(parsed.stdout)["problem"]["type"] == code.type


def test_log_on_is_asked_for_once(
    stranger: Command, slipway: Command, server: FakeServer, platform: FakePlatform
) -> None:
    platform.script("GET", "/me", refusal(Code.UNAUTHENTICATED))
    nowhere = stranger("whoami")
    without_key = Command({**stranger.env, "SLIPWAY_URL": server.url})("whoami")

    for result in (nowhere, without_key, slipway("whoami")):
        assert result.exit_code == 3
        assert result.stderr.lower().count("run slipway login") == 1


def test_wrong_password_is_refused(stranger: Command, server: FakeServer) -> None:
    result = stranger("login", "--url", server.url, *LOGIN, stdin="wrong")

    assert result.exit_code == 3
    assert Code.WRONG_PASSWORD.title in result.stderr


def test_platform_that_is_away_is_unreachable(stranger: Command) -> None:
    away = Command({**stranger.env, "SLIPWAY_URL": "http://127.0.0.1:9", "SLIPWAY_API_KEY": KEY})

    with stamina.set_testing(True, attempts=2):
        result = away("whoami", "--json")

    assert result.exit_code == 6
    assert json.loads(result.stdout)["problem"]["type"] == "urn:slipway:problem:unreachable"


@pytest.mark.parametrize(
    "command",
    [
        ("unknown",),
        ("run", "depots"),
        ("run", "depots", "solve", "--set", "novalue"),
        ("run", "depots", "solve", "--input", "/does/not/exist"),
        ("launch", "/bad name"),
        ("stop", "abc"),
        ("keys", "create", "laptop", "--scope", "everything"),
        ("interrupt", "abcdef", "--scope", "all"),
        ("publish", "/does/not/exist"),
    ],
)
def test_usage_is_told(slipway: Command, command: tuple[str, ...]) -> None:
    assert slipway(*command).exit_code == 2


def test_left_prompt_is_an_interruption(stranger: Command, server: FakeServer) -> None:
    assert stranger("login", "--url", server.url, "--account", "a", "--user", "b").exit_code == 130


def test_every_list_is_one_json_document(slipway: Command, platform: FakePlatform) -> None:
    session, task = session_view("running"), task_view("running")
    platform.add("sessions", session)
    platform.add("tasks", task)
    platform.add("apps", {**app_view("depots", "1.0.0", task["id"]), "id": "1"})
    runtime = {"id": "1.0.0.1-linux64-x64", "title": "Open", "signer": "Us"}
    platform.add(
        "runtimes", {**runtime, "published_at": task["created_at"], "package_id": task["id"]}
    )
    slipway("keys", "create", "laptop")
    slipway("users", "create", "bob", "--password-stdin", stdin="long enough, surely")

    for command in ("apps", "runtimes", "sessions", "tasks", "keys list", "users list"):
        document = json.loads(slipway(*command.split(), "--json").stdout)
        assert len(document["items"]) == 1
        words = slipway(*command.split()).stdout
        assert len(words.splitlines()) == 2
    assert "depots@1.0.0 (latest)" in slipway("apps").stdout


def test_key_is_shown_when_it_is_made_and_never_after(
    slipway: Command, platform: FakePlatform
) -> None:
    made = slipway("keys", "create", "laptop", "--scope", "read")
    [identity] = platform.items["api-keys"]

    assert made.stdout == f"{KEY}\n"
    assert KEY not in slipway("keys", "list", "--json").output
    assert slipway("keys", "revoke", identity[:8]).exit_code == 0
    assert platform.items["api-keys"] == {}


def test_user_is_disabled_by_name(slipway: Command, platform: FakePlatform) -> None:
    slipway("users", "create", "bob", "--password-stdin", stdin="long enough, surely")

    assert slipway("users", "disable", "bob").exit_code == 0

    [bob] = platform.items["users"].values()
    assert bob["disabled"]


def test_short_password_is_told(slipway: Command) -> None:
    result = slipway("users", "create", "bob", "--password-stdin", stdin="short")

    assert result.exit_code == 2
    assert "password" in result.stderr


def test_folder_is_packed_and_sealed(slipway: Command, project: Path, tmp_path: Path) -> None:
    result = slipway("pack", project, "-o", tmp_path, "--json")

    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    path = tmp_path / "depots-1.0.0.slipway"
    assert document["path"] == str(path)
    assert document["size_bytes"] == path.stat().st_size
    assert "4 files" in result.stderr
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == [path.name]


def test_folder_is_packed_without_the_platform(
    stranger: Command, project: Path, tmp_path: Path, seal: SealPair
) -> None:
    pem = tmp_path / "seal.pem"
    pem.write_bytes(seal.certificate)

    result = stranger("pack", project, "-o", tmp_path / "x.slipway", "--certificate", pem)

    assert result.exit_code == 0
    assert (tmp_path / "x.slipway").exists()


def test_certificate_that_is_none_is_told(stranger: Command, project: Path) -> None:
    result = stranger("pack", project, "--certificate", project / "model.py")

    assert result.exit_code == 6
    assert "certificate" in result.stderr


def test_bad_project_is_told_line_by_line(slipway: Command, project: Path) -> None:
    (project / "model.py").unlink()
    (project / "icon.svg").unlink()

    result = slipway("publish", project, "--json")

    assert result.exit_code == 2
    assert len(json.loads(result.stdout)["problem"]["faults"]) == 2
    assert "- The icon icon.svg does not exist." in result.stderr


def test_syntax_error_is_told_with_its_line(slipway: Command, project: Path) -> None:
    (project / "model.py").write_text("x = 1\ndef f(:\n")

    for command in ("pack", "publish"):
        result = slipway(command, project)

        assert result.exit_code == 2
        assert "- model.py, line 2: invalid syntax" in result.stderr


def verdict(platform: FakePlatform, state: str, **more: object) -> dict:
    package = package_view("processing")
    return platform.add("packages", package, [{**package, "state": state, "revision": 2, **more}])


def test_folder_is_published(slipway: Command, platform: FakePlatform, project: Path) -> None:
    verdict(platform, "ready")

    result = slipway("publish", project)

    assert result.exit_code == 0, result.output
    assert result.stdout == "depots 1.0.0 is published.\n"
    assert platform.of("PUT", "/apps/depots/1.0.0")[0].body.startswith(b"SLIPWAY\x01")


def test_rejected_package_fails_with_its_reasons(
    slipway: Command, platform: FakePlatform, project: Path
) -> None:
    verdict(platform, "rejected", reasons=[{"code": "ratio", "message": "It is a bomb."}])

    result = slipway("publish", project)

    assert result.exit_code == 1
    assert "- It is a bomb. (ratio)" in result.stdout


def test_publishing_the_same_content_again_is_no_error(
    slipway: Command, platform: FakePlatform, project: Path
) -> None:
    with pack(project) as app:
        package = platform.add("packages", package_view("ready", sha256=app.sha256))
    platform.add("apps", {**app_view("depots", "1.0.0", package["id"]), "id": "1"})

    result = slipway("publish", project)

    assert result.exit_code == 0
    assert "published already" in result.stderr
    assert platform.count("PUT", "/apps/depots/1.0.0") == 0


def test_publishing_other_content_needs_another_version(
    slipway: Command, platform: FakePlatform, project: Path
) -> None:
    package = platform.add("packages", package_view("ready", sha256="0" * 64))
    platform.add("apps", {**app_view("depots", "1.0.0", package["id"]), "id": "1"})

    result = slipway("publish", project)

    assert result.exit_code == 5
    assert result.stderr.count("raise version in slipway.toml") == 1


def test_conflict_of_an_upload_tells_to_raise_the_version(
    slipway: Command, platform: FakePlatform, project: Path
) -> None:
    refused = refusal(Code.VERSION_EXISTS, "It is published already. Raise the version.")
    platform.script("PUT", "/apps/depots/1.0.0", refused)

    result = slipway("publish", project)

    assert result.exit_code == 5
    assert result.stderr.lower().count("raise") == 1


def test_packed_app_and_runtime_are_published(
    slipway: Command, platform: FakePlatform, project: Path, tmp_path: Path
) -> None:
    verdict(platform, "ready")
    runtime = tmp_path / "runtime.zip"
    with zipfile.ZipFile(runtime, "w") as archive:
        archive.writestr("runtime.json", '{"id": "1.0.0.1-linux64-x64"}')
    slipway("pack", project, "-o", tmp_path / "depots.slipway")

    first = slipway("publish", tmp_path / "depots.slipway", "--no-wait")
    second = slipway("publish", runtime, "--json")

    assert first.exit_code == 0, first.output
    assert "is uploaded" in first.stdout
    assert second.exit_code == 0, second.output
    assert platform.count("PUT", "/runtimes/1.0.0.1-linux64-x64") == 1
    assert json.loads(second.stdout)["state"] == "ready"


def test_launch_follows_the_queue_and_prints_the_link(
    slipway: Command, platform: FakePlatform
) -> None:
    session = session_view("requested")
    states = ({"state": "queued", "queue_position": 2}, {"state": "starting"}, {"state": "running"})
    platform.add(
        "sessions", session, [{**session, **s, "revision": at} for at, s in enumerate(states, 2)]
    )

    result = slipway("launch", "depots@1.0.0")

    assert result.exit_code == 0, result.output
    assert result.stdout == f"https://s.test/{session['id']}\n"
    assert "queued, place 2" in result.stderr
    assert platform.of("POST", "/sessions")[0].json == {"app": "depots", "version": "1.0.0"}


def test_launch_that_is_not_waited_for_prints_the_id(
    slipway: Command, platform: FakePlatform
) -> None:
    session = platform.add("sessions", session_view("requested"))

    assert slipway("launch", "depots", "--no-wait").stdout == f"{session['id']}\n"


def test_launch_that_fails_says_why(slipway: Command, platform: FakePlatform) -> None:
    session = session_view("requested")
    over = {**session, "state": "failed", "revision": 2, "message": "The app cannot be loaded."}
    platform.add("sessions", session, [over])

    result = slipway("launch", "depots", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["session"]["state"] == "failed"
    assert "The app cannot be loaded." in result.stderr


def test_unknown_app_is_not_found(slipway: Command) -> None:
    assert slipway("launch", "nothing").exit_code == 4


def test_session_is_named_by_how_its_id_starts(slipway: Command, platform: FakePlatform) -> None:
    session = platform.add("sessions", session_view("running"))
    twins = [
        platform.add("sessions", session_view("running", id=f"aaaaaa{n}0-{session['id'][9:]}"))
        for n in range(2)
    ]
    platform.logs[session["id"]] = ["hello\n"]

    assert slipway("logs", session["id"][:6]).stdout == "hello\n"
    assert slipway("stop", session["id"][:8]).exit_code == 0
    assert slipway("stop", twins[0]["id"][:6]).exit_code == 2
    assert slipway("stop", "ffffffff").exit_code == 4


def test_stop_says_that_it_is_under_way(slipway: Command, platform: FakePlatform) -> None:
    running = platform.add("sessions", session_view("running"))["id"]
    over = platform.add("sessions", session_view("ended"))["id"]

    assert slipway("stop", running).stdout == f"Stopping session {running[:8]}.\n"
    assert slipway("stop", over).stdout == f"Session {over[:8]}: ended\n"


def test_log_is_followed(slipway: Command, platform: FakePlatform) -> None:
    session = platform.add("sessions", session_view("ended"))
    platform.logs[session["id"]] = ["one\ntwo\n"]

    assert slipway("logs", session["id"], "--follow").stdout == "one\ntwo\n"
    document = json.loads(slipway("logs", session["id"], "--follow", "--json").stdout)
    assert document["log"] == "one\ntwo\n"


def solved(platform: FakePlatform, state: str = "completed", **more: object) -> dict:
    task = task_view("queued")
    progress = {"state": "solving", "objective": 12.5, "bound": 11.0, "gap": 0.12, "fraction": 0.5}
    solving = {**task, "state": "solving", "revision": 2, "progress": progress}
    platform.results[task["id"]] = {"cost": 12.5}
    return platform.add("tasks", task, [solving, {**task, "state": state, "revision": 3, **more}])


def test_task_runs_and_its_result_is_printed(slipway: Command, platform: FakePlatform) -> None:
    solved(platform)

    result = slipway(
        "run",
        "depots",
        "solve",
        "--input",
        "-",
        "--set",
        "count=3",
        "--set",
        "name=x",
        "--time-limit",
        "60",
        stdin='{"demand": [1], "count": 1}',
    )

    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"cost": 12.5}
    assert "objective 12.5, bound 11, gap 12.00%" in result.stderr
    [seen] = platform.of("POST", "/tasks/depots/latest/solve")
    assert seen.json == {"demand": [1], "count": 3, "name": "x"}
    assert seen.query == {"time_limit": "60"}


def test_result_goes_to_a_file(slipway: Command, platform: FakePlatform, tmp_path: Path) -> None:
    task = solved(platform)

    result = slipway("run", "depots", "solve", "-o", tmp_path / "result.json", "--json")

    assert json.loads((tmp_path / "result.json").read_text()) == {"cost": 12.5}
    assert json.loads(result.stdout)["task"]["id"] == task["id"]


def test_failed_task_shows_its_problem(slipway: Command, platform: FakePlatform) -> None:
    problem = {
        "type": "urn:slipway:problem:input-invalid",
        "title": "The input does not fit",
        "errors": [{"path": "/demand", "message": "must not be negative"}],
    }
    solved(platform, "failed", problem=problem)

    result = slipway("run", "depots", "solve", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout)["task"]["problem"] == problem
    assert "/demand: must not be negative" in result.stderr


@pytest.mark.parametrize("text", ["[1]", "{"])
def test_input_that_is_no_object_is_usage(slipway: Command, text: str) -> None:
    assert slipway("run", "depots", "solve", "-i", "-", stdin=text).exit_code == 2


def test_task_is_interrupted(slipway: Command, platform: FakePlatform) -> None:
    task = platform.add("tasks", task_view("solving"))

    assert slipway("interrupt", task["id"][:7], "--scope", "execution").exit_code == 0

    assert platform.seen[-1].json == {"scope": "execution"}


def started(slipway: Command, *args: str) -> subprocess.Popen[str]:
    env = {name: value for name, value in slipway.env.items() if value is not None}
    return subprocess.Popen(
        [sys.executable, "-m", "slipway_client", *args],
        env=os.environ | env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_interrupt_keeps_the_best_result(slipway: Command, platform: FakePlatform) -> None:
    task = task_view("queued")
    done = {**task, "state": "completed", "outcome": "interrupted", "revision": 3}
    platform.add("tasks", task, [{**task, "state": "solving", "revision": 2}, HOLD], [done])
    platform.results[task["id"]] = {"cost": 13}
    events = f"/tasks/{task['id']}/events"

    with started(slipway, "run", "depots", "solve") as process:
        platform.wait_for("GET", events)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)

    assert process.returncode == 0, stderr
    assert json.loads(stdout) == {"cost": 13}
    assert "best result" in stderr
    assert platform.of("POST", f"/tasks/{task['id']}/interrupt")[0].json == {"scope": "solve"}


def test_second_interrupt_leaves_the_task(slipway: Command, platform: FakePlatform) -> None:
    task = task_view("queued")
    platform.add("tasks", task, [HOLD], [HOLD])
    events = f"/tasks/{task['id']}/events"

    with started(slipway, "run", "depots", "solve") as process:
        platform.wait_for("GET", events)
        process.send_signal(signal.SIGINT)
        platform.wait_for("GET", events, times=2)
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)

    assert process.returncode == 130
    assert stdout == ""
    assert "goes on until it has its best result" in stderr
    assert f"slipway interrupt {task['id'][:8]}" in stderr
    assert "Traceback" not in stderr


def test_interrupted_launch_tells_how_to_stop_it(slipway: Command, platform: FakePlatform) -> None:
    session = session_view("requested")
    platform.add("sessions", session, [HOLD])

    with started(slipway, "launch", "depots") as process:
        platform.wait_for("GET", f"/sessions/{session['id']}/events")
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=20)

    assert process.returncode == 130
    assert f"slipway stop {session['id'][:8]}" in stderr


def test_retries_stay_off_stdout(slipway: Command, platform: FakePlatform) -> None:
    platform.script("GET", "/me", refusal(Code.UNAVAILABLE, Retry_After="1"))

    result = slipway("whoami", "--json")

    assert json.loads(result.stdout)["user"] == "ann"
    assert "again in 1 s" in result.stderr


def test_unforeseen_answer_is_told(slipway: Command, platform: FakePlatform) -> None:
    platform.script("GET", "/me", JSONResponse({"hello": "world"}))

    result = slipway("whoami")

    assert result.exit_code == 6
    assert "is this the address of Slipway" in result.stderr
