"""``python -m bench``: measure a whole local stack, and write the table to bench/RESULTS.md."""

import asyncio
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import asyncpg
import psutil

from bench import load
from slipway_client import Slipway
from slipway_client.pack import pack, sealed_file
from slipway_common.blobs.store import BlobStore
from slipway_common.contracts.tasks import TaskChanged
from slipway_common.contracts.views import PackageState
from slipway_common.postgres import messages
from slipway_local.stack import Stack

RESULTS = Path(__file__).parent / "RESULTS.md"
MEBI = 1024**2
UPLOAD_MEBI = int(os.environ.get("BENCH_UPLOAD_MIB", "1024"))
OUTBOX_PER_SECOND = 1500
OUTBOX_SECONDS = 10


@dataclass(frozen=True)
class Row:
    what: str
    figure: str
    beside: str
    bar: str


def cpu_seconds(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def peak_mebi(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    raise AssertionError("the kernel tells no peak")


@asynccontextmanager
async def floor(stack: Stack) -> AsyncIterator[str]:
    """A bare server on the same database."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    connection = await asyncpg.connect(stack.postgres_dsn)
    await connection.execute(
        "CREATE TABLE IF NOT EXISTS bench_floor"
        " (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload text NOT NULL)"
    )
    await connection.close()
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.floor"],
        env=os.environ | {"FLOOR_DSN": stack.postgres_dsn, "FLOOR_PORT": str(port)},
    )
    try:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                break
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


async def requests(
    stack: Stack, key: str, *, path: str, script: str | None
) -> tuple[load.Load, float]:
    """The load, and the CPU milliseconds of our services per request."""
    pids = [pid for name in ("gateway", "accounts") if (pid := stack.part(name).pid)]
    before = sum(map(cpu_seconds, pids))
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    found = await asyncio.to_thread(
        load.run,
        stack.gateway_url.replace("localhost", "127.0.0.1") + path,
        headers=headers,
        script=script,
    )
    spent = sum(map(cpu_seconds, pids)) - before
    return found, 1000 * spent / (found.per_second * load.SECONDS)


async def measure_requests(stack: Stack, key: str, session: str) -> list[Row]:
    async with floor(stack) as bare:
        bare_read = await asyncio.to_thread(load.run, f"{bare}/read")
        read, read_cpu = await requests(stack, key, path=f"/api/v1/sessions/{session}", script=None)
        bare_write = await asyncio.to_thread(load.run, f"{bare}/write", script=load.posting())
        script = load.creating(uuid.uuid4().hex, '{"app": "bench"}')
        create, create_cpu = await requests(stack, key, path="/api/v1/sessions", script=script)
    assert read.errors == create.errors == 0, (read, create)
    return [
        _row("authenticated reads", read, bare_read, read_cpu, "≥ 1,500/s, p99 ≤ 50 ms"),
        _row("session creates", create, bare_write, create_cpu, "≥ 400/s, p99 ≤ 100 ms"),
    ]


def _row(what: str, ours: load.Load, bare: load.Load, cpu_ms: float, bar: str) -> Row:
    return Row(
        what,
        f"{ours.per_second:,.0f}/s, p50 {ours.p50_ms:.1f} ms, p99 {ours.p99_ms:.1f} ms,"
        f" {cpu_ms:.2f} CPU-ms each",
        f"bare FastAPI + asyncpg: {bare.per_second:,.0f}/s, p99 {bare.p99_ms:.1f} ms;"
        f" ratio {ours.per_second / bare.per_second:.2f}",
        bar,
    )


async def measure_outbox(stack: Stack) -> Row:
    """Write events at a steady rate, and read from the outbox itself when Kafka had each."""
    pool = await asyncpg.create_pool(stack.postgres_dsn, min_size=4, max_size=4)
    account = uuid.uuid4()
    started = time.monotonic()
    burst = 15
    for number in range(OUTBOX_PER_SECOND * OUTBOX_SECONDS // burst):
        due = started + number * burst / OUTBOX_PER_SECOND
        await asyncio.sleep(max(0, due - time.monotonic()))
        events = [_event(account, number * burst + place) for place in range(burst)]
        async with pool.acquire() as tx, tx.transaction():
            await tx.set_type_codec("jsonb", encoder=_json, decoder=str, schema="pg_catalog")
            await messages.enqueue(tx, *events)
    elapsed = time.monotonic() - started
    await asyncio.sleep(3)
    row = await pool.fetchrow(
        "SELECT count(*) AS sent, count(published_at) AS published,"
        " percentile_cont(0.5) WITHIN GROUP (ORDER BY published_at - created_at) AS p50,"
        " percentile_cont(0.99) WITHIN GROUP (ORDER BY published_at - created_at) AS p99"
        " FROM outbox WHERE convert_from(payload, 'utf8')::jsonb ->> 'account_id' = $1",
        str(account),
    )
    await pool.close()
    assert row["sent"] == row["published"], dict(row)
    rate = row["sent"] / elapsed
    return Row(
        "outbox, steady",
        f"{rate:,.0f} events/s, lag p50 {_ms(row['p50'])} ms, p99 {_ms(row['p99'])} ms",
        "",
        "p99 ≤ 250 ms at 1,500/s",
    )


def _json(value: object) -> str:
    import json

    return json.dumps(value)


def _ms(interval: object) -> str:
    return f"{interval.total_seconds() * 1000:.0f}"  # type: ignore[attr-defined]


def _event(account: uuid.UUID, number: int) -> TaskChanged:
    return TaskChanged.model_validate(
        {
            "account_id": account,
            "task_id": uuid.uuid4(),
            "user_id": account,
            "app_name": "bench",
            "app_version": "1",
            "service": "none",
            "state": "running",
            "version": number,
        }
    )


async def measure_upload(stack: Stack, client: Slipway, folder: Path) -> list[Row]:
    project = folder / "large"
    (project / "data").mkdir(parents=True)
    (project / "slipway.toml").write_text(_MANIFEST.format(name="large"))
    (project / "model.py").write_text("app = None\n")
    for number in range(4):
        with (project / "data" / f"{number}.bin").open("wb") as file:
            for _ in range(UPLOAD_MEBI // 4):
                file.write(os.urandom(MEBI))
    peaks = {}
    with pack(project) as packed, sealed_file() as sealed:
        packed.seal(await asyncio.to_thread(client.seal), sealed)
        size = sealed.tell() / MEBI
        plain = await _plain_upload(stack, sealed, size)
        sealed.seek(0)
        packager = stack.part("packager").pid
        gateway = stack.part("gateway").pid
        assert packager is not None
        assert gateway is not None
        started = time.monotonic()
        package = await asyncio.to_thread(client.packages.publish_app, sealed)
        staged = time.monotonic()
        cpu = cpu_seconds(packager)
        for view in client.packages.watch(package.id):
            if view.state is not PackageState.PROCESSING:
                assert view.state is PackageState.READY, view
                break
        ready = time.monotonic()
        cpu = cpu_seconds(packager) - cpu
        peaks = {"gateway": peak_mebi(gateway), "packager": peak_mebi(packager)}
    up = size / (staged - started)
    return [
        Row(
            f"upload of {size:,.0f} MiB into staging",
            f"{up:.0f} MiB/s, gateway's peak RSS {peaks['gateway']} MiB",
            f"plain upload of the same bytes: {plain:.0f} MiB/s; ratio {up / plain:.2f}",
            "≥ 150 MB/s, RSS ≤ 256 MiB",
        ),
        Row(
            "verify, unseal, encrypt, store",
            f"{size / (ready - staged):.0f} MiB/s elapsed, {size / max(cpu, 0.01):.0f} MiB per"
            f" CPU-second, packager's peak RSS {peaks['packager']} MiB",
            "",
            "≥ 200 MB/s per core, RSS ≤ 256 MiB",
        ),
    ]


async def _plain_upload(stack: Stack, file: IO[bytes], size: float) -> float:
    store = BlobStore(stack.blob_connection)
    await store.ensure_container("bench")
    file.seek(0)
    started = time.monotonic()
    async with store.writer("bench", "plain") as writer:
        while chunk := file.read(MEBI):
            await writer.write(chunk)
        await writer.commit(replace=True)
    elapsed = time.monotonic() - started
    await store.delete("bench", "plain")
    await store.close()
    return size / elapsed


_MANIFEST = """
[app]
name = "{name}"
version = "1.0.0"
title = "Bench"
runtime = "1.0"

[model]
entry = "model:app"
"""


async def prepare(stack: Stack, folder: Path) -> tuple[Slipway, str, str]:
    """An account whose launches all wait, so that nothing but accepting them is measured."""
    import httpx2

    url = stack.gateway_url
    password = stack.secrets.admin_password.read_text().strip()
    with httpx2.Client(base_url=url + "/api/v1", headers={"Origin": url}, timeout=30) as http:
        credentials = {"account": "demo", "user": "admin", "password": password}
        http.post("/login", json=credentials).raise_for_status()
        scopes = ["read", "launch", "tasks", "publish", "admin"]
        made = http.post("/api-keys", json={"name": "bench", "scopes": scopes})
        key: str = made.raise_for_status().json()["key"]
    client = Slipway(url, api_key=key)
    secrets = stack.secrets
    subprocess.run(
        [
            sys.executable,
            "runtimes/open/build.py",
            *("--output", str(folder)),
            *("--signer", str(secrets.vendor_signer), "--key", str(secrets.vendor_signer_key)),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    archive = next(folder.glob("*.zip"))
    await _publish(client, client.packages.publish_runtime(archive).id)
    project = folder / "bench"
    project.mkdir()
    (project / "slipway.toml").write_text(_MANIFEST.format(name="bench"))
    (project / "model.py").write_text("app = None\n")
    with pack(project) as packed, sealed_file() as sealed:
        packed.seal(client.seal(), sealed)
        await _publish(client, client.packages.publish_app(sealed).id)
    connection = await asyncpg.connect(stack.postgres_dsn)
    await connection.execute("UPDATE accounts SET session_limit = 0")
    await connection.close()
    return client, key, str(client.sessions.launch("bench").id)


async def _publish(client: Slipway, package_id: uuid.UUID) -> None:
    for view in client.packages.watch(package_id):
        if view.state is not PackageState.PROCESSING:
            assert view.state is PackageState.READY, view
            return


def write(rows: list[Row]) -> None:
    memory = psutil.virtual_memory().total // 1024**3
    lines = [
        "# Results",
        "",
        (
            "Made by `make bench`: every part, the services and the load on one machine"
            f" ({psutil.cpu_count()} cores, {memory} GiB, {platform.system()},"
            f" Python {platform.python_version()}), {datetime.now(tz=UTC):%Y-%m-%d}."
            " Absolute figures move with the machine; the ratios are to a floor in the same run."
        ),
        "",
        (
            f"Requests: wrk, {load.CONNECTIONS} connections, {load.SECONDS} s each, PostgreSQL with"
            " fsync, one process per service."
        ),
        "",
        "| what | figure | beside it, same run | bar |",
        "|---|---|---|---|",
        *(f"| {row.what} | {row.figure} | {row.beside} | {row.bar} |" for row in rows),
    ]
    RESULTS.write_text("\n".join(lines) + "\n")
    print(RESULTS.read_text())


async def main() -> None:
    with tempfile.TemporaryDirectory(prefix="slipway-bench-") as name:
        folder = Path(name)
        stack = Stack(folder / "state")
        await stack.start()
        try:
            client, key, session = await prepare(stack, folder)
            rows = await measure_requests(stack, key, session)
            rows.append(await measure_outbox(stack))
            rows += await measure_upload(stack, client, folder)
            client.close()
        finally:
            await stack.stop()
            stack.state.remove()
    write(rows)


if __name__ == "__main__":
    asyncio.run(main())
