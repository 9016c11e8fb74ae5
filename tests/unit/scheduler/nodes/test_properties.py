"""What holds for whatever happens to a pool, played through in a cluster with its own time."""

from itertools import cycle
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from slipway_scheduler.nodes.models import Action, Cordon, Kind, Move, Remove, SetSize
from slipway_scheduler.nodes.room import Room
from unit.scheduler.nodes.making import spec
from unit.scheduler.nodes.simulation import FAST, Simulation

ROOMS = (
    Room.of(cpu=0.5, memory_mib=512),
    Room.of(cpu=1, memory_mib=1024),
    Room.of(cpu=3, memory_mib=1024),
    Room.of(cpu=1, memory_mib=4096),
)
KINDS = st.sampled_from([Kind.SESSION, Kind.SESSION, Kind.MEMBER, Kind.PLACEHOLDER])

events = st.lists(
    st.one_of(
        st.tuples(st.just("come"), KINDS, st.sampled_from(ROOMS), st.integers(1, 6)),
        st.tuples(st.just("go"), st.integers(0, 10**6)),
        st.tuples(st.just("wait"), st.integers(1, 45)),
        st.tuples(st.just("cloud"), st.booleans()),
        st.tuples(st.just("stuck"), st.integers(1, 2)),
        st.tuples(st.just("slow"), st.integers(1, 50)),
    ),
    max_size=40,
)
pools = st.builds(
    lambda minimum, more, spare: spec(minimum=minimum, maximum=minimum + more, spare=spare),
    st.integers(0, 3),
    st.integers(1, 60),
    st.integers(0, 2),
)


def play(sim: Simulation, happening: list[tuple[Any, ...]]) -> None:
    for event in happening:
        match event:
            case ("come", kind, room, count):
                for _ in range(count):
                    sim.add(kind, room)
            case ("go", number):
                names = sorted(sim.pods)
                if names:
                    del sim.pods[names[number % len(names)]]
            case ("wait", seconds):
                sim.run(seconds)
            case ("cloud", refusing):
                sim.refusing = refusing
            case ("stuck", count):
                sim.stuck += count
            case ("slow", seconds):
                sim.boot = seconds
        sim.tick()


def heal(sim: Simulation) -> None:
    sim.refusing, sim.stuck, sim.boot = False, 0, 8
    seconds = FAST.boot_longest + FAST.longest_pause * 4 + FAST.idle_for
    sim.run(int(seconds.total_seconds()) * 2)


@settings(max_examples=60, deadline=None)
@given(of=pools, happening=events, slips=st.lists(st.booleans(), min_size=1, max_size=7))
def test_no_node_is_removed_and_nothing_moved_under_a_live_session(of, happening, slips):
    """Sessions come at the worst moment, too: when a node was just chosen to go."""
    sim = Simulation(of)
    slip = cycle(slips)

    def look(action: Action) -> None:
        if isinstance(action, Cordon) and next(slip):
            sim.add(Kind.SESSION, ROOMS[0])
        if isinstance(action, Move):
            assert all(pod.kind is not Kind.SESSION for pod in action.pods)

    sim.on_action = look  # that none is removed, the simulation itself asserts
    play(sim, happening)
    sim.run(60)
    for name, pod in list(sim.pods.items()):
        if pod.seen.kind is Kind.SESSION:
            del sim.pods[name]
            sim.run(5)
    heal(sim)


@settings(max_examples=60, deadline=None)
@given(of=pools, happening=events)
def test_sizes_stay_within_bounds_and_only_removal_by_name_makes_a_pool_smaller(of, happening):
    sim = Simulation(of)

    def look(action: Action) -> None:
        if isinstance(action, SetSize):
            assert of.minimum <= action.count <= of.maximum
            assert action.count >= sim.target

    sim.on_action = look
    play(sim, happening)
    heal(sim)

    assert of.minimum <= sim.target <= of.maximum


@settings(max_examples=60, deadline=None)
@given(of=pools, happening=events)
def test_whoever_can_be_placed_is_placed(of, happening):
    sim = Simulation(of)

    play(sim, happening)
    heal(sim)

    left = [pod for pod in sim.waiting() if pod.seen.kind is not Kind.PLACEHOLDER]
    if left:
        # Nobody waits beside room for it, and the pool could not grow.
        assert sim.target == of.maximum
    elif sim.waiting():
        assert sim.target == of.maximum


@settings(max_examples=60, deadline=None)
@given(of=pools, happening=events)
def test_without_demand_it_comes_down_to_its_smallest_size(of, happening):
    sim = Simulation(of)

    play(sim, happening)
    sim.pods.clear()
    heal(sim)

    assert sim.target == max(of.minimum, min(of.spare, of.maximum))
    assert all(node.cordoned_since is None for node in sim.nodes.values())


@settings(max_examples=60, deadline=None)
@given(of=pools, happening=events)
def test_it_comes_to_rest(of, happening):
    """Nothing is added and removed in turns while nobody comes or goes."""
    sim = Simulation(of)

    play(sim, happening)
    heal(sim)
    sim.done.clear()
    sim.run(200)

    assert not [action for action in sim.done if isinstance(action, SetSize | Remove)]


@settings(max_examples=50, deadline=None)
@given(
    bursts=st.lists(st.tuples(st.integers(1, 15), st.integers(0, 30)), min_size=1, max_size=8),
    boot=st.integers(1, 50),
)
def test_no_more_nodes_are_made_than_the_sessions_need(bursts, boot):
    """Slow nodes are waited for, not ordered twice."""
    sim = Simulation(spec(maximum=100), boot=boot)

    for count, pause in bursts:
        for _ in range(count):
            sim.add(Kind.SESSION, ROOMS[1])
        sim.run(pause)
    sim.run(boot + 20)

    sessions = sum(count for count, _ in bursts)
    assert not sim.waiting()
    assert sim.target == -(-sessions // 4)
