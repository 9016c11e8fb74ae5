"""The two scripts beside the manifests, run as operators run them."""

import base64
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from slipway_local.secrets import Secrets
from support.running_cluster import RunningCluster
from support.workloads import of_kind, workloads


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    made = Secrets(tmp_path / "secrets")
    made.make()
    made.blob_connection.write_text("AccountName=demo;AccountKey=abc;")
    made.postgres_passfile.write_text("*:*:*:slipway:password\n")
    return made


def run(script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_each_service_gets_its_own_secrets_and_no_other(manifests_folder: Path, secrets: Secrets):
    done = run(manifests_folder / "make_secrets.py", str(secrets.folder))

    items = json.loads(done.stdout)["items"]
    holders = {
        key: {item["metadata"]["name"] for item in items if key in item["data"]}
        for item in items
        for key in item["data"]
    }
    assert holders["runner-signing.key"] == {"slipway-scheduler"}
    assert holders["seal.key"] == {"slipway-packager"}
    assert holders["session-secret"] == {"slipway-gateway"}
    assert holders["signing.key"] == holders["postgres-passfile"] == {"slipway-accounts"}
    assert holders["service-token"] == {"slipway-accounts", "slipway-gateway"}
    assert holders["admin-password"] == {"slipway-accounts"}
    assert "vendor-signer.key" not in holders
    assert "blob-account-key" not in holders
    (accounts,) = (item for item in items if item["metadata"]["name"] == "slipway-accounts")
    assert base64.b64decode(accounts["data"]["signing.key"]) == secrets.signing_key.read_bytes()


def test_without_a_first_admin_there_is_no_password_of_one(
    manifests_folder: Path, secrets: Secrets
):
    secrets.admin_password.unlink()

    done = run(manifests_folder / "make_secrets.py", str(secrets.folder))

    assert done.returncode == 0
    assert "admin-password" not in done.stdout


def test_what_is_missing_is_named(manifests_folder: Path, secrets: Secrets):
    secrets.seal_key.unlink()
    secrets.session_secret.unlink()

    done = run(manifests_folder / "make_secrets.py", str(secrets.folder))

    assert done.returncode != 0
    assert "lacks seal.key, session-secret" in done.stderr
    assert not done.stdout


def test_no_secret_is_shown_on_a_screen(manifests_folder: Path, secrets: Secrets):
    screen, terminal = pty.openpty()
    done = subprocess.run(
        [sys.executable, str(manifests_folder / "make_secrets.py"), str(secrets.folder)],
        stdout=terminal,
        stderr=subprocess.PIPE,
        check=False,
        timeout=30,
    )
    os.close(terminal)

    assert done.returncode != 0
    with pytest.raises(OSError, match="Input/output error"):
        os.read(screen, 1)
    os.close(screen)


def test_an_overlay_says_where_everything_is(
    cluster: RunningCluster, manifests_folder: Path, tmp_path: Path
):
    done = run(
        manifests_folder / "overlays/dev/generate.py",
        str(tmp_path),
        *("--kafka", "192.0.2.1:9092"),
        *("--postgres", "192.0.2.2:5432"),
        *("--storage", "192.0.2.3:10000"),
    )

    assert done.returncode == 0, done.stderr
    built = cluster.kubectl.build(tmp_path)
    found = workloads(built)
    for service, workload in found.items():
        prefix = f"SLIPWAY_{service.upper()}_"
        assert workload.environment[f"{prefix}KAFKA__BOOTSTRAP_SERVERS"] == "192.0.2.1:9092"
    dsn = found["accounts"].environment["SLIPWAY_ACCOUNTS_POSTGRES__DSN"]
    assert dsn == "postgresql://slipway@192.0.2.2:5432/slipway?passfile=/run/own/postgres-passfile"
    gateway = found["gateway"].environment
    assert gateway["SLIPWAY_GATEWAY_ACCOUNTS_URL"] == "http://slipway-accounts.slipway.svc:8081"
    assert of_kind(built, "PersistentVolume") == {}
    api_server = of_kind(built, "NetworkPolicy")["api-server"]["spec"]["egress"]
    assert {port["port"] for port in api_server[0]["ports"]} == {443, 6443}


def test_an_overlay_is_not_made_from_names(manifests_folder: Path, tmp_path: Path):
    done = run(
        manifests_folder / "overlays/dev/generate.py",
        str(tmp_path),
        *("--kafka", "kafka:9092"),
        *("--postgres", "192.0.2.2:5432"),
        *("--storage", "192.0.2.3:10000"),
    )

    assert done.returncode == 2
    assert "--kafka" in done.stderr
    assert not (tmp_path / "kustomization.yaml").exists()
