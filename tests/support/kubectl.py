"""kubectl, as operators use it: builds overlays, applies them, asks, and says what was refused."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from slipway_local.cluster.kubectl import find_kubectl
from slipway_local.settings import read_settings

Manifest = dict[str, Any]

SECONDS = 120


class RefusedError(Exception):
    """What kubectl says when it fails."""


@dataclass(frozen=True)
class Kubectl:
    kubeconfig: Path | None = None
    """None: only what needs no cluster."""

    user: str | None = None
    """Whom to act as; None: the kubeconfig's own user."""

    def acting_as(self, user: str) -> "Kubectl":
        return Kubectl(self.kubeconfig, user)

    def build(self, folder: Path) -> list[Manifest]:
        """What an overlay amounts to."""
        output = self.run("kustomize", str(folder), cluster=False)
        return [document for document in yaml.safe_load_all(output) if document]

    def apply(self, manifests: Iterable[Mapping[str, Any]], *, dry_run: bool = False) -> None:
        self.run(
            "apply",
            "--server-side",
            "--force-conflicts",
            "--warnings-as-errors",
            *(["--dry-run=server"] if dry_run else []),
            "--filename=-",
            stdin=json.dumps(_list(manifests)),
        )

    def create(self, manifest: Mapping[str, Any], *, dry_run: bool = False) -> Manifest:
        arguments = ["--dry-run=server"] if dry_run else []
        # Before it sends anything, it would look for things that an ordinary user may not see.
        arguments += ["--validate=false"] if self.user else []
        output = self.run(
            "create", *arguments, "--filename=-", "--output=json", stdin=json.dumps(manifest)
        )
        created: Manifest = json.loads(output)
        return created

    def delete(self, manifests: Iterable[Mapping[str, Any]]) -> None:
        """Return once they are gone."""
        self.run(
            "delete",
            "--ignore-not-found",
            "--wait",
            "--filename=-",
            stdin=json.dumps(_list(manifests)),
        )

    def get(self, kind: str, name: str, *, namespace: str | None = None) -> Manifest:
        found: Manifest = json.loads(
            self.run("get", kind, name, "--output=json", namespace=namespace)
        )
        return found

    def list(
        self, kind: str, *, namespace: str | None = None, selector: str = ""
    ) -> list[Manifest]:
        found = json.loads(
            self.run("get", kind, f"--selector={selector}", "--output=json", namespace=namespace)
        )
        items: list[Manifest] = found["items"]
        return items

    def run(
        self,
        *arguments: str,
        namespace: str | None = None,
        stdin: str = "",
        seconds: float = SECONDS,
        cluster: bool = True,
    ) -> str:
        """Return what it prints; RefusedError with what it complains about."""
        options = [f"--namespace={namespace}"] if namespace else []
        if cluster:
            assert self.kubeconfig is not None, "this needs a cluster"
            options.append(f"--kubeconfig={self.kubeconfig}")
            options += [f"--as={self.user}"] if self.user else []
        done = subprocess.run(
            [str(find_kubectl(read_settings())), *options, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if done.returncode:
            raise RefusedError(done.stderr.strip())
        return done.stdout


def _list(manifests: Iterable[Mapping[str, Any]]) -> Manifest:
    return {"apiVersion": "v1", "kind": "List", "items": [*manifests]}
