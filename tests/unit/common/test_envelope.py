"""The envelope: what comes out is right, or nothing comes out of the segment concerned."""

import base64
import json
import os
import re
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_common.crypto.envelope import (
    MAGIC,
    MAX_CORE_SIZE,
    SEGMENT_SIZE,
    TAG_SIZE,
    Decryptor,
    Encryptor,
    EnvelopeError,
    HeaderReader,
    WrappedKey,
    new_data_key,
)

SEGMENT = 32
KEY = new_data_key()
CONTEXT = {"account": "one", "blob": "packages/1"}
WRAPPED = WrappedKey("file:one/1", b"w" * 40)


def encrypt(
    plaintext: bytes,
    *,
    data_key: bytes = KEY,
    context: dict[str, str] | None = None,
    segment_size: int = SEGMENT,
    **more: Any,
) -> tuple[bytes, list[bytes]]:
    """Header and segments."""
    encryptor = Encryptor(
        data_key,
        key=WRAPPED,
        context=CONTEXT if context is None else context,
        segment_size=segment_size,
        **more,
    )
    segments = [*encryptor.feed(plaintext)]
    segments.append(encryptor.finish())
    return encryptor.header, segments


def decrypt(
    file: bytes,
    *,
    data_key: bytes = KEY,
    context: dict[str, str] | None = None,
    chunks: list[bytes] | None = None,
    out: bytearray | None = None,
) -> bytes:
    """All plaintext; ``out`` receives what came out before an error."""
    found = bytearray() if out is None else out
    reader, decryptor = HeaderReader(), None
    for chunk in [file] if chunks is None else chunks:
        rest = chunk
        if decryptor is None:
            header = reader.feed(chunk)
            if header is None:
                continue
            decryptor = Decryptor(
                header[0], data_key, context=CONTEXT if context is None else context
            )
            rest = header[1]
        for segment in decryptor.feed(rest):
            found += segment
    if decryptor is None:
        raise EnvelopeError("the file is cut off")
    found += decryptor.finish()
    return bytes(found)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


class TestRoundTrip:
    @pytest.mark.parametrize(
        "size", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, 2 * SEGMENT, 5 * SEGMENT + 7]
    )
    def test_every_size_comes_back_in_as_many_segments_as_it_needs(self, size: int) -> None:
        plaintext = os.urandom(size)

        header, segments = encrypt(plaintext)

        assert decrypt(header + b"".join(segments)) == plaintext
        assert len(segments) == max(1, -(-size // SEGMENT))
        assert sum(map(len, segments)) == size + TAG_SIZE * len(segments)

    def test_the_usual_segment_is_a_mebibyte(self) -> None:
        plaintext = os.urandom(SEGMENT_SIZE + 1)

        header, segments = encrypt(plaintext, segment_size=SEGMENT_SIZE)

        assert [len(segment) for segment in segments] == [SEGMENT_SIZE + TAG_SIZE, 1 + TAG_SIZE]
        assert decrypt(header + b"".join(segments)) == plaintext

    @given(
        plaintext=st.binary(max_size=6 * SEGMENT),
        written=st.lists(st.integers(0, 10_000), max_size=12),
        read=st.lists(st.integers(0, 10_000), max_size=12),
    )
    @settings(max_examples=200, deadline=None)
    def test_however_it_is_cut_into_pieces_on_either_side(
        self, plaintext: bytes, written: list[int], read: list[int]
    ) -> None:
        encryptor = Encryptor(KEY, key=WRAPPED, context=CONTEXT, segment_size=SEGMENT)
        file = bytearray(encryptor.header)
        for piece in cut(plaintext, written):
            for segment in encryptor.feed(piece):
                file += segment
        file += encryptor.finish()

        assert decrypt(bytes(file), chunks=cut(bytes(file), read)) == plaintext

    def test_the_same_twice_has_nothing_in_common(self) -> None:
        first, second = encrypt(b"x" * 100), encrypt(b"x" * 100)

        assert first[0] != second[0]
        assert not set(first[1]) & set(second[1])

    def test_a_context_that_is_too_large_is_refused_when_it_is_written(self) -> None:
        with pytest.raises(EnvelopeError):
            encrypt(b"", context={"account": "x" * MAX_CORE_SIZE})


class TestDamage:
    """A file of five segments, with every kind of damage in every place."""

    PLAINTEXT = os.urandom(4 * SEGMENT + 9)
    HEADER, SEGMENTS = encrypt(PLAINTEXT)
    OTHER_HEADER, OTHER_SEGMENTS = encrypt(PLAINTEXT)

    def refuses(self, file: bytes, *, right_segments: int, **more: Any) -> None:
        """It fails, and what came out before that is right."""
        out = bytearray()
        with pytest.raises(EnvelopeError):
            decrypt(file, out=out, **more)
        assert bytes(out) == self.PLAINTEXT[: len(out)]
        assert len(out) <= right_segments * SEGMENT

    def test_cut_off_at_any_byte(self) -> None:
        file = self.HEADER + b"".join(self.SEGMENTS)
        for length in range(len(file)):
            whole = max(0, length - len(self.HEADER)) // (SEGMENT + TAG_SIZE)
            self.refuses(file[:length], right_segments=whole)

    def test_any_bit_of_any_segment(self) -> None:
        for number, segment in enumerate(self.SEGMENTS):
            for place in range(len(segment)):
                damaged = bytearray(segment)
                damaged[place] ^= 1 << (place % 8)
                segments = [*self.SEGMENTS]
                segments[number] = bytes(damaged)
                self.refuses(self.HEADER + b"".join(segments), right_segments=number)

    def test_any_bit_of_the_header(self) -> None:
        rest = b"".join(self.SEGMENTS)
        for place in range(len(self.HEADER)):
            for bit in range(8):
                damaged = bytearray(self.HEADER)
                damaged[place] ^= 1 << bit
                self.refuses(bytes(damaged) + rest, right_segments=0)

    def test_any_two_segments_exchanged(self) -> None:
        for first in range(5):
            for second in range(first + 1, 5):
                segments = [*self.SEGMENTS]
                segments[first], segments[second] = segments[second], segments[first]
                self.refuses(self.HEADER + b"".join(segments), right_segments=first)

    def test_any_segment_twice_or_missing(self) -> None:
        for number in range(5):
            twice = [*self.SEGMENTS[: number + 1], *self.SEGMENTS[number:]]
            self.refuses(self.HEADER + b"".join(twice), right_segments=number + 1)
            missing = [*self.SEGMENTS[:number], *self.SEGMENTS[number + 1 :]]
            self.refuses(self.HEADER + b"".join(missing), right_segments=number)

    def test_any_segment_of_another_file_of_the_same_key_and_context(self) -> None:
        for number in range(5):
            segments = [*self.SEGMENTS]
            segments[number] = self.OTHER_SEGMENTS[number]
            self.refuses(self.HEADER + b"".join(segments), right_segments=number)
        self.refuses(self.OTHER_HEADER + b"".join(self.SEGMENTS), right_segments=0)

    def test_something_after_the_end(self) -> None:
        file = self.HEADER + b"".join(self.SEGMENTS)
        for more in (b"\0", bytes(TAG_SIZE), self.SEGMENTS[-1], file):
            self.refuses(file + more, right_segments=5)

    @pytest.mark.parametrize(
        "context",
        [
            {},
            {"account": "one"},
            {"account": "two", "blob": "packages/1"},
            {"account": "one", "blob": "packages/2"},
            {"account": "one", "blob": "packages/1", "more": ""},
        ],
    )
    def test_another_context(self, context: dict[str, str]) -> None:
        file = self.HEADER + b"".join(self.SEGMENTS)

        self.refuses(file, right_segments=0, context=context)

    def test_another_key_is_refused_before_anything_is_decrypted(self) -> None:
        header, _ = HeaderReader().feed(self.HEADER) or (None, None)
        assert header is not None

        with pytest.raises(EnvelopeError, match="key"):
            Decryptor(header, new_data_key(), context=CONTEXT)


class TestHostileHeaders:
    def header(self, core: bytes) -> bytes:
        return MAGIC + struct.pack(">I", len(core)) + core + bytes(32)

    def fields(self, **changes: Any) -> bytes:
        encoded = base64.b64encode
        good: dict[str, Any] = {
            "algorithm": "AES-256-GCM-STREAM/HKDF-SHA-512",
            "context": CONTEXT,
            "key": {"id": "x", "wrapped": encoded(b"w").decode()},
            "prefix": encoded(bytes(7)).decode(),
            "salt": encoded(bytes(32)).decode(),
            "segment": 1024,
        }
        return json.dumps(good | changes).encode()

    def test_the_pattern_itself_can_be_read(self) -> None:
        assert HeaderReader().feed(self.header(self.fields())) is not None

    @pytest.mark.parametrize(
        "core",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b"7",
            b"\xff\xfe",
            b"[" * MAX_CORE_SIZE,
            b'{"a":' * 3000,
            b"{}",
        ],
    )
    def test_what_is_no_core_is_refused(self, core: bytes) -> None:
        with pytest.raises(EnvelopeError):
            HeaderReader().feed(self.header(core))

    @pytest.mark.parametrize(
        "changes",
        [
            {"algorithm": "none"},
            {"algorithm": None},
            {"context": None},
            {"context": []},
            {"key": None},
            {"key": "x"},
            {"key": {"id": "x"}},
            {"key": {"id": "x", "wrapped": "not base64!"}},
            {"prefix": ""},
            {"prefix": base64.b64encode(bytes(8)).decode()},
            {"prefix": 7},
            {"salt": None},
            {"segment": 0},
            {"segment": -1},
            {"segment": 2**40},
            {"segment": "x"},
            {"segment": None},
            {"segment": float("inf")},
            {"segment": float("nan")},
            {"segment": []},
        ],
        ids=str,
    )
    def test_a_field_that_cannot_be_right_is_refused(self, changes: dict[str, Any]) -> None:
        with pytest.raises(EnvelopeError):
            HeaderReader().feed(self.header(self.fields(**changes)))

    def test_a_header_that_claims_to_be_huge_is_refused_before_it_is_collected(self) -> None:
        with pytest.raises(EnvelopeError):
            HeaderReader().feed(MAGIC + struct.pack(">I", 2**32 - 1))

    @pytest.mark.parametrize("start", [b"PK\x03\x04", b"X", b"SLIPWAX", b"SLIPWAY\x02"])
    def test_what_is_no_envelope_is_refused_at_once(self, start: bytes) -> None:
        with pytest.raises(EnvelopeError):
            HeaderReader().feed(start)

    @given(st.binary(max_size=300))
    @settings(max_examples=300, deadline=None)
    def test_no_bytes_whatever_raise_anything_else(self, data: bytes) -> None:
        for file in (data, MAGIC + data, self.header(data)):
            with pytest.raises(EnvelopeError):
                decrypt(file)


class TestVectors:
    """The published vectors, and the reader that stands in the page of the format."""

    @pytest.fixture(scope="class")
    def vectors(self, repository: Path) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((repository / "docs/vectors/envelope.json").read_text())
        return found

    @pytest.fixture(scope="class")
    def published_reader(self, repository: Path) -> Any:
        page = (repository / "docs/envelope.md").read_text()
        [code] = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
        assert "slipway_common" not in code
        names: dict[str, Any] = {}
        exec(compile(code, "docs/envelope.md", "exec"), names)  # noqa: S102
        return names["read"]

    def test_every_file_is_written_and_read_as_published(
        self, vectors: dict[str, Any], published_reader: Any
    ) -> None:
        assert len(vectors["files"]) >= 8
        for vector in vectors["files"]:
            data_key = bytes.fromhex(vector["data_key"])
            plaintext, file = bytes.fromhex(vector["plaintext"]), bytes.fromhex(vector["file"])
            encryptor = Encryptor(
                data_key,
                key=WrappedKey(vector["key"]["id"], bytes.fromhex(vector["key"]["wrapped"])),
                context=vector["context"],
                salt=bytes.fromhex(vector["salt"]),
                prefix=bytes.fromhex(vector["prefix"]),
                segment_size=vector["segment"],
            )
            written = encryptor.header + b"".join(encryptor.feed(plaintext)) + encryptor.finish()

            assert written == file, vector["name"]
            assert decrypt(file, data_key=data_key, context=vector["context"]) == plaintext
            assert published_reader(file, data_key, vector["context"]) == plaintext

    def test_no_damaged_file_is_read(self, vectors: dict[str, Any], published_reader: Any) -> None:
        assert len(vectors["damaged"]) >= 15
        for vector in vectors["damaged"]:
            data_key, file = bytes.fromhex(vector["data_key"]), bytes.fromhex(vector["file"])

            with pytest.raises(EnvelopeError):
                decrypt(file, data_key=data_key, context=vector["context"])
            with pytest.raises((ValueError, InvalidTag)):
                published_reader(file, data_key, vector["context"])
