"""The members that wait: which is whose, and each for one claim at a time."""

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from slipway_common.contracts.sessions import Resources, SessionWanted
from slipway_scheduler.kubernetes import labels
from slipway_scheduler.kubernetes.objects import Pod
from slipway_scheduler.units.pods import pool_of
from slipway_scheduler.warm.members import FreeMembers, Member, PoolKey, is_free
from unit.scheduler import seen

POOL, OTHER = "a" * 32, "b" * 32
ACCOUNT = UUID(int=1)


def member(name: str = "member-1", *, pool: str = POOL, **metadata: Any) -> seen.Json:
    body = seen.answering()
    body["metadata"] |= {"name": name, "uid": f"uid-{name}", **metadata}
    body["metadata"]["labels"] = {labels.ROLE: labels.MEMBER_ROLE, labels.POOL: pool}
    return body


def free(name: str = "member-1", *, pool: str = POOL) -> Pod:
    return seen.pod(member(name, pool=pool))


def in_role(role: str, name: str = "member-1") -> Pod:
    body = member(name)
    body["metadata"]["labels"][labels.ROLE] = role
    return seen.pod(body)


# Pools


def key(
    runtime: str = "1.0.0.1-linux64-x64", *, account: UUID = ACCOUNT, **figures: Any
) -> PoolKey:
    return PoolKey(account, runtime, Resources.model_validate(figures))


def test_a_pool_has_the_same_name_in_every_process() -> None:
    assert key().name == "d63bb23d877d28278f29b85723cb7c5d"


_KEYS = st.builds(
    PoolKey,
    st.sampled_from([UUID(int=1), UUID(int=2)]),
    st.text(st.sampled_from('ab\n"[],: \x1f-'), max_size=6),
    st.builds(
        Resources,
        profile=st.sampled_from(["a", "b", "a-b", "ab"]),
        memory_mib=st.sampled_from([1, 11]),
        cpu_millis=st.sampled_from([1, 11]),
        processes=st.sampled_from([1, 11]),
        disk_mib=st.sampled_from([1, 11]),
    ),
)


@given(one=_KEYS, other=_KEYS)
def test_pools_of_different_sessions_never_share_a_name(one: PoolKey, other: PoolKey) -> None:
    assert (one.name == other.name) == (one == other)


@given(pool=_KEYS)
def test_the_name_of_a_pool_can_be_a_label(pool: PoolKey) -> None:
    assert len(pool.name) == 32
    assert set(pool.name) <= set("0123456789abcdef")


def test_a_session_looks_for_members_of_its_account_its_runtime_and_its_figures() -> None:
    resources = Resources(profile="large", memory_mib=16384)
    wanted = SessionWanted.model_validate(
        {
            "account_id": ACCOUNT,
            "session_id": UUID(int=9),
            "kind": "webui",
            "app_name": "depots",
            "app_version": "1",
            "runtime": "1.0.0.1-linux64-x64",
            "resources": resources.model_dump(),
            "admitted_at": seen.NOW,
        }
    )

    assert pool_of(wanted) == PoolKey(ACCOUNT, "1.0.0.1-linux64-x64", resources).name
    less = resources.model_copy(update={"memory_mib": 2048})
    assert pool_of(wanted.model_copy(update={"resources": less})) != pool_of(wanted)


# Who is free


@pytest.mark.parametrize(
    "pod",
    [
        in_role(labels.SESSION_ROLE),
        in_role(labels.RETIRED_ROLE),
        in_role(labels.PLACEHOLDER_ROLE),
        seen.pod(seen.ending(member())),
        seen.pod(seen.with_condition(member(), seen.condition("Ready", "False"))),
        seen.pod(seen.with_condition(member(), seen.condition("Ready", "Unknown"))),
        seen.pod(member() | {"status": {"phase": "Pending"}}),
        seen.pod(member() | {"spec": {"containers": []}}),
    ],
    ids=["session", "retired", "placeholder", "ending", "not ready", "unknown", "new", "unplaced"],
)
def test_what_does_not_wait_is_not_free(pod: Pod) -> None:
    assert not is_free(pod)
    members = FreeMembers()
    members.on_change(None, pod)
    assert members.take(POOL) is None


def test_the_one_that_has_waited_longest_goes_first() -> None:
    members = FreeMembers()
    for number in range(3):
        members.on_change(None, free(f"member-{number}"))
    members.on_change(free("member-0"), free("member-0"))

    taken = [members.take(POOL) for _ in range(4)]

    assert [each and each.name for each in taken] == ["member-0", "member-1", "member-2", None]


def test_a_pool_gives_only_its_own() -> None:
    members = FreeMembers()
    members.on_change(None, free("member-1", pool=OTHER))

    assert members.take(POOL) is None
    assert members.take(OTHER) == Member("member-1", "uid-member-1")


def test_what_is_taken_is_not_handed_out_again_though_the_mirror_still_shows_it_free() -> None:
    members = FreeMembers()
    members.on_change(None, free())
    members.take(POOL)

    members.on_change(free(), free())

    assert members.take(POOL) is None


def test_what_is_given_back_waits_again() -> None:
    members = FreeMembers()
    members.on_change(None, free())
    member = members.take(POOL)
    assert member is not None

    members.give_back(member, pool=POOL)

    assert members.take(POOL) == member


@pytest.mark.parametrize("after", [None, in_role(labels.SESSION_ROLE)], ids=["gone", "claimed"])
def test_what_is_given_back_after_it_was_seen_to_be_gone_does_not_wait(after: Pod | None) -> None:
    members = FreeMembers()
    members.on_change(None, free())
    member = members.take(POOL)
    assert member is not None
    members.on_change(free(), after)

    members.give_back(member, pool=POOL)

    assert members.take(POOL) is None


@pytest.mark.parametrize(
    "after",
    [
        None,
        in_role(labels.SESSION_ROLE),
        in_role(labels.RETIRED_ROLE),
        seen.pod(seen.ending(member())),
    ],
    ids=["gone", "claimed", "retired", "ending"],
)
def test_what_is_seen_to_be_gone_is_not_handed_out(after: Pod | None) -> None:
    members = FreeMembers()
    members.on_change(None, free())

    members.on_change(free(), after)

    assert members.count(POOL) == 0


def test_what_comes_back_to_life_waits_again() -> None:
    members = FreeMembers()
    silent = seen.pod(seen.with_condition(member(), seen.condition("Ready", "False")))
    members.on_change(None, free())
    members.on_change(free(), silent)
    members.on_change(silent, free())

    assert members.count(POOL) == 1


def test_another_pod_of_the_same_name_takes_its_place() -> None:
    members = FreeMembers()
    members.on_change(None, free())
    again = seen.pod(member(uid="uid-2"))

    members.on_change(free(), again)

    assert members.take(POOL) == Member("member-1", "uid-2")
    assert members.take(POOL) is None


class Members(RuleBasedStateMachine):
    """Whatever happens, none is with two claims, and none that waits is out of reach."""

    taken = Bundle("taken")

    def __init__(self) -> None:
        super().__init__()
        self.members = FreeMembers()
        self.shown: dict[str, Pod] = {}
        self.claims: set[str] = set()

    @rule(name=st.sampled_from(["m1", "m2", "m3"]), is_there=st.booleans(), waits=st.booleans())
    def mirror(self, name: str, is_there: bool, waits: bool) -> None:
        before = self.shown.pop(name, None)
        after = None
        if is_there:
            after = free(name) if waits else in_role(labels.SESSION_ROLE, name)
            self.shown[name] = after
        if before is None and after is None:
            return
        self.members.on_change(before, after)
        if after is None or not waits:
            self.claims.discard(f"uid-{name}")  # what was claimed is seen to be

    @rule(target=taken)
    def take(self) -> Member | None:
        member = self.members.take(POOL)
        if member is not None:
            assert member.uid not in self.claims
            assert is_free(self.shown[member.name])
            self.claims.add(member.uid)
        return member

    @rule(member=consumes(taken))
    def give_back(self, member: Member | None) -> None:
        if member is not None and member.uid in self.claims:
            self.members.give_back(member, pool=POOL)
            self.claims.discard(member.uid)

    @invariant()
    def all_that_wait_are_counted(self) -> None:
        waiting = {pod.metadata.uid for pod in self.shown.values() if is_free(pod)}
        assert self.members.count(POOL) == len(waiting - self.claims)


TestMembers = Members.TestCase
