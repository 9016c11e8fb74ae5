"""What the figures are read from, and that a fault in it would be seen."""

import json
from pathlib import Path
from typing import Any

from bench.cluster import audit, occupancy
from bench.cluster.audit import KUBE_SCHEDULER, KWOK, Entry
from bench.cluster.figures import percentile, spread, windows
from bench.cluster.ramp import listing_seconds, writes
from bench.cluster.traffic import poisson

OURS = "system:serviceaccount:slipway:slipway-scheduler"


def entry(
    second: float,
    verb: str,
    kind: str,
    name: str,
    *,
    user: str = OURS,
    target: str = "",
    code: int = 201,
) -> Entry:
    resource, _, subresource = kind.partition("/")
    line = {
        "verb": verb,
        "requestReceivedTimestamp": _at(second),
        "stageTimestamp": _at(second + 0.25),
        "user": {"username": user},
        "objectRef": {"resource": resource, "subresource": subresource, "name": name},
        "responseStatus": {"code": code},
    }
    if target:
        line["requestObject"] = {"target": {"name": target}}
    return _decoded(line)


def _at(second: float) -> str:
    return f"2026-01-01T00:00:{second:09.6f}Z"


def _decoded(line: dict[str, Any]) -> Entry:
    return audit._DECODER.decode(json.dumps(line))  # noqa: SLF001


def session_on(node: str, *, since: float, until: float | None, pod: str) -> list[Entry]:
    found = [
        entry(since, "create", "pods/binding", pod, user=KUBE_SCHEDULER, target=node),
        entry(since + 0.5, "patch", "pods/status", pod, user=KWOK),
    ]
    if until is not None:
        found.append(entry(until, "patch", "pods/status", pod, user=KWOK))
    return found


def test_percentiles_are_values_that_occurred() -> None:
    found = spread([5.0, 1.0, 4.0, 2.0, 3.0])

    assert (found.n, found.p50, found.p90, found.p99, found.most) == (5, 3.0, 5.0, 5.0, 5.0)
    assert percentile([float(number) for number in range(1, 201)], 0.99) == 198.0


def test_windows_show_what_became_slower() -> None:
    points = [(number / 10, 1.0 if number < 100 else 2.0) for number in range(200)]

    assert [window.p99 for window in windows(points)] == [1.0, 2.0]


def test_strangers_come_as_often_as_asked_and_the_same_each_time() -> None:
    moments = poisson(per_second=45, seconds=60, start=0, seed=1)

    assert moments == poisson(per_second=45, seconds=60, start=0, seed=1)
    assert 2400 < len(moments) < 3000
    assert all(0 <= moment < 60 for moment in moments)


def test_first_requests_are_those_that_were_carried_out() -> None:
    entries = [
        entry(1, "create", "pods", "session-1", code=500),
        entry(2, "create", "pods", "session-1"),
        entry(3, "create", "pods", "session-1", code=409),
        entry(1, "create", "pods", "session-1", user="somebody else"),
    ]

    found = audit.first_received(entries, verbs={"create"}, kind="pods", user=OURS)

    assert found == {"session-1": entries[1].received}
    assert audit.calls(entries, user=OURS) == {"create pods": 3}


def test_a_log_is_read_over_its_older_files_and_without_its_unfinished_line(tmp_path: Path) -> None:
    def line(second: float) -> str:
        return json.dumps(
            {
                "verb": "get",
                "requestReceivedTimestamp": _at(second),
                "stageTimestamp": _at(second),
            }
        )

    (tmp_path / "audit-2026-01-01T00-00-02.000.log").write_text(f"{line(1)}\n{line(2)}\n")
    (tmp_path / "audit.log").write_text(f"{line(3)}\n{line(4)[:20]}")

    first = entry(1, "get", "pods", "x").received
    assert len(audit.read(tmp_path / "audit.log", since=first)) == 3
    assert len(audit.read(tmp_path / "audit.log", since=first + 1.5, until=first + 2.5)) == 1


def test_a_node_that_is_removed_after_its_last_session_is_no_violation() -> None:
    entries = [
        *session_on("node-1", since=1, until=5, pod="session-1"),
        entry(6, "delete", "nodes", "node-1", code=200),
    ]

    assert len(occupancy.stays(entries, prefix="session-")) == 1
    assert occupancy.violations(entries, prefix="session-") == []


def test_a_node_that_is_removed_under_a_session_is_seen() -> None:
    during = [
        *session_on("node-1", since=1, until=5, pod="session-1"),
        entry(4, "delete", "nodes", "node-1", code=200),
    ]
    before_it_runs = [
        *session_on("node-1", since=1, until=None, pod="session-1"),
        entry(1.1, "delete", "nodes", "node-1", code=200),
    ]

    for entries in (during, before_it_runs):
        [found] = occupancy.violations(entries, prefix="session-")
        assert (found.node, found.pod) == ("node-1", "session-1")


def test_pods_that_are_no_sessions_do_not_keep_a_node() -> None:
    entries = [
        *session_on("node-1", since=1, until=None, pod="slipway-placeholder-1"),
        entry(4, "delete", "nodes", "node-1", code=200),
    ]

    assert occupancy.violations(entries, prefix="session-") == []


def test_nodes_are_counted_over_time() -> None:
    entries = [
        entry(1, "create", "nodes", "a"),
        entry(2, "create", "nodes", "b"),
        entry(7, "delete", "nodes", "a", code=200),
        entry(12, "delete", "nodes", "b", code=200),
    ]

    counts = occupancy.counts(entries, start=entries[0].received - 1, every=5)

    assert counts == [0, 2, 1, 0]


def test_a_restart_that_changes_something_is_seen() -> None:
    entries = [
        entry(1, "list", "pods", "", code=200),
        entry(2, "list", "pods", "", code=200),
        entry(3, "update", "leases", "slipway-scheduler", code=200),
        entry(4, "delete", "pods", "session-1", code=200),
    ]

    assert listing_seconds(entries) == 1.25
    assert writes(entries) == {"delete pods": 1}
