"""Keepers of keys: each account its own, and the platform's seal."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from slipway_common.crypto.envelope import EnvelopeError, WrappedKey, new_data_key
from slipway_common.crypto.keys import FileKeyRing, Seal, SealOpener, UnknownKeyError


class TestFileKeyRing:
    @pytest.fixture
    def ring(self, tmp_path: Path) -> FileKeyRing:
        return FileKeyRing(tmp_path)

    async def test_what_it_wraps_it_unwraps(self, ring: FileKeyRing) -> None:
        account, data_key = uuid4(), new_data_key()
        await ring.create(account)

        wrapped = await ring.wrap(account, data_key)

        assert data_key not in wrapped.wrapped
        assert await ring.unwrap(account, wrapped) == data_key

    async def test_no_account_unwraps_what_is_another_ones(self, ring: FileKeyRing) -> None:
        mine, other = uuid4(), uuid4()
        await ring.create(mine)
        await ring.create(other)
        wrapped = await ring.wrap(mine, new_data_key())

        with pytest.raises(EnvelopeError):
            await ring.unwrap(other, wrapped)
        with pytest.raises(EnvelopeError):
            await ring.unwrap(other, WrappedKey(f"file:{other}/1", wrapped.wrapped))

    async def test_an_account_without_a_key_wraps_nothing(self, ring: FileKeyRing) -> None:
        with pytest.raises(UnknownKeyError):
            await ring.wrap(uuid4(), new_data_key())

    async def test_created_again_it_keeps_its_key(self, ring: FileKeyRing) -> None:
        account = uuid4()
        await ring.create(account)
        wrapped = await ring.wrap(account, new_data_key())

        await ring.create(account)

        assert await ring.unwrap(account, wrapped)

    def test_made_by_many_at_once_there_is_one_key_and_nothing_is_left_over(
        self, tmp_path: Path
    ) -> None:
        for _ in range(20):
            account = uuid4()

            def make(account: UUID = account) -> bytes:
                ring = FileKeyRing(tmp_path)
                asyncio.run(ring.create(account))
                return (tmp_path / str(account) / "1.key").read_bytes()

            with ThreadPoolExecutor(8) as pool:
                seen = {each.result() for each in [pool.submit(make) for _ in range(8)]}

            assert len(seen) == 1
            assert [path.name for path in (tmp_path / str(account)).iterdir()] == ["1.key"]

    async def test_only_its_owner_may_read_it(self, ring: FileKeyRing, tmp_path: Path) -> None:
        account = uuid4()
        await ring.create(account)

        assert (tmp_path / str(account)).stat().st_mode & 0o077 == 0
        assert (tmp_path / str(account) / "1.key").stat().st_mode & 0o077 == 0
        assert (tmp_path / str(account) / "1.key").stat().st_size == 32

    async def test_the_highest_number_wraps_and_older_ones_still_unwrap(
        self, ring: FileKeyRing, tmp_path: Path
    ) -> None:
        account, data_key = uuid4(), new_data_key()
        await ring.create(account)
        old = await ring.wrap(account, data_key)
        for number in (2, 10, 9):
            (tmp_path / str(account) / f"{number}.key").write_bytes(new_data_key())

        new = await ring.wrap(account, data_key)
        assert new.key_id == f"file:{account}/10"
        assert await ring.unwrap(account, new) == await ring.unwrap(account, old) == data_key

        (tmp_path / str(account) / "1.key").unlink()
        with pytest.raises(UnknownKeyError):
            await ring.unwrap(account, old)

    @pytest.mark.parametrize(
        "suffix",
        ["/0", "/2", "/", "", "/-1", "/1/1", "/../1", "/²", "/٣", "/" + "9" * 5000, "/1.key"],
        ids=lambda suffix: suffix[:6],
    )
    async def test_a_key_id_that_names_no_key_is_refused(
        self, ring: FileKeyRing, suffix: str
    ) -> None:
        account = uuid4()
        await ring.create(account)
        wrapped = await ring.wrap(account, new_data_key())

        with pytest.raises((EnvelopeError, UnknownKeyError)):
            await ring.unwrap(account, WrappedKey(f"file:{account}{suffix}", wrapped.wrapped))

    @pytest.mark.parametrize("damage", [b"", b"x", b"x" * 40, b"x" * 41])
    async def test_a_damaged_key_is_refused(self, ring: FileKeyRing, damage: bytes) -> None:
        account = uuid4()
        await ring.create(account)

        with pytest.raises(EnvelopeError):
            await ring.unwrap(account, WrappedKey(f"file:{account}/1", damage))


def certificate(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Platform")])
    now = datetime.now(tz=UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(Encoding.PEM)
    )


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class TestSeal:
    @pytest.fixture(scope="class")
    def key(self) -> rsa.RSAPrivateKey:
        return rsa.generate_private_key(65537, 2048)

    def test_only_the_platform_that_it_was_sealed_for_opens_it(
        self, key: rsa.RSAPrivateKey
    ) -> None:
        own, other = certificate(key), certificate(key)
        data_key = new_data_key()

        wrapped = Seal(own).wrap(data_key)

        assert SealOpener(own, pem(key)).unwrap(wrapped) == data_key
        with pytest.raises(EnvelopeError, match="another platform"):
            SealOpener(other, pem(key)).unwrap(wrapped)

    def test_a_damaged_seal_is_refused(self, key: rsa.RSAPrivateKey) -> None:
        own = certificate(key)
        wrapped = Seal(own).wrap(new_data_key())

        with pytest.raises(EnvelopeError):
            SealOpener(own, pem(key)).unwrap(WrappedKey(wrapped.key_id, wrapped.wrapped[:-1]))

    def test_a_certificate_of_another_kind_is_refused(self) -> None:
        curve = ec.generate_private_key(ec.SECP256R1())

        with pytest.raises(UnknownKeyError):
            Seal(certificate(curve)).wrap(new_data_key())
        with pytest.raises(UnknownKeyError):
            SealOpener(certificate(curve), pem(curve))
