"""kubectl: which one, and the few things that are applied by it before anything runs."""

import shutil
import subprocess
from pathlib import Path

from slipway_local.cluster import binaries
from slipway_local.errors import LocalError, MissingToolError
from slipway_local.settings import Settings, repository

APPLY_SECONDS = 120
NAMESPACES = ("k8s/base/services/namespace.yaml", "k8s/base/sessions/namespace.yaml")
"""Before all else: what lies in a namespace is refused until that is there."""

SESSIONS = "k8s/base/sessions"


def find_kubectl(settings: Settings) -> Path:
    """The one that was built with the local cluster, or else the machine's own."""
    built = settings.cache_folder / binaries.kubernetes_name() / "bin" / "kubectl"
    if built.is_file():
        return built
    found = shutil.which("kubectl", path=settings.full.get("PATH"))
    if found is None:
        raise MissingToolError(
            "kubectl is needed to prepare the cluster (not found). Put it on the path, or have it "
            "built: python -m slipway_local cluster build --nodes none"
        )
    return Path(found)


def apply_sessions(kubeconfig: Path, settings: Settings) -> None:
    """Give the cluster what sessions need there, as installations have it."""
    program, root = find_kubectl(settings), repository()
    files = [option for name in NAMESPACES for option in ("--filename", str(root / name))]
    for what in (files, ["--kustomize", str(root / SESSIONS)]):
        command = [str(program), f"--kubeconfig={kubeconfig}", "apply", "--server-side"]
        try:
            done = subprocess.run(
                [*command, "--force-conflicts", *what],
                capture_output=True,
                text=True,
                check=False,
                stdin=subprocess.DEVNULL,
                timeout=APPLY_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise LocalError(f"the cluster of {kubeconfig} does not answer kubectl") from error
        if done.returncode != 0:
            raise LocalError(f"the cluster refused {what[-1]}:\n{done.stderr.strip()}")
