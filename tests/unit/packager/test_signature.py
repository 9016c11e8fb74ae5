"""A signature counts if one vendor under a pinned root made it over exactly these bytes."""

import asyncio
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cache
from hashlib import sha256
from pathlib import Path

import pytest
from asn1crypto import cms, core
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_packager.archive import ArchiveReport, Entry
from slipway_packager.manifest import RuntimeId, SignedManifest
from slipway_packager.signature import (
    InvalidSignatureError,
    Signer,
    check_files,
    verify_runtime_signature,
)
from unit.packager.signatures import (
    AT,
    CODE_SIGNING,
    DAY,
    SHA1,
    Identity,
    attribute,
    attributes,
    craft,
    ec_key,
    identity,
    openssl_signature,
    pkcs7_signature,
    pss,
    root,
    rsa_key,
    rsa_vendor,
    sign_pss,
    vendor,
)

MANIFEST = b'{"files":{"runtime.json":"00"},"id":"1.0.0.1-linux64-x64","schema":1}'


def verify(
    signature: bytes,
    *,
    manifest: bytes = MANIFEST,
    roots: tuple[Identity, ...] | None = None,
    at: datetime = AT,
) -> Signer:
    pinned = (root(),) if roots is None else roots
    return verify_runtime_signature(
        manifest, signature, roots=[one.certificate for one in pinned], at=at
    )


def refusal(signature: bytes, **options: object) -> str:
    with pytest.raises(InvalidSignatureError) as error:
        verify(signature, **options)  # type: ignore[arg-type]
    return error.value.reason


def signed_by(**options: object) -> bytes:
    return craft(MANIFEST, identity(**{"issuer": root(), **options}))  # type: ignore[arg-type]


def chain(*, signs: bool = True, **options: object) -> tuple[Identity, Identity]:
    """An authority below the root, and a vendor below that."""
    between = identity(
        "Between",
        key=ec_key(2),
        issuer=root(),
        authority=True,
        **{"purposes": None, "signs": signs, **options},  # type: ignore[arg-type]
    )
    return between, identity(issuer=between)


class TestAccepted:
    def test_signer_is_told(self) -> None:
        certificate = vendor().certificate

        signer = verify(craft(MANIFEST, vendor()))

        assert signer == Signer(
            name="Vendor",
            serial=f"{certificate.serial_number:x}",
            not_after=certificate.not_valid_after_utc,
        )

    @pytest.mark.parametrize("signer", [vendor, rsa_vendor])
    def test_signature_by_openssl(self, signer: Callable[[], Identity], tmp_path: Path) -> None:
        assert verify(openssl_signature(MANIFEST, [signer()], tmp_path)).name == "Vendor"

    @pytest.mark.parametrize(
        "options",
        [
            ("-md", "sha384"),
            ("-md", "sha512"),
            ("-keyid",),
            ("-nosmimecap",),
            ("-keyopt", "rsa_padding_mode:pss"),
            ("-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:32"),
        ],
    )
    def test_signature_by_openssl_with_options(
        self, options: tuple[str, ...], tmp_path: Path
    ) -> None:
        key_id = x509.SubjectKeyIdentifier.from_public_key(rsa_key().public_key())
        signer = identity(key=rsa_key(), issuer=root(), extra=[(key_id, False)])

        assert verify(openssl_signature(MANIFEST, [signer], tmp_path, *options)).name == "Vendor"

    @pytest.mark.parametrize("signer", [vendor, rsa_vendor])
    def test_signature_by_cryptography(self, signer: Callable[[], Identity]) -> None:
        assert verify(pkcs7_signature(MANIFEST, signer())).name == "Vendor"

    def test_chain_over_an_authority_in_between(self, tmp_path: Path) -> None:
        between, signer = chain(purposes=(CODE_SIGNING,))

        assert verify(pkcs7_signature(MANIFEST, signer, between, root())).name == "Vendor"
        assert verify(openssl_signature(MANIFEST, [signer], tmp_path, others=[between])).name

    def test_authority_in_between_may_be_for_any_purpose(self) -> None:
        between, signer = chain()

        assert verify(pkcs7_signature(MANIFEST, signer, between)).name == "Vendor"

    def test_root_counts_to_the_last_moment(self) -> None:
        short = identity("Short", key=ec_key(6), authority=True, purposes=None, start=AT, end=AT)

        assert verify(craft(MANIFEST, identity(issuer=short)), roots=(short,)).name == "Vendor"

    def test_one_of_several_roots_is_enough(self) -> None:
        other = identity("Other root", key=ec_key(5), authority=True, purposes=None)

        assert verify(craft(MANIFEST, vendor()), roots=(other, root())).name == "Vendor"

    def test_signature_on_p384(self) -> None:
        signer = identity(key=ec_key(curve=ec.SECP384R1), issuer=root())

        assert verify(craft(MANIFEST, signer, digest="sha384")).name == "Vendor"

    def test_signature_with_ed25519(self) -> None:
        signer = identity(key=ed25519.Ed25519PrivateKey.generate(), issuer=root())

        assert verify(craft(MANIFEST, signer, digest="sha512")).name == "Vendor"

    def test_vendor_without_common_name_is_told_by_its_subject(self) -> None:
        assert verify(signed_by(name="Jürgen & Søn")).name == "Jürgen & Søn"

    def test_certificate_counts_to_the_last_moment(self) -> None:
        signature = signed_by(start=AT, end=AT)

        assert verify(signature).not_after == AT

    def test_inside_of_a_running_event_loop(self) -> None:
        async def check() -> Signer:
            return verify(craft(MANIFEST, vendor()))

        assert asyncio.run(check()).name == "Vendor"

    def test_nothing_is_fetched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("there is to be no network")

        monkeypatch.setattr(socket, "socket", refuse)
        address = [x509.UniformResourceIdentifier("http://example.invalid/ca.crt")]
        points = x509.CRLDistributionPoints([x509.DistributionPoint(address, None, None, None)])
        access = x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(x509.AuthorityInformationAccessOID.CA_ISSUERS, address[0]),
                x509.AccessDescription(x509.AuthorityInformationAccessOID.OCSP, address[0]),
            ]
        )
        extra = [(points, False), (access, False)]
        lost = identity("Lost", key=ec_key(6), issuer=chain()[0], extra=extra)

        assert verify(signed_by(extra=extra)).name == "Vendor"
        assert refusal(craft(MANIFEST, lost)) == "untrusted"


class TestForm:
    def test_text_is_refused(self) -> None:
        assert refusal(b"-----BEGIN CMS-----") == "malformed"

    def test_nothing_is_refused(self) -> None:
        assert refusal(b"") == "malformed"

    def test_bytes_behind_are_refused(self) -> None:
        assert refusal(craft(MANIFEST, vendor()) + b"\x00") == "trailing-data"

    def test_second_signature_behind_is_refused(self) -> None:
        assert refusal(craft(MANIFEST, vendor()) * 2) == "trailing-data"

    def test_cut_off_signature_is_refused(self) -> None:
        assert refusal(craft(MANIFEST, vendor())[:-1]) == "malformed"

    def test_too_large_signature_is_refused(self) -> None:
        blob = attribute("1.2.3.4", core.OctetString(bytes(70_000)))

        assert refusal(craft(MANIFEST, vendor(), unsigned=[blob])) == "malformed"

    def test_length_left_open_is_refused(self, tmp_path: Path) -> None:
        signature = openssl_signature(MANIFEST, [vendor()], tmp_path, "-stream", "-nodetach")

        assert refusal(signature) == "malformed"

    def test_length_written_too_long_is_refused(self) -> None:
        signature = craft(MANIFEST, vendor())
        assert signature[1] == 0x82

        assert refusal(b"\x30\x83\x00" + signature[2:]) == "malformed"

    @pytest.mark.parametrize("signature", [b"\x30\x81", b"\x30\x84\x00", b"\x30\x80\x00\x00"])
    def test_length_that_cannot_be_read_is_refused(self, signature: bytes) -> None:
        assert refusal(signature) == "malformed"

    @pytest.mark.parametrize(
        "value",
        [
            pytest.param(b"\x9f\x28\x01\xcd", id="tag of several bytes"),
            pytest.param(b"\x04\x81\x01\xcd", id="length longer than needed"),
            pytest.param(b"\x24\x80\x00\x00", id="length left open"),
            pytest.param(b"\x04\x03\xab\xcd", id="value longer than what holds it"),
        ],
    )
    def test_value_that_is_not_der_is_refused_even_where_nobody_looks(self, value: bytes) -> None:
        mark = attribute("1.2.3.4", core.OctetString(b"\xab\xcd"))
        signature = craft(MANIFEST, vendor(), unsigned=[mark])
        strange = signature.replace(b"\x04\x02\xab\xcd", value)

        assert verify(signature).name
        assert refusal(strange) == "malformed"

    def test_deep_nesting_is_refused(self) -> None:
        value = b""
        for _ in range(5000):
            value = core.Sequence(contents=value).dump()

        assert refusal(value) == "malformed"

    def test_other_message_of_cms_is_refused(self) -> None:
        data = cms.ContentInfo({"content_type": "data", "content": MANIFEST}).dump()

        assert refusal(data) == "malformed"

    def test_embedded_content_is_refused(self, tmp_path: Path) -> None:
        signature = openssl_signature(MANIFEST, [vendor()], tmp_path, "-nodetach")

        assert refusal(signature) == "embedded-content"

    def test_empty_embedded_content_is_refused(self) -> None:
        assert refusal(craft(MANIFEST, vendor(), content=b"")) == "embedded-content"

    def test_other_type_of_content_is_refused(self) -> None:
        assert refusal(craft(MANIFEST, vendor(), content_type="signed_data")) == "malformed"

    def test_two_signers_are_refused(self, tmp_path: Path) -> None:
        signature = openssl_signature(MANIFEST, [vendor(), rsa_vendor()], tmp_path)

        assert refusal(signature) == "signer-count"

    def test_one_signer_twice_is_refused(self) -> None:
        assert refusal(craft(MANIFEST, vendor(), copies=2)) == "signer-count"

    def test_no_signer_is_refused(self) -> None:
        assert refusal(craft(MANIFEST, vendor(), copies=0)) == "signer-count"

    def test_missing_certificate_is_refused(self, tmp_path: Path) -> None:
        signature = openssl_signature(MANIFEST, [vendor()], tmp_path, "-nocerts")

        assert refusal(signature) == "signer-certificate"

    def test_certificate_of_somebody_else_is_refused(self) -> None:
        signature = craft(MANIFEST, vendor(), certificates=[rsa_vendor().der])

        assert refusal(signature) == "signer-certificate"

    def test_certificate_of_another_issuer_with_the_same_number_is_refused(self) -> None:
        signature = craft(
            MANIFEST,
            vendor(),
            identifier={
                "issuer_and_serial_number": {
                    "issuer": vendor().der.subject,
                    "serial_number": vendor().der.serial_number,
                }
            },
        )

        assert refusal(signature) == "signer-certificate"

    def test_two_certificates_that_fit_are_refused(self) -> None:
        signature = craft(MANIFEST, vendor(), certificates=[vendor().der] * 2)

        assert refusal(signature) == "signer-certificate"

    def test_many_certificates_are_refused(self) -> None:
        others = [identity(f"Other {number}").der for number in range(5)]

        assert refusal(craft(MANIFEST, vendor(), certificates=[vendor().der, *others])) == (
            "malformed"
        )

    def test_certificates_that_issue_each_other_cost_little(self) -> None:
        names = [identity("Vendor root", key=ec_key(10 + n), authority=True) for n in range(4)]
        signer = identity(key=ec_key(9), issuer=names[0])
        started = time.process_time()

        reason = refusal(
            craft(MANIFEST, signer, certificates=[signer.der, *(one.der for one in names)])
        )

        assert reason == "untrusted"
        assert time.process_time() - started < 2


class TestAttributes:
    def test_no_signed_attributes_are_refused(self, tmp_path: Path) -> None:
        signature = openssl_signature(MANIFEST, [vendor()], tmp_path, "-noattr")

        assert refusal(signature) == "signed-attributes"

    def test_attributes_passed_off_as_the_manifest_are_refused(self) -> None:
        """The signature is over the encoded attributes, which are shown as content."""
        signed = attributes(MANIFEST)
        payload = cms.CMSAttributes(signed).dump()

        stripped = craft(payload, vendor(), signed=None)

        assert verify(craft(MANIFEST, vendor(), signed=signed)).name
        assert refusal(stripped, manifest=payload) == "signed-attributes"

    def test_empty_attributes_are_refused(self) -> None:
        assert refusal(craft(MANIFEST, vendor(), signed=[])) == "signed-attributes"

    @pytest.mark.parametrize("missing", [0, 1, 2])
    def test_missing_attribute_is_refused(self, missing: int) -> None:
        signed = attributes(MANIFEST)
        del signed[missing]

        assert refusal(craft(MANIFEST, vendor(), signed=signed)) == "signed-attributes"

    @pytest.mark.parametrize("repeated", [0, 1, 2])
    def test_repeated_attribute_is_refused(self, repeated: int) -> None:
        signed = attributes(MANIFEST)
        signed.append(signed[repeated])

        assert refusal(craft(MANIFEST, vendor(), signed=signed)) == "signed-attributes"

    def test_attribute_with_two_values_is_refused(self) -> None:
        signed = attributes(MANIFEST)
        right = sha256(MANIFEST).digest()
        signed[2] = attribute("message_digest", right, bytes(32))

        assert refusal(craft(MANIFEST, vendor(), signed=signed)) == "signed-attributes"

    def test_other_type_of_content_is_refused(self) -> None:
        signed = attributes(MANIFEST, content_type="encrypted_data")

        assert refusal(craft(MANIFEST, vendor(), signed=signed)) == "signed-attributes"

    def test_changed_attributes_are_refused(self) -> None:
        signature = craft(MANIFEST, vendor())
        forged = b'{"files":{}}'
        changed = signature.replace(sha256(MANIFEST).digest(), sha256(forged).digest())

        assert changed != signature
        assert refusal(changed, manifest=forged) == "signature"

    def test_digest_of_another_manifest_is_refused(self) -> None:
        assert refusal(craft(b"another", vendor())) == "message-digest"

    def test_changed_manifest_is_refused(self) -> None:
        signature = pkcs7_signature(MANIFEST, vendor())

        assert refusal(signature, manifest=MANIFEST.replace(b"00", b"01")) == "message-digest"
        assert refusal(signature, manifest=MANIFEST + b"\n") == "message-digest"
        assert refusal(signature, manifest=b"") == "message-digest"

    def test_line_ends_count(self, tmp_path: Path) -> None:
        signature = openssl_signature(b"a\nb\n", [vendor()], tmp_path)

        assert verify(signature, manifest=b"a\nb\n").name
        assert refusal(signature, manifest=b"a\r\nb\r\n") == "message-digest"


class TestAlgorithms:
    def test_sha1_is_refused(self, tmp_path: Path) -> None:
        signature = openssl_signature(MANIFEST, [rsa_vendor()], tmp_path, "-md", "sha1")

        assert refusal(signature) == "algorithm"

    @pytest.mark.parametrize("digest", ["sha1", "sha224"])
    def test_short_digest_is_refused(self, digest: str) -> None:
        assert refusal(craft(MANIFEST, vendor(), digest=digest)) == "algorithm"

    def test_short_digest_of_the_signature_alone_is_refused(self) -> None:
        signature = craft(MANIFEST, vendor(), algorithm={"algorithm": "sha1_ecdsa"})

        assert refusal(signature) == "algorithm"

    def test_two_digests_are_refused(self) -> None:
        signature = craft(MANIFEST, vendor(), algorithm={"algorithm": "sha512_ecdsa"})

        assert refusal(signature) == "algorithm"

    def test_ed25519_with_another_digest_is_refused(self) -> None:
        signer = identity(key=ed25519.Ed25519PrivateKey.generate(), issuer=root())

        assert refusal(craft(MANIFEST, signer, digest="sha256")) == "algorithm"

    @pytest.mark.parametrize("algorithm", ["sha256_dsa", "ed448", "1.2.3.4"])
    def test_algorithm_that_is_not_listed_is_refused(self, algorithm: str) -> None:
        signature = craft(MANIFEST, vendor(), algorithm={"algorithm": algorithm})

        assert refusal(signature) == "algorithm"

    def test_pss_is_accepted_in_its_plain_form_only(self) -> None:
        signer = rsa_vendor()

        def made(parameters: dict[str, object], mask: hashes.HashAlgorithm, salt: int) -> bytes:
            return craft(
                MANIFEST,
                signer,
                algorithm=pss(**parameters),  # type: ignore[arg-type]
                sign=sign_pss(signer.key, mask=mask, salt=salt),
            )

        assert verify(made({}, hashes.SHA256(), 32)).name
        assert refusal(made({"mask": "sha1"}, SHA1, 32)) == "algorithm"
        assert refusal(made({"salt": 0}, hashes.SHA256(), 0)) == "algorithm"
        assert refusal(made({"digest": "sha1"}, hashes.SHA256(), 32)) == "algorithm"
        assert refusal(made({"trailer": 2}, hashes.SHA256(), 32)) == "algorithm"

    def test_key_of_another_kind_than_the_algorithm_is_refused(self) -> None:
        signature = craft(
            MANIFEST, vendor(), algorithm={"algorithm": "sha256_rsa"}, sign=lambda _: bytes(256)
        )

        assert refusal(signature) == "key"

    def test_short_rsa_key_is_refused(self) -> None:
        assert refusal(signed_by(key=rsa_key(1024))) == "key"

    @pytest.mark.parametrize("curve", [ec.SECP521R1, ec.SECP256K1])
    def test_other_curve_is_refused(self, curve: type[ec.EllipticCurve]) -> None:
        assert refusal(signed_by(key=ec_key(curve=curve))) == "key"

    def test_wrong_signature_is_refused(self) -> None:
        signature = craft(MANIFEST, rsa_vendor(), sign=lambda _: bytes(256))

        assert refusal(signature) == "signature"

    def test_signature_by_another_key_is_refused(self) -> None:
        stranger = Identity(vendor().certificate, ec_key(7))

        assert refusal(craft(MANIFEST, stranger)) == "signature"


class TestChain:
    def test_wrong_root_is_refused(self) -> None:
        other = identity("Other root", key=ec_key(5), authority=True, purposes=None)

        assert refusal(craft(MANIFEST, vendor()), roots=(other,)) == "untrusted"

    def test_no_root_trusts_nobody(self) -> None:
        assert refusal(craft(MANIFEST, vendor()), roots=()) == "untrusted"

    def test_root_that_the_message_brings_is_not_trusted(self) -> None:
        other = identity("Other root", key=ec_key(5), authority=True, purposes=None)
        signer = identity(key=ec_key(6), issuer=other)

        assert refusal(pkcs7_signature(MANIFEST, signer, other)) == "untrusted"

    def test_self_signed_certificate_is_refused(self) -> None:
        assert refusal(craft(MANIFEST, identity(key=ec_key(6)))) == "untrusted"

    def test_self_signed_certificate_with_the_name_of_the_root_is_refused(self) -> None:
        assert refusal(craft(MANIFEST, identity("Vendor root", key=ec_key(6)))) == "untrusted"

    def test_root_of_the_same_name_and_another_key_is_refused(self) -> None:
        twin = identity("Vendor root", key=ec_key(5), authority=True, purposes=None)
        signer = identity(key=ec_key(6), issuer=twin)

        assert refusal(pkcs7_signature(MANIFEST, signer, twin)) == "untrusted"

    def test_root_does_not_sign_runtimes_itself(self) -> None:
        single = identity("Single", key=ec_key(6), constraints=False)

        assert refusal(craft(MANIFEST, single), roots=(single,)) == "untrusted"

    def test_authority_does_not_sign_runtimes_itself(self) -> None:
        signer = identity("Authority", key=ec_key(6), issuer=root(), authority=True, signs=True)

        assert refusal(craft(MANIFEST, signer)) == "constraints"

    def test_missing_authority_in_between_is_refused(self) -> None:
        assert refusal(craft(MANIFEST, chain()[1])) == "untrusted"

    def test_vendor_is_no_authority(self) -> None:
        signer = identity("Child", key=ec_key(6), issuer=vendor())

        assert refusal(pkcs7_signature(MANIFEST, signer, vendor())) == "untrusted"

    def test_authority_without_constraints_is_refused(self) -> None:
        plain = identity("Plain", key=ec_key(6), issuer=root(), constraints=False, purposes=None)
        signer = identity(issuer=plain)

        assert refusal(pkcs7_signature(MANIFEST, signer, plain)) == "untrusted"

    def test_authority_that_may_not_sign_certificates_is_refused(self) -> None:
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=False,
            crl_sign=False,
            encipher_only=False,
            decipher_only=False,
        )
        between, signer = chain(signs=None, extra=[(usage, True)])

        assert refusal(pkcs7_signature(MANIFEST, signer, between)) == "untrusted"

    def test_longer_chain_than_allowed_is_refused(self) -> None:
        first = identity(
            "First", key=ec_key(6), issuer=root(), authority=True, path_length=0, purposes=None
        )
        second = identity("Second", key=ec_key(7), issuer=first, authority=True, purposes=None)
        signer = identity(issuer=second)

        assert refusal(pkcs7_signature(MANIFEST, signer, first, second)) == "untrusted"

    def test_authority_for_another_purpose_is_refused(self) -> None:
        between, signer = chain(purposes=(ExtendedKeyUsageOID.SERVER_AUTH,))

        assert refusal(pkcs7_signature(MANIFEST, signer, between)) == "purpose"

    @pytest.mark.parametrize(
        "purposes",
        [
            None,
            (ExtendedKeyUsageOID.SERVER_AUTH,),
            (ExtendedKeyUsageOID.EMAIL_PROTECTION, ExtendedKeyUsageOID.TIME_STAMPING),
            (ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,),
        ],
    )
    def test_vendor_for_another_purpose_is_refused(
        self, purposes: tuple[ObjectIdentifier, ...] | None
    ) -> None:
        assert refusal(signed_by(purposes=purposes)) == "purpose"

    def test_key_for_another_use_is_refused(self) -> None:
        assert refusal(signed_by(signs=False)) == "purpose"

    def test_condition_that_is_not_understood_is_refused(self) -> None:
        unknown = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")

        assert refusal(signed_by(extra=[(unknown, True)])) == "constraints"
        assert verify(signed_by(extra=[(unknown, False)])).name

    def test_expired_certificate_is_refused(self) -> None:
        assert refusal(signed_by(end=AT - DAY)) == "expired"

    def test_certificate_that_is_not_valid_yet_is_refused(self) -> None:
        assert refusal(signed_by(start=AT + DAY)) == "not-yet-valid"

    def test_expired_authority_in_between_is_refused(self) -> None:
        between, signer = chain(end=AT - DAY)

        assert refusal(pkcs7_signature(MANIFEST, signer, between)) == "expired"

    @pytest.mark.parametrize(
        ("days", "reason"), [(-200, "not-yet-valid"), (200, "expired"), (4000, "expired")]
    )
    def test_time_of_the_check_counts(self, days: int, reason: str) -> None:
        assert refusal(craft(MANIFEST, vendor()), at=AT + days * DAY) == reason

    @pytest.mark.parametrize(
        ("start", "end", "reason"),
        [
            (AT - 9 * DAY, AT - DAY, "expired"),
            (AT + DAY, AT + 9 * DAY, "not-yet-valid"),
        ],
    )
    def test_root_itself_must_be_valid(self, start: datetime, end: datetime, reason: str) -> None:
        old = identity("Old", key=ec_key(6), authority=True, purposes=None, start=start, end=end)

        assert refusal(craft(MANIFEST, identity(issuer=old)), roots=(old,)) == reason

    def test_root_with_a_short_key_is_refused(self) -> None:
        weak = identity("Weak", key=rsa_key(1024, 1), authority=True, purposes=None)

        assert refusal(craft(MANIFEST, identity(issuer=weak)), roots=(weak,)) == "algorithm"

    def test_root_on_another_curve_is_refused(self) -> None:
        odd = identity("Odd", key=ec_key(3, ec.SECP521R1), authority=True, purposes=None)

        assert refusal(craft(MANIFEST, identity(issuer=odd)), roots=(odd,)) == "key"

    def test_certificate_signed_with_sha1_is_refused(self, tmp_path: Path) -> None:
        weak = identity("RSA root", key=rsa_key(2048, 1), authority=True, purposes=None)
        good = identity(issuer=weak).der
        algorithm = {"algorithm": "sha1_rsa"}
        good["tbs_certificate"]["signature"] = algorithm
        good["signature_algorithm"] = algorithm
        good["signature_value"] = core.OctetBitString(
            _sha1_signature(weak, good["tbs_certificate"].dump(force=True))
        )
        signer = Identity(x509.load_der_x509_certificate(good.dump(force=True)), ec_key())

        assert refusal(craft(MANIFEST, signer), roots=(weak,)) == "algorithm"


def _sha1_signature(signer: Identity, payload: bytes) -> bytes:
    assert isinstance(signer.key, rsa.RSAPrivateKey)
    return signer.key.sign(payload, padding.PKCS1v15(), SHA1)


@cache
def whole_signature() -> bytes:
    """Made once: the length of a signature changes from one to the next."""
    return pkcs7_signature(MANIFEST, vendor())


class TestDamage:
    @given(st.data())
    @settings(max_examples=250, deadline=None)
    def test_damaged_signature_is_refused_or_tells_the_same_signer(
        self, data: st.DataObject
    ) -> None:
        damaged = bytearray(whole_signature())
        for _ in range(data.draw(st.integers(1, 3))):
            place = data.draw(st.integers(0, len(damaged) - 1))
            damaged[place] = data.draw(st.integers(0, 255))

        with suppress(InvalidSignatureError):
            assert verify(bytes(damaged)) == verify(whole_signature())

    @given(st.binary(max_size=200))
    @settings(max_examples=200, deadline=None)
    def test_noise_is_refused(self, noise: bytes) -> None:
        assert refusal(noise) in {"malformed", "trailing-data"}


class TestFiles:
    FILES = {"runtime.json": b"{}", "site-packages/slipway_open/a.py": b"pass"}  # noqa: RUF012

    def signed(self, **changes: bytes | None) -> SignedManifest:
        files = {**self.FILES, **changes}
        return SignedManifest.model_validate(
            {
                "schema": 1,
                "id": "1.0.0.1-linux64-x64",
                "files": {
                    path: sha256(content).hexdigest()
                    for path, content in files.items()
                    if content is not None
                },
            }
        )

    def report(self, *folders: str, **changes: bytes | None) -> ArchiveReport:
        own = {"META-INF/manifest.json": b"{}", "META-INF/manifest.p7s": b"0"}
        return ArchiveReport(
            entries={
                path: Entry(len(content), sha256(content).hexdigest())
                for path, content in {**own, **self.FILES, **changes}.items()
                if content is not None
            },
            folders=frozenset(folders),
            captured={},
        )

    def refusal(self, signed: SignedManifest, report: ArchiveReport) -> tuple[str, str]:
        with pytest.raises(InvalidSignatureError) as error:
            check_files(signed, report)
        return error.value.reason, str(error.value)

    def test_archive_that_is_what_was_signed_passes(self) -> None:
        signed = self.signed()

        check_files(signed, self.report("META-INF", "site-packages", "site-packages/slipway_open"))

        assert signed.id == RuntimeId(1, 0, 0, 1, "linux64", "x64")

    def test_changed_file_is_refused(self) -> None:
        reason, message = self.refusal(self.signed(), self.report(**{"runtime.json": b"[]"}))

        assert reason == "file-changed"
        assert "runtime.json" in message

    def test_file_that_was_not_signed_is_refused(self) -> None:
        reason, message = self.refusal(self.signed(), self.report(**{"evil.py": b""}))

        assert reason == "file-unlisted"
        assert "evil.py" in message

    def test_file_that_is_gone_is_refused(self) -> None:
        reason, message = self.refusal(self.signed(), self.report(**{"runtime.json": None}))

        assert reason == "file-missing"
        assert "runtime.json" in message

    def test_manifest_does_not_list_itself(self) -> None:
        signed = self.signed(**{"META-INF/manifest.json": b"{}"})

        assert self.refusal(signed, self.report())[0] == "file-missing"

    def test_further_file_beside_the_signature_is_refused(self) -> None:
        report = self.report(**{"META-INF/other.p7s": b"0"})

        assert self.refusal(self.signed(), report)[0] == "file-unlisted"

    @pytest.mark.parametrize("folder", ["site-packages/os", "runtime", "site"])
    def test_folder_without_signed_files_is_refused(self, folder: str) -> None:
        assert self.refusal(self.signed(), self.report(folder))[0] == "file-unlisted"
