"""Look into sessions from the command line: which there are, their logs, what they use."""

import time
from itertools import islice
from typing import Annotated

import typer

from slipway_client.cli.options import (
    DEFAULT_PROFILE,
    AsJson,
    Limit,
    ProfileName,
    SessionId,
    connected,
    resolved,
    short,
)
from slipway_client.cli.output import Output
from slipway_client.cli.publishing import day
from slipway_client.cli.words import cores, memory, told
from slipway_common.contracts.internal import SessionUse


def list_sessions(
    everything: Annotated[bool, typer.Option("--all", help="Those that are over as well.")] = False,
    limit: Limit = 50,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """List sessions that are not over."""
    with connected(profile) as client:
        found = list(islice(client.sessions.list(open_only=not everything), limit))
    Output(as_json=as_json).table(
        {"items": found},
        ("ID", "App", "Kind", "Profile", "Node", "State", "User", "Since"),
        [
            (
                short(each.id),
                f"{each.app}@{each.version}",
                each.kind.value,
                "" if each.service else each.profile,
                each.node or "",
                told(each),
                each.user,
                day(each.created_at),
            )
            for each in found
        ],
    )


def show_log(
    session: SessionId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Until it is over.")] = False,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Print the log of a session."""
    output = Output(as_json=as_json)
    with connected(profile) as client:
        session_id = resolved(session, client.sessions.list(), what="session")
        if not follow:
            text = client.sessions.log(session_id)
            output.result({"id": str(session_id), "log": text}, text.removesuffix("\n"))
            return
        pieces = []
        for piece in client.sessions.follow(session_id):
            if as_json:
                pieces.append(piece)
            else:
                output.write(piece)
        if as_json:
            output.document({"id": str(session_id), "log": "".join(pieces)})


def show_use(
    session: SessionId,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Until it is over.")] = False,
    profile: ProfileName = DEFAULT_PROFILE,
    as_json: AsJson = False,
) -> None:
    """Print what a session uses: memory, processor, processes."""
    output = Output(as_json=as_json)
    with connected(profile) as client:
        session_id = resolved(session, client.sessions.list(open_only=True), what="session")
        if not watch:
            use = client.sessions.use(session_id)
            output.table(use, ("What", "Now", "Limit", "Most so far"), _rows(use))
            return
        samples: list[SessionUse] = []
        before: tuple[float, SessionUse] | None = None
        for use in client.sessions.follow_use(session_id):
            now = time.monotonic()
            if as_json:
                samples.append(use)
            else:
                output.write(f"{_line(use, _load(use, now, before))}\n")
            before = (now, use)
        if as_json:
            output.document({"id": str(session_id), "samples": samples})


def _rows(use: SessionUse) -> list[tuple[str, str, str, str]]:
    memory_limit = "" if use.memory_limit_mib is None else f"{use.memory_limit_mib:,} MiB"
    cpu_limit = "" if use.cpu_limit_millis is None else cores(use.cpu_limit_millis)
    peak = f"{use.peak_memory_mib:,} MiB"
    return [
        ("Memory", f"{use.memory_mib:,} MiB", memory_limit, peak),
        ("Processor time", f"{use.cpu_seconds:,.1f} s", cpu_limit, ""),
        ("Processes", str(use.processes), "", ""),
    ]


def _load(use: SessionUse, now: float, before: tuple[float, SessionUse] | None) -> float | None:
    """Thousandths of a core since the sample before; None of the first one."""
    if before is None or now <= before[0]:
        return None
    return max(use.cpu_seconds - before[1].cpu_seconds, 0) / (now - before[0]) * 1000


def _line(use: SessionUse, load: float | None) -> str:
    limit = "" if use.cpu_limit_millis is None else f" of {cores(use.cpu_limit_millis)}"
    cpu = f"{use.cpu_seconds:,.1f} s so far" if load is None else f"{cores(load)}{limit}"
    return f"memory {memory(use)}, processor {cpu}, {use.processes} processes"
