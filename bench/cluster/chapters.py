"""What each measurement says, in words and figures."""

from bench.cluster import ramp as ramps
from bench.cluster.cold import Starts
from bench.cluster.figures import milliseconds
from bench.cluster.nodes import EVERY_SECONDS, Tide
from bench.cluster.placing import (
    AT_ONCE,
    CALM_PER_SECOND,
    CALM_SECONDS,
    PER_SECOND,
    SECONDS,
    Outcome,
    Placed,
)
from bench.cluster.ramp import Ramp
from bench.cluster.table import Row, Section, calls_of, drift_of, spread_of, verdict
from bench.cluster.warm import Warmth

PLACED_SECONDS = 10.0
CREATED_BARS = (0.150, 0.500)
RESIDENT_MEBI = 512
RELIST_SECONDS = 5.0
WARM_BARS = (0.090, 0.370)
OURS_SECONDS = 0.5


def placing(ours: Outcome, peer: Outcome) -> Section:
    section = Section(
        "Creating",
        (
            f"{AT_ONCE} sessions at once, then {CALM_PER_SECOND}/s for {CALM_SECONDS} s, then"
            f" {PER_SECOND}/s for {SECONDS} s, none of which ends meanwhile, on 80 fake nodes."
            " From the moment at which a session is due until the API"
            " server has received the call that makes its pod, until a node was named, until the"
            " node said that it runs, and until the event `running` was heard. The peer, `create"
            " and poll` (`bench/cluster/baseline.py`), does the same with the library's typed"
            " objects and typed watch, afterwards, on the same cluster. KWOK starts pods as fast"
            " as it gets to it, so what comes after the call is Kubernetes' own time."
        ),
    )
    for name, outcome in (("ours", ours), ("peer", peer)):
        section.rows += _placed(f"{AT_ONCE} at once, {name}", outcome.at_once, burst=True)
        section.rows += _placed(f"{CALM_PER_SECOND}/s, {name}", outcome.calm, burst=False)
        section.rows += _placed(f"{PER_SECOND}/s, {name}", outcome.steady, burst=False)
        ended = outcome.ended
        section.rows.append(
            Row(
                f"ending {ended.wanted:,} at once, {name}",
                f"{ended.seconds:.1f} s until nothing was left"
                f"{'' if ended.over else ', **not all were over in time**'};"
                f" {1000 * ended.cpu_each:.2f} CPU-ms each;"
                f" calls each {calls_of(ended.calls, each=ended.wanted)}",
            )
        )
    for what, mine, theirs in (
        (f"{AT_ONCE} at once", ours.at_once, peer.at_once),
        (f"{CALM_PER_SECOND}/s", ours.calm, peer.calm),
        (f"{PER_SECOND}/s", ours.steady, peer.steady),
    ):
        section.rows.append(
            Row(
                f"ours / peer, {what}",
                f"CPU per session {mine.cpu_each / theirs.cpu_each:.2f},"
                f" p99 to the create {mine.created.p99 / theirs.created.p99:.2f},"
                f" p99 to `running` {mine.told.p99 / theirs.told.p99:.2f}",
            )
        )
    life = (ours.steady.cpu_each + ours.ended.cpu_each) / (
        peer.steady.cpu_each + peer.ended.cpu_each
    )
    section.rows.append(Row("ours / peer, start and end", f"CPU per session {life:.2f}"))
    return section


def _placed(what: str, placed: Placed, *, burst: bool) -> list[Row]:
    p50, p99 = CREATED_BARS
    if burst:
        bar = verdict(
            "all placed ≤ 10 s, none refused",
            placed.running == placed.wanted,
            placed.told.most <= PLACED_SECONDS,
            placed.refused == 0,
        )
    else:
        bar = verdict(
            "p50 ≤ 150, p99 ≤ 500 ms", placed.created.p50 <= p50, placed.created.p99 <= p99
        )
    whole = (
        f"{placed.running:,} of {placed.wanted:,} ran, {placed.refused} refused, {placed.failed}"
        f" failed; all calls after {placed.created.most:.1f} s, all placed {placed.bound.most:.1f},"
        f" all up {placed.up.most:.1f}, all told {placed.told.most:.1f}"
    )
    rows = [
        Row(what, whole, bar if burst else ""),
        Row(f"{what}: to the create", spread_of(placed.created), "" if burst else bar),
        Row(f"{what}: to a node", spread_of(placed.bound)),
        Row(f"{what}: to Running", spread_of(placed.up)),
        Row(f"{what}: to `running`", spread_of(placed.told)),
    ]
    if not burst:
        windows = drift_of(placed.created_by_window)
        rows.append(Row(f"{what}: p50/p99 to the create, per 10 s", windows))
        windows = drift_of(placed.told_by_window)
        rows.append(Row(f"{what}: p50/p99 to `running`, per 10 s", windows))
    rows += [
        Row(
            f"{what}: cost",
            f"{1000 * placed.cpu_each:.2f} CPU-ms each; calls each"
            f" {calls_of(placed.calls, each=placed.wanted)}",
        ),
        Row(
            f"{what}: around it",
            f"load late by p99 {milliseconds(placed.late.p99)} ms; cores: {placed.use.shown()}",
        ),
    ]
    return rows


def ramp(found: Ramp) -> Section:
    section = Section(
        "Many",
        (
            f"Steps of {ramps.STEP:,} sessions at once up to {ramps.SESSIONS:,} on {ramps.NODES}"
            f" fake nodes; a step has converged when all of it was told to run, within"
            f" {ramps.STEP_SECONDS:.0f} s. Then the scheduler is killed (SIGKILL) and started"
            " again: it has to find everything, tell of it again, and change nothing."
        ),
    )
    for step in found.steps:
        section.rows.append(
            Row(
                f"to {step.sessions:,}",
                f"{step.seconds:.1f} s, {1000 * step.cpu_each:.2f} CPU-ms each, RSS"
                f" {step.resident_mebi:.0f} MiB, {step.calls.total() / ramps.STEP:.2f} calls each;"
                f" cores: {step.use}; {step.free_mebi / 1024:.1f} GiB free",
            )
        )
    reached = found.steps[-1].sessions if found.steps else 0
    stuck = "" if found.stuck_at is None else f"; {found.stuck_at:,} did not converge in time"
    section.rows.append(
        Row(
            "converged",
            f"{reached:,} sessions{stuck}",
            verdict("10,000", found.stuck_at is None),
        )
    )
    section.rows.append(
        Row(
            "scheduler's largest RSS",
            f"{found.peak_mebi} MiB",
            verdict("≤ 512 MiB", found.peak_mebi <= RESIDENT_MEBI),
        )
    )
    again = found.restart
    if again is not None:
        changed = ", ".join(f"{name} {count}" for name, count in again.writes.items()) or "nothing"
        section.rows += [
            Row(
                f"killed with {again.sessions:,}: list of pods",
                f"{again.listing:.2f} s, from the first page's request to the last one's answer",
                verdict("≤ 5 s", again.listing <= RELIST_SECONDS),
            ),
            Row(
                f"killed with {again.sessions:,}: caught up",
                f"ready after {again.ready:.1f} s, its process included; all told again"
                f" {again.told:.1f} s later; RSS {again.peak_mebi} MiB, {again.cpu:.1f} CPU-s",
            ),
            Row(
                f"killed with {again.sessions:,}: changed",
                changed,
                verdict("nothing", not again.writes),
            ),
        ]
    return section


def nodes(tide: Tide) -> Section:
    seconds = f"{EVERY_SECONDS:.0f}"
    return Section(
        "Nodes",
        (
            "The node loop with fake machines that boot for 5 s: 5 sessions/s for 60 s, each wanted"
            " for 20 to 60 s after it runs, four to a node; nodes that nothing needs go after 10 s."
            " Whether a node with a session was ever removed is read from the audit log: a session"
            " is on a node from its binding until the node has said that it is over."
        ),
        [
            Row(
                "sessions",
                f"{tide.ran} of {tide.wanted} ran, {tide.failed} failed",
                verdict("all", tide.ran == tide.wanted, tide.failed == 0),
            ),
            Row("from due to `running`", spread_of(tide.waits)),
            Row(f"nodes every {seconds} s", " ".join(map(str, tide.counts))),
            Row(
                "nodes",
                f"at most {tide.most}, {tide.made} made, {tide.removed} removed, {tide.left} left",
                verdict("0 → 50 → 0", tide.most >= 50, tide.left == 0),
            ),
            Row(
                "nodes removed with a live session",
                f"{len(tide.violations)} (of {tide.stays} stays on nodes that were removed)",
                verdict("0", not tide.violations),
            ),
        ],
    )


def warm(found: Warmth) -> Section:
    split = found.split
    p50, p99 = WARM_BARS
    section = Section(
        "Warm",
        (
            "`POST /api/v1/sessions` at 45/s (Poisson) for 60 s, by users of four accounts, through"
            " gateway, accounts, Kafka, PostgreSQL, scheduler and API server, each with a pool of"
            " waiting pods; until the event `running` was heard. Pods are fake, and one small"
            " server answers for all their runners at once: no engine is started, and no runner"
            " calls home. For that see the last section."
        ),
        [
            Row(
                "launched",
                f"{found.launched:,}, {found.refused} not accepted, {found.ran:,} ran:"
                f" {found.warm:,} warm, {found.cold:,} cold",
            ),
            Row(
                "asked → `running`",
                f"p50 {milliseconds(found.times.p50)}, p90 {milliseconds(found.times.p90)},"
                f" p99 {milliseconds(found.times.p99)} ms (n = {found.times.n:,})",
                verdict("p50 ≤ 90, p99 ≤ 370 ms", found.times.p50 <= p50, found.times.p99 <= p99),
            ),
            Row("p50/p99 per 10 s", drift_of(found.by_window)),
        ],
    )
    for name, part in (
        ("asked → accepted", split.accepted),
        ("→ wanted", split.wanted),
        ("→ committed to a member", split.committed),
        ("→ claimed", split.claimed),
        ("→ member called", split.activated),
        ("→ `running` heard", split.running),
    ):
        section.rows.append(Row(name, spread_of(part)))
    section.rows.append(
        Row(
            "accounts, for a launch's event",
            f"{1000 * found.handling:.1f} ms on average, one after the other: at most"
            f" {1 / found.handling:.0f}/s"
            if found.handling
            else "nothing was handled",
        )
    )
    each = ", ".join(f"{name} {1000 * spent:.2f}" for name, spent in found.cpu_each.items())
    section.rows.append(Row("CPU-ms per launch", each))
    section.rows.append(Row("around it", f"cores: {found.use.shown()}"))
    return section


def cold(starts: Starts) -> Section:
    p50, p99 = starts.ours
    section = Section(
        "Real containers",
        (
            f"{starts.n} sessions of the sample app on a real kubelet, one after the other, in turn"
            " with bare pods of the same image and walls whose Python only answers its probe. Of"
            " fewer than 100, p99 is the slowest. Kubelets look at containers once a second, which"
            " is in the pod's own start. Then as many that claim a waiting runner."
        ),
        [
            Row("bare pod, to Ready", spread_of(starts.bare)),
            Row("bare pod, to its container", spread_of(starts.bare_container)),
            Row("cold session, asked → `running`", spread_of(starts.cold)),
            Row(
                "on top of the pod's own start",
                f"p50 {milliseconds(p50)}, p99 {milliseconds(p99)} ms (differences)",
                verdict("≤ 500 ms p99", p99 <= OURS_SECONDS),
            ),
        ],
    )
    section.rows += [Row(f"cold: {name}", spread_of(part)) for name, part in starts.parts]
    section.rows.append(Row("warm session, asked → `running`", spread_of(starts.warm)))
    section.rows += [Row(f"warm: {name}", spread_of(part)) for name, part in starts.warm_parts]
    return section
