"""The archive gate: what an uploaded ZIP must be before anything of it is looked at."""

from slipway_packager.archive.gate import ArchiveGate
from slipway_packager.archive.limits import ArchiveLimits
from slipway_packager.archive.refusal import ArchiveRefusal, InvalidArchiveError
from slipway_packager.archive.report import ArchiveReport, Entry

__all__ = [
    "ArchiveGate",
    "ArchiveLimits",
    "ArchiveRefusal",
    "ArchiveReport",
    "Entry",
    "InvalidArchiveError",
]
