"""One pass over a ZIP that is never whole: every byte is part of a record that is right.

Programs disagree about archives that are merely readable (two directories, gaps, overlaps, headers
that differ), and each disagreement is a way to show one thing and run another. So the only form
that passes is the plain one: entries one after the other, the central directory in the same order
right behind them, one end record, and nothing else anywhere.
"""

from collections.abc import Generator
from dataclasses import dataclass

from slipway_packager.archive.content import ContentReader
from slipway_packager.archive.extras import (
    MAX_EXTRA_SIZE,
    check_central_extras,
    parse_local_extras,
)
from slipway_packager.archive.limits import ArchiveLimits, Budget
from slipway_packager.archive.names import NameSet, check_name, decode_name
from slipway_packager.archive.records import (
    CENTRAL_SIGNATURE,
    CENTRAL_SIZE,
    END_SIGNATURE,
    END_SIZE,
    LOCAL_SIGNATURE,
    LOCAL_SIZE,
    Facts,
    check_central,
    check_facts,
    check_same,
    parse_central,
    parse_end,
    parse_local,
)
from slipway_packager.archive.refusal import InvalidArchiveError, shown
from slipway_packager.archive.report import ArchiveReport, Entry

_SIGNATURE_SIZE = 4
_ZIP64_SIGNATURES = frozenset({b"PK\x06\x06", b"PK\x06\x07"})


@dataclass(frozen=True, slots=True)
class _Seen:
    """An entry that went by, for its line in the central directory."""

    raw_name: bytes
    label: str
    offset: int
    facts: Facts
    extras: dict[int, bytes]
    folder: bool


_Wanted = int | ContentReader
"""What the grammar asks for next: so many bytes at once, or content that streams by."""


class ArchiveGate:
    """Feed the bytes as they come, in pieces of any size; the report is there after the last one.

    Memory is bounded by the limits, whatever the archive holds. A gate that has refused refuses
    for ever.
    """

    def __init__(self, limits: ArchiveLimits, capture: frozenset[str]) -> None:
        self._limits = limits
        self._capture = capture
        self._budget = Budget(limits)
        self._names = NameSet(limits.entries)
        self._seen: list[_Seen] = []
        self._entries: dict[str, Entry] = {}
        self._folders: set[str] = set()
        self._captured: dict[str, bytes] = {}
        self._buffer = bytearray()
        self._position = 0
        """Bytes that the grammar has taken."""
        self._refusal: InvalidArchiveError | None = None
        self._grammar = self._archive()
        self._wanted: _Wanted | None = next(self._grammar)
        """None after the end record, when there must be nothing more."""

    def feed(self, data: bytes | memoryview) -> None:
        self._raise_again()
        try:
            self._consume(memoryview(data).cast("B"))
        except InvalidArchiveError as refusal:
            self._refusal = refusal
            raise

    def finish(self) -> ArchiveReport:
        self._raise_again()
        if self._wanted is not None:
            self._refusal = InvalidArchiveError("truncated", "the archive is cut off")
            raise self._refusal
        return ArchiveReport(
            entries=self._entries, folders=frozenset(self._folders), captured=self._captured
        )

    def _raise_again(self) -> None:
        if self._refusal is not None:
            raise InvalidArchiveError(self._refusal.reason, str(self._refusal))

    def _consume(self, data: memoryview) -> None:
        while data:
            match self._wanted:
                case None:
                    raise InvalidArchiveError(
                        "trailing-data", "there are bytes after the end of the archive"
                    )
                case ContentReader() as content:
                    data = self._stream(content, data)
                case int() as size:
                    data = self._collect(size, data)

    def _stream(self, content: ContentReader, data: memoryview) -> memoryview:
        taken = min(content.compressed_left, len(data))
        content.feed(data[:taken])
        self._position += taken
        if not content.compressed_left:
            self._advance(b"")
        return data[taken:]

    def _collect(self, size: int, data: memoryview) -> memoryview:
        taken = min(size - len(self._buffer), len(data))
        self._buffer += data[:taken]
        self._position += taken
        if len(self._buffer) == size:
            whole = bytes(self._buffer)
            self._buffer.clear()
            self._advance(whole)
        return data[taken:]

    def _advance(self, data: bytes) -> None:
        try:
            self._wanted = self._grammar.send(data)
        except StopIteration:
            self._wanted = None

    def _archive(self) -> Generator[_Wanted, bytes, None]:
        signature = yield _SIGNATURE_SIZE
        if signature == END_SIGNATURE:
            raise InvalidArchiveError("empty", "the archive holds nothing")
        if signature != LOCAL_SIGNATURE:
            raise InvalidArchiveError(
                "not-a-zip", "this is not a ZIP archive, or there are bytes before its first entry"
            )
        while signature == LOCAL_SIGNATURE:
            yield from self._entry(offset=self._position - _SIGNATURE_SIZE)
            signature = yield _SIGNATURE_SIZE
        start = self._position - _SIGNATURE_SIZE
        for seen in self._seen:
            if signature != CENTRAL_SIGNATURE:
                raise self._unexpected(signature, f"the central directory leaves out {seen.label}")
            yield from self._directory_line(seen)
            signature = yield _SIGNATURE_SIZE
        if signature != END_SIGNATURE:
            raise self._unexpected(signature, "the central directory has more entries than exist")
        size = self._position - _SIGNATURE_SIZE - start
        yield from self._end(start=start, size=size)

    def _entry(self, *, offset: int) -> Generator[_Wanted, bytes, None]:
        header = parse_local((yield LOCAL_SIZE))
        place = f"the entry at byte {offset}"
        self._check_lengths(place, name=header.name_length, extra=header.extra_length)
        raw_name = yield header.name_length
        raw_extra = yield header.extra_length
        label = shown(raw_name)
        check_facts(label, header.facts)
        name = decode_name(raw_name, utf8=header.facts.utf8)
        parts = check_name(name)
        extras = parse_local_extras(label, raw_extra)
        folder = name.endswith("/")
        if folder and header.facts.size:
            raise InvalidArchiveError("size", f"{label} is a folder and claims to have content")
        self._names.add(name, parts)
        capture = name in self._capture
        self._budget.spend(
            label,
            size=header.facts.size,
            compressed=header.facts.compressed,
            captured=capture,
        )
        self._seen.append(_Seen(raw_name, label, offset, header.facts, extras, folder))

        content = ContentReader(label, header.facts, capture=capture)
        yield content
        entry, captured = content.finish()
        if folder:
            self._folders.add("/".join(parts))
            return
        self._entries[name] = entry
        if captured is not None:
            self._captured[name] = captured

    def _directory_line(self, seen: _Seen) -> Generator[_Wanted, bytes, None]:
        header = parse_central((yield CENTRAL_SIZE))
        self._check_lengths(seen.label, name=header.name_length, extra=header.extra_length)
        raw_name = yield header.name_length
        raw_extra = yield header.extra_length
        if raw_name != seen.raw_name:
            raise InvalidArchiveError(
                "header-mismatch",
                f"the central directory has {shown(raw_name)} where {seen.label} should be",
            )
        check_central(seen.label, header, folder=seen.folder)
        check_same(seen.label, local=seen.facts, central=header.facts)
        check_central_extras(seen.label, raw_extra, local=seen.extras)
        if header.offset != seen.offset:
            raise InvalidArchiveError(
                "header-mismatch",
                f"the central directory has {seen.label} at byte {header.offset},"
                f" and it is at byte {seen.offset}",
            )

    def _end(self, *, start: int, size: int) -> Generator[_Wanted, bytes, None]:
        record = parse_end((yield END_SIZE))
        if record.comment_length:
            raise InvalidArchiveError("comment", "the archive has a comment, which is not accepted")
        if record.disk or record.start_disk:
            raise InvalidArchiveError("multi-disk", "the archive claims to span several disks")
        claimed = (record.disk_entries, record.entries, record.size, record.offset)
        if claimed != (len(self._seen), len(self._seen), size, start):
            raise InvalidArchiveError(
                "end-record", "the end of the archive describes another central directory"
            )

    def _check_lengths(self, place: str, *, name: int, extra: int) -> None:
        if not 0 < name <= self._limits.path_length:
            raise InvalidArchiveError(
                "name-length",
                f"the name of {place} has {name} bytes, where 1 to {self._limits.path_length} are"
                " allowed",
            )
        if extra > MAX_EXTRA_SIZE:
            raise InvalidArchiveError(
                "extra-field", f"the extra fields of {place} are longer than {MAX_EXTRA_SIZE} bytes"
            )

    def _unexpected(self, signature: bytes, otherwise: str) -> InvalidArchiveError:
        """Say what stands where a record should start."""
        if signature in _ZIP64_SIGNATURES:
            return InvalidArchiveError("zip64", "the archive uses ZIP64, which is not accepted")
        if signature in {CENTRAL_SIGNATURE, END_SIGNATURE}:
            return InvalidArchiveError("header-mismatch", otherwise)
        return InvalidArchiveError(
            "stray-bytes",
            f"at byte {self._position - _SIGNATURE_SIZE} there is something that belongs to no"
            " entry",
        )
