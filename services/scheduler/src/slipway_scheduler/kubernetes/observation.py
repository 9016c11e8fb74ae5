"""What a pod says about its session: pure.

Every way in which a pod can fail becomes a reason and a sentence here and in ``endings``, and
nowhere else.
"""

from datetime import datetime, timedelta
from uuid import UUID

from slipway_common.contracts.sessions import EndReason, SessionStage
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.endings import NODE_LOST, sentence, status_of, termination_of
from slipway_scheduler.kubernetes.manifests import EXTERNAL, PORT, RUNNER
from slipway_scheduler.kubernetes.objects import Node, Pod
from slipway_scheduler.models import Step, Termination, Unit, UnitPhase

IMAGE_PATIENCE = timedelta(seconds=10)
"""A registry may fail once; an image that still cannot be had by then will not come."""

_IMAGE_TROUBLE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
     "ImageInspectError", "RegistryUnavailable", "SignatureValidationFailed"}
)  # fmt: skip
_CONFIGURATION_TROUBLE = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
)

_OVER = frozenset({"Succeeded", "Failed"})


def session_of(pod: Pod) -> UUID | None:
    """None of a pod that is no session's, and of one whose label we would never write."""
    return _id_in(pod, labels.SESSION)


def address_of(pod: Pod) -> str | None:
    """HOST:PORT of its runner; None as long as it has no address."""
    ip = pod.status.pod_ip
    if not ip:
        return None
    return f"[{ip}]:{PORT}" if ":" in ip else f"{ip}:{PORT}"


def observe(
    pod: Pod,
    node: Node | None,
    *,
    now: datetime,
    node_lost_after: timedelta,
    activated: bool,
    dormant: bool = False,
) -> Unit | None:
    """None unless it is a session's pod. ``node`` is None if its node is not known.

    ``activated``: it was made for this session, or has become it and answers.
    ``dormant``: it was claimed for this session, and has not been told so yet.
    """
    session_id, account_id = session_of(pod), _id_in(pod, labels.ACCOUNT)
    if session_id is None or account_id is None:
        return None
    lost = _node_is_lost(pod, node, now=now, after=node_lost_after)
    phase = _phase(pod, lost=lost, activated=activated)
    return Unit(
        session_id=session_id,
        account_id=account_id,
        phase=phase,
        identity=pod.metadata.uid,
        address=address_of(pod),
        node=pod.spec.node_name,
        placed_at=placed_at(pod),
        stopping_since=_stopping_since(pod),
        termination=termination_of(pod, lost=lost) if phase is UnitPhase.GONE else None,
        fault=None if phase is UnitPhase.GONE else fault_of(pod, lost=lost, now=now),
        step=_step(pod, phase),
        dormant=dormant and phase is UnitPhase.STARTING,
    )


def _id_in(pod: Pod, label: str) -> UUID | None:
    try:
        return UUID(pod.metadata.labels[label])
    except (KeyError, ValueError):
        return None


def _phase(pod: Pod, *, lost: bool, activated: bool) -> UnitPhase:
    if pod.status.phase in _OVER:
        return UnitPhase.GONE
    if pod.terminating:
        # Nothing runs where none was ever placed, or where nobody is left to say so.
        unplaced = pod.spec.node_name is None
        return UnitPhase.GONE if unplaced or lost else UnitPhase.STOPPING
    ready = pod.status.condition("Ready")
    if ready is not None and ready.holds and pod.status.pod_ip and activated:
        return UnitPhase.READY
    runner = status_of(pod, RUNNER)
    if runner is not None and runner.started and pod.status.pod_ip and activated:
        # It has answered once; that it does not at this moment is no reason to start over.
        return UnitPhase.READY
    return UnitPhase.STARTING


def _node_is_lost(pod: Pod, node: Node | None, *, now: datetime, after: timedelta) -> bool:
    if pod.spec.node_name is None:
        return False
    if node is None:
        # Deleted, or newer than what we know of nodes. In both cases its pod has until the end of
        # its grace, and then the time that a silent node has.
        end = pod.metadata.deletion_timestamp
        return end is not None and now - end > after
    since = node.not_ready_since()
    return since is not None and now - since > after


def placed_at(pod: Pod) -> datetime | None:
    """When a node was found for it, and not when that node got around to it."""
    scheduled = pod.status.condition("PodScheduled")
    if scheduled is not None and scheduled.holds and scheduled.last_transition_time is not None:
        return scheduled.last_transition_time
    return pod.status.start_time


def _stopping_since(pod: Pod) -> datetime | None:
    end = pod.metadata.deletion_timestamp
    if end is None:
        return None
    return end - timedelta(seconds=pod.metadata.deletion_grace_period_seconds or 0)


def _waiting(pod: Pod) -> list[tuple[str, str]]:
    """Reason and message of each container that waits."""
    statuses = [status_of(pod, name) for name in (RUNNER, EXTERNAL)]
    waiting = [status.state.waiting for status in statuses if status is not None]
    return [(each.reason, each.message) for each in waiting if each is not None]


def fault_of(pod: Pod, *, lost: bool, now: datetime) -> Termination | None:
    """Why one that has not ended will never be of use. ``lost``: its node is silent."""
    if lost:
        return NODE_LOST
    since = pod.status.start_time
    if since is not None and now - since < IMAGE_PATIENCE:
        return None
    for reason, message in _waiting(pod):
        if reason in _IMAGE_TROUBLE:
            what = "The container image cannot be had."
            return Termination(EndReason.IMAGE_UNAVAILABLE, sentence(what, message))
        if reason in _CONFIGURATION_TROUBLE:
            what = "Its container cannot be made."
            return Termination(EndReason.NOT_ADMITTED, sentence(what, message))
    return None


def _step(pod: Pod, phase: UnitPhase) -> Step | None:
    restarted = _restarted(pod)
    match phase:
        case UnitPhase.STARTING:
            return restarted or _step_of_start(pod)
        case UnitPhase.READY:
            return restarted
        case UnitPhase.STOPPING | UnitPhase.GONE:
            return None


def _restarted(pod: Pod) -> Step | None:
    """Only the container of an external session is ever started again."""
    external = status_of(pod, EXTERNAL)
    if external is None or external.restart_count == 0:
        return None
    often = "once" if external.restart_count == 1 else f"{external.restart_count} times"
    message = f"Its container ended, and was started again ({often} by now)"
    return Step(SessionStage.RESTARTED, message, pod.spec.node_name)


def _step_of_start(pod: Pod) -> Step | None:
    scheduled = pod.status.condition("PodScheduled")
    node = pod.spec.node_name
    if node is None:
        if scheduled is not None and scheduled.reason == "Unschedulable":
            return Step(SessionStage.WAITING_FOR_NODE, "Waiting for a machine with room for it")
        return None
    runner = status_of(pod, RUNNER)
    if runner is not None and runner.state.running is not None:
        return Step(SessionStage.CONTAINER_STARTED, "Its container runs", node)
    if any(reason in _IMAGE_TROUBLE for reason, _ in _waiting(pod)):
        return Step(SessionStage.PULLING_IMAGE, "Its image is slow to come", node)
    return Step(SessionStage.PLACED, "A machine was found", node)
