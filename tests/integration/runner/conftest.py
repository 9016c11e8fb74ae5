"""Real runner processes with the real open engine, and a home that the test plays."""

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from integration.runner.home import SECRET, PlayedHome, PlayedSession, Stored, zipped
from slipway_common.contracts.sessions import SessionKind
from support.waiting import eventually

MODEL = '''
import os, subprocess, time
from pydantic import BaseModel
from slipway_open import App, Page, Run

app = App(title="Small", page=Page())

class Text(BaseModel):
    text: str = ""

@app.service("echo")
def echo(run: Run, inputs: Text) -> dict:
    run.log("echo of " + inputs.text)
    session = os.environ["SLIPWAY_SESSION_ID"]
    return {"text": inputs.text, "session": session, "kind": os.environ["SLIPWAY_SESSION_KIND"]}

@app.service("best")
def best(run: Run) -> dict:
    """Goes on for ever, and gives its best when it is asked to stop."""
    best = 0
    while not run.stop_requested():
        best += 1
        run.progress(0.5, f"best so far {best}")
        time.sleep(0.02)
    return {"best": best}

@app.service("stubborn")
def stubborn(run: Run) -> dict:
    """Hears only that it is to end altogether."""
    while True:
        run.progress(0.5, "no")
        time.sleep(0.02)

@app.service("deaf")
def deaf(run: Run) -> dict:
    print("deaf to everything")
    while True:
        time.sleep(60)

@app.service("orphans")
def orphans(run: Run) -> dict:
    """Leaves children without parents, all of which end at once."""
    for _ in range(5):
        subprocess.run(["sh", "-c", "sleep 0.05 & exit 0"])
    return {}
'''


@dataclass
class RunnerProcess:
    process: asyncio.subprocess.Process
    http: aiohttp.ClientSession
    folder: Path
    url: str

    async def get(self, path: str, *, secret: str | None = SECRET) -> tuple[int, str]:
        async with self.http.get(self.url + path, headers=_headers(secret)) as answer:
            return answer.status, await answer.text()

    async def post(
        self, path: str, body: bytes = b"", *, secret: str | None = SECRET, **headers: str
    ) -> tuple[int, str]:
        sent = _headers(secret) | {name.replace("_", "-"): each for name, each in headers.items()}
        async with self.http.post(self.url + path, data=body, headers=sent) as answer:
            return answer.status, await answer.text()

    async def until_live(self) -> None:
        async def look() -> bool:
            assert self.process.returncode is None, self.output()
            try:
                return (await self.get("/_slipway/live"))[0] == 200
            except aiohttp.ClientConnectionError:
                return False

        await eventually(look, what="a runner that listens")

    async def until_ready(self) -> None:
        await self.until_live()
        status, _ = await self.get("/_slipway/ready?wait=25", secret=None)
        assert status == 200, self.output()

    async def until_gone(self) -> dict[str, Any]:
        """What it said last."""
        async with asyncio.timeout(30):
            await self.process.wait()
        return self.termination()

    def termination(self) -> dict[str, Any]:
        return json.loads((self.folder / "termination").read_bytes())

    def engine(self) -> int:
        """Its process, of which the runner has no other."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        (pid,) = children.read_text().split()
        return int(pid)

    def output(self) -> str:
        return (self.folder / "output").read_text()


def _headers(secret: str | None) -> dict[str, str]:
    return {} if secret is None else {"Slipway-Session-Secret": secret}


StartRunner = Callable[..., AbstractAsyncContextManager[RunnerProcess]]


@pytest.fixture
async def home() -> AsyncIterator[PlayedHome]:
    played = PlayedHome()
    await played.start()
    yield played
    await played.stop()


@pytest.fixture
def runtime(home: PlayedHome) -> Stored:
    return home.store(runtime_archive(preload=True))


@pytest.fixture
def app(home: PlayedHome) -> Stored:
    return home.store(app_archive(MODEL))


@pytest.fixture
def session_of(home: PlayedHome, app: Stored, runtime: Stored) -> Callable[..., PlayedSession]:
    def make(kind: SessionKind, **other: Stored | None) -> PlayedSession:
        return home.session(kind, **{"app": app, "runtime": runtime} | other)

    return make


def runtime_archive(*, preload: bool, note: str = "") -> bytes:
    """The open engine as it is installed here: a runtime of one file."""
    description = {
        "schema": 1,
        "id": "1.0.0.1-linux64-x64",
        "title": f"Open runtime {note}",
        "command": ["{python}", "-m", "slipway_open"],
        **({"preload": True} if preload else {}),
    }
    return zipped({"runtime.json": json.dumps(description)})


def app_archive(model: str) -> bytes:
    manifest = {
        "schema": 1,
        "name": "small",
        "version": "1",
        "title": "Small",
        "runtime": "1.0",
        "entry": "model:app",
    }
    return zipped({"slipway.json": json.dumps(manifest), "model.py": model})


@pytest.fixture
def start_runner(home: PlayedHome, tmp_path: Path) -> StartRunner:
    """Start a runner for a session, or as a member; it is killed at the end of the block."""

    @asynccontextmanager
    async def start(
        session: PlayedSession | None = None, *, token: str = "", **settings: object
    ) -> AsyncIterator[RunnerProcess]:
        folder = tmp_path / f"runner-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        (folder / "token").write_text(token if session is None else session.token)
        port = _free_port()
        values: dict[str, object] = {
            "GATEWAY_URL": home.url,
            "TOKEN_FILE": folder / "token",
            "FOLDER": folder,
            "TERMINATION_FILE": folder / "termination",
            "LISTEN_PORT": port,
            "TASK_GRACE_SECONDS": 0.5,
            **({} if session is None else {"SESSION_ID": session.id}),
            **settings,
        }
        with (folder / "output").open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "slipway_runner",
                env={
                    "PATH": os.environ["PATH"],
                    **{f"SLIPWAY_RUNNER_{name}": str(each) for name, each in values.items()},
                },
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            async with aiohttp.ClientSession() as http:
                yield RunnerProcess(process, http, folder, f"http://127.0.0.1:{port}")
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    return start


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
