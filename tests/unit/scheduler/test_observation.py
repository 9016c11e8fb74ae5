"""What a pod says about its session, from pods as an API server writes them."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slipway_common.contracts.sessions import EndReason, SessionFailed, SessionStage
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.objects import Node
from slipway_scheduler.kubernetes.observation import address_of, observe, session_of
from slipway_scheduler.models import Termination, Unit, UnitPhase
from unit.scheduler import seen
from unit.scheduler.seen import (
    ACCOUNT,
    IP,
    NODE,
    NOW,
    SESSION,
    Json,
    annotated,
    answering,
    condition,
    container,
    ending,
    last_words,
    over,
    placed,
    running,
    terminated,
    unplaced,
    waiting,
    with_condition,
)

LOST_AFTER = timedelta(seconds=20)
HERE = seen.node()
SILENT = seen.node(ready="Unknown", age=21)


def look(
    body: Json,
    *,
    node: Node | None = HERE,
    now: datetime = NOW,
    activated: bool = True,
    dormant: bool = False,
) -> Unit:
    unit = observe(
        seen.pod(body),
        node,
        now=now,
        node_lost_after=LOST_AFTER,
        activated=activated,
        dormant=dormant,
    )
    assert unit is not None
    return unit


def end_of(body: Json, *, node: Node | None = HERE) -> Termination | None:
    unit = look(body, node=node)
    assert unit.phase is UnitPhase.GONE
    return unit.termination


def why(body: Json, *, node: Node | None = HERE) -> EndReason | None:
    found = end_of(body, node=node)
    return None if found is None else found.reason


# Which pods are sessions


def test_a_session_is_known_by_its_labels_and_its_pod_by_its_uid() -> None:
    unit = look(answering())

    assert (unit.session_id, unit.account_id) == (SESSION, ACCOUNT)
    assert unit.identity == "0c1c9d3a-55a7-44fd-9c6e-8a7f1b6f0001"
    assert unit.address == f"{IP}:8080"


@pytest.mark.parametrize("label", [labels.SESSION, labels.ACCOUNT])
@pytest.mark.parametrize("value", [None, "", "somebody", "5e551011", "{}", "é" * 60])
def test_a_pod_whose_labels_we_would_never_write_is_no_session_of_ours(
    label: str, value: str | None
) -> None:
    body = answering()
    if value is None:
        del body["metadata"]["labels"][label]
    else:
        body["metadata"]["labels"][label] = value

    found = observe(
        seen.pod(body), HERE, now=NOW, node_lost_after=LOST_AFTER, activated=True, dormant=False
    )

    assert found is None


def test_a_pod_without_any_label_is_no_session() -> None:
    body = answering()
    del body["metadata"]["labels"]

    assert session_of(seen.pod(body)) is None


def test_an_address_of_the_newer_kind_stands_in_brackets() -> None:
    body = answering()
    body["status"]["podIP"] = "fd00:10:244::9"

    assert look(body).address == "[fd00:10:244::9]:8080"
    assert address_of(seen.pod(unplaced())) is None


# How far it has come


@pytest.mark.parametrize(
    ("body", "stage", "node"),
    [
        (unplaced(), None, None),
        (unplaced(unschedulable=True), SessionStage.WAITING_FOR_NODE, None),
        (placed(), SessionStage.PLACED, NODE),
        (placed(container(state=waiting("PodInitializing"))), SessionStage.PLACED, NODE),
        (
            placed(container(state=waiting("ErrImagePull", "pull QPS exceeded")), started=5),
            SessionStage.PULLING_IMAGE,
            NODE,
        ),
        (
            placed(
                container(state=waiting("PodInitializing")),
                container("external", state=waiting("ImagePullBackOff", "Back-off")),
                started=5,
            ),
            SessionStage.PULLING_IMAGE,
            NODE,
        ),
        (placed(container(state=running())), SessionStage.CONTAINER_STARTED, NODE),
        (
            placed(
                container(state=running()),
                container(
                    "external",
                    restarts=1,
                    state=running(2),
                    lastState=terminated(1, "Error", age=3),
                ),
            ),
            SessionStage.RESTARTED,
            NODE,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_step_of_a_start_is_named(
    body: Json, stage: SessionStage | None, node: str | None
) -> None:
    unit = look(body)

    assert unit.phase is UnitPhase.STARTING
    assert unit.fault is None
    assert (None if unit.step is None else unit.step.stage) is stage
    assert (None if unit.step is None else unit.step.node) == node


def test_a_pod_that_waits_behind_a_scheduling_gate_waits_for_no_node() -> None:
    gated = condition("PodScheduled", "False", reason="SchedulingGated")

    assert look(with_condition(unplaced(), gated)).step is None


def test_a_running_session_whose_container_was_started_again_says_so_each_time() -> None:
    def restarted(times: int) -> str:
        body = answering()
        body["status"]["initContainerStatuses"] = [
            container("external", restarts=times, state=running(), started=True)
        ]
        unit = look(body)
        assert unit.phase is UnitPhase.READY
        assert unit.step is not None
        assert unit.step.stage is SessionStage.RESTARTED
        return unit.step.message

    assert len({restarted(1), restarted(2), restarted(3)}) == 3
    assert look(answering()).step is None


def test_it_was_placed_when_it_got_its_node_and_not_when_the_node_got_around_to_it() -> None:
    assert look(placed(age=50, started=None)).placed_at == NOW - timedelta(seconds=50)
    assert look(placed(age=50, started=20)).placed_at == NOW - timedelta(seconds=50)
    assert look(unplaced(unschedulable=True)).placed_at is None


def test_without_a_word_of_who_placed_it_its_start_counts() -> None:
    body = placed(started=20)
    body["status"]["conditions"] = []

    assert look(body).placed_at == NOW - timedelta(seconds=20)


# Whether it answers


def test_it_is_ready_once_its_probe_says_so() -> None:
    assert look(answering()).phase is UnitPhase.READY


def test_what_has_answered_once_stays_ready_while_its_node_is_not_heard_of() -> None:
    body = with_condition(answering(), condition("Ready", "False", reason="NodeNotReady"))

    assert look(body, node=seen.node(ready="Unknown", age=5)).phase is UnitPhase.READY


def test_what_has_no_address_is_not_ready() -> None:
    body = answering()
    del body["status"]["podIP"]

    unit = look(body)

    assert unit.phase is UnitPhase.STARTING
    assert unit.address is None


def test_a_member_that_became_a_session_is_ready_only_when_that_answers() -> None:
    told = look(answering(), activated=False)
    untold = look(answering(), activated=False, dormant=True)

    assert (told.phase, told.dormant) == (UnitPhase.STARTING, False)
    assert (untold.phase, untold.dormant) == (UnitPhase.STARTING, True)


def test_a_member_that_ended_before_it_heard_is_not_to_be_told_any_more() -> None:
    assert not look(over(1), activated=False, dormant=True).dormant
    assert not look(ending(answering()), activated=False, dormant=True).dormant


# What will never come


@pytest.mark.parametrize(
    "reason",
    [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
    ],
)
def test_an_image_that_cannot_be_had_is_a_fault_after_seconds_with_its_reason(reason: str) -> None:
    message = (
        'Back-off pulling image "registry/none:1": ErrImagePull: failed to resolve\nsecond line'
    )
    body = placed(container(state=waiting(reason, message)), started=11)

    fault = look(body).fault

    assert fault is not None
    assert fault.reason is EndReason.IMAGE_UNAVAILABLE
    assert "failed to resolve" in fault.message
    assert "second line" not in fault.message


@pytest.mark.parametrize(
    "reason", ["CreateContainerConfigError", "CreateContainerError", "RunContainerError"]
)
def test_a_container_that_cannot_be_made_is_a_fault(reason: str) -> None:
    body = placed(container(state=waiting(reason, 'secret "session-1" not found')), started=11)

    fault = look(body).fault

    assert fault is not None
    assert fault.reason is EndReason.NOT_ADMITTED
    assert 'secret "session-1" not found' in fault.message


def test_the_container_beside_the_runner_is_looked_at_as_well() -> None:
    body = placed(
        container(state=waiting("PodInitializing")),
        container("external", state=waiting("ErrImagePull", "denied")),
        started=11,
    )

    fault = look(body).fault

    assert fault is not None
    assert fault.reason is EndReason.IMAGE_UNAVAILABLE


def test_a_registry_may_fail_once() -> None:
    body = placed(container(state=waiting("ErrImagePull", "timeout")), started=5)

    assert look(body).fault is None


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", "CrashLoopBackOff"])
def test_what_only_takes_its_time_is_no_fault(reason: str) -> None:
    assert look(placed(container(state=waiting(reason)), started=500)).fault is None


# When it is over, and why


def test_what_its_runner_said_is_told_with_what_it_used() -> None:
    message = last_words(
        "app-failed", message="No such city: Ålesund", peakMemoryMib=512, cpuSeconds=7.25
    )

    assert end_of(over(1, message=message)) == Termination(
        EndReason.APP_FAILED, "No such city: Ålesund", 512, 7.25
    )


@pytest.mark.parametrize("reason", list(EndReason))
def test_a_runner_may_name_what_it_can_know_and_nothing_else(reason: EndReason) -> None:
    """An app could write in its name, to be run again at the platform's cost."""
    known = {"stopped", "finished", "idle", "app-failed", "out-of-memory", "lost"}

    found = end_of(over(0, message=last_words(reason)))

    assert found is not None
    assert found.reason is (reason if reason in known else EndReason.APP_FAILED)
    assert ("without a word" in found.message) is (reason not in known)


def test_what_ends_without_a_word_has_failed_with_its_code() -> None:
    found = end_of(over(3))

    assert found is not None
    assert found.reason is EndReason.APP_FAILED
    assert "3" in found.message


def test_a_failed_pod_of_whose_containers_nothing_is_known_leaves_no_reason() -> None:
    body = unplaced()
    body["status"]["phase"] = "Failed"

    assert end_of(body) is None


def test_a_runner_that_the_kernel_killed_ran_out_of_memory() -> None:
    assert why(over(137, word="OOMKilled")) is EndReason.OUT_OF_MEMORY


def test_an_app_that_failed_when_the_kernel_killed_its_engine_ran_out_of_memory() -> None:
    message = last_words("app-failed", message="It ended (code -9).", peakMemoryMib=2048)

    found = end_of(over(1, word="OOMKilled", message=message))

    assert found is not None
    assert (found.reason, found.peak_memory_mib) == (EndReason.OUT_OF_MEMORY, 2048)


@pytest.mark.parametrize("reason", ["idle", "finished", "stopped", "lost"])
def test_a_session_that_outlived_the_kernels_help_ended_as_it_says(reason: str) -> None:
    """The mark of a process that was killed hours ago stays on the container until its end."""
    assert why(over(0, word="OOMKilled", message=last_words(reason))) == reason


def test_an_external_container_that_ran_out_of_memory_explains_the_failure() -> None:
    body = over(1, message=last_words("app-failed", message="It takes no connection."))
    body["status"]["initContainerStatuses"] = [
        container(
            "external",
            restarts=3,
            state=waiting("CrashLoopBackOff"),
            lastState=terminated(137, "OOMKilled"),
        )
    ]

    assert why(body) is EndReason.OUT_OF_MEMORY


def test_an_external_container_that_was_killed_once_does_not_explain_an_idle_end() -> None:
    body = over(0, message=last_words("idle"))
    body["status"]["initContainerStatuses"] = [
        container("external", restarts=1, lastState=terminated(137, "OOMKilled"))
    ]

    assert why(body) is EndReason.IDLE


def disrupted(body: Json, reason: str, status: str = "True") -> Json:
    return with_condition(body, condition("DisruptionTarget", status, reason=reason))


EVICTED = {
    "phase": "Failed",
    "reason": "Evicted",
    "message": "The node was low on resource: ephemeral-storage. Threshold quantity: 1Gi.",
}


@pytest.mark.parametrize(
    ("body", "reason", "words"),
    [
        (
            disrupted(over(137, status=EVICTED), "TerminationByKubelet"),
            EndReason.EVICTED,
            "ephemeral-storage",
        ),
        (
            disrupted(ending(over(137)), "PreemptionByScheduler"),
            EndReason.EVICTED,
            "more important",
        ),
        (disrupted(ending(over(0)), "EvictionByEvictionAPI"), EndReason.EVICTED, "drained"),
        (disrupted(ending(over(137)), "DeletionByTaintManager"), EndReason.NODE_LOST, "machine"),
        (
            disrupted(ending(over(137, phase="Failed")), "DeletionByPodGC"),
            EndReason.NODE_LOST,
            "machine",
        ),
        (
            disrupted(
                over(
                    137,
                    message=last_words("stopped"),
                    phase="Failed",
                ),
                "TerminationByKubelet",
            ),
            EndReason.EVICTED,
            "drained",
        ),
        (over(143, phase="Failed"), EndReason.APP_FAILED, "143"),
    ],
    ids=["evicted", "preempted", "drained", "taint", "collected", "shutdown", "crashed"],
)
def test_what_the_cluster_did_is_told_as_that(body: Json, reason: EndReason, words: str) -> None:
    found = end_of(body)

    assert found is not None
    assert found.reason is reason
    assert words in found.message


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ({"reason": "DeadlineExceeded", "message": "Pod was active too long"}, "time-limit"),
        ({"reason": "NodeLost"}, "node-lost"),
        ({"reason": "Terminated", "message": "node shutdown"}, "node-lost"),
        ({"reason": "NodeAffinity", "message": "no match"}, "evicted"),
        ({"reason": "OutOfcpu", "message": "Node didn't have enough resource: cpu"}, "evicted"),
        ({"reason": "UnexpectedAdmissionError", "message": "Allocate failed"}, "evicted"),
        ({"reason": "Preempting", "message": "Preempted in order to admit"}, "evicted"),
    ],
    ids=lambda value: value["reason"] if isinstance(value, dict) else "",
)
def test_a_reason_of_the_pod_itself_counts(status: Json, reason: str) -> None:
    body = unplaced()
    body["spec"]["nodeName"] = NODE
    body["status"] = {"phase": "Failed", **status}

    assert why(body) == reason


def test_a_disruption_that_was_called_off_explains_no_later_end() -> None:
    off = disrupted(over(0, message=last_words("finished")), "EvictionByEvictionAPI")
    false = disrupted(over(1, message=last_words("app-failed")), "EvictionByEvictionAPI", "False")

    assert why(off) is EndReason.FINISHED
    assert why(false) is EndReason.APP_FAILED


def test_our_own_reason_counts_before_every_other_and_keeps_the_use() -> None:
    note = json.dumps({"reason": "time-limit", "message": "It ran for as long as it may."})
    body = over(137, word="OOMKilled", message=last_words("stopped", peakMemoryMib=99))
    body = annotated(disrupted(ending(body), "EvictionByEvictionAPI"), **{labels.ENDING: note})

    assert end_of(body) == Termination(
        EndReason.TIME_LIMIT, "It ran for as long as it may.", 99, None
    )


@pytest.mark.parametrize("note", ["", "[]", "{}", '{"reason": "no-such"}', "null", "[" * 4000])
def test_a_note_that_cannot_be_read_still_says_that_it_was_we(note: str) -> None:
    assert why(annotated(ending(over(137)), **{labels.ENDING: note})) is EndReason.STOPPED


def test_what_is_killed_because_it_took_too_long_to_end_was_stopped_and_did_not_fail() -> None:
    assert why(ending(over(137))) is EndReason.STOPPED


def test_what_says_more_while_it_is_being_stopped_is_believed() -> None:
    words = last_words("app-failed", message="It broke.")

    assert why(ending(over(1, message=words))) is EndReason.APP_FAILED


# How it ends


def test_what_ends_is_stopping_since_its_deletion_and_not_since_its_deadline() -> None:
    unit = look(ending(answering(), grace=10, age=4))

    assert unit.phase is UnitPhase.STOPPING
    assert unit.stopping_since == NOW - timedelta(seconds=4)
    assert unit.termination is None


def test_what_was_never_placed_is_over_at_once_when_it_is_stopped() -> None:
    body = ending(unplaced(unschedulable=True), grace=0)

    assert look(body).phase is UnitPhase.GONE
    assert why(body) is EndReason.STOPPED


def test_what_hangs_at_somebody_elses_finalizer_is_stopping_until_its_containers_end() -> None:
    body = ending(answering(), age=4000)
    body["metadata"]["finalizers"] = ["example.org/keep"]

    assert look(body).phase is UnitPhase.STOPPING


# Nodes


@pytest.mark.parametrize("ready", ["Unknown", "False"])
def test_a_node_that_is_silent_for_too_long_is_a_fault_of_all_that_is_on_it(ready: str) -> None:
    for body in (answering(), placed(container(state=running()))):
        assert look(body, node=seen.node(ready=ready, age=19)).fault is None
        fault = look(body, node=seen.node(ready=ready, age=21)).fault
        assert fault is not None
        assert fault.reason is EndReason.NODE_LOST


def test_a_node_that_came_back_is_none() -> None:
    assert look(answering(), node=seen.node(ready="True", age=1)).fault is None


def test_a_node_that_never_said_how_it_is_is_waited_for() -> None:
    assert look(answering(), node=Node()).fault is None


def test_what_ends_on_a_silent_node_is_over_for_nobody_is_left_to_say_so() -> None:
    found = end_of(ending(answering()), node=SILENT)

    assert found is not None
    assert found.reason is EndReason.NODE_LOST


def test_what_ends_on_a_node_that_answers_is_waited_for() -> None:
    assert look(ending(answering()), node=HERE).phase is UnitPhase.STOPPING


def test_a_node_that_we_have_not_heard_of_is_no_reason_to_believe_that_a_session_is_over() -> None:
    assert look(answering(), node=None).fault is None
    assert look(ending(answering(), age=12), node=None).phase is UnitPhase.STOPPING


def test_what_should_have_ended_long_ago_on_a_node_that_is_gone_is_over() -> None:
    assert why(ending(answering(), grace=10, age=31), node=None) is EndReason.NODE_LOST


def test_our_own_reason_counts_on_a_lost_node_too() -> None:
    note = json.dumps({"reason": "node-lost", "message": "It is lost."})
    body = annotated(ending(answering()), **{labels.ENDING: note})

    assert end_of(body, node=SILENT) == Termination(EndReason.NODE_LOST, "It is lost.")


def test_what_was_never_placed_has_no_node_to_lose() -> None:
    assert look(unplaced(unschedulable=True), node=None).fault is None


# Hostile last words


HOSTILE = {
    "garbage": "\x00\x7f\x1b[31m" + "Ω" * 2000,
    "brackets": "[" * 4096,
    "braces": '{"a":' * 800,
    "a list": "[1, 2]",
    "a number": "42",
    "a text": '"idle"',
    "null": "null",
    "no reason": '{"message": "x"}',
    "an unknown reason": '{"reason": "because"}',
    "a reason that is a list": '{"reason": ["idle"]}',
    "a reason that is an object": '{"reason": {}}',
    "cut off": '{"reason": "idle", "message": "' + "x" * 4000,
    "long digits": '{"reason": ' + "9" * 4080,
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE.keys())
def test_last_words_that_make_no_sense_are_none(message: str) -> None:
    found = end_of(over(1, message=message))

    assert found is not None
    assert found.reason is EndReason.APP_FAILED
    assert "without a word" in found.message


FIGURES = {
    "a text": '"12"',
    "true": "true",
    "negative": "-1",
    "more than a table takes": str(2**31),
    "more than a float takes": "1" + "0" * 400,
    "infinite": "Infinity",
    "not a number": "NaN",
    "an exponent": "1e999",
    "a list": "[1]",
}


@pytest.mark.parametrize("figure", FIGURES.values(), ids=FIGURES.keys())
def test_figures_that_cannot_be_are_left_out(figure: str) -> None:
    words = f'{{"reason": "finished", "peakMemoryMib": {figure}, "cpuSeconds": {figure}}}'

    assert end_of(over(0, message=words)) == Termination(EndReason.FINISHED)


@pytest.mark.parametrize("message", ["\\ud800", "a\\u0000b", "x" * 3900, "\\udfff" * 600])
def test_a_message_of_any_letters_can_be_told_and_stored(message: str) -> None:
    found = end_of(over(1, message=f'{{"reason": "app-failed", "message": "{message}"}}'))

    assert found is not None
    _publish(found)
    assert "\0" not in found.message
    assert len(found.message) <= 2001


@pytest.mark.parametrize("message", [7, None, ["x"], {"a": 1}, True])
def test_a_message_that_is_no_text_is_left_out(message: Any) -> None:
    words = json.dumps({"reason": "finished", "message": message})

    assert end_of(over(0, message=words)) == Termination(EndReason.FINISHED)


_REASONS = st.sampled_from([*EndReason, "because", "", "\ud800"])
_ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    message=st.text(max_size=300)
    | st.binary(max_size=300).map(lambda data: data.decode(errors="replace"))
    | st.fixed_dictionaries(
        {"reason": _REASONS | _ANY_JSON},
        optional={"message": _ANY_JSON, "peakMemoryMib": _ANY_JSON, "cpuSeconds": _ANY_JSON},
    ).map(json.dumps)
)
def test_whatever_an_app_leaves_behind_its_end_can_be_told(message: str) -> None:
    found = end_of(over(1, message=message))

    assert found is not None
    _publish(found)


@given(message=st.text(max_size=400))
def test_whatever_a_registry_says_the_fault_can_be_told(message: str) -> None:
    fault = look(placed(container(state=waiting("ErrImagePull", message)), started=11)).fault

    assert fault is not None
    _publish(fault)
    assert len(fault.message) < 400


def _publish(termination: Termination) -> None:
    """As the controller does; whoever reads it stores it in tables of PostgreSQL."""
    event = SessionFailed(
        account_id=ACCOUNT,  # type: ignore[arg-type]
        session_id=SESSION,  # type: ignore[arg-type]
        reason=termination.reason,
        message=termination.message,
        peak_memory_mib=termination.peak_memory_mib,
        cpu_seconds=termination.cpu_seconds,
    )
    read = SessionFailed.model_validate_json(event.model_dump_json().encode("utf-8"))
    assert "\0" not in read.message
    assert read.peak_memory_mib is None or 0 <= read.peak_memory_mib < 2**31
    assert read.cpu_seconds is None or 0 <= read.cpu_seconds < 2**31
