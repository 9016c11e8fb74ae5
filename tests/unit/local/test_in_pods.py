"""What runs in pods: which cluster is taken, what is remembered, and what is refused."""

import os
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from slipway_local.arrangement import Arrangement
from slipway_local.cli import app
from slipway_local.cluster.commands import Commands
from slipway_local.cluster.place import (
    Named,
    cluster_state,
    named_cluster,
    own_kubeconfig,
    this_machine,
)
from slipway_local.environment import PodPlace
from slipway_local.errors import LocalError
from slipway_local.for_pods import StackForPods, bring_keys
from slipway_local.in_pods import InPods, Record, read_record, refuse_another, write_record
from slipway_local.processes import Identity, identity_of
from slipway_local.settings import Settings, read_settings
from slipway_local.state import State
from slipway_local.status import Phase, Status, write_status

PLACE = PodPlace(
    kubeconfig=Path("/some/kubeconfig"), host_address="10.213.7.1", runner_image="slipway-runner:1"
)


def settings(folder: Path, **environment: str) -> Settings:
    return read_settings({"SLIPWAY_STATE": str(folder), **environment})


def test_an_unknown_kind_of_sessions_is_an_error_of_usage(tmp_path: Path) -> None:
    found = CliRunner(env={"SLIPWAY_STATE": str(tmp_path), "COLUMNS": "200"}).invoke(
        app, ["demo", "--sessions", "containers"]
    )

    assert found.exit_code == 2
    assert "'processes'" in found.output
    assert "'pods'" in found.output
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("option", ["--parts-only", "--for-pods"])
def test_sessions_in_pods_need_the_services(option: str, tmp_path: Path) -> None:
    found = CliRunner(env={"SLIPWAY_STATE": str(tmp_path)}).invoke(
        app, ["up", "--sessions", "pods", option]
    )

    assert found.exit_code == 2


@pytest.mark.parametrize(
    ("running", "wanted", "how"),
    [
        (InPods.SESSIONS, InPods.NOTHING, "SESSIONS=pods"),
        (InPods.NOTHING, InPods.SESSIONS, "--sessions processes"),
        (InPods.SERVICES, InPods.SESSIONS, "up --for-pods"),
    ],
)
def test_a_stack_of_another_kind_is_not_taken_for_this_one(
    running: InPods, wanted: InPods, how: str
) -> None:
    with pytest.raises(LocalError) as refused:
        refuse_another(running, wanted)

    assert how in str(refused.value)
    assert "down" in str(refused.value)


def test_what_was_chosen_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    record = Record(InPods.SESSIONS, PLACE, Identity(7, "boot/1"))
    assert read_record(path) == Record()

    write_record(path, record)

    assert read_record(path) == record


@pytest.mark.parametrize("content", ["{", "{}", '{"in_pods": "x", "place": null, "cluster": null}'])
def test_a_damaged_record_is_named(content: str, tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    path.write_text(content)

    with pytest.raises(LocalError, match="damaged"):
        read_record(path)


def test_a_cluster_of_ours_that_runs_comes_before_what_kubectl_would_take(tmp_path: Path) -> None:
    usual = settings(tmp_path, KUBECONFIG="/usual")
    assert named_cluster(usual, own_runs=True) is None
    assert named_cluster(usual, own_runs=False) == Named(Path("/usual"), "KUBECONFIG")

    told = settings(tmp_path, KUBECONFIG="/usual", SLIPWAY_KUBECONFIG="/told")
    assert named_cluster(told, own_runs=True) == Named(Path("/told"), "SLIPWAY_KUBECONFIG")

    # A shell that looked at the local cluster means that one, also when it has ended.
    ours = settings(tmp_path, KUBECONFIG=str(own_kubeconfig(usual)))
    assert named_cluster(ours, own_runs=False) is None


@pytest.mark.parametrize(
    "server",
    [
        "https://127.0.0.1:6443",
        "https://localhost:6443",
        "https://0.0.0.0:6443",
        "https://192.0.2.1:6443",
        "https://no-such-host.invalid:6443",
    ],
)
def test_pods_are_sent_to_no_address_where_this_machine_is_not(server: str) -> None:
    assert this_machine(server) is None


def test_a_cluster_that_somebody_else_started_is_not_stopped(tmp_path: Path) -> None:
    where = settings(tmp_path)
    state = State(where.state_folder)
    write_record(state.pods_file, Record(InPods.SESSIONS, PLACE, Identity(7, "boot/1")))
    cluster_state(where).folder.mkdir()
    other = Status(Phase.READY, identity_of(os.getpid()), "", (), {})
    write_status(cluster_state(where).status_file, other)

    commands = Commands(lambda: pytest.fail("nothing is to be done"), Console)
    stopped = Arrangement(where, state, commands, Console).stop_cluster()

    assert not stopped
    assert read_record(state.pods_file).cluster is None


def test_services_in_pods_need_the_parts_of_this_stack(tmp_path: Path) -> None:
    elsewhere = settings(tmp_path, SLIPWAY_KAFKA_BOOTSTRAP="192.0.2.1:9092")
    with pytest.raises(LocalError, match="of this stack"):
        StackForPods(PLACE, settings=elsewhere)


def test_services_in_pods_need_the_local_cluster(tmp_path: Path) -> None:
    elsewhere = PodPlace(
        kubeconfig=Path("/some/kubeconfig"), host_address="192.0.2.1", runner_image=""
    )
    with pytest.raises(LocalError, match="no address of a local cluster"):
        StackForPods(elsewhere, settings=settings(tmp_path))


def test_keys_are_brought_and_never_replaced(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder, name, content in (
        (source / "a", "1.key", b"old"),
        (source / "a", "2.key", b"new"),
        (target / "a", "1.key", b"kept"),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)

    bring_keys(source, target)

    assert (target / "a/1.key").read_bytes() == b"kept"
    assert (target / "a/2.key").read_bytes() == b"new"
