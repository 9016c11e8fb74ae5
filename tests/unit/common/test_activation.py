"""How a waiting runner hears which session it is: nobody else reads it, or answers in its name."""

import hashlib
import hmac
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from slipway_common.crypto.activation import (
    KEY_BYTES,
    NotForUsError,
    acknowledgement,
    member_key,
    seal,
    unseal,
)

ROOT = bytes(range(32))
CONTENT = b'{"session_id": "5e551011-0000-4000-8000-000000000001", "token": "secret"}'
NAMES = st.text(min_size=1, max_size=40)


@given(member=NAMES, content=st.binary(max_size=400))
def test_the_member_that_is_meant_reads_what_was_sealed_for_it(member: str, content: bytes) -> None:
    key = member_key(ROOT, member)

    assert unseal(key, seal(key, content, member=member), member=member) == content


@given(one=NAMES, other=NAMES)
def test_members_have_different_keys(one: str, other: str) -> None:
    assert len(member_key(ROOT, one)) == KEY_BYTES
    assert (member_key(ROOT, one) == member_key(ROOT, other)) == (one == other)


def test_another_root_gives_other_keys() -> None:
    assert member_key(ROOT, "member-1") != member_key(ROOT[::-1], "member-1")


def test_what_was_sealed_for_one_member_no_other_can_read() -> None:
    message = seal(member_key(ROOT, "member-1"), CONTENT, member="member-1")

    for key, name in (
        (member_key(ROOT, "member-2"), "member-2"),
        (member_key(ROOT, "member-2"), "member-1"),
        (member_key(ROOT, "member-1"), "member-2"),
        (b"\0" * KEY_BYTES, "member-1"),
    ):
        with pytest.raises(NotForUsError):
            unseal(key, message, member=name)


def test_what_travels_shows_nothing_of_its_content_and_is_never_twice_the_same() -> None:
    key = member_key(ROOT, "member-1")

    messages = {seal(key, CONTENT, member="member-1") for _ in range(50)}

    assert len(messages) == 50
    for message in messages:
        assert b"secret" not in message
        assert b"5e551011" not in message


@given(data=st.data())
def test_whatever_is_changed_of_a_message_makes_it_unreadable(data: st.DataObject) -> None:
    key = member_key(ROOT, "member-1")
    message = bytearray(seal(key, CONTENT, member="member-1"))
    match data.draw(st.sampled_from(["flip", "cut", "add", "swap"])):
        case "flip":
            message[data.draw(st.integers(0, len(message) - 1))] ^= data.draw(st.integers(1, 255))
        case "cut":
            del message[data.draw(st.integers(0, len(message) - 1)) :]
        case "add":
            message += data.draw(st.binary(min_size=1, max_size=20))
        case _:
            message = message[12:] + message[:12]

    with pytest.raises(NotForUsError):
        unseal(key, bytes(message), member="member-1")


@given(message=st.binary(max_size=100))
def test_whatever_else_arrives_is_not_for_us(message: bytes) -> None:
    with pytest.raises(NotForUsError):
        unseal(member_key(ROOT, "member-1"), message, member="member-1")


def test_only_the_member_can_say_that_it_has_become_the_session_and_only_that_session() -> None:
    session = uuid4()
    said = acknowledgement(member_key(ROOT, "member-1"), session)

    assert said == acknowledgement(member_key(ROOT, "member-1"), session)
    assert said != acknowledgement(member_key(ROOT, "member-2"), session)
    assert said != acknowledgement(member_key(ROOT, "member-1"), uuid4())


def test_what_is_answered_tells_nothing_about_the_key_that_seals() -> None:
    """Each use has a key of its own: the member's key is used for neither."""
    key, session = member_key(ROOT, "member-1"), UUID(int=7)

    plain = hmac.new(key, session.bytes, hashlib.sha256).hexdigest()

    assert acknowledgement(key, session) != plain
    with pytest.raises(NotForUsError):
        unseal(key, _sealed_with_the_bare_key(key), member="member-1")


def test_the_answer_is_the_same_in_every_release() -> None:
    """Schedulers and runners of two releases meet while one replaces the other."""
    key = member_key(ROOT, "member-1")

    assert key.hex() == "36f4519b2c6888e5c6fe2f6ccf81f7d8200987c367a02bfe8725c92ac50abc12"
    assert (
        acknowledgement(key, UUID(int=7))
        == "9258e3b5e4076fe856cba427c948e0a8b9cdcc00df85b60dac3083a85faf8e50"
    )
    assert (
        unseal(
            key,
            bytes.fromhex("000000000000000000000000c31ebabdb1148a1147ed70e081767d47abcc7b18e7"),
            member="member-1",
        )
        == b"hello"
    )


def _sealed_with_the_bare_key(key: bytes) -> bytes:
    return b"\0" * 12 + AESGCM(key).encrypt(b"\0" * 12, CONTENT, b"slipway-activation:member-1")
