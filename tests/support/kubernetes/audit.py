"""The checker of one pod per session at every instant, over the audit log of an API server.

It believes only what the server wrote down: objects as they were answered, and when. What a write
left behind is ordered by the server's own revisions; where an answer bears none of its own, by the
times at which requests came and were over, and then only what is certain counts against us.

The log must show pods in full (RequestResponse), and who touched secrets (Metadata). Lines are
read one by one; what is kept grows with the number of pods, not with that of lines.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from slipway_scheduler.kubernetes.labels import SESSION
from support.kubernetes.audit_lines import Line, Meta, Options, Pod, PodStatus, read_line
from support.kubernetes.lives import How, Instant, Lives, Rule, Seen, Violation, most_at_once

WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
OVER = frozenset({"Succeeded", "Failed"})
FAKE_KUBELET = "slipway:kwok"
SESSION_SECRET = "session-"
"""What the names of their secrets begin with."""

_POD = msgspec.json.Decoder(Pod)
_STATUS = msgspec.json.Decoder(PodStatus | None)
_OPTIONS = msgspec.json.Decoder(Options | None)
_SESSION_NAMES = (SESSION.encode(), SESSION.replace("/", "~1").encode())


@dataclass(slots=True)
class Report:
    lines: int = 0
    torn: int = 0
    """Lines that a server that was killed did not write to their end."""

    creates: int = 0
    """Pods that were made for a session."""

    claims: int = 0
    """Members that became a session's."""

    repeated: int = 0
    """Creates that were told that the pod exists already: asked again after a lost answer."""

    sessions: int = 0
    most_at_once: int = 0
    """Pods of one session that lived at the same time."""

    unended: int = 0
    """Pods on a node whose object went before their containers were seen to end."""

    violations: list[Violation] = field(default_factory=list)


def ours(user: str) -> bool:
    """Whoever is no part of Kubernetes itself, nor plays the kubelet of fake nodes."""
    account = user.removeprefix("system:serviceaccount:")
    return not account.startswith(("system:", "kube-system:")) and user != FAKE_KUBELET


def check_audit_log(log: Path, *, answers_for: Callable[[str], bool] = ours) -> Report:
    """Check a log and those that it was rotated into.

    ``answers_for``: whose deletes must say which object they mean.
    """
    rotated = sorted(log.parent.glob(f"{log.stem}-*{log.suffix}"))
    return check_lines(_read([*rotated, log]), answers_for=answers_for)


def check_lines(lines: Iterable[bytes], *, answers_for: Callable[[str], bool] = ours) -> Report:
    report = Report()
    check = _Check(report, answers_for)
    for text in lines:
        report.lines += 1
        line, torn = read_line(text)
        report.torn += torn
        if line is not None:
            check.take(line)
    check.finish()
    return report


def _read(paths: Iterable[Path]) -> Iterator[bytes]:
    for path in paths:
        with path.open("rb") as file:
            yield from file


class _Check:
    def __init__(self, report: Report, answers_for: Callable[[str], bool]) -> None:
        self._report = report
        self._answers_for = answers_for
        self._lives = Lives()

    def take(self, line: Line) -> None:
        if line.stage != "ResponseComplete" or "dryRun=" in line.request_uri:
            return
        match line.object_ref.resource:
            case "secrets":
                self._take_secret(line)
            case "pods" if line.verb in WRITES:
                self._take_write(line)

    def finish(self) -> None:
        lives, report = self._lives, self._report
        report.violations += lives.violations()
        by_session = lives.by_session()
        report.sessions = len(by_session)
        report.most_at_once = max(
            (most_at_once(session, pods) for session, pods in by_session.items()), default=0
        )
        report.creates, report.claims = lives.count(How.CREATED), lives.count(How.CLAIMED)
        report.unended = lives.unended()

    def _take_secret(self, line: Line) -> None:
        """Whoever is told that it is there, by whatever answer, knows that it is committed."""
        code, name = line.response_status.code, line.object_ref.name
        exists_already = line.verb == "create" and code == 409
        done = line.verb in {"create", "get", "patch", "update"} and 200 <= code < 300
        if name.startswith(SESSION_SECRET) and (exists_already or done):
            self._lives.secret_is_there((line.object_ref.namespace, name), _instant(line))

    def _take_write(self, line: Line) -> None:
        if line.verb in {"delete", "deletecollection"} and self._answers_for(line.user.username):
            self._check_delete(line)
        code = line.response_status.code
        creates = line.verb == "create" and not line.object_ref.subresource
        if creates and code == 409 and line.object_ref.name.startswith(SESSION_SECRET):
            self._report.repeated += 1
        if not 200 <= code < 300:
            return
        if not bytes(line.response_object):
            raise ValueError("this audit log does not show pods in full")
        answer = _POD.decode(line.response_object)
        for pod in answer.items or [answer] if answer.kind in {"Pod", "PodList"} else []:
            if pod.metadata is not None and pod.metadata.uid:
                self._lives.see(_seen(line, pod, pod.metadata))

    def _check_delete(self, line: Line) -> None:
        options = _OPTIONS.decode(line.request_object)
        meant = None if options is None or options.preconditions is None else options.preconditions
        if line.verb == "deletecollection" or meant is None or not meant.uid:
            name = line.object_ref.name or "all pods"
            detail = f"{line.user.username} deleted {name} without saying which"
            self._report.violations.append(Violation(Rule.DELETED_BLINDLY, name, detail))


def _seen(line: Line, pod: Pod, meta: Meta) -> Seen:
    gone = _is_gone(line, meta)
    # A change that removes the object shows the version before; that of the removal is unseen.
    version = "" if gone and line.verb != "delete" else meta.resource_version
    return Seen(
        uid=meta.uid,
        place=(meta.namespace, meta.name),
        session=(meta.labels or {}).get(SESSION),
        owners={(owner.kind, owner.name) for owner in meta.owner_references or [] if owner.uid},
        at=_instant(line, version=version),
        how=_how(line),
        gone=gone,
        ended=_has_ended(pod),
        placed=pod.spec is not None and bool(pod.spec.node_name),
    )


def _how(line: Line) -> How:
    if line.object_ref.subresource:
        return How.ANY
    if line.verb == "create":
        return How.CREATED
    asked = bytes(line.request_object)
    claims = line.verb in {"patch", "update"} and any(name in asked for name in _SESSION_NAMES)
    return How.CLAIMED if claims else How.ANY


def _instant(line: Line, *, version: str = "") -> Instant:
    revision = int(version) if version.isdigit() else None
    return Instant(line.request_received_timestamp, line.stage_timestamp, revision)


def _is_gone(line: Line, meta: Meta) -> bool:
    """Nothing keeps it any more: no grace, and no finalizer."""
    ending = meta.deletion_timestamp is not None and not meta.deletion_grace_period_seconds
    return ending and not meta.finalizers and line.verb != "create"


def _has_ended(pod: Pod) -> bool:
    status = _STATUS.decode(pod.status)
    if status is None:
        return False
    states = [each.state for each in status.container_statuses or []]
    all_ended = bool(states) and all(state and state.terminated is not None for state in states)
    return status.phase in OVER or all_ended
