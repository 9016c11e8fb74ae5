"""The small parts: failpoints, deadlines, periodic steps, health, problems, settings."""

import asyncio
import json
import re
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, SecretStr, ValidationError
from starlette.requests import Request
from starlette.testclient import TestClient

from slipway_accounts.settings import Settings as AccountsSettings
from slipway_common.contracts.problems import PREFIX, Code, problem
from slipway_common.crypto.keys import UnknownKeyError
from slipway_common.deadline import Deadline, DeadlineExceededError
from slipway_common.errors import PermanentError, TransientError
from slipway_common.failpoints import FailpointSyntaxError, failpoint, parse
from slipway_common.health import Health, build_app
from slipway_common.kafka.delivery import backoff_seconds
from slipway_common.metrics import shared
from slipway_common.periodic import Periodic
from slipway_common.settings import HttpSettings, KafkaSettings, PostgresSettings, read_secret
from slipway_common.web import problems


class TestFailpoints:
    def test_a_list_of_names_and_counts_is_read(self) -> None:
        points = parse("a.b:kill,c:kill@3")

        assert {name: point.passes_left for name, point in points.items()} == {"a.b": 1, "c": 3}
        assert parse("") == {}

    @pytest.mark.parametrize(
        "text", ["a", "a:", ":kill", "a:die", "a:kill@0", "a:kill@x", "a:kill@-1", "a:kill@²"]
    )
    def test_what_would_prove_nothing_is_refused(self, text: str) -> None:
        with pytest.raises(FailpointSyntaxError):
            parse(text)

    def test_without_the_variable_nothing_happens(self) -> None:
        failpoint("accounts.before-launch-commit")


class TestDeadline:
    def test_what_is_left_shrinks_until_it_is_used_up(self) -> None:
        deadline = Deadline.after(timedelta(seconds=100), operation="launch")

        assert 99 < deadline.left() <= 100
        assert not deadline.expired

    def test_used_up_it_names_its_operation_as_a_passing_fault(self) -> None:
        deadline = Deadline(operation="launch", ends_at=time.monotonic())

        assert deadline.expired
        with pytest.raises(DeadlineExceededError, match="launch") as found:
            deadline.left()
        assert isinstance(found.value, TransientError)


class TestPeriodic:
    async def test_a_step_that_fails_costs_one_round_and_is_counted(self) -> None:
        rounds = 0
        name = "test.fails"

        async def step() -> None:
            nonlocal rounds
            rounds += 1
            if rounds == 1:
                raise ZeroDivisionError
            loop.stop()

        loop = Periodic(name, step, every=timedelta(milliseconds=1))
        async with asyncio.timeout(5):
            await loop.run()

        assert rounds == 2
        assert shared.periodic_failures.labels(name)._value.get() == 1

    async def test_woken_it_does_not_wait_for_its_time(self) -> None:
        rounds = asyncio.Semaphore(0)

        async def step() -> None:
            rounds.release()

        loop = Periodic("test.wake", step, every=timedelta(hours=1))
        running = asyncio.create_task(loop.run())
        async with asyncio.timeout(5):
            await rounds.acquire()
            loop.wake()
            await rounds.acquire()
            loop.stop()
            await running

    async def test_woken_inside_a_step_it_runs_once_more(self) -> None:
        rounds = 0

        async def step() -> None:
            nonlocal rounds
            rounds += 1
            loop.wake() if rounds == 1 else loop.stop()

        loop = Periodic("test.wake-inside", step, every=timedelta(hours=1))
        async with asyncio.timeout(5):
            await loop.run()

        assert rounds == 2

    async def test_stopped_it_finishes_its_step(self) -> None:
        begun, go_on, finished = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def step() -> None:
            begun.set()
            await go_on.wait()
            finished.set()

        loop = Periodic("test.stop", step, every=timedelta(hours=1))
        running = asyncio.create_task(loop.run())
        await begun.wait()
        loop.stop()
        go_on.set()
        async with asyncio.timeout(5):
            await running

        assert finished.is_set()


class TestHealth:
    async def good(self) -> None:
        return None

    async def bad(self) -> None:
        raise TransientError("away")

    async def no(self) -> bool:
        return False

    async def hangs(self) -> None:
        await asyncio.Event().wait()

    def test_ready_is_that_every_check_passes(self) -> None:
        client = TestClient(build_app(Health({"postgres": self.good, "kafka": self.good})))

        assert client.get("/readyz").json() == {"ready": True, "problems": {}}
        assert client.get("/livez").status_code == 200
        assert "slipway_periodic_failures_total" in client.get("/metrics").text

    async def test_a_check_that_answers_no_fails(self) -> None:
        found = await Health({"kafka": self.no}).problems()

        assert found == {"kafka": "TransientError: no answer"}

    def test_a_check_that_fails_is_named_and_the_process_stays_alive(self) -> None:
        client = TestClient(build_app(Health({"postgres": self.good, "kafka": self.bad})))

        answer = client.get("/readyz")

        assert answer.status_code == 503
        assert answer.json()["problems"] == {"kafka": "TransientError: away"}
        assert client.get("/livez").status_code == 200

    async def test_a_check_that_hangs_is_a_problem_in_time(self) -> None:
        started = time.monotonic()

        found = await Health({"kafka": self.hangs, "postgres": self.good}).problems()

        assert found.keys() == {"kafka"}
        assert time.monotonic() - started < 3

    async def test_on_its_way_out_it_is_not_ready(self) -> None:
        health = Health({"kafka": self.good})

        health.leave()

        assert await health.problems() == {"process": "shutting down"}


class TestMetrics:
    OWN = {  # noqa: RUF012
        "accounts": {"accounts", "web"},
        "gateway": {"gateway", "web"},
        "packager": {"packager"},
        "scheduler": {"scheduler", "nodes"},
    }
    """Service → the modules of metrics that it tells, besides those that all share."""

    @pytest.mark.parametrize("service", OWN)
    def test_a_service_tells_its_own_and_no_other_s(self, service: str) -> None:
        script = (
            f"import sys, slipway_{service}.app as _; from prometheus_client import REGISTRY as r;"
            " print(*(name for name in r._names_to_collectors if name.startswith('slipway_')))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
        )

        folder = Path(shared.__file__).parent
        expected = {
            name
            for module in {"shared"} | self.OWN[service]
            for name in re.findall(r'"(slipway_\w+)"', (folder / f"{module}.py").read_text())
        }
        every = {
            name
            for module in folder.glob("*.py")
            for name in re.findall(r'"(slipway_\w+)"', module.read_text())
        }
        assert set(done.stdout.split()) & every == expected


class Body(BaseModel):
    number: int


class TestProblems:
    @pytest.fixture
    def client(self) -> TestClient:
        app = FastAPI()
        problems.install(app)

        @app.post("/body")
        async def body(body: Body) -> Body:
            return body

        @app.get("/raise/{kind}")
        async def fail(kind: str) -> None:
            raise {
                "problem": problem(Code.VERSION_EXISTS, "Raise the version.", hint=1),
                "transient": TransientError("postgres at 10.0.0.1 is away"),
                "permanent": PermanentError("a secret detail"),
                "keyless": UnknownKeyError("account a has no key 1, a secret detail"),
                "unexpected": ZeroDivisionError("a secret detail"),
                "busy": problem(Code.SESSION_LIMIT),
                "teapot": HTTPException(418),
            }[kind]

        return TestClient(app, raise_server_exceptions=False)

    @pytest.mark.parametrize(
        ("kind", "status", "slug"),
        [
            ("problem", 409, "version-exists"),
            ("transient", 503, "unavailable"),
            ("permanent", 500, "internal"),
            ("keyless", 503, "unavailable"),
            ("unexpected", 500, "internal"),
            ("busy", 429, "session-limit-reached"),
        ],
    )
    def test_every_error_is_a_problem_that_tells_nothing_of_the_inside(
        self, client: TestClient, kind: str, status: int, slug: str
    ) -> None:
        answer = client.get(f"/raise/{kind}")

        assert answer.status_code == answer.json()["status"] == status
        assert answer.json()["type"] == PREFIX + slug
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["cache-control"] == "no-store"
        assert ("retry-after" in answer.headers) == (status in {429, 503})
        assert "10.0.0.1" not in answer.text
        assert "secret detail" not in answer.text

    @pytest.mark.parametrize("kind", ["permanent", "keyless"])
    def test_what_was_foreseen_is_one_line_of_the_log(self, client: TestClient, kind: str) -> None:
        with structlog.testing.capture_logs() as lines:
            client.get(f"/raise/{kind}")

        (line,) = lines
        assert line["log_level"] == "error"
        assert "a secret detail" in line["reason"]
        assert "exc_info" not in line

    def test_who_lacks_a_key_hears_whose_turn_it_is_and_the_log_is_told_once(
        self, client: TestClient
    ) -> None:
        with structlog.testing.capture_logs() as lines:
            answers = [client.get("/raise/keyless") for _ in range(5)]

        assert {answer.json()["detail"] for answer in answers} == {problems.LACKS_KEY}
        assert [line["event"] for line in lines] == ["lacks a key"]

    async def test_the_log_is_reminded_of_a_key_that_is_still_missing(self) -> None:
        clock = iter((0.0, 30.0, 59.0, 60.0, 61.0, 61.0))
        missing = problems.MissingKeys(clock=lambda: next(clock))
        request = Request({"type": "http", "path": "/", "headers": []})

        with structlog.testing.capture_logs() as lines:
            for _ in range(5):
                await missing.on_missing(request, UnknownKeyError("account a has no key 1"))
            await missing.on_missing(request, UnknownKeyError("account b has no key 1"))

        reasons = [line["reason"] for line in lines]
        assert reasons == ["account a has no key 1"] * 2 + ["account b has no key 1"]

    def test_a_problem_keeps_its_own_words_and_members(self, client: TestClient) -> None:
        found = client.get("/raise/problem").json()

        assert (found["detail"], found["hint"]) == ("Raise the version.", 1)

    def test_what_is_not_there_or_not_allowed_is_a_problem_too(self, client: TestClient) -> None:
        for answer in (client.get("/nowhere"), client.delete("/body"), client.get("/raise/teapot")):
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["status"] == answer.status_code

    def test_a_body_that_is_not_valid_names_the_place(self, client: TestClient) -> None:
        wrong = client.post("/body", json={"number": "x"})
        broken = client.post("/body", content=b"{", headers={"content-type": "application/json"})

        assert (wrong.status_code, broken.status_code) == (422, 400)
        assert wrong.json()["errors"][0]["path"] == "/body/number"
        assert broken.json()["type"] == PREFIX + "not-json"

    def test_every_code_has_its_own_name_and_words(self) -> None:
        slugs = [code.slug for code in Code]

        assert len(slugs) == len(set(slugs))
        assert all(code.status >= 400 and code.title for code in Code)
        assert problem(Code.NOT_FOUND).slug == "not-found"


class TestSettings:
    def settings(self, tmp_path: Path) -> dict[str, Any]:
        path = tmp_path / "secret"
        path.write_text("canary\n")
        return {
            "kafka": {"bootstrap_servers": "kafka:9092"},
            "postgres": {"dsn": "postgresql://user:canary@host/db"},
            "blobs": {"connection_string_file": path},
            "http": {"port": 1},
            "health": {"port": 2},
            "service_token_file": path,
            "signing_key_file": path,
            "keys_folder": tmp_path,
            "first_admin": {"password_file": path},
        }

    def test_no_secret_shows_in_any_form_that_is_logged(self, tmp_path: Path) -> None:
        found = AccountsSettings(**self.settings(tmp_path))

        for text in (repr(found), str(found), found.model_dump_json(), f"{found.postgres}"):
            assert "canary" not in text
        assert "canary" in found.postgres.dsn.get_secret_value()

    def test_a_secret_file_is_read_without_its_last_newline(self, tmp_path: Path) -> None:
        path = tmp_path / "secret"
        path.write_text("canary\n")

        secret = read_secret(path)

        assert secret.get_secret_value() == "canary"
        assert "canary" not in repr(secret)

    def test_what_is_misspelt_or_cannot_be_is_refused(self) -> None:
        for group, values in (
            (KafkaSettings, {"bootstrap_servers": ""}),
            (KafkaSettings, {"bootstrap_servers": "x", "replication": 3}),
            (PostgresSettings, {"dsn": SecretStr("x"), "pool_size": 1}),
            (PostgresSettings, {"dsn": SecretStr("x"), "statement_timeout": 0}),
            (HttpSettings, {"port": 70_000}),
        ):
            with pytest.raises(ValidationError):
                group.model_validate(values)

    def test_the_error_about_a_wrong_setting_does_not_show_the_secret(self) -> None:
        with pytest.raises(ValidationError) as found:
            PostgresSettings.model_validate({"dsn": SecretStr("canary"), "pool_size": 0})

        assert "canary" not in str(found.value)
        assert "canary" not in json.dumps(found.value.errors(), default=str)


def test_the_wait_between_attempts_grows_to_its_cap_and_is_never_negative() -> None:
    for attempt in range(1, 200):
        assert 0 <= backoff_seconds(attempt) <= min(15.0, 0.2 * 2 ** min(attempt - 1, 16))
