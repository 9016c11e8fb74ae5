"""The checker of audit logs: it passes what is right, and finds each kind of wrong."""

import json
from pathlib import Path

import pytest

from support.kubernetes.audit import Report, check_audit_log, check_lines
from support.kubernetes.lives import Rule
from support.kubernetes.stories import KUBELET, MEMBER, SCHEDULER, Story


def rules(story: Story) -> list[Rule]:
    return [violation.rule for violation in check_lines(story.lines).violations]


def check(story: Story) -> Report:
    return check_lines(story.lines)


@pytest.fixture
def story() -> Story:
    return Story()


def a_session(story: Story, session: str = "a") -> None:
    """From its secret to the end of its pod, as it should be."""
    story.secret(session)
    pod = story.create(f"session-{session}", session=session)
    pod["metadata"]["finalizers"] = ["slipway.dev/concluded"]
    running = story.status(pod, "Running")
    story.delete(running, grace=10)
    ended = story.status(running, "Succeeded", ended=True)
    marked = story.delete(ended, grace=0, user=KUBELET)
    story.free(marked)


def test_a_session_from_its_beginning_to_its_end_is_right(story: Story) -> None:
    a_session(story)

    report = check(story)

    assert report.violations == []
    assert (report.sessions, report.creates, report.claims) == (1, 1, 0)
    assert (report.most_at_once, report.unended, report.repeated) == (1, 0, 0)
    assert report.lines == len(story.lines)


def test_a_member_that_is_claimed_is_right(story: Story) -> None:
    member = story.create("member-1", labels=MEMBER)
    story.secret("a")
    story.claim(member, "a")

    report = check(story)

    assert report.violations == []
    assert (report.sessions, report.creates, report.claims) == (1, 0, 1)


def test_a_thousand_sessions_beside_each_other_are_right(story: Story) -> None:
    for number in range(1000):
        a_session(story, f"s{number}")

    report = check(story)

    assert report.violations == []
    assert (report.sessions, report.most_at_once) == (1000, 1)


def test_a_create_that_is_asked_again_after_a_lost_answer_is_right(story: Story) -> None:
    story.secret("a")
    story.secret("a", code=409)
    story.create("session-a", session="a")
    story.write(story.line("create", "session-a", code=409))

    report = check(story)

    assert report.violations == []
    assert report.repeated == 1


def test_two_pods_of_one_session_at_once_are_found(story: Story) -> None:
    story.secret("a")
    member = story.create("member-1", labels=MEMBER)
    story.create("session-a", session="a")
    story.claim(member, "a")

    report = check(story)

    assert {found.rule for found in report.violations} == {Rule.TWO_AT_ONCE, Rule.SECOND_POD}
    assert report.most_at_once == 2


def test_three_pods_of_one_session_at_once_are_counted(story: Story) -> None:
    story.secret("a")
    members = [story.create(f"member-{number}", labels=MEMBER) for number in range(3)]
    for member in members:
        story.claim(member, "a")

    assert check(story).most_at_once == 3


def test_a_second_pod_while_the_first_only_has_its_grace_is_found(story: Story) -> None:
    story.secret("a")
    first = story.create("session-a", session="a")
    story.delete(story.status(first, "Running"), grace=30)
    story.create("other", session="a")

    assert Rule.TWO_AT_ONCE in rules(story)


def test_a_second_pod_while_a_finalizer_holds_a_first_that_runs_is_found(story: Story) -> None:
    story.secret("a")
    first = story.create("session-a", session="a")
    first["metadata"]["finalizers"] = ["slipway.dev/concluded"]
    marked = story.delete(story.status(first, "Running"), grace=0)
    story.create("other", session="a")
    story.free(marked)

    assert Rule.TWO_AT_ONCE in rules(story)


def test_a_second_pod_before_the_last_finalizer_is_taken_away_is_found(story: Story) -> None:
    """The answer of that shows an old version; the time of the request is what counts."""
    story.secret("a")
    first = story.create("session-a", session="a")
    first["metadata"]["finalizers"] = ["slipway.dev/concluded"]
    marked = story.delete(first, grace=0)
    for number in range(3):
        a_session(story, f"between-{number}")
    story.create("other", session="a")
    story.free(marked)

    assert Rule.TWO_AT_ONCE in rules(story)


def test_a_second_pod_is_found_however_far_apart_their_lines_are(story: Story) -> None:
    story.secret("a")
    story.create("session-a", session="a")
    for number in range(5000):
        a_session(story, f"s{number}")
    story.create("other", session="a")

    assert rules(story) == [Rule.TWO_AT_ONCE, Rule.SECOND_POD]


def test_a_second_pod_after_the_first_was_told_to_be_made_is_found_even_when_that_is_gone(
    story: Story,
) -> None:
    story.secret("a")
    first = story.create("session-a", session="a")
    story.delete(first)
    story.create("other", session="a")

    assert rules(story) == [Rule.SECOND_POD]


def test_a_second_pod_is_right_if_nobody_was_told_of_the_first(story: Story) -> None:
    """Its create was answered with an error, or with nothing; it was seen only later."""
    story.secret("a")
    first = story.pod("session-a", session="a", owner="a")
    story.write(story.line("create", "session-a", code=504))
    told = story.status(first, "Failed", ended=True)
    story.delete(told, user=KUBELET)
    story.create("other", session="a")

    assert rules(story) == []


def test_a_pod_of_which_nobody_was_told_counts_while_it_lives(story: Story) -> None:
    story.secret("a")
    first = story.pod("session-a", session="a", owner="a")
    story.write(story.line("create", "session-a", code=504))
    story.status(first, "Running")
    story.create("other", session="a")

    assert rules(story) == [Rule.TWO_AT_ONCE]


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_by_its_phase_lives_no_more(story: Story, phase: str) -> None:
    story.secret("a")
    first = story.create("session-a", session="a")
    story.status(first, phase)
    story.create("other", session="a")

    assert rules(story) == [Rule.SECOND_POD]


def test_a_pod_whose_containers_have_ended_lives_no_more(story: Story) -> None:
    story.secret("a")
    first = story.create("session-a", session="a")
    story.status(first, "Running", ended=True)
    story.create("other", session="a")

    assert rules(story) == [Rule.SECOND_POD]


def test_a_pod_with_one_container_left_lives(story: Story) -> None:
    story.secret("a")
    first = story.create("session-a", session="a")
    half = story.pod("unused")
    half |= {"metadata": dict(first["metadata"])}
    half["status"] = {
        "phase": "Running",
        "containerStatuses": [
            {"name": "runner", "state": {"terminated": {"exitCode": 0}}},
            {"name": "other", "state": {"running": {}}},
        ],
    }
    story.answer("patch", half, request={}, subresource="status", user=KUBELET)
    story.create("other", session="a")

    assert Rule.TWO_AT_ONCE in rules(story)


def test_a_pod_before_its_secret_is_found(story: Story) -> None:
    story.create("session-a", session="a")
    story.secret("a")

    assert rules(story) == [Rule.NO_REFERENCE]


def test_a_pod_without_any_secret_is_found(story: Story) -> None:
    story.create("session-a", session="a")

    assert rules(story) == [Rule.NO_REFERENCE]


def test_a_claim_without_any_secret_is_found(story: Story) -> None:
    member = story.create("member-1", labels=MEMBER)
    story.claim(member, "a")

    assert rules(story) == [Rule.NO_REFERENCE]


@pytest.mark.parametrize("code", [403, 409, 500])
def test_a_secret_that_was_refused_is_no_reference(story: Story, code: int) -> None:
    story.secret("a", verb="patch", code=code)
    story.create("session-a", session="a")

    assert rules(story) == [Rule.NO_REFERENCE]


@pytest.mark.parametrize(("verb", "code"), [("create", 409), ("get", 200), ("patch", 200)])
def test_whoever_is_told_that_the_secret_is_there_has_its_reference(
    story: Story, verb: str, code: int
) -> None:
    story.secret("a", verb=verb, code=code)
    story.create("session-a", session="a")

    assert rules(story) == []


@pytest.mark.parametrize("owner", [None, "b"])
def test_a_pod_that_does_not_belong_to_its_sessions_secret_is_found(
    story: Story, owner: str | None
) -> None:
    story.secret("a")
    story.create("session-a", session="a", owner=owner)

    assert rules(story) == [Rule.NO_REFERENCE]


def test_a_claim_for_which_the_member_does_not_change_hands_is_found(story: Story) -> None:
    member = story.create("member-1", labels=MEMBER)
    story.secret("a")
    story.claim(member, "a", owner="b")

    assert rules(story) == [Rule.NO_REFERENCE]


def test_a_member_that_is_claimed_by_a_second_session_is_found(story: Story) -> None:
    member = story.create("member-1", labels=MEMBER)
    story.secret("a")
    story.secret("b")
    claimed = story.claim(member, "a")
    story.claim(claimed, "b")

    assert rules(story) == [Rule.CLAIMED_TWICE]


def test_a_member_that_is_given_back_is_found(story: Story) -> None:
    member = story.create("member-1", labels=MEMBER)
    story.secret("a")
    story.claim(member, "a")
    story.answer("patch", member, request={"metadata": {"labels": {"slipway.dev/session": None}}})

    assert rules(story) == [Rule.CLAIMED_TWICE]


def test_a_delete_that_does_not_say_which_object_is_meant_is_found(story: Story) -> None:
    story.secret("a")
    pod = story.create("session-a", session="a")
    story.delete(pod, uid="")

    assert rules(story) == [Rule.DELETED_BLINDLY]


def test_a_delete_of_everything_is_found(story: Story) -> None:
    line = story.line("deletecollection", "") | {
        "requestObject": {"kind": "DeleteOptions"},
        "responseObject": {"kind": "PodList", "items": []},
    }
    story.write(line)

    assert rules(story) == [Rule.DELETED_BLINDLY]


def test_a_blind_delete_counts_even_when_it_was_refused(story: Story) -> None:
    story.write(story.line("delete", "session-a", code=404) | {"requestObject": {}})

    assert rules(story) == [Rule.DELETED_BLINDLY]


@pytest.mark.parametrize(
    "user",
    [
        KUBELET,
        "system:kube-scheduler",
        "system:serviceaccount:kube-system:pod-garbage-collector",
    ],
)
def test_kubernetes_itself_may_delete_as_it_likes(story: Story, user: str) -> None:
    a_session(story, "other")
    story.secret("a")
    pod = story.create("session-a", session="a")
    story.delete(pod, uid="", user=user)

    assert rules(story) == []


def test_lines_out_of_order_are_judged_by_the_servers_own_order(story: Story) -> None:
    story.secret("a")
    first = story.create("session-a", session="a")
    running = story.status(first, "Running")
    ended = story.status(running, "Succeeded", ended=True)
    story.delete(ended)
    a_session(story, "b")

    in_order, reverse = check_lines(story.lines), check_lines(story.lines[::-1])

    assert in_order.violations == reverse.violations == []
    assert (reverse.creates, reverse.most_at_once) == (in_order.creates, in_order.most_at_once)


def test_requests_at_the_same_time_are_judged_by_their_revisions(story: Story) -> None:
    """The second begins before the first is over, and is committed after it was gone."""
    story.secret("a")
    first = story.pod("session-a", session="a", owner="a")
    told = story.status(first, "Failed")
    story.write(story.line("create", "session-a", code=504))
    gone = story.answer(
        "delete",
        told | {"metadata": told["metadata"] | {"deletionTimestamp": "x"}},
        request={"preconditions": {"uid": "uid"}},
        takes=50,
        write=False,
    )
    story.create("other", session="a", takes=5)
    story.write(gone)

    assert Rule.TWO_AT_ONCE not in rules(story)


def test_a_name_that_is_made_again_ends_what_had_it_before(story: Story) -> None:
    """The line of its removal can be missing, where the server was killed before it was written."""
    story.secret("a")
    story.create("session-a", session="a")
    story.create("session-a", session="a")

    assert rules(story) == [Rule.SECOND_POD]


def test_what_was_only_tried_counts_for_nothing(story: Story) -> None:
    a_session(story)
    pod = story.pod("session-b", session="b")
    story.answer("create", pod, code=201, request=pod, uri="/api/v1/pods?dryRun=All")
    story.write(story.line("create", "session-c", code=403))

    assert check(story).sessions == 1
    assert rules(story) == []


def test_reads_watches_and_other_kinds_are_noise(story: Story) -> None:
    a_session(story)
    pod = story.pod("session-a", session="a")
    story.answer("get", pod, request=None)
    story.write(story.line("list", ""))
    story.write(story.line("watch", "") | {"stage": "ResponseStarted"})
    story.write(story.line("update", "lease", resource="leases"))
    story.write(story.line("create", "session-a", subresource="binding", code=201)
                | {"responseObject": {"kind": "Status", "status": "Success"}})  # fmt: skip

    assert rules(story) == []


def test_a_torn_line_hides_itself_and_nothing_else(story: Story) -> None:
    a_session(story)
    torn, whole = story.lines[2][: len(story.lines[2]) // 2], story.lines[1]
    lines = [story.lines[0], torn + whole, *story.lines[2:], torn]

    report = check_lines(lines)

    assert report.torn == 2
    assert report.violations == []
    assert report.creates == 1


def test_a_log_that_does_not_show_pods_is_no_evidence(story: Story) -> None:
    story.write(story.line("create", "session-a", code=201) | {"level": "Metadata"})

    with pytest.raises(ValueError, match="does not show pods in full"):
        check(story)


def test_a_pod_that_is_removed_before_it_was_seen_to_end_is_counted(story: Story) -> None:
    story.secret("a")
    pod = story.create("session-a", session="a")
    story.delete(story.status(pod, "Running"), grace=0)

    report = check(story)

    assert report.violations == []
    assert report.unended == 1


def test_a_log_is_read_with_those_that_it_was_rotated_into(story: Story, tmp_path: Path) -> None:
    a_session(story)
    log = tmp_path / "audit.log"
    (tmp_path / "audit-2026-11-25T00-00-01.000.log").write_bytes(b"".join(story.lines[:2]))
    (tmp_path / "audit-2026-11-25T00-00-02.000.log").write_bytes(b"".join(story.lines[2:4]))
    log.write_bytes(b"".join(story.lines[4:]))

    report = check_audit_log(log)

    assert report.lines == len(story.lines)
    assert report.violations == []


def test_a_violation_says_what_it_is_about(story: Story) -> None:
    story.secret("a")
    first = story.create("session-a", session="a")
    other = story.create("other", session="a")

    two, second = check(story).violations

    assert (two.rule, two.subject) == (Rule.TWO_AT_ONCE, "a")
    for pod in (first, other):
        assert pod["metadata"]["name"] in two.detail
        assert pod["metadata"]["uid"] in second.detail


def test_who_answers_for_deletes_can_be_named(story: Story) -> None:
    story.secret("a")
    pod = story.create("session-a", session="a")
    story.delete(pod, uid="", user="somebody")

    theirs = check_lines(story.lines, answers_for=lambda user: user == "somebody")
    not_theirs = check_lines(story.lines, answers_for=lambda user: user == SCHEDULER)

    assert [found.rule for found in theirs.violations] == [Rule.DELETED_BLINDLY]
    assert not_theirs.violations == []
    assert json.loads(story.lines[-1])["user"]["username"] == "somebody"
