"""What is done about nodes, and why something is not."""

from dataclasses import replace
from datetime import timedelta

import pytest

from slipway_scheduler.nodes.models import (
    Cordon,
    Kind,
    Move,
    NodePhase,
    Remove,
    SetSize,
    Uncordon,
)
from slipway_scheduler.nodes.room import Room
from unit.scheduler.nodes.making import (
    NOW,
    ago,
    decided,
    for_pool,
    full_node,
    leaving,
    node,
    orders,
    pod,
    pool,
    reasons,
    spec,
    waiting,
    waits,
)

MEMBER = pod("member", Kind.MEMBER)
PLACEHOLDER = pod("placeholder", Kind.PLACEHOLDER)


def sizes(decision) -> dict[str, int]:
    return {one.pool: one.count for one in orders(decision) if isinstance(one, SetSize)}


class TestAdding:
    def test_nothing_is_done_for_nothing(self):
        assert decided(pool()).actions == ()

    @pytest.mark.parametrize(("pods", "nodes"), [(1, 1), (4, 1), (5, 2), (9, 3)])
    def test_as_many_nodes_are_asked_for_as_the_waiting_pods_need(self, pods, nodes):
        assert sizes(decided(pool(), waiting=waiting(pods))) == {"small": nodes}

    def test_the_size_is_absolute(self):
        seen = pool(full_node("a"), full_node("b"))

        assert sizes(decided(seen, waiting=waiting(1))) == {"small": 3}

    def test_room_on_nodes_that_are_there_is_used_first(self):
        seen = pool(node("a", pod("one")))

        assert orders(decided(seen, waiting=waiting(3))) == []

    def test_nodes_on_their_way_are_counted(self):
        seen = pool(target=2, asked=[(30, 2)])

        assert orders(decided(seen, waiting=waiting(8))) == []
        assert sizes(decided(seen, waiting=waiting(9))) == {"small": 3}

    def test_large_pods_are_placed_before_small_ones(self):
        large = pod("x").room.times(1) + Room.of(cpu=2, memory_mib=2048, pods=0)
        sizes_of = [large, *[pod("y").room] * 5, large]
        pods = [waits(f"w{number}", room=room) for number, room in enumerate(sizes_of)]

        assert sizes(decided(pool(), waiting=pods)) == {"small": 3}

    def test_pods_that_just_came_are_waited_for_together(self):
        assert orders(decided(pool(), waiting=waiting(1, seconds=0.5))) == []
        assert sizes(decided(pool(), waiting=waiting(1, seconds=1))) == {"small": 1}

    def test_a_row_of_pods_without_end_is_not_waited_for(self):
        row = [waits("first", seconds=10), waits("last", seconds=0)]

        assert sizes(decided(pool(), waiting=row)) == {"small": 1}

    def test_the_largest_size_is_never_passed(self):
        seen = pool(full_node("a"), of=spec(maximum=2))

        decision = decided(seen, waiting=waiting(40))

        assert sizes(decision) == {"small": 2}
        assert "its largest size, 2 nodes" in reasons(decision)
        assert decision.full == {"small"}

    def test_the_clouds_own_limit_counts_too(self):
        assert sizes(decided(pool(maximum=3), waiting=waiting(40))) == {"small": 3}

    def test_a_pool_is_brought_to_its_smallest_size(self):
        assert sizes(decided(pool(of=spec(minimum=2)))) == {"small": 2}
        assert sizes(decided(pool(minimum=1))) == {"small": 1}

    def test_spare_nodes_are_kept_besides_those_with_sessions(self):
        seen = pool(node("a", pod("one")), of=spec(spare=2))

        assert sizes(decided(seen)) == {"small": 3}

    def test_pods_go_to_the_pool_that_they_name(self):
        pools = pool(of=spec("small")), pool(of=spec("large"))

        assert sizes(decided(*pools, waiting=waiting(1, selector=for_pool("large")))) == {
            "large": 1
        }

    def test_pods_that_name_no_pool_keep_off_dedicated_ones(self):
        pools = pool(of=spec("mine", dedicated=True)), pool(of=spec("open"))

        assert sizes(decided(*pools, waiting=waiting(1))) == {"open": 1}

    def test_the_next_pool_helps_where_the_first_is_at_its_end(self):
        first = pool(full_node("a"), of=spec("first", maximum=1))

        assert sizes(decided(first, pool(of=spec("second")), waiting=waiting(1))) == {"second": 1}

    def test_a_pod_that_no_node_could_hold_is_told_and_adds_none(self):
        giant = waits("giant", room=Room.of(cpu=64, memory_mib=1024))

        decision = decided(pool(), waiting=[giant])

        assert orders(decision) == []
        assert reasons(decision) == "giant fits on no node of any pool"

    def test_a_busy_cloud_is_waited_for(self):
        decision = decided(pool(busy="scaling"), waiting=waiting(1))

        assert orders(decision) == []
        assert "once the cloud is done with scaling" in reasons(decision)

    def test_a_pool_that_is_not_ours_to_scale_is_told(self):
        decision = decided(pool(unmanaged="AKS scales it by itself"), waiting=waiting(1))

        assert orders(decision) == []
        assert "AKS scales it by itself" in reasons(decision)

    def test_a_cloud_that_has_not_told_gets_no_orders(self):
        silent = pool(node("a"))

        decision = decided(type(silent)(silent.spec, None, silent.nodes), waiting=waiting(9))

        assert orders(decision) == []
        assert "has not told" in reasons(decision)

    def test_the_clusters_own_autoscaler_gets_no_orders_and_its_need_is_known(self):
        decision = decided(pool(node("a"), target=None), waiting=waiting(9), idle={"a": 10_000})

        assert orders(decision) == []
        assert decision.lacking == {"small": 2}
        assert "autoscaler" in reasons(decision)


class TestPlaceholders:
    def test_sessions_take_the_room_of_placeholders(self):
        seen = pool(
            node("a", *(pod(f"p{n}", Kind.PLACEHOLDER) for n in range(2)), pod("s1"), pod("s2"))
        )

        decision = decided(seen, waiting=waiting(2))

        assert sizes(decision) == {"small": 2}  # not for them: for the two that give way

    def test_a_placeholder_that_waits_asks_for_a_node(self):
        assert sizes(decided(pool(), waiting=waiting(1, kind=Kind.PLACEHOLDER))) == {"small": 1}

    def test_sessions_are_provided_for_before_placeholders(self):
        pods = [*waiting(4, kind=Kind.PLACEHOLDER), *[waits(f"s{n}") for n in range(4)]]

        decision = decided(pool(of=spec(maximum=1)), waiting=pods)

        assert sizes(decision) == {"small": 1}
        assert "4 pods wait" in reasons(decision)


class TestDoubt:
    def test_a_pod_that_waits_for_long_beside_a_node_with_room_is_believed(self):
        seen = pool(node("a", pod("other")))

        assert orders(decided(seen, waiting=waiting(1), seeming=29)) == []
        assert sizes(decided(seen, waiting=waiting(1), seeming=30)) == {"small": 2}

    def test_since_when_it_seems_so_is_handed_on(self):
        seen = pool(node("a", pod("other")))

        assert decided(seen, waiting=waiting(1)).seeming == {"waiting-0": NOW}
        assert decided(seen, waiting=waiting(1), seeming=7).seeming == {"waiting-0": ago(7)}

    def test_a_node_that_has_just_come_is_given_the_time_to_help(self):
        seen = pool(node("a", pod("other")), node("b", ready_since=ago(1)))

        assert orders(decided(seen, waiting=waiting(1, seconds=200), seeming=100)) == []

    def test_not_where_an_empty_node_did_not_help(self):
        decision = decided(pool(node("a")), waiting=waiting(1), seeming=31, idle={"a": 10_000})

        assert orders(decision) == []
        assert "waits although a seems to have room" in reasons(decision)

    def test_not_where_the_clusters_reason_is_another_than_full_nodes(self):
        seen = pool(node("a", pod("other")))

        assert orders(decided(seen, waiting=waiting(1, full=False), seeming=31)) == []


class TestFailures:
    def test_a_pool_that_failed_is_left_in_peace_for_a_while(self):
        seen = pool(retry_at=NOW + timedelta(seconds=30), problem="no quota for this size")

        decision = decided(seen, waiting=waiting(1))

        assert orders(decision) == []
        assert "no quota for this size" in reasons(decision)
        assert "09:00:30 UTC" in reasons(decision)
        assert not decision.full

    def test_and_is_tried_again_after_it(self):
        assert sizes(decided(pool(retry_at=ago(1)), waiting=waiting(1))) == {"small": 1}

    def test_meanwhile_another_pool_helps(self):
        failed = pool(of=spec("first"), retry_at=NOW + timedelta(seconds=30))

        assert sizes(decided(failed, pool(of=spec("second")), waiting=waiting(1))) == {"second": 1}

    def test_nodes_that_are_overdue_are_not_waited_for(self):
        seen = pool(target=1, asked=[(15 * 60, 1)])

        assert sizes(decided(seen, waiting=waiting(1))) == {"small": 2}

    def test_what_the_cloud_could_not_make_is_given_back(self):
        seen = pool(
            full_node("a"),
            target=4,
            failed="quota",
            machines=frozenset({"a"}),
            retry_at=NOW + timedelta(seconds=30),
        )

        assert sizes(decided(seen, waiting=waiting(1))) == {"small": 1}

    def test_never_where_a_node_is_unknown_to_the_cloud(self):
        seen = pool(full_node("a"), target=4, failed="quota", machines=frozenset({"b"}))

        assert sizes(decided(seen)) == {}

    def test_the_smallest_size_is_tried_again(self):
        seen = pool(
            target=2, of=spec(minimum=2), failed="quota", machines=frozenset(), retry_at=ago(1)
        )

        assert sizes(decided(seen)) == {"small": 2}

    def test_a_machine_that_never_became_a_node_is_closed_so_that_it_can_go(self):
        seen = pool(node("a", pod("x")), target=2, asked=[(900, 1)], machines=frozenset({"a", "b"}))

        assert orders(decided(seen)) == [Cordon("small", "b", "it never became a node")]

    def test_but_not_while_younger_ones_are_to_come(self):
        seen = pool(target=2, asked=[(900, 1), (10, 1)], machines=frozenset({"a", "b"}))

        assert orders(decided(seen)) == []


class TestRemoving:
    def test_a_node_is_closed_when_nothing_has_needed_it_for_long_enough(self):
        seen = pool(node("a"))

        assert orders(decided(seen, idle={"a": 599})) == []
        assert [type(one) for one in orders(decided(seen, idle={"a": 600}))] == [Cordon]

    def test_since_when_it_is_idle_is_handed_on(self):
        first = decided(pool(node("a")))

        assert first.unneeded == {"a": NOW}
        assert decided(pool(node("a")), idle={"a": 60}).unneeded == {"a": ago(60)}

    def test_a_node_with_a_session_is_not_idle(self):
        assert decided(pool(node("a", pod("session"))), idle={"a": 10_000}).unneeded == {}

    def test_nor_with_a_session_that_is_ending(self):
        assert decided(pool(node("a", pod("s", ending=True))), idle={"a": 10_000}).unneeded == {}

    def test_members_and_placeholders_that_fit_elsewhere_do_not_hold_a_node(self):
        seen = pool(node("a", MEMBER, PLACEHOLDER), node("b", pod("session")))

        assert orders(decided(seen, idle={"a": 600}))[0].node == "a"

    def test_those_that_do_not_fit_elsewhere_do(self):
        seen = pool(node("a", MEMBER), full_node("b"))

        assert decided(seen, idle={"a": 600}).unneeded == {}

    def test_two_nodes_are_not_each_the_others_elsewhere(self):
        seen = pool(node("a", MEMBER), node("b", pod("m2", Kind.MEMBER)))

        assert len(decided(seen, idle={"a": 600, "b": 600}).unneeded) == 1

    def test_the_emptiest_go_first(self):
        seen = pool(node("a", MEMBER), node("b"), node("c", pod("s")), of=spec(minimum=2))

        assert [one.node for one in orders(decided(seen, idle={"a": 600, "b": 600}))] == ["b"]

    def test_the_pool_does_not_fall_below_its_smallest_size(self):
        seen = pool(node("a"), node("b"), node("c"), of=spec(minimum=2))
        idle = {"a": 600, "b": 600, "c": 600}

        assert len(orders(decided(seen, idle=idle))) == 1

    def test_nor_below_what_is_kept_spare(self):
        seen = pool(node("a"), node("b"), node("c"), of=spec(spare=2))
        idle = {"a": 600, "b": 600, "c": 600}

        assert len(orders(decided(seen, idle=idle))) == 1

    def test_some_go_at_once_and_not_all(self):
        nodes = [node(f"n{number:02}") for number in range(15)]
        idle = {one.name: 600.0 for one in nodes}

        assert len(orders(decided(pool(*nodes), idle=idle))) == 10

    @pytest.mark.parametrize(
        "more",
        [
            {"target": 2, "asked": [(30, 1)]},
            {"busy": "scaling"},
            {"unmanaged": "not ours"},
        ],
    )
    def test_none_is_closed_while_the_pool_is_changing(self, more):
        assert orders(decided(pool(node("a"), **more), idle={"a": 600})) == []

    def test_none_is_closed_while_pods_wait_for_the_pool(self):
        seen = pool(node("a"), full_node("b"))
        giant = waits("w", room=spec().room - Room(0, 0, 1))

        assert Cordon not in {
            type(one) for one in orders(decided(seen, waiting=[giant], idle={"a": 600}))
        }

    def test_none_is_closed_by_an_old_mirror(self):
        assert orders(decided(pool(node("a")), idle={"a": 600}, fresh=False)) == []

    def test_a_node_that_an_operator_closed_is_left_alone(self):
        seen = pool(node("a", cordoned_since=ago(9999)))

        assert decided(seen, idle={"a": 9999}).unneeded == {}
        assert orders(decided(seen, idle={"a": 9999})) == []

    def test_a_dead_node_goes_like_an_idle_one(self):
        seen = pool(node("a", phase=NodePhase.BROKEN), of=spec(minimum=1))

        assert [type(one) for one in orders(decided(seen, idle={"a": 600}))] == [Cordon]

    def test_not_while_it_has_sessions(self):
        seen = pool(node("a", pod("s"), phase=NodePhase.BROKEN))

        assert orders(decided(seen, idle={"a": 600})) == []


class TestLeaving:
    def test_what_can_move_is_moved(self):
        seen = pool(leaving("a", MEMBER), node("b", pod("s")))

        assert orders(decided(seen)) == [Move("small", "a", (MEMBER,), "its node is to be removed")]

    def test_what_moves_is_waited_for(self):
        seen = pool(leaving("a", pod("m", Kind.MEMBER, ending=True)), node("b", pod("s")))

        assert orders(decided(seen)) == []

    def test_except_on_a_node_that_is_dead(self):
        dead = leaving("a", pod("m", Kind.MEMBER, ending=True), phase=NodePhase.BROKEN)

        assert [type(one) for one in orders(decided(pool(dead, node("b"))))] == [Remove]

    def test_an_empty_one_is_removed_when_nothing_can_be_under_way_to_it(self):
        seen = pool(leaving("a", for_seconds=9), leaving("b", for_seconds=11))

        assert [one.nodes for one in orders(decided(seen))] == [("b",)]

    def test_a_session_that_slipped_in_stays_and_the_node_is_opened(self):
        seen = pool(leaving("a", pod("session")))

        assert orders(decided(seen)) == [
            Uncordon("small", "a", "a session was placed on it meanwhile")
        ]

    def test_it_is_opened_when_demand_comes_back(self):
        decision = decided(pool(leaving("a")), waiting=waiting(1))

        assert orders(decision) == [Uncordon("small", "a", "it is needed again")]

    def test_and_when_its_members_fit_nowhere_else_any_more(self):
        seen = pool(leaving("a", MEMBER), full_node("b"))

        assert orders(decided(seen)) == [Uncordon("small", "a", "it is needed again")]

    def test_and_when_the_pool_would_be_too_small_without_it(self):
        decision = decided(pool(leaving("a"), leaving("b"), of=spec(minimum=1)))

        assert [type(one) for one in orders(decision)] == [Uncordon, Remove]

    def test_and_when_it_is_wanted_as_a_spare_one(self):
        decision = decided(pool(leaving("a"), node("b", pod("s")), of=spec(spare=1)))

        assert [type(one) for one in orders(decision)] == [Uncordon]

    def test_it_is_opened_for_demand_even_while_the_cloud_is_silent(self):
        silent = replace(pool(leaving("a")), status=None)

        assert [type(one) for one in orders(decided(silent, waiting=waiting(1)))] == [Uncordon]
        assert orders(decided(silent)) == []

    @pytest.mark.parametrize("more", [{"unmanaged": "not ours"}, {"target": None}])
    def test_it_is_opened_when_the_pool_is_not_ours_any_more(self, more):
        assert [type(one) for one in orders(decided(pool(leaving("a"), **more)))] == [Uncordon]

    def test_a_dead_one_is_not_opened_for_demand(self):
        seen = pool(leaving("a", phase=NodePhase.BROKEN))

        assert {type(one) for one in orders(decided(seen, waiting=waiting(1)))} == {SetSize, Remove}

    def test_one_whose_cordon_was_not_carried_out_is_closed_again(self):
        seen = pool(node("a", leaving=True))

        assert orders(decided(seen)) == [Cordon("small", "a", "it is to be removed")]

    def test_a_removal_that_was_written_down_is_not_taken_back(self):
        seen = pool(leaving("a", removal_asked_at=ago(5)))

        decision = decided(seen, waiting=waiting(1))

        assert Uncordon not in {type(one) for one in orders(decision)}

    def test_it_is_asked_for_again_when_the_node_stays(self):
        asked_before = pool(leaving("a", removal_asked_at=ago(121)))

        assert [type(one) for one in orders(decided(asked_before))] == [Remove]

    def test_not_while_a_session_is_on_it_after_all(self):
        seen = pool(leaving("a", pod("s"), removal_asked_at=ago(121)))

        decision = decided(seen)

        assert orders(decision) == []
        assert "waits for its end" in reasons(decision)

    @pytest.mark.parametrize("more", [{"busy": "deleting"}, {}])
    def test_nothing_is_removed_of_a_busy_cloud_or_by_an_old_mirror(self, more):
        decision = decided(pool(leaving("a"), **more), fresh=bool(more))

        assert orders(decision) == []


def test_ten_thousand_pods_on_two_hundred_nodes_get_the_size_that_the_waiting_need():
    roomy = spec(cpu=64, memory_mib=262144, maximum=400)
    on_each = [[pod(f"p{one}-{other}") for other in range(50)] for one in range(200)]
    nodes = [node(f"n{one:03}", *pods, room=roomy.room) for one, pods in enumerate(on_each)]

    decision = decided(pool(*nodes, of=roomy), waiting=waiting(5000))

    assert sizes(decision) == {"small": 200 + -(-(5000 - 200 * 14) // 64)}
