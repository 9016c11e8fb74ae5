"""Bring the machine to where all tests can run, or say what is missing and how to get it.

What the stack itself needs is checked by it; here are the programs that only tests use.
"""

import os
import shutil
import subprocess
import sys

PACKAGES = {
    "chromium": "chromium",
    "containerd": "containerd",
    "debootstrap": "debootstrap",
    "host-local": "containernetworking-plugins",
    "ip": "iproute2",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "runc": "runc",
    "w3m": "w3m",
}
"""Program → Debian package."""

ALSO_IN = ("/usr/sbin", "/sbin", "/usr/lib/cni")
"""Where Debian keeps programs that are not on everybody's path."""


def main() -> None:
    path = os.pathsep.join([os.environ.get("PATH", ""), *ALSO_IN])
    missing = sorted(
        {package for name, package in PACKAGES.items() if not shutil.which(name, path=path)}
    )
    if missing:
        command = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
        if os.geteuid() != 0 or not shutil.which("apt-get"):
            sys.exit(f"the tests need {', '.join(missing)}: sudo {' '.join(command)}")
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run([*command, "-qq"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([sys.executable, "-m", "slipway_local", "doctor"], check=True)
    # Takes longer than a test may, where it was not done before.
    subprocess.run([sys.executable, "-m", "slipway_local", "cluster", "build"], check=True)


if __name__ == "__main__":
    main()
