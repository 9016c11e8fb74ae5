"""The runtime archive: it is what its manifest says, signed, and runs on its own."""

import datetime as dt
import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from asn1crypto import cms
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .conftest import ROOT, StartEngine


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("signer")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test vendor")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "signer.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "signer.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "signer.pem", folder / "signer.key"


@pytest.fixture(scope="module")
def runtime(signer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(signer, tmp_path_factory.mktemp("runtime"))


def build(signer: tuple[Path, Path], folder: Path) -> Path:
    certificate, key = signer
    command = [
        sys.executable, str(ROOT / "runtimes" / "open" / "build.py"), "--output", str(folder),
        "--signer", str(certificate), "--key", str(key), "--id", "1.0.0.7-linux64-x64",
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return folder / "1.0.0.7-linux64-x64.zip"


def test_manifest_covers_every_entry(runtime: Path) -> None:
    with zipfile.ZipFile(runtime) as archive:
        manifest = json.loads(archive.read("META-INF/manifest.json"))
        names = [entry.filename for entry in archive.infolist()]
        digests = {
            name: hashlib.sha256(archive.read(name)).hexdigest()
            for name in names
            if not name.startswith("META-INF/")
        }
        description = json.loads(archive.read("runtime.json"))
        flags = {entry.flag_bits & ~0x800 for entry in archive.infolist()}

    assert manifest == {"schema": 1, "id": "1.0.0.7-linux64-x64", "files": digests}
    assert names == sorted(names)
    assert flags == {0}, "neither encryption nor data descriptors"
    assert description["command"] == ["{python}", "-sSP", "-m", "slipway_open"]


def test_signature_is_over_the_manifest(runtime: Path, signer: tuple[Path, Path]) -> None:
    with zipfile.ZipFile(runtime) as archive:
        manifest = archive.read("META-INF/manifest.json")
        content = cms.ContentInfo.load(archive.read("META-INF/manifest.p7s"))["content"]
    (information,) = content["signer_infos"]
    attributes = {
        entry["type"].native: entry["values"][0].native for entry in information["signed_attrs"]
    }

    assert content["encap_content_info"]["content"].native is None
    assert attributes["content_type"] == "data"
    assert attributes["message_digest"] == hashlib.sha256(manifest).digest()
    public_key = x509.load_pem_x509_certificate(signer[0].read_bytes()).public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    public_key.verify(
        information["signature"].native,
        information["signed_attrs"].untag().dump(),
        ec.ECDSA(hashes.SHA256()),
    )


def test_second_build_gives_the_same_content(
    runtime: Path, signer: tuple[Path, Path], tmp_path: Path
) -> None:
    again = build(signer, tmp_path)

    with zipfile.ZipFile(runtime) as first, zipfile.ZipFile(again) as second:
        name = "META-INF/manifest.json"
        assert first.read(name) == second.read(name)
        assert [entry.date_time for entry in first.infolist()] == [
            entry.date_time for entry in second.infolist()
        ]


async def test_runtime_brings_all_it_needs(
    runtime: Path, depots_archive: bytes, start_engine: StartEngine, tmp_path: Path
) -> None:
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(runtime) as archive:
        archive.extractall(unpacked)
        description = json.loads(archive.read("runtime.json"))
    command = tuple(part.replace("{python}", sys.executable) for part in description["command"])
    path = ":".join(str(unpacked / folder) for folder in description["pythonPath"])

    async with start_engine(
        depots_archive, kind="webui", command=command, environment={"PYTHONPATH": path}
    ) as engine:
        status, _ = await engine.until_loaded()
        async with engine.client.get("/") as page, engine.client.ws_connect("/live") as live:
            assert page.status == 200
            assert (await live.receive_json())["state"] == "idle"
        _, end = await engine.call("solve", {"region": "British Isles", "most_cities": 10})

    assert status == 200
    assert end["outcome"] == "completed"
