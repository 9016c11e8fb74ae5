import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from slipway_local.secrets import Secrets


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    secrets = Secrets(tmp_path_factory.mktemp("state") / "secrets")
    secrets.make()
    return secrets


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_nobody_else_can_read_them(secrets: Secrets) -> None:
    modes = {stat.S_IMODE(path.stat().st_mode) for path in secrets.folder.iterdir()}

    assert stat.S_IMODE(secrets.folder.stat().st_mode) == 0o700
    assert modes == {0o600, 0o700}


def test_second_call_keeps_them_and_makes_what_is_missing(secrets: Secrets) -> None:
    secrets.service_token.unlink()
    before = {path: path.read_bytes() for path in secrets.folder.iterdir() if path.is_file()}

    secrets.make()

    assert {path: path.read_bytes() for path in before} == before
    assert len(secrets.service_token.read_text()) == 64


def test_keys_that_belong_together_are_made_together(secrets: Secrets) -> None:
    lonely = secrets.runner_signing_key.read_bytes()
    secrets.runner_verification_key.unlink()

    secrets.make()

    private = load_pem_private_key(secrets.runner_signing_key.read_bytes(), None)
    public = load_pem_public_key(secrets.runner_verification_key.read_bytes())
    assert isinstance(private, ed25519.Ed25519PrivateKey)
    assert secrets.runner_signing_key.read_bytes() != lonely
    assert private.public_key() == public


def test_vendor_signer_is_issued_by_the_root_for_signing_code(secrets: Secrets) -> None:
    root, signer = certificate(secrets.vendor_root), certificate(secrets.vendor_signer)
    key = load_pem_private_key(secrets.vendor_signer_key.read_bytes(), None)

    signer.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)

    limits = root.extensions.get_extension_for_class(x509.BasicConstraints).value
    usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert (limits.ca, limits.path_length) == (True, 0)
    assert list(usage) == [ExtendedKeyUsageOID.CODE_SIGNING]
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == signer.public_key()


def test_seal_certificate_carries_the_seal_key(secrets: Secrets) -> None:
    key = load_pem_private_key(secrets.seal_key.read_bytes(), None)

    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 3072
    assert certificate(secrets.seal_certificate).public_key() == key.public_key()
