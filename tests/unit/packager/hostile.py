"""Archives that must be refused: each is a good one with one thing wrong, and says which."""

import os
import stat
import struct
import zipfile
from io import BytesIO

from unit.packager.zips import DEFLATED, STORED, UTF8, Part, build, deflate, extra

MANIFEST = Part("slipway.json", b'{"schema": 1}')
MODEL = Part("model.py", b"app = None\n" * 50, DEFLATED)
GOOD = build([MANIFEST, MODEL])

# Every bit pattern of a deflate stream counts; this one is the second part's, taken apart.
SQUEEZED = deflate(MODEL.content)
NOISE = bytes(range(256)) * 8

TIMES = extra(0x5455, b"\x03" + bytes(8))
FIRST_TIME = extra(0x5455, b"\x03" + bytes(4))
OWNER = extra(0x7875, b"\x01\x04\xe8\x03\x00\x00\x04\xe8\x03\x00\x00")


def owner(user: bytes, group: bytes) -> bytes:
    return extra(0x7875, bytes([1, len(user)]) + user + bytes([len(group)]) + group)


ZIP64_EXTRA = extra(0x0001, struct.pack("<2Q", 5, 5))


def one(name: str | bytes, content: bytes = b"x", **fields: object) -> bytes:
    return build([MANIFEST, Part(name, content, both=fields), MODEL])


def local(**fields: object) -> bytes:
    return build([MANIFEST, Part("data.bin", NOISE, DEFLATED, local=fields), MODEL])


def central(**fields: object) -> bytes:
    return build([MANIFEST, Part("data.bin", NOISE, DEFLATED, central=fields), MODEL])


def pair(first: str, second: str) -> bytes:
    return build([MANIFEST, Part(first), Part(second), MODEL])


def extras(here: bytes, there: bytes | None = None) -> bytes:
    part = Part(
        "data.bin",
        NOISE,
        local={"extra": here},
        central={"extra": here if there is None else there},
    )
    return build([MANIFEST, part, MODEL])


def squeezed(data: bytes, **fields: object) -> bytes:
    return build([MANIFEST, Part("data.bin", MODEL.content, DEFLATED, data=data, both=fields)])


def mode(bits: int, *, name: str = "data.bin", dos: int = 0) -> bytes:
    return build([MANIFEST, Part(name, central={"external": bits << 16 | dos}), MODEL])


def streamed() -> bytes:
    """What a packer writes that cannot seek: sizes follow the content."""

    class Pipe(BytesIO):
        def seekable(self) -> bool:
            return False

        def tell(self) -> int:
            raise OSError

        def seek(self, *_: object) -> int:
            raise OSError

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("slipway.json", "{}")
    return pipe.getvalue()


def large_form() -> bytes:
    buffer = BytesIO()
    with (
        zipfile.ZipFile(buffer, "w") as archive,
        archive.open("data.bin", "w", force_zip64=True) as entry,
    ):
        entry.write(b"x")
    return buffer.getvalue()


def overlapping() -> bytes:
    """Two lines of the directory that share one content, as the best bombs do."""
    first = Part("a.bin", NOISE)
    second = Part("b.bin", NOISE, central={"offset": 0})
    return build([first, second], order=[0, 0])


def quoted_bomb() -> bytes:
    """The header of the second entry is also content of the first, whose size spans both."""
    inner = build([Part("inner.bin", NOISE)], without_end=True)
    outer = Part("outer.bin", inner[: 40 + len(NOISE)])
    return build([outer, Part("inner.bin", NOISE, central={"offset": 39})])


def zip64_end() -> bytes:
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 2, 2, 0, 0)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, 0, 1)
    return build([MANIFEST, MODEL], before_end=record + locator)


def lone_surrogate() -> bytes:
    return one(b"a\xed\xa0\x80b", flags=UTF8)


HOSTILE: list[tuple[str, str, bytes]] = [
    # The file as a whole
    ("a text", "not-a-zip", b"This is not an archive, whatever its name says."),
    ("a gzip file", "not-a-zip", b"\x1f\x8b\x08\x00" + bytes(60)),
    ("a program before the archive", "not-a-zip", build([MANIFEST, MODEL], before=b"MZ" * 40)),
    ("a page before the archive", "not-a-zip", b"<html></html>" + GOOD),
    ("one byte before the archive", "not-a-zip", b"\x00" + GOOD),
    ("a PDF before the archive", "not-a-zip", build([MANIFEST], before=b"%PDF-1.7\n")),
    ("a spanning marker before it", "not-a-zip", b"PK\x07\x08" + GOOD),
    ("no entries", "empty", build([])),
    ("nothing at all", "truncated", b""),
    ("half a signature", "truncated", b"PK"),
    ("no end record", "truncated", build([MANIFEST, MODEL], without_end=True)),
    ("no central directory", "truncated", build([MANIFEST, MODEL], order=[], without_end=True)),
    ("last byte cut off", "truncated", GOOD[:-1]),
    ("half of it cut off", "truncated", GOOD[: len(GOOD) // 2]),
    ("one byte after it", "trailing-data", GOOD + b"\x00"),
    ("a page after it", "trailing-data", GOOD + b"<script></script>"),
    ("a second archive after it", "trailing-data", GOOD + GOOD),
    ("a second end record", "trailing-data", GOOD + GOOD[-22:]),
    ("a comment", "comment", build([MANIFEST, MODEL], end={"comment": b"hello"})),
    ("a page as comment", "comment", build([MANIFEST], end={"comment": b"<html>" * 9})),
    ("a comment that is not there", "comment", build([MANIFEST], end={"comment_length": 9})),
    ("an archive inside the comment", "comment", build([MANIFEST], end={"comment": GOOD})),
    # Gaps
    ("bytes between two entries", "stray-bytes", build([MANIFEST, Part("a", before=b"\x00" * 9)])),
    ("bytes after the last entry", "stray-bytes", build([MANIFEST, MODEL], between=b"\x00" * 64)),
    ("bytes before the end", "stray-bytes", build([MANIFEST, MODEL], before_end=b"\x00" * 5)),
    ("a signature of the directory", "stray-bytes",
     build([MANIFEST], before_end=b"PK\x05\x05\x02\x00ab")),
    ("an archive extra data record", "stray-bytes",
     build([MANIFEST], between=b"PK\x06\x08\x02\x00\x00\x00ab")),
    ("a descriptor that no flag tells of", "stray-bytes",
     build([Part("a", b"x", after=b"PK\x07\x08" + bytes(12)), MODEL])),
    ("a hidden entry that the directory leaves out", "header-mismatch",
     build([MANIFEST, Part("hidden.py", b"x"), MODEL], order=[0, 2])),
    ("a last entry that the directory leaves out", "header-mismatch",
     build([MANIFEST, MODEL, Part("hidden.py", b"x")], order=[0, 1])),
    ("an empty central directory", "header-mismatch", build([MANIFEST, MODEL], order=[])),
    ("a directory with one line twice", "header-mismatch",
     build([MANIFEST, MODEL], order=[0, 1, 1])),
    ("a directory in another order", "header-mismatch", build([MANIFEST, MODEL], order=[1, 0])),
    ("two lines for one content", "header-mismatch", overlapping()),
    ("entries inside of each other", "header-mismatch", quoted_bomb()),
    ("an entry after the directory", "stray-bytes",
     build([MANIFEST, MODEL], before_end=build([Part("late")], without_end=True, order=[]))[:-22]
     + GOOD[-22:]),
    # End record
    ("end: fewer entries", "end-record", build([MANIFEST, MODEL], end={"entries": 1})),
    ("end: fewer entries on the disk", "end-record",
     build([MANIFEST, MODEL], end={"disk_entries": 1})),
    ("end: more entries", "end-record",
     build([MANIFEST, MODEL], end={"entries": 3, "disk_entries": 3})),
    ("end: ZIP64 counts", "end-record",
     build([MANIFEST], end={"entries": 0xFFFF, "disk_entries": 0xFFFF})),
    ("end: other size", "end-record", build([MANIFEST, MODEL], end={"size": 46})),
    ("end: other offset", "end-record", build([MANIFEST, MODEL], end={"offset": 0})),
    ("end: offset of ZIP64", "end-record", build([MANIFEST], end={"offset": 0xFFFFFFFF})),
    ("end: disk", "multi-disk", build([MANIFEST, MODEL], end={"disk": 1})),
    ("end: disk of the directory", "multi-disk", build([MANIFEST, MODEL], end={"start_disk": 1})),
    ("entry on another disk", "multi-disk", central(disk=1)),
    # Forms that are not accepted
    ("sizes after the content", "data-descriptor", streamed()),
    ("flag of a descriptor", "data-descriptor", one("data.bin", flags=0x0008)),
    ("encrypted", "encrypted", one("data.bin", flags=0x0001)),
    ("strongly encrypted", "encrypted", one("data.bin", flags=0x0041)),
    ("masked headers", "encrypted", one("data.bin", flags=0x2000)),
    ("patched data", "flags", one("data.bin", flags=0x0020)),
    ("enhanced deflate flag", "flags", one("data.bin", flags=0x0010)),
    ("a reserved flag", "flags", one("data.bin", flags=0x8000)),
    ("level of compression on a stored entry", "flags", one("data.bin", flags=0x0002)),
    ("method deflate64", "method", one("data.bin", method=9)),
    ("method bzip2", "method", one("data.bin", method=12)),
    ("method LZMA", "method", one("data.bin", method=14)),
    ("method zstandard", "method", one("data.bin", method=93)),
    ("method AES", "method", one("data.bin", method=99)),
    ("method shrink", "method", one("data.bin", method=1)),
    ("ZIP64 written by a packer", "zip64", large_form()),
    ("ZIP64 extra field", "zip64", extras(ZIP64_EXTRA)),
    ("ZIP64 extra field in the directory only", "zip64", extras(b"", ZIP64_EXTRA)),
    ("ZIP64 end record", "zip64", zip64_end()),
    ("ZIP64 version", "zip64", one("data.bin", version=45)),
    ("ZIP64 marker as size", "zip64",
     build([Part("a", b"x", DEFLATED, both={"size": 0xFFFFFFFF})])),
    ("ZIP64 marker as compressed size", "zip64",
     build([Part("a", b"x", DEFLATED, both={"compressed": 0xFFFFFFFF})])),
    ("a later version", "version", one("data.bin", version=63)),
    ("a system in the version", "version", one("data.bin", version=(3 << 8) | 20)),
    ("a comment on an entry", "comment", central(comment=b"hello")),
    # Both headers
    ("other version in the directory", "header-mismatch", central(version=10)),
    ("other flags in the directory", "header-mismatch", central(flags=0x0002)),
    ("other method in the directory", "header-mismatch", central(method=STORED)),
    ("other time in the directory", "header-mismatch", central(time=0)),
    ("other date in the directory", "header-mismatch", central(date=0)),
    ("other checksum in the directory", "header-mismatch", central(checksum=1)),
    ("other compressed size in the directory", "header-mismatch", central(compressed=9)),
    ("other size in the directory", "header-mismatch", central(size=9)),
    ("other name in the directory", "header-mismatch", central(name=b"data.exe")),
    ("longer name in the directory", "header-mismatch", central(name=b"../data.bin")),
    ("name in another case in the directory", "header-mismatch", central(name=b"DATA.bin")),
    ("other offset in the directory", "header-mismatch", central(offset=0)),
    ("offset one byte off", "header-mismatch", central(offset=56)),
    ("UTF-8 flag in one header only", "header-mismatch", local(flags=UTF8)),
    ("method of the local header differs", "size", local(method=STORED)),
    # Content
    ("wrong checksum of a stored entry", "checksum", one("data.bin", checksum=1)),
    ("wrong checksum of a deflated entry", "checksum", squeezed(SQUEEZED, checksum=1)),
    ("a checksum that an empty file cannot have", "checksum", one("a", b"", checksum=1)),
    ("stored with two sizes", "size", one("data.bin", b"abc", size=2)),
    ("stored with a larger size", "size", one("data.bin", b"abc", size=4)),
    ("deflated and longer than told", "size", squeezed(SQUEEZED, size=549)),
    ("deflated and shorter than told", "size", squeezed(SQUEEZED, size=551)),
    ("deflated and not empty as told", "size", squeezed(SQUEEZED, size=0, checksum=0)),
    ("a bomb that claims to be small", "size",
     squeezed(deflate(bytes(50_000_000)), size=1000, checksum=0)),
    ("deflated and cut off", "deflate", squeezed(SQUEEZED[:-1])),
    ("deflated with nothing in it", "deflate", squeezed(b"", size=0, checksum=0)),
    ("deflated with bytes after the end", "deflate", squeezed(SQUEEZED + b"\x00")),
    ("two deflate streams in one entry", "deflate", squeezed(SQUEEZED + SQUEEZED)),
    ("a deflate stream with a page behind it", "deflate", squeezed(SQUEEZED + b"<html>" * 5000)),
    ("noise instead of a deflate stream", "deflate", squeezed(b"\xff" * 40)),
    ("zlib instead of raw deflate", "deflate", squeezed(b"\x78\x9c" + SQUEEZED)),
    ("a reserved block type", "deflate", squeezed(b"\x07" + SQUEEZED)),
    ("a distance beyond the start", "deflate", squeezed(b"\x4b\x04\x22\x00")),
    ("a deflated entry whose size covers the next header", "deflate",
     build([Part("a.py", MODEL.content, DEFLATED, both={"compressed": len(SQUEEZED) + 4}), MODEL])),
    # Bombs
    ("a bomb of one megabyte", "ratio",
     build([Part("zeros", bytes(2_000_000), DEFLATED)])),
    ("a bomb beside honest content", "ratio",
     build([Part("noise", os.urandom(3_000_000)), Part("zeros", bytes(2_000_000), DEFLATED)])),
    ("a bomb of many small ones", "ratio",
     build([Part(f"zeros{i}", bytes(900_000), DEFLATED) for i in range(3)])),
    ("a claim of a bomb", "ratio", squeezed(SQUEEZED, size=800_000_000)),
    ("a claim beyond the limit of an entry", "entry-size", squeezed(SQUEEZED, size=2_000_000_000)),
    # Names
    ("name: up and out", "name-path", one("../evil.py")),
    ("name: up in the middle", "name-path", one("a/../../evil.py")),
    ("name: only up", "name-path", one("..")),
    ("name: here", "name-path", one("./evil.py")),
    ("name: here in the middle", "name-path", one("a/./evil.py")),
    ("name: absolute", "name-path", one("/etc/passwd")),
    ("name: two slashes", "name-path", one("a//evil.py")),
    ("name: network path", "name-path", one("//server/share/evil.py")),
    ("name: only a slash", "name-path", one("/", b"")),
    ("name: two slashes at the end", "name-path", one("a//", b"")),
    ("name: a dot at the end", "name-path", one("evil.py.")),
    ("name: a blank at the end", "name-path", one("evil.py ")),
    ("name: a blank at the end of a folder", "name-path", one("a /evil.py")),
    ("name: a blank at the start", "name-path", one("a/ evil.py")),
    ("name: three dots", "name-path", one(".../evil.py")),
    ("name: backslash", "name-character", one("a\\evil.py")),
    ("name: up with backslash", "name-character", one("..\\evil.py")),
    ("name: network path with backslashes", "name-character", one("\\\\server\\evil.py")),
    ("name: drive", "name-character", one("C:/evil.py")),
    ("name: drive without slash", "name-character", one("C:evil.py")),
    ("name: stream", "name-character", one("model.py:evil")),
    ("name: NUL", "name-character", one("model.py\x00.png")),
    ("name: line break", "name-character", one("a\nb")),
    ("name: escape", "name-character", one("a\x1b[31mb")),
    ("name: DEL", "name-character", one("a\x7fb")),
    ("name: C1 control", "name-character", one("a\x85b")),
    ("name: text turned round", "name-character", one("exe\u202egpj.py")),
    ("name: zero width", "name-character", one("mod\u200bel.py")),
    ("name: byte order mark", "name-character", one("\ufeffmodel.py")),
    ("name: line separator", "name-character", one("a\u2028b")),
    ("name: private character", "name-character", one("a\ue000b")),
    ("name: unassigned character", "name-character", one("a\U000e0fffb")),
    ("name: wildcard", "name-character", one("*.py")),
    ("name: question mark", "name-character", one("a?.py")),
    ("name: pipe", "name-character", one("a|b")),
    ("name: angle bracket", "name-character", one("<a>")),
    ("name: quote", "name-character", one('a"b')),
    ("name: device", "name-reserved", one("NUL")),
    ("name: device in small letters", "name-reserved", one("a/con")),
    ("name: device with extension", "name-reserved", one("aux.py")),
    ("name: device with two extensions", "name-reserved", one("com1.tar.gz")),
    ("name: device with a blank", "name-reserved", one("LPT1 .txt")),
    ("name: device with superscript", "name-reserved", one("com¹.txt")),
    ("name: device as folder", "name-reserved", one("prn/evil.py")),
    ("name: console", "name-reserved", one("CONOUT$")),
    ("name: no UTF-8", "name-encoding", one(b"\xff\xfe.py", flags=UTF8)),
    ("name: overlong UTF-8", "name-encoding", one(b"a\xc0\xaf..\xc0\xafb", flags=UTF8)),
    ("name: lone surrogate", "name-encoding", lone_surrogate()),
    ("name: no ASCII and no flag", "name-encoding", one("é.py", flags=0)),
    ("name: code page 437", "name-encoding", one(b"\x82.py", flags=0)),
    ("name: empty", "name-length", one("")),
    ("name: too long", "name-length", one("a" * 241)),
    ("name: too long in bytes", "name-length", one("é" * 121)),
    ("name: longest there is", "name-length", one("a" * 0xFFFF)),
    ("name: twice", "name-duplicate", pair("a.py", "a.py")),
    ("name: the manifest twice", "name-duplicate", one("slipway.json")),
    ("name: a folder twice", "name-duplicate", pair("a/", "a/")),
    ("name: other case", "name-collision", pair("model2.py", "Model2.py")),
    ("name: sharp s", "name-collision", pair("straße.py", "STRASSE.py")),
    ("name: accent as a character of its own", "name-collision", pair("\u00e9.py", "e\u0301.py")),
    ("name: other case and encoding", "name-collision", pair("\u00c9.py", "e\u0301.py")),
    ("name: Kelvin", "name-collision", pair("k.py", "\u212a.py")),
    ("name: folders in other case", "name-collision", pair("lib/a.py", "LIB/b.py")),
    ("name: explicit folders in other case", "name-collision", pair("lib/", "LIB/")),
    ("name: folder and path in other case", "name-collision", pair("lib/", "LIB/a.py")),
    ("name: a file as folder", "name-folder", pair("a", "a/b.py")),
    ("name: a folder as file", "name-folder", pair("a/b.py", "a")),
    ("name: a file and a folder", "name-folder", pair("a", "a/")),
    ("name: a folder and a file", "name-folder", pair("a/", "a")),
    ("name: a file as folder in other case", "name-folder", pair("a", "A/b.py")),
    # Attributes
    ("a symbolic link", "link", mode(stat.S_IFLNK | 0o777)),
    ("a folder that is a symbolic link", "link", mode(stat.S_IFLNK | 0o777, name="a/")),
    ("a symbolic link made by DOS", "link",
     central(made_by=20, external=(stat.S_IFLNK | 0o777) << 16)),
    ("a character device", "attributes", mode(stat.S_IFCHR | 0o666)),
    ("a block device", "attributes", mode(stat.S_IFBLK | 0o666)),
    ("a pipe", "attributes", mode(stat.S_IFIFO | 0o666)),
    ("a socket", "attributes", mode(stat.S_IFSOCK | 0o666)),
    ("setuid", "attributes", mode(stat.S_IFREG | stat.S_ISUID | 0o755)),
    ("setgid", "attributes", mode(stat.S_IFREG | stat.S_ISGID | 0o755)),
    ("sticky", "attributes", mode(stat.S_IFREG | stat.S_ISVTX | 0o755)),
    ("a file that is a folder by its mode", "attributes", mode(stat.S_IFDIR | 0o755)),
    ("a folder that is a file by its mode", "attributes", mode(stat.S_IFREG | 0o644, name="a/")),
    ("a file that is a folder to DOS", "attributes", mode(0, dos=0x10)),
    ("a volume label", "attributes", mode(0, dos=0x08)),
    ("a reparse point", "attributes", mode(0, dos=0x0400)),
    ("made by a system not known", "attributes", central(made_by=(11 << 8) | 20)),
    ("internal attributes not known", "attributes", central(internal=2)),
    ("a folder with content", "size", build([Part("a/", b"x")])),
    # Extra fields
    ("extra: another name", "extra-field", extras(extra(0x7075, b"\x01" + bytes(4) + b"evil.py"))),
    ("extra: another comment", "extra-field", extras(extra(0x6375, b"\x01" + bytes(4) + b"x"))),
    ("extra: encryption", "extra-field", extras(extra(0x9901, b"\x02\x00AE\x03\x08\x00"))),
    ("extra: a link", "extra-field", extras(extra(0x756E, bytes(14)))),
    ("extra: NTFS times", "extra-field", extras(extra(0x000A, bytes(32)))),
    ("extra: not known", "extra-field", extras(extra(0xCAFE, b""))),
    ("extra: not known, in the form of one that is", "extra-field",
     extras(OWNER.replace(b"ux", b"uz"))),
    ("extra: half a header", "extra-field", extras(OWNER + b"\x55\x54")),
    ("extra: longer than there is", "extra-field", extras(extra(0x5455, b"\x01", size=5))),
    ("extra: times twice", "extra-field", extras(TIMES + TIMES)),
    ("extra: times without flags", "extra-field", extras(extra(0x5455, b""))),
    ("extra: times not as flagged", "extra-field", extras(extra(0x5455, b"\x03" + bytes(4)))),
    ("extra: times with unknown flags", "extra-field", extras(extra(0x5455, b"\x08" + bytes(4)))),
    ("extra: owner in front of its end", "extra-field",
     extras(extra(0x7875, OWNER[4:], size=len(OWNER) - 3))),
    ("extra: owner of another version", "extra-field", extras(extra(0x7875, b"\x02\x01a\x01a"))),
    ("extra: owner cut off", "extra-field", extras(extra(0x7875, b"\x01\x04abcd"))),
    ("extra: owner with more", "extra-field", extras(extra(0x7875, b"\x01\x01a\x01aX"))),
    ("extra: owner without a group", "extra-field", extras(extra(0x7875, b"\x01\x01a"))),
    ("extra: owner too short", "extra-field", extras(extra(0x7875, b"\x01"))),
    ("extra: too long", "extra-field", extras(owner(bytes(29), bytes(29)))),
    ("extra: owner in one header only", "header-mismatch", extras(OWNER, b"")),
    ("extra: owner in the directory only", "header-mismatch", extras(b"", OWNER)),
    ("extra: another time in the directory", "header-mismatch",
     extras(TIMES, extra(0x5455, b"\x03abcd"))),
    ("extra: all times in the directory", "header-mismatch", extras(TIMES, TIMES)),
    ("extra: another owner in the directory", "header-mismatch",
     extras(OWNER, OWNER.replace(b"\xe8", b"\x00"))),
]  # fmt: skip

GOOD_EXTRAS = extras(TIMES + OWNER, FIRST_TIME + OWNER)
SHORTEST_EXTRA = extras(owner(b"", b""))
LONGEST_EXTRA = extras(owner(bytes(28), bytes(29)))
NOISE_ARCHIVE = build([MANIFEST, Part("noise.bin", os.urandom(4096), DEFLATED), MODEL])
