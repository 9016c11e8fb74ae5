"""Starts real engine processes, the way the runner does."""

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

ROOT = Path(__file__).parents[3]
DEPOTS = ROOT / "examples" / "depots"


@dataclass
class EngineProcess:
    process: asyncio.subprocess.Process
    client: aiohttp.ClientSession
    folder: Path
    output: Path

    async def health(self) -> tuple[int, dict[str, Any]]:
        async with self.client.get("/_slipway/health") as answer:
            return answer.status, await answer.json(content_type=None)

    async def until_loaded(self) -> tuple[int, dict[str, Any]]:
        while True:
            with contextlib.suppress(aiohttp.ClientConnectorError):
                status, body = await self.health()
                if status != 503:
                    return status, body
            await asyncio.sleep(0.01)

    async def call(self, name: str, values: Any) -> tuple[list[dict], dict]:
        """Run a procedure to its end; gives the lines before the last, and the last."""
        async with self.client.post(f"/_slipway/procedures/{name}", json=values) as answer:
            assert answer.status == 200, await answer.text()
            assert answer.content_type == "application/x-ndjson"
            lines = [json.loads(line) async for line in answer.content]
        return lines[:-1], lines[-1]

    async def interrupt(self, scope: str) -> int:
        async with self.client.post("/_slipway/interrupt", json={"scope": scope}) as answer:
            return answer.status


StartEngine = Callable[..., contextlib.AbstractAsyncContextManager[EngineProcess]]


def app_archive(files: Mapping[str, str], **manifest: Any) -> bytes:
    document = {
        "schema": 1,
        "name": "test",
        "version": "1",
        "title": "Test",
        "runtime": "1.0",
        "entry": "model:app",
        **manifest,
    }
    return _zip(
        {"slipway.json": json.dumps(document).encode()}
        | {name: text.encode() for name, text in files.items()}
    )


def _zip(entries: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.fixture(scope="session")
def depots_archive() -> bytes:
    if not (DEPOTS / "data" / "cities.json").exists():
        subprocess.run([sys.executable, "prepare.py"], cwd=DEPOTS, check=True)
    source = tomllib.loads((DEPOTS / "slipway.toml").read_text("utf-8"))
    manifest = {"schema": 1, **source["app"], **source["model"], "services": source["services"]}
    names = {
        path
        for pattern in source["pack"]["include"]
        for path in DEPOTS.glob(pattern)
        if path.name not in source["pack"]["exclude"]
    }
    return _zip(
        {"slipway.json": json.dumps(manifest).encode()}
        | {str(path.relative_to(DEPOTS)): path.read_bytes() for path in names}
    )


@pytest.fixture
def start_engine(tmp_path: Path) -> StartEngine:
    @contextlib.asynccontextmanager
    async def start(
        content: bytes,
        *,
        kind: str = "task",
        command: tuple[str, ...] = (sys.executable, "-m", "slipway_open"),
        environment: Mapping[str, str] | None = None,
        pipe: str | None = None,
    ) -> AsyncIterator[EngineProcess]:
        folder = tmp_path / "work"
        folder.mkdir()
        if pipe:
            os.mkfifo(folder / pipe)
        socket_path, output = tmp_path / "engine.sock", tmp_path / "output.txt"
        descriptor = os.memfd_create("app", os.MFD_ALLOW_SEALING)
        os.write(descriptor, content)
        with output.open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                stdout=log,
                stderr=log,
                pass_fds=[descriptor],
                env={
                    "SLIPWAY_ENGINE_SOCKET": str(socket_path),
                    "SLIPWAY_APP_FD": str(descriptor),
                    "SLIPWAY_SESSION_ID": "session-1",
                    "SLIPWAY_SESSION_KIND": kind,
                    "TMPDIR": str(folder),
                    **(environment or {}),
                },
            )
        os.close(descriptor)
        connector = aiohttp.UnixConnector(str(socket_path))
        try:
            async with aiohttp.ClientSession("http://engine", connector=connector) as client:
                engine = EngineProcess(process, client, folder, output)
                async with asyncio.timeout(10):
                    while not socket_path.exists() and process.returncode is None:
                        await asyncio.sleep(0.005)
                yield engine
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    return start
