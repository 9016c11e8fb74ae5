"""What a control group's files say, of either version, as containers see them."""

from pathlib import Path

import pytest

from slipway_runner.cgroup import SplitGroup, UnifiedGroup, own_group

MEBI = 1024 * 1024


class Machine:
    """A /proc with one process of interest, its parent, and groups beside it."""

    def __init__(self, folder: Path) -> None:
        self.groups = folder / "groups"
        self.process = folder / "proc" / "7"
        self.process.mkdir(parents=True)
        self._mounts: list[str] = []

    def run_in(self, *memberships: str, parent: tuple[str, ...] | None) -> None:
        (self.process / "cgroup").write_text("\n".join(memberships) + "\n")
        (self.process / "status").write_text(f"Name:\tpython\nPPid:\t{6 if parent else 0}\n")
        if parent is not None:
            other = self.process.parent / "6"
            other.mkdir()
            (other / "cgroup").write_text("\n".join(parent) + "\n")

    def mount(self, place: str, *, kind: str, root: str = "/", controllers: str = "rw") -> Path:
        point = self.groups / place
        point.mkdir(parents=True, exist_ok=True)
        number = 30 + len(self._mounts)
        place_of_it = f"{number} 29 0:{number} {root} {point} rw,nosuid shared:9"
        self._mounts.append(f"{place_of_it} - {kind} {kind} {controllers}")
        (self.process / "mountinfo").write_text(
            "29 1 8:1 / / rw - ext4 /dev/root rw\n" + "\n".join(self._mounts) + "\n"
        )
        return point


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def fill(folder: Path, **files: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n")
    return folder


def unified(folder: Path, **other: object) -> Path:
    values: dict[str, object] = {
        "memory__current": 300 * MEBI,
        "memory__stat": f"anon 1\ninactive_file {100 * MEBI}\nactive_file 5",
        "memory__peak": 400 * MEBI,
        "memory__max": 1024 * MEBI,
        "cpu__stat": "usage_usec 2500000\nuser_usec 1",
        "cpu__max": "150000 100000",
        "cgroup__procs": "1\n8\n9",
    }
    return fill(folder, **values | other)


def test_a_container_of_version_2_reads_its_own_group(machine: Machine) -> None:
    unified(machine.mount("cgroup", kind="cgroup2"))
    machine.run_in("0::/", parent=None)

    group = own_group(machine.process)

    assert isinstance(group, UnifiedGroup)
    use = group.read()
    assert (use.memory_mib, use.peak_memory_mib, use.memory_limit_mib) == (200, 400, 1024)
    assert (use.cpu_seconds, use.cpu_limit_millis, use.processes) == (2.5, 1500, 3)


def test_no_limit_is_none(machine: Machine) -> None:
    point = machine.mount("cgroup", kind="cgroup2")
    unified(point, memory__max="max", cpu__max="max 100000")
    machine.run_in("0::/", parent=None)

    group = own_group(machine.process)

    assert group is not None
    assert group.read().memory_limit_mib is None
    assert group.read().cpu_limit_millis is None


def test_a_kernel_that_keeps_no_peak_tells_what_is_there(machine: Machine) -> None:
    point = unified(machine.mount("cgroup", kind="cgroup2"))
    (point / "memory.peak").unlink()
    machine.run_in("0::/", parent=None)

    group = own_group(machine.process)

    assert group is not None
    assert group.read().peak_memory_mib == 200


def test_a_group_that_the_parent_is_in_is_not_ours(machine: Machine) -> None:
    unified(machine.mount("cgroup", kind="cgroup2") / "user.slice")
    machine.run_in("0::/user.slice", parent=("0::/user.slice",))

    assert own_group(machine.process) is None


def test_a_group_below_that_of_the_parent_is_ours(machine: Machine) -> None:
    folder = unified(machine.mount("cgroup", kind="cgroup2") / "work" / "session")
    machine.run_in("0::/work/session", parent=("0::/work",))

    assert own_group(machine.process) == UnifiedGroup(folder)


def split(machine: Machine, *, root: str, below: str = "") -> None:
    memory = machine.mount("memory", kind="cgroup", root=root, controllers="rw,memory")
    cpu = machine.mount("cpu,cpuacct", kind="cgroup", root=root, controllers="rw,cpu,cpuacct")
    fill(
        memory / below,
        memory__usage_in_bytes=300 * MEBI,
        memory__stat=f"inactive_file 1\ntotal_inactive_file {50 * MEBI}",
        memory__max_usage_in_bytes=310 * MEBI,
        memory__limit_in_bytes=512 * MEBI,
        cgroup__procs="1\n8",
    )
    fill(
        cpu / below,
        cpuacct__usage=1_250_000_000,
        cpu__cfs_quota_us=50_000,
        cpu__cfs_period_us=100_000,
    )


def check_split(machine: Machine) -> None:
    group = own_group(machine.process)
    assert isinstance(group, SplitGroup)
    use = group.read()
    assert (use.memory_mib, use.peak_memory_mib, use.memory_limit_mib) == (250, 310, 512)
    assert (use.cpu_seconds, use.cpu_limit_millis, use.processes) == (1.25, 500, 2)


def test_a_container_of_version_1_reads_its_own_groups(machine: Machine) -> None:
    """As without a namespace: the paths are those of the node, the mounts begin at them."""
    split(machine, root="/kubepods/pod1/c1")
    machine.run_in(
        "9:name=systemd:/x", "4:memory:/kubepods/pod1/c1", "3:cpu,cpuacct:/kubepods/pod1/c1",
        "0::/", parent=None,
    )  # fmt: skip

    check_split(machine)


def test_groups_of_version_1_on_the_machine_itself(machine: Machine) -> None:
    split(machine, root="/", below="session")
    machine.run_in(
        "4:memory:/session", "3:cpu,cpuacct:/session",
        parent=("4:memory:/", "3:cpu,cpuacct:/"),
    )  # fmt: skip

    check_split(machine)


def test_without_limits_version_1_writes_numbers(machine: Machine) -> None:
    split(machine, root="/")
    fill(machine.groups / "memory", memory__limit_in_bytes=9223372036854771712)
    fill(machine.groups / "cpu,cpuacct", cpu__cfs_quota_us=-1)
    machine.run_in("4:memory:/", "3:cpu,cpuacct:/", parent=None)

    group = own_group(machine.process)

    assert group is not None
    assert group.read().memory_limit_mib is None
    assert group.read().cpu_limit_millis is None


def test_memory_alone_is_not_a_container(machine: Machine) -> None:
    split(machine, root="/", below="session")
    machine.run_in(
        "4:memory:/session", "3:cpu,cpuacct:/",
        parent=("4:memory:/", "3:cpu,cpuacct:/"),
    )  # fmt: skip

    assert own_group(machine.process) is None


def test_a_machine_without_groups(machine: Machine) -> None:
    machine.run_in(parent=None)

    assert own_group(machine.process) is None
