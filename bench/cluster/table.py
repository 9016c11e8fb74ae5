"""The figures of one run as a page: each beside its bar, with how many there were."""

import platform
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil

from bench.cluster.figures import Spread, milliseconds

HEADING = "## "
ORDER = ("Creating", "Many", "Nodes", "Warm", "Real containers")
FILE = Path(__file__).parents[1] / "CLUSTER.md"


@dataclass(frozen=True, slots=True)
class Row:
    what: str
    figure: str
    bar: str = ""


@dataclass(slots=True)
class Section:
    title: str
    about: str
    """How it was measured, and what could distort it."""

    rows: list[Row] = field(default_factory=list)
    conditions: str = ""
    """When, for how long, and beside what it was measured."""


def spread_of(times: Spread) -> str:
    return (
        f"p50 {milliseconds(times.p50)}, p95 {milliseconds(times.p95)},"
        f" p99 {milliseconds(times.p99)} ms (n = {times.n:,})"
    )


def drift_of(found: Sequence[Spread]) -> str:
    """The p50 and p99 of one ten-second window after the other."""
    return " · ".join(f"{milliseconds(window.p50)}/{milliseconds(window.p99)}" for window in found)


def calls_of(calls: Counter[str], *, each: int) -> str:
    parts = [f"{name} {count / each:.2f}" for name, count in calls.most_common(8)]
    return f"{calls.total() / each:.2f}: {', '.join(parts)}"


def verdict(bar: str, *holds: bool) -> str:
    return f"{bar}: {'held' if all(holds) else '**missed**'}"


def text_of(section: Section) -> str:
    lines = [f"{HEADING}{section.title}", "", section.about, "", section.conditions, ""]
    lines += ["| what | figure | bar |", "|---|---|---|"]
    lines += [f"| {row.what} | {row.figure} | {row.bar} |" for row in section.rows]
    return "\n".join(lines) + "\n"


def conditions(*, seconds: float, load: float, strangers: float) -> str:
    """What the machine was like; ``load`` is the load average before the measurement."""
    return (
        f"Measured on {datetime.now(tz=UTC):%Y-%m-%d} in {seconds:.0f} s; before it began, the load"
        f" average was {load:.1f}; during it, {strangers:.0%} of the machine went to things that"
        " are no part of it."
    )


def page(sections: Iterable[Section], before: str = "") -> str:
    """What was not measured this time stays as it was ``before``."""
    texts = {
        text.partition("\n")[0]: f"{HEADING}{text.rstrip()}\n"
        for text in before.split(f"\n{HEADING}")[1:]
    }
    texts |= {section.title: text_of(section) for section in sections}
    ordered = sorted(texts, key=lambda title: ORDER.index(title) if title in ORDER else len(ORDER))
    return "\n".join([_head(), *(texts[title] for title in ordered)])


def _head() -> str:
    memory = psutil.virtual_memory().total // 1024**3
    return f"""# Sessions in a cluster

Made by `make bench-cluster`: the control plane, its fake or real nodes, Kafka, our services and \
the load on one machine ({psutil.cpu_count()} cores, {memory} GiB, {platform.system()}, Python \
{platform.python_version()}). Everything is real but the machines of fake nodes (KWOK). Moments \
are taken by the machine's one clock: from the API server's audit log, from Kafka as another team \
would hear it, and from our own requests. Loads are open: a session is due at its moment, whatever \
became of those before, and its wait counts from then.

Absolute times move with the machine, and on two cores most of them is the control plane's own \
work: where a row says that the machine was busy, a time is how long everybody together took. What \
carries over is CPU time and calls per session, and the ratio to the peer.
"""
