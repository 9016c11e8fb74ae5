"""That a signed manifest and the archive around it list the same files with the same content."""

from typing import Final

from slipway_packager.archive.refusal import shown
from slipway_packager.archive.report import ArchiveReport
from slipway_packager.manifest import SIGNATURE, SIGNED_MANIFEST, SignedManifest
from slipway_packager.signature.refusal import InvalidSignatureError

_UNSIGNED: Final = frozenset({SIGNED_MANIFEST, SIGNATURE})


def check_files(signed: SignedManifest, report: ArchiveReport) -> None:
    present = report.entries.keys() - _UNSIGNED
    for path in sorted(signed.files.keys() - present):
        raise InvalidSignatureError("file-missing", f"{shown(path)} is signed and not there")
    for path in sorted(present - signed.files.keys()):
        raise InvalidSignatureError("file-unlisted", f"{shown(path)} is there and not signed")
    for path, digest in signed.files.items():
        if report.entries[path].sha256 != digest:
            raise InvalidSignatureError("file-changed", f"{shown(path)} is not what was signed")
    # An empty folder can be imported as a package, so a folder counts only as one of signed files.
    parents = {
        path[:place]
        for path in report.entries
        for place, character in enumerate(path)
        if character == "/"
    }
    for path in sorted(report.folders - parents):
        raise InvalidSignatureError("file-unlisted", f"the folder {shown(path)} is not signed")
