import socket
from pathlib import Path

import pytest

from slipway_local.ports import FIRST_PORT, LAST_PORT, Ports


@pytest.fixture
def make(tmp_path: Path):
    made: list[Ports] = []

    def make(**remembered: int) -> Ports:
        made.append(Ports(tmp_path / "claims", remembered))
        return made[-1]

    yield make
    for ports in made:
        ports.release()


def test_ports_lie_below_those_of_outgoing_connections(make) -> None:
    ports = make()

    taken = [ports.take(str(number)) for number in range(50)]

    assert len(set(taken)) == 50
    assert all(FIRST_PORT <= port <= LAST_PORT for port in taken)


def test_remembered_port_comes_before_the_preferred_one(make) -> None:
    remembered, preferred = make().take("first"), 19_999

    again = make(first=LAST_PORT)

    assert again.take("first", preferred=preferred) == LAST_PORT
    assert again.take("second", preferred=remembered) != LAST_PORT


def test_one_stack_never_takes_what_another_has_claimed(make) -> None:
    claimed = make().take("first")

    assert make(first=claimed).take("first") != claimed


def test_released_port_can_be_claimed_again(make) -> None:
    one = make()
    claimed = one.take("first")
    one.release()

    assert make(first=claimed).take("first") == claimed


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_port_on_which_a_program_listens_is_passed_over(make, host: str) -> None:
    candidate = make().take("probe")
    with socket.create_server((host, 0)) as server:
        taken = server.getsockname()[1]

        assert make().take("first", preferred=taken) not in {taken, candidate}
