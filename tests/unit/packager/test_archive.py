"""The gate lets through the plain form of a ZIP and nothing else, however the bytes arrive."""

import random
import tracemalloc
import zipfile
from collections.abc import Iterable
from hashlib import sha256
from io import BytesIO
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_packager.archive import (
    ArchiveGate,
    ArchiveLimits,
    ArchiveReport,
    Entry,
    InvalidArchiveError,
)
from unit.packager.hostile import (
    GOOD,
    GOOD_EXTRAS,
    HOSTILE,
    LONGEST_EXTRA,
    MANIFEST,
    MODEL,
    NOISE_ARCHIVE,
    SHORTEST_EXTRA,
)
from unit.packager.zips import DEFLATED, UTF8, Part, build, deflate

CAPTURE = frozenset({"slipway.json"})


def judge(
    pieces: Iterable[bytes | memoryview],
    *,
    limits: ArchiveLimits | None = None,
    capture: frozenset[str] = CAPTURE,
) -> ArchiveReport:
    gate = ArchiveGate(limits or ArchiveLimits(), capture)
    for piece in pieces:
        gate.feed(piece)
    return gate.finish()


def verdict(pieces: Iterable[bytes]) -> ArchiveReport | tuple[str, str]:
    try:
        return judge(pieces)
    except InvalidArchiveError as refusal:
        return refusal.reason, str(refusal)


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    edges = [0, *sorted(places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def packed(method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """What `slipway pack` and the builder of runtimes write."""
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("slipway.json", b'{"schema": 1}')
        archive.mkdir("data")
        archive.writestr("data/empty/", b"")
        archive.writestr("data/über.csv", b"1;2;3\n" * 500)
        archive.writestr("model/__init__.py", b"")
        with archive.open("model/solve.py", "w") as entry:
            entry.write(b"pass\n" * 10)
    return buffer.getvalue()


def assert_read_alike(data: bytes, report: ArchiveReport) -> None:
    with zipfile.ZipFile(BytesIO(data)) as archive:
        names = archive.namelist()
        files = [name for name in names if not name.endswith("/")]
        assert files == list(report.entries)
        assert {name.rstrip("/") for name in names if name.endswith("/")} == report.folders
        for name in files:
            content = archive.read(name)
            assert report.entries[name] == Entry(len(content), sha256(content).hexdigest())


@pytest.mark.parametrize("data", [packed(0), packed(8), GOOD, GOOD_EXTRAS, NOISE_ARCHIVE])
def test_good_archive_passes_and_is_read_alike_by_others(data: bytes) -> None:
    report = judge([data])

    assert report.captured == {"slipway.json": b'{"schema": 1}'}
    assert_read_alike(data, report)


@pytest.mark.parametrize("data", [SHORTEST_EXTRA, LONGEST_EXTRA])
def test_owner_may_have_numbers_of_any_length(data: bytes) -> None:
    assert_read_alike(data, judge([data]))


@pytest.mark.parametrize("size", [1, 5000])
def test_what_is_left_in_the_inflater_at_the_end_of_the_input_counts(size: int) -> None:
    for length in range(262_144 - 5, 262_144 + 300, 7):
        data = build([Part("zeros", bytes(length), DEFLATED)])

        report = judge(cut(data, range(size, len(data), size)))

        assert report.entries["zeros"].size == length


def test_stored_archive_inside_an_archive_is_content_like_any_other() -> None:
    data = build([MANIFEST, Part("inner.zip", GOOD)])

    report = judge([data])

    assert report.entries["inner.zip"] == Entry(len(GOOD), sha256(GOOD).hexdigest())


def test_compression_level_and_text_bit_are_harmless() -> None:
    data = build([Part("a.py", MODEL.content, DEFLATED, both={"flags": 2, "internal": 1})])

    assert list(judge([data]).entries) == ["a.py"]


def test_flag_for_utf8_is_accepted_on_plain_ascii() -> None:
    assert list(judge([build([Part("a.py", both={"flags": UTF8})])]).entries) == ["a.py"]


@pytest.mark.parametrize("flags", [1, 2, 4, 6, 7])
def test_times_that_are_there_are_repeated_as_the_format_says(flags: int) -> None:
    local = bytes([0x55, 0x54, 1 + 4 * flags.bit_count(), 0, flags]) + b"abcd" * flags.bit_count()
    central = (
        bytes([0x55, 0x54, 5, 0, flags]) + b"abcd" if flags & 1 else b"UT\x01\x00" + bytes([flags])
    )
    data = build([Part("a", local={"extra": local}, central={"extra": central})])

    assert list(judge([data]).entries) == ["a"]


@pytest.mark.parametrize(
    ("reason", "data"),
    [pytest.param(reason, data, id=title) for title, reason, data in HOSTILE],
)
def test_hostile_archive_is_refused_for_its_reason(reason: str, data: bytes) -> None:
    with pytest.raises(InvalidArchiveError) as refusal:
        judge([data])

    assert refusal.value.reason == reason
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 500


def test_corpus_has_no_archive_twice() -> None:
    assert len({data for _, _, data in HOSTILE}) == len(HOSTILE) > 80


@pytest.mark.parametrize(
    "data",
    [pytest.param(data, id=title) for title, _, data in HOSTILE if len(data) < 100_000],
)
@pytest.mark.parametrize("size", [1, 7])
def test_hostile_archive_is_refused_alike_in_small_pieces(data: bytes, size: int) -> None:
    assert verdict(cut(data, range(size, len(data), size))) == verdict([data])


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_splitting_anywhere_changes_nothing(data: st.DataObject) -> None:
    archive = data.draw(st.sampled_from([packed(), GOOD_EXTRAS, NOISE_ARCHIVE]))
    places = data.draw(st.lists(st.integers(0, len(archive)), max_size=12))

    assert verdict(cut(archive, places)) == verdict([archive])


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_damaged_archive_is_refused_or_read_alike_however_it_is_split(data: st.DataObject) -> None:
    archive = bytearray(data.draw(st.sampled_from([packed(), packed(0), GOOD_EXTRAS])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(archive) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert", "copy"])):
            case "set":
                archive[place] = data.draw(st.integers(0, 255))
            case "cut":
                del archive[place : place + data.draw(st.integers(1, 40))]
            case "insert":
                archive[place:place] = data.draw(st.binary(min_size=1, max_size=8))
            case _:
                source = data.draw(st.integers(0, len(archive) - 1))
                archive[place : place + 4] = archive[source : source + 4]
        if not archive:
            return
    damaged = bytes(archive)
    places = data.draw(st.lists(st.integers(0, len(damaged)), max_size=4))

    outcome = verdict([damaged])

    assert verdict(cut(damaged, places)) == outcome
    if isinstance(outcome, ArchiveReport):
        assert_read_alike(damaged, outcome)


def test_every_single_changed_byte_is_refused_or_read_alike() -> None:
    chance = random.Random(7)
    passed = 0
    for place in range(len(GOOD)):
        damaged = bytearray(GOOD)
        damaged[place] ^= 1 << chance.randrange(8)
        outcome = verdict([bytes(damaged)])
        if isinstance(outcome, ArchiveReport):
            passed += 1
            assert_read_alike(bytes(damaged), outcome)

    # Only what no reader acts upon may change: the version that made it, permissions and the like.
    assert passed < 30


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_noise_is_refused(noise: bytes) -> None:
    assert not isinstance(verdict([b"PK\x03\x04" + noise]), ArchiveReport)
    assert not isinstance(verdict([noise]), ArchiveReport)


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(categories=["Ll", "Lu", "Nd"]), min_size=1, max_size=20),
            st.binary(max_size=2000),
            st.sampled_from([0, 8]),
        ),
        min_size=1,
        max_size=6,
        unique_by=lambda part: part[0],
    )
)
@settings(max_examples=150, deadline=None)
def test_whatever_passes_is_read_alike_by_others(parts: list[tuple[str, bytes, int]]) -> None:
    data = build([Part(name, content, method) for name, content, method in parts])

    outcome = verdict([data])

    if isinstance(outcome, ArchiveReport):
        assert_read_alike(data, outcome)
    else:
        assert outcome[0] in {"name-collision", "name-reserved", "name-length"}


def test_gate_that_refused_refuses_for_ever() -> None:
    gate = ArchiveGate(ArchiveLimits(), CAPTURE)
    with pytest.raises(InvalidArchiveError) as first:
        gate.feed(b"no archive")

    for attempt in (lambda: gate.feed(GOOD), gate.finish):
        with pytest.raises(InvalidArchiveError) as again:
            attempt()
        assert again.value.reason == first.value.reason


def test_gate_that_was_finished_too_early_cannot_be_fed_on() -> None:
    gate = ArchiveGate(ArchiveLimits(), CAPTURE)
    gate.feed(GOOD[:-1])
    with pytest.raises(InvalidArchiveError):
        gate.finish()

    with pytest.raises(InvalidArchiveError):
        gate.feed(GOOD[-1:])


def test_refusal_names_the_entry_without_its_control_characters() -> None:
    data = build([Part("a\x1b[31m\r\nb.py")])

    with pytest.raises(InvalidArchiveError, match=r"a\\x1b\[31m\\r\\nb\.py"):
        judge([data])


def test_only_what_was_asked_for_is_kept() -> None:
    report = judge([packed()], capture=frozenset({"model/solve.py", "absent.txt"}))

    assert report.captured == {"model/solve.py": b"pass\n" * 10}


class TestLimits:
    def test_captured_entry_is_refused_before_it_fills_the_memory(self) -> None:
        data = build([Part("slipway.json", b"x" * 101)])

        with pytest.raises(InvalidArchiveError) as refusal:
            judge([data], limits=ArchiveLimits(capture_size=100))

        assert refusal.value.reason == "entry-size"
        assert judge([data], limits=ArchiveLimits(capture_size=101)).captured

    def test_entry_that_is_too_large_is_refused(self) -> None:
        data = build([Part("a", b"x" * 101)])

        with pytest.raises(InvalidArchiveError) as refusal:
            judge([data], limits=ArchiveLimits(entry_size=100))

        assert refusal.value.reason == "entry-size"
        assert judge([data], limits=ArchiveLimits(entry_size=101)).entries

    def test_entries_that_are_too_large_together_are_refused(self) -> None:
        data = build([Part("a", b"x" * 60), Part("b", b"x" * 41)])

        with pytest.raises(InvalidArchiveError) as refusal:
            judge([data], limits=ArchiveLimits(total_size=100))

        assert refusal.value.reason == "total-size"
        assert judge([data], limits=ArchiveLimits(total_size=101)).entries

    def test_ratio_is_allowed_up_to_the_limit(self) -> None:
        compressed = len(deflate(bytes(5000)))
        data = build([Part("a", bytes(5000), DEFLATED)])
        enough = -(-5000 // compressed)

        with pytest.raises(InvalidArchiveError) as refusal:
            judge([data], limits=ArchiveLimits(ratio=enough - 1, ratio_floor=0))

        assert refusal.value.reason == "ratio"
        assert judge([data], limits=ArchiveLimits(ratio=enough, ratio_floor=0)).entries
        assert judge([data], limits=ArchiveLimits(ratio=1, ratio_floor=5000)).entries

    def test_too_many_entries_are_refused(self) -> None:
        data = build([Part(f"f{index}") for index in range(6)])

        with pytest.raises(InvalidArchiveError) as refusal:
            judge([data], limits=ArchiveLimits(entries=5))

        assert refusal.value.reason == "entry-count"
        assert judge([data], limits=ArchiveLimits(entries=6)).entries

    def test_folders_of_a_deep_path_count_as_entries(self) -> None:
        data = build([Part("a/b/c/d/e.py")])

        with pytest.raises(InvalidArchiveError) as refusal:
            judge([data], limits=ArchiveLimits(entries=4))

        assert refusal.value.reason == "entry-count"
        assert judge([data], limits=ArchiveLimits(entries=5)).entries

    def test_folder_that_is_mentioned_and_listed_counts_once(self) -> None:
        data = build([Part("a/b.py"), Part("a/"), Part("a/c.py")])

        report = judge([data], limits=ArchiveLimits(entries=3))

        assert report.folders == {"a"}

    def test_path_may_be_as_long_as_the_limit(self) -> None:
        assert judge([build([Part("é" * 120)])]).entries

    def test_bomb_costs_little_memory(self) -> None:
        bomb = build(
            [Part("a", b"", DEFLATED, data=deflate(bytes(60_000_000)), both={"size": 900_000})]
        )
        tracemalloc.start()
        try:
            with pytest.raises(InvalidArchiveError):
                judge([bomb])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert peak < 4 * 1024 * 1024

    def test_large_content_costs_little_memory(self) -> None:
        content = random.Random(1).randbytes(300_000) * 60
        data = build([Part("a", content, DEFLATED), Part("b", content)])
        pieces = [memoryview(data)[place : place + 65536] for place in range(0, len(data), 65536)]
        tracemalloc.start()
        try:
            report = judge(pieces, limits=ArchiveLimits(ratio=1000))
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert report.entries["a"].size == len(content)
        assert peak < 4 * 1024 * 1024
