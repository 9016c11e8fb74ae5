"""Bad input: a clear problem with a stable type; nothing is changed, nothing is lost."""

import socket
import subprocess
import sys
import uuid
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from slipway_client.pack import pack, sealed_file
from slipway_common.contracts.tasks import TaskState
from slipway_common.contracts.views import PackageState, SessionState
from support.demo import Demo, Person
from support.waiting import wait_for

PREFIX = "urn:slipway:problem:"


def assert_problem(answer: httpx2.Response, status: int, slug: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["type"] == PREFIX + slug
    assert body["title"]
    assert body["status"] == status


@pytest.fixture(scope="module")
def stranger(demo: Demo) -> Person:
    """The admin of another account."""
    return demo.make_account("stranger")


@pytest.fixture(scope="module")
def reader(demo: Demo) -> Person:
    """A user of the same account who is neither admin nor publisher."""
    demo.client.users.create("reader", password="a reader's long password")
    return demo.log_on("demo", "reader", "a reader's long password")


def test_a_wrong_password_says_nothing_about_which_part_is_wrong(demo: Demo) -> None:
    with demo.http() as http:
        wrong = [
            http.post("/login", json={"account": account, "user": user, "password": "no"})
            for account, user in (("demo", "admin"), ("demo", "nobody"), ("nowhere", "admin"))
        ]

    for answer in wrong:
        assert_problem(answer, 401, "wrong-password")
    assert len({answer.text for answer in wrong}) == 1


def test_no_key_a_made_up_key_and_a_revoked_key_are_refused(demo: Demo) -> None:
    made = demo.client.keys.create("to be revoked", scopes=("read",))
    with demo.http(made.key) as http:
        assert http.get("/apps").status_code == 200
        demo.client.keys.revoke(made.id)
        wait_for(lambda: http.get("/apps").status_code == 401, what="the revocation")
        assert_problem(http.get("/apps"), 401, "unauthenticated")
    with demo.http("slwk_" + "x" * 43) as http:
        assert_problem(http.get("/apps"), 401, "unauthenticated")
    with httpx2.Client(base_url=demo.url) as http:
        assert_problem(http.get("/api/v1/apps"), 401, "unauthenticated")


async def test_an_expired_key_says_so(demo: Demo) -> None:
    made = demo.client.keys.create("short-lived", scopes=("read",))
    await demo.sql("UPDATE credentials SET expires_at = now() WHERE id = $1", made.id)

    with demo.http(made.key) as http:
        assert_problem(http.get("/apps"), 401, "key-expired")


def test_a_launch_of_what_there_is_not_is_told_by_its_field(demo: Demo) -> None:
    bodies: list[dict[str, str]] = [
        {},
        {"app": "probe", "kind": "task"},
        {"app": "probe", "kind": "desktop"},
        {"app": "probe", "service": "notebooks"},
        {"kind": "external"},
        {"kind": "external", "service": "notebooks", "app": "probe"},
        {"app": "probe", "profile": "large"},
    ]
    before = len(list(demo.client.sessions.list()))
    with demo.http() as http:
        for body in bodies:
            answer = http.post("/sessions", json=body)
            assert_problem(answer, 422, "invalid-request")
            assert answer.json()["errors"][0]["path"].startswith("/body/"), body
        offered = http.post("/sessions", json={"kind": "external", "service": "notebooks"})
        assert_problem(offered, 404, "service-not-offered")
        assert http.get("/services").json()["items"] == []
    assert len(list(demo.client.sessions.list())) == before


def test_an_app_with_a_profile_that_there_is_not_is_published_and_not_launched(
    demo: Demo, probe: Path
) -> None:
    folder = demo.copy_of(probe, version="1.0.0", name="greedy")
    project = folder / "slipway.toml"
    text = project.read_text()
    project.write_text(text.replace("runtime = ", 'profile = "huge"\nruntime = ', 1))
    assert demo.publish_app(folder).state is PackageState.READY
    assert demo.client.apps.get("greedy").profile == "huge"

    with demo.http() as http:
        session = http.post("/sessions", json={"app": "greedy"})
        task = http.post("/tasks/greedy/latest/echo", json={"text": "x"})
        known = http.get("/profiles").json()["items"]

    for answer in (session, task):
        assert_problem(answer, 409, "profile-unknown")
        assert "There are: standard." in answer.json()["detail"]
    assert [each["name"] for each in known] == ["standard"]


def test_limits_are_set_by_admins_within_what_the_operator_allows(
    demo: Demo, reader: Person
) -> None:
    with demo.http() as http:
        before = http.get("/account").json()
        for body, status, slug in (
            ({"session_limit": 99}, 422, "invalid-request"),
            ({"queues": False}, 422, "invalid-request"),
            ({"webui_idle": 60}, 422, "invalid-request"),
            ({"webui_idle_seconds": "soon"}, 422, "invalid-request"),
            ({"webui_idle_seconds": 0}, 422, "limit-out-of-range"),
            ({"max_session_seconds": 10**9}, 422, "limit-out-of-range"),
        ):
            answer = http.patch("/account", json=body)
            assert_problem(answer, status, slug)
            assert next(iter(body)) in answer.json()["detail"]
        assert http.get("/account").json() == before
        assert http.patch("/account", json={"task_idle_seconds": 61}).status_code == 200
        assert http.get("/account").json() == before | {"task_idle_seconds": 61}
        http.patch("/account", json={"task_idle_seconds": before["task_idle_seconds"]})
    made = demo.client.keys.create("no admin", scopes=("read", "launch"))
    for key in (reader.key, made.key):
        with demo.http(key) as http:
            assert_problem(http.get("/account"), 403, "forbidden")
            assert_problem(http.patch("/account", json={"task_idle_seconds": 99}), 403, "forbidden")


def test_a_key_cannot_do_more_than_its_scopes(demo: Demo) -> None:
    made = demo.client.keys.create("only reads", scopes=("read",))
    with demo.http(made.key) as http:
        assert_problem(http.post("/sessions", json={"app": "probe"}), 403, "forbidden")
        assert_problem(http.put("/apps/x/1", content=b"x"), 403, "forbidden")
        assert_problem(http.post("/tasks/probe/latest/echo", json={}), 403, "forbidden")
        assert_problem(http.get("/users"), 403, "forbidden")
        wider = {"name": "wider", "scopes": ["read", "launch"]}
        assert_problem(http.post("/api-keys", json=wider), 403, "forbidden")


def test_only_publishers_publish(demo: Demo, reader: Person) -> None:
    with demo.http(reader.key) as http:
        assert_problem(http.put("/apps/mine/1.0", content=b"x"), 403, "forbidden")


def test_what_belongs_to_another_account_looks_like_nothing(demo: Demo, stranger: Person) -> None:
    session = demo.client.sessions.launch("probe")
    task = demo.client.tasks.start("probe", "echo", {"text": "mine"})
    package = demo.client.apps.get("probe").package_id
    nothing = uuid.uuid4()

    with demo.http(stranger.key) as http:
        for method, path in (
            ("GET", "/sessions/{}"),
            ("GET", "/sessions/{}/log"),
            ("POST", "/sessions/{}/stop"),
            ("POST", "/sessions/{}/ticket"),
            ("GET", "/tasks/{}"),
            ("GET", "/tasks/{}/response"),
            ("GET", "/packages/{}"),
        ):
            mine = {"sessions": session.id, "tasks": task.id, "packages": package}
            theirs = http.request(method, path.format(mine[path.split("/")[1]]))
            absent = http.request(method, path.format(nothing))
            assert_problem(theirs, 404, "not-found")
            assert theirs.content == absent.content
        assert http.get("/apps").json()["items"] == []
        assert_problem(http.post("/sessions", json={"app": "probe"}), 404, "app-not-found")
    demo.client.sessions.stop(session.id)


def test_a_user_cannot_stop_the_session_of_another(demo: Demo, reader: Person) -> None:
    session = demo.client.sessions.launch("probe")

    with demo.http(reader.key) as http:
        assert_problem(http.post(f"/sessions/{session.id}/stop"), 404, "not-found")

    assert not demo.client.sessions.get(session.id).state.over
    demo.client.sessions.stop(session.id)


def test_an_admin_may_stop_but_not_open_the_session_of_another(demo: Demo, reader: Person) -> None:
    session = reader.client.sessions.launch("probe")
    wait_for(lambda: reader.client.sessions.get(session.id).state is SessionState.RUNNING)

    with demo.http() as http:
        assert_problem(http.post(f"/sessions/{session.id}/ticket"), 403, "forbidden")
    demo.client.sessions.stop(session.id)

    wait_for(lambda: reader.client.sessions.get(session.id).state.over, what="the end")
    with demo.http(reader.key) as http:
        assert_problem(http.post(f"/sessions/{session.id}/stop"), 409, "session-over")


def test_an_unknown_app_version_and_service_are_told_apart(demo: Demo) -> None:
    with demo.http() as http:
        assert_problem(http.post("/sessions", json={"app": "nope"}), 404, "app-not-found")
        wrong = http.post("/sessions", json={"app": "probe", "version": "9.9"})
        assert_problem(wrong, 404, "app-not-found")
        answer = http.post("/tasks/probe/latest/nope", json={})
        assert_problem(answer, 404, "service-not-found")
        assert "echo" in answer.json()["detail"]


def test_unknown_fields_and_wrong_types_are_refused_by_name(demo: Demo) -> None:
    with demo.http() as http:
        extra = http.post("/sessions", json={"app": "probe", "verison": "1.0.0"})
        assert_problem(extra, 422, "invalid-request")
        assert "verison" in extra.text
        assert_problem(
            http.post("/sessions", content=b"{", headers={"Content-Type": "application/json"}),
            400,
            "not-json",
        )
        assert_problem(http.get("/sessions", params={"limit": 0}), 422, "invalid-request")
        assert_problem(http.get("/sessions", params={"cursor": "?"}), 422, "invalid-request")


def test_a_body_that_is_too_large_is_refused_however_it_is_sent(demo: Demo) -> None:
    large = b'{"app": "' + b"x" * (1024**2) + b'"}'
    headers = {"Content-Type": "application/json"}
    with demo.http(headers=headers) as http:
        assert_problem(http.post("/sessions", content=large), 413, "too-large")
        assert_problem(http.post("/sessions", content=iter([large])), 413, "too-large")


def test_a_task_body_that_is_not_a_json_object_is_refused(demo: Demo) -> None:
    with demo.http() as http:
        for body in (b"{", b"[1]", b"3", b"\xff\xfe", b"[" * 100_000):
            answer = http.post("/tasks/probe/latest/echo", content=body)
            assert_problem(answer, 400, "not-json")
        huge = http.post("/tasks/probe/latest/echo", content=b" " * (16 * 1024**2 + 1))
        assert_problem(huge, 413, "too-large")


def failed_task(demo: Demo, service: str, body: dict, **more):
    task = demo.client.tasks.start("probe", service, body, **more)
    done = wait_for(
        lambda: found if (found := demo.client.tasks.get(task.id)).state.over else None,
        seconds=90,
        what=f"the end of {service}",
    )
    assert done.state is TaskState.FAILED
    with demo.http() as http:
        return done, http.get(f"/tasks/{task.id}/response")


def test_a_task_that_lacks_a_field_names_the_field(demo: Demo) -> None:
    done, answer = failed_task(demo, "echo", {})

    assert_problem(answer, 422, "input-invalid")
    assert answer.json()["errors"][0]["path"] == "/text"
    assert done.problem["type"] == PREFIX + "input-invalid"


def test_model_code_that_raises_gives_its_message_and_line_but_no_path(demo: Demo) -> None:
    _, answer = failed_task(demo, "raises", {})

    assert_problem(answer, 422, "procedure-failed")
    assert "the model divides by zero" in answer.json()["detail"]
    assert "model.py" in answer.json()["detail"]
    assert str(demo.running.stack.state.folder) not in answer.text


def test_an_engine_that_dies_fails_its_task_and_not_the_next_one(demo: Demo) -> None:
    _, answer = failed_task(demo, "dies", {})

    assert_problem(answer, 422, "task-session-lost")
    assert demo.client.tasks.run("probe", "echo", {"text": "after"}) == {"text": "after"}


@pytest.mark.timeout(180)
def test_a_procedure_that_never_answers_is_ended_by_its_time_limit(demo: Demo) -> None:
    demo.running.restart("scheduler", SLIPWAY_SCHEDULER_TASK_GRACE="PT2S")
    for session in demo.client.sessions.list(open_only=True):
        demo.client.sessions.stop(session.id)  # those that were started with the usual grace

    _, answer = failed_task(demo, "hangs", {}, time_limit=timedelta(seconds=1))

    demo.running.restart("scheduler")
    assert_problem(answer, 422, "task-time-limit")
    assert demo.client.tasks.run("probe", "echo", {"text": "after"}) == {"text": "after"}


def test_a_response_is_asked_for_too_early(demo: Demo) -> None:
    task = demo.client.tasks.start("probe", "slow", {"seconds": 60})
    with demo.http() as http:
        assert_problem(http.get(f"/tasks/{task.id}/response"), 409, "task-not-over")
        demo.client.tasks.interrupt(task.id, scope="execution")
        wait_for(lambda: demo.client.tasks.get(task.id).state.over)
        again = http.post(f"/tasks/{task.id}/interrupt", json={"scope": "solve"})
        assert_problem(again, 409, "task-over")


def rejected(demo: Demo, package_id: str) -> list[str]:
    package = demo.judged(uuid.UUID(package_id))
    assert package.state is PackageState.REJECTED
    assert all(reason.message for reason in package.reasons)
    return [reason.code for reason in package.reasons]


def put_app(demo: Demo, content: bytes, *, name: str = "bad", version: str = "1.0") -> str:
    with demo.http() as http:
        answer = http.put(f"/apps/{name}/{version}", content=content)
        assert answer.status_code == 202, answer.text
        identity: str = answer.json()["id"]
        return identity


def sealed(demo: Demo, folder: Path) -> bytes:
    with pack(folder) as packed, sealed_file() as file:
        packed.seal(demo.client.seal(), file)
        file.seek(0)
        return file.read()


def test_what_is_no_archive_or_not_sealed_is_rejected_with_its_reason(
    demo: Demo, probe: Path, runtime_archive: Path
) -> None:
    good = sealed(demo, probe)

    assert rejected(demo, put_app(demo, b"this is no archive")) == ["not-an-archive"]
    assert rejected(demo, put_app(demo, runtime_archive.read_bytes())) == ["not-sealed"]
    assert rejected(demo, put_app(demo, good)) == ["seal-mismatch"]
    cut = put_app(demo, good[:-40], name="probe", version="7.0")
    assert rejected(demo, cut) == ["seal-mismatch"]
    other = demo.copy_of(probe, version="7.1")
    damaged = bytearray(sealed(demo, other))
    damaged[-1] ^= 1
    assert rejected(demo, put_app(demo, bytes(damaged), name="probe", version="7.1")) == [
        "seal-broken"
    ]
    assert {app.version for app in demo.client.apps.list() if app.name == "probe"} == {"1.0.0"}


def test_a_runtime_of_a_stranger_or_changed_after_signing_is_rejected(
    demo: Demo, runtime_archive: Path, tmp_path: Path
) -> None:
    changed = bytearray(runtime_archive.read_bytes())
    place = changed.index(b"slipway_open/")
    changed[place] ^= 1
    with demo.http() as http:
        answer = http.put("/runtimes/1.0.0.9-linux64-x64", content=bytes(changed))
        mismatch = http.put("/runtimes/1.0.0.8-linux64-x64", content=runtime_archive.read_bytes())
    assert rejected(demo, answer.json()["id"])
    assert rejected(demo, mismatch.json()["id"]) == ["name-mismatch"]

    foreign = foreign_runtime(demo, tmp_path)
    with demo.http() as http:
        answer = http.put("/runtimes/1.0.0.7-linux64-x64", content=foreign.read_bytes())
    assert rejected(demo, answer.json()["id"]) == ["signature-invalid"]
    assert len(list(demo.client.runtimes.list())) == 1


def test_bytes_that_were_refused_are_judged_anew_when_they_are_sent_again(demo: Demo) -> None:
    first = put_app(demo, b"this is no archive", name="again")
    assert rejected(demo, first) == ["not-an-archive"]

    second = put_app(demo, b"this is no archive", name="again")

    assert second == first
    assert rejected(demo, second) == ["not-an-archive"]


def foreign_runtime(demo: Demo, folder: Path) -> Path:
    """The same runtime, signed by somebody whom the installation does not know."""
    from slipway_local.secrets import Secrets

    strangers = Secrets(folder / "secrets")
    strangers.make()
    subprocess.run(
        [
            sys.executable,
            str(demo.repository / "runtimes/open/build.py"),
            *("--output", str(folder)),
            *("--signer", str(strangers.vendor_signer)),
            *("--key", str(strangers.vendor_signer_key)),
            *("--id", "1.0.0.7-linux64-x64"),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return folder / "1.0.0.7-linux64-x64.zip"


def test_an_empty_upload_and_a_wrong_digest_are_refused(demo: Demo) -> None:
    with demo.http() as http:
        assert_problem(http.put("/apps/bad/2.0", content=b""), 400, "empty")
        wrong = http.put(
            "/apps/bad/2.0",
            content=b"x",
            headers={"Repr-Digest": "sha-256=:" + "A" * 43 + "=:"},
        )
        assert_problem(wrong, 400, "digest-mismatch")
        unread = http.put("/apps/bad/2.0", content=b"x", headers={"Repr-Digest": "md5=:AA==:"})
        assert_problem(unread, 422, "invalid-request")


def test_an_upload_over_the_limit_is_refused_before_it_is_read(demo: Demo) -> None:
    host, port = demo.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"PUT /api/v1/apps/big/1.0 HTTP/1.1\r\nHost: localhost\r\n"
            + f"Authorization: Bearer {demo.admin.key}\r\n".encode()
            + f"Content-Length: {3 * 1024**3}\r\n\r\n".encode()
            + b"x" * 1024
        )
        answer = b""
        while b"\r\n\r\n{" not in answer or not answer.endswith(b"}"):
            answer += connection.recv(65536)
    assert b" 413 " in answer.splitlines()[0]
    assert b"urn:slipway:problem:too-large" in answer


async def test_an_upload_that_is_cut_off_leaves_nothing(demo: Demo) -> None:
    host, port = demo.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(
            b"PUT /api/v1/apps/cut/1.0 HTTP/1.1\r\nHost: localhost\r\n"
            + f"Authorization: Bearer {demo.admin.key}\r\n".encode()
            + b"Content-Length: 100000\r\n\r\n"
            + b"x" * 50_000
        )

    assert await demo.sql("SELECT 1 FROM packages WHERE name = 'cut'") == []
    with demo.http() as http:
        assert_problem(http.get("/apps/cut/1.0"), 404, "app-not-found")


def test_a_full_account_queues_or_refuses_as_it_chose(demo: Demo, runtime_archive: Path) -> None:
    probe = demo.repository / "tests/data/apps/probe"
    queueing = demo.make_account("queueing", limit=1)
    refusing = demo.make_account("refusing", limit=1, queues=False)
    for person in (queueing, refusing):
        package = person.client.packages.publish_runtime(runtime_archive)
        assert demo.judged(package.id, by=person).state is PackageState.READY
        assert demo.publish_app(probe, by=person).state is PackageState.READY

    first = queueing.client.sessions.launch("probe")
    waiting = [queueing.client.sessions.launch("probe") for _ in range(2)]
    wait_for(
        lambda: [queueing.client.sessions.get(s.id).queue_position for s in waiting] == [1, 2],
        what="the queue",
    )
    queueing.client.sessions.stop(first.id)
    wait_for(
        lambda: queueing.client.sessions.get(waiting[0].id).state is SessionState.RUNNING,
        what="the next in the queue",
    )
    assert queueing.client.sessions.get(waiting[1].id).queue_position == 1

    only = refusing.client.sessions.launch("probe")
    wait_for(lambda: refusing.client.sessions.get(only.id).state is SessionState.RUNNING)
    with demo.http(refusing.key) as http:
        answer = http.post("/sessions", json={"app": "probe"})
        assert_problem(answer, 429, "session-limit-reached")
        assert answer.headers["retry-after"]
    for person, sessions in ((queueing, waiting), (refusing, [only])):
        for session in sessions:
            person.client.sessions.stop(session.id)


def test_an_app_whose_code_does_not_load_fails_with_its_own_words(demo: Demo, probe: Path) -> None:
    broken = demo.copy_of(probe, version="1.0.0", name="broken", **{"app = App(": "app = Appp("})
    assert demo.publish_app(broken).state is PackageState.READY

    session = demo.client.sessions.launch("broken")
    failed = wait_for(
        lambda: found if (found := demo.client.sessions.get(session.id)).state.over else None
    )

    assert failed.state is SessionState.FAILED
    assert "Appp" in failed.message


def test_a_ticket_opens_a_session_once(demo: Demo) -> None:
    session = demo.client.sessions.launch("probe")
    wait_for(lambda: demo.client.sessions.get(session.id).state is SessionState.RUNNING)
    ticket = demo.client.sessions.ticket(session.id)
    demo.open_session(ticket.url)

    address = httpx2.URL(ticket.url)
    with httpx2.Client(base_url=demo.url, headers={"Host": address.netloc.decode()}) as http:
        again = http.get(address.raw_path.decode())
        assert_problem(again, 401, "ticket-invalid")
        assert_problem(http.get("/"), 401, "unauthenticated")
        assert_problem(http.get("/_slipway/health"), 404, "not-found")
    demo.client.sessions.stop(session.id)


def test_a_request_from_another_site_is_refused(demo: Demo) -> None:
    with httpx2.Client(base_url=demo.url) as http:
        http.post(
            "/api/v1/login",
            json={"account": "demo", "user": "admin", "password": demo.password},
        ).raise_for_status()
        for headers in (
            {"Origin": "http://evil.example"},
            {"Sec-Fetch-Site": "cross-site"},
            {},
        ):
            answer = http.post("/api/v1/sessions", json={"app": "probe"}, headers=headers)
            assert_problem(answer, 403, "cross-site")
