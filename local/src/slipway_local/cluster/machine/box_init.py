"""The first process of a box: makes its mounts, then waits for as long as it lives.

Nothing of this reaches beyond the box: its mounts are private to it.
"""

import signal
import subprocess
import sys
from pathlib import Path

EMPTY = ("/run/containerd", "/run/netns", "/var/lib/cni", "/var/log/containers")
"""Fresh in each box, as after a reboot."""

TUNABLES = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
"""Settings of the whole kernel that a kubelet turns as it likes. It gets copies to turn."""

SYSTEM = Path("/proc/sys")


def main() -> None:
    folder, *kept = sys.argv[1:]
    _mount("--make-rprivate", "/")
    for empty in map(Path, EMPTY):
        empty.mkdir(parents=True, exist_ok=True)
        _mount("-t", "tmpfs", "-o", "mode=755", "slipway", str(empty))
    for name in kept:
        place = Path("/var/lib") / name
        place.mkdir(parents=True, exist_ok=True)
        _mount("--bind", f"{folder}/{name}", str(place))
    copies = Path("/run/containerd/tunables")
    for name in TUNABLES:
        original = SYSTEM / name
        if original.exists():
            copy = copies / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(original.read_text())
            _mount("--bind", str(copy), str(original))
    # Ends of orphans are then noted by the kernel alone: as first process we inherit them.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    (Path(folder) / "ready").touch()
    while True:
        signal.pause()


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


if __name__ == "__main__":
    main()
