from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from typer.testing import CliRunner, Result

from slipway_client import Retries, Slipway
from slipway_client.cli.app import build
from slipway_common.crypto.keys import SealOpener
from unit.client.fake_platform import KEY, FakePlatform, FakeServer

QUICK = Retries(
    attempts=4, first_wait=timedelta(milliseconds=10), longest_wait=timedelta(seconds=2)
)


@dataclass(frozen=True)
class SealPair:
    certificate: bytes
    opener: SealOpener


@pytest.fixture(scope="session")
def seal() -> SealPair:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test seal")])
    now = datetime.now(tz=UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return SealPair(certificate, SealOpener(certificate, pem))


@pytest.fixture(scope="session")
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def platform(server: FakeServer, seal: SealPair) -> FakePlatform:
    server.platform = FakePlatform(seal_pem=seal.certificate)
    return server.platform


@pytest.fixture
def client(server: FakeServer, platform: FakePlatform) -> Iterator[Slipway]:
    with Slipway(server.url, api_key=KEY, retries=QUICK) as client:
        yield client


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "depots"
    (folder / "data").mkdir(parents=True)
    (folder / "slipway.toml").write_text(
        '[app]\nname = "depots"\nversion = "1.0.0"\ntitle = "Depots"\nruntime = "1.0"\n'
        'icon = "icon.svg"\n\n[model]\nentry = "model:app"\n\n[[services]]\nname = "solve"\n',
    )
    (folder / "model.py").write_text("app = object()\n" * 50)
    (folder / "icon.svg").write_text("<svg/>")
    (folder / "data" / "stédten.json").write_text("[1, 2, 3]")
    return folder


class Command:
    def __init__(self, env: dict[str, str | None]) -> None:
        self.env = env
        self._runner = CliRunner()

    def __call__(self, *args: str | Path, stdin: str | None = None) -> Result:
        result = self._runner.invoke(build(), [str(arg) for arg in args], input=stdin, env=self.env)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        assert "Traceback" not in result.output
        return result


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config"


@pytest.fixture
def slipway(server: FakeServer, platform: FakePlatform, config: Path) -> Command:
    """The command, logged on by its environment."""
    return Command(
        {
            "XDG_CONFIG_HOME": str(config),
            "SLIPWAY_URL": server.url,
            "SLIPWAY_API_KEY": KEY,
            "TERM": "dumb",
        }
    )


@pytest.fixture
def stranger(slipway: Command, config: Path) -> Command:
    """The command of somebody who never logged on."""
    return Command({"XDG_CONFIG_HOME": str(config), "SLIPWAY_URL": None, "SLIPWAY_API_KEY": None})
