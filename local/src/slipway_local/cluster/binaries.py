"""The programs of Kubernetes and KWOK, built from their Go modules into the cache.

Each is a module of its own that only names what it wants: the Go client resolves
the rest, and holds every module to the checksum database.
"""

import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from slipway_local.cache import installed
from slipway_local.errors import LocalError
from slipway_local.program import Program
from slipway_local.settings import Settings
from slipway_local.tools import GO, Tool, require

KUBERNETES_RELEASE = "1.35.4"
ETCD_RELEASE = "3.6.5"
KWOK_RELEASE = "0.8.0"

KUBERNETES_MODULE = "k8s.io/kubernetes"
ETCD_MODULE = "go.etcd.io/etcd/server/v3"
KWOK_MODULE = "sigs.k8s.io/kwok"
COMMANDS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
STAMPED = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
"""Packages that tell the version of a program; a plain build would say v0.0.0."""

BUILD_SECONDS = 3600.0
RESOLVE_SECONDS = 600.0

# Kubernetes asks for the C library nowhere, and two compilers at once leave room for others.
ENVIRONMENT = {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false", "GOWORK": "off"}
PARALLEL = ("-p", "2")

# What holds a pod's network open; it has nothing to do but to be there.
PAUSE = """package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	<-stop
}
"""


@dataclass(frozen=True, slots=True)
class Module:
    """A Go module that exists only to say which programs to build."""

    name: str
    requires: Mapping[str, str]
    """Module → release, without the v."""

    packages: tuple[str, ...]
    linked: Mapping[str, str]
    """Variable → value that the linker sets."""

    renamed: Mapping[str, str]
    """Program as Go names it → as everybody calls it."""


KUBERNETES = Module(
    name="kubernetes",
    requires={KUBERNETES_MODULE: KUBERNETES_RELEASE, ETCD_MODULE: ETCD_RELEASE},
    packages=(ETCD_MODULE, *(f"{KUBERNETES_MODULE}/cmd/{command}" for command in COMMANDS)),
    linked={
        f"{package}.{variable}": value
        for package in STAMPED
        for variable, value in zip(
            ("gitVersion", "gitMajor", "gitMinor"),
            (f"v{KUBERNETES_RELEASE}", *KUBERNETES_RELEASE.split(".")[:2]),
            strict=True,
        )
    },
    renamed={"server": "etcd"},
)
KWOK = Module(
    name="kwok",
    requires={KWOK_MODULE: KWOK_RELEASE},
    packages=(f"{KWOK_MODULE}/cmd/kwok",),
    linked={f"{KWOK_MODULE}/pkg/consts.Version": f"v{KWOK_RELEASE}"},
    renamed={},
)


def needed_tools(settings: Settings, *, kwok: bool) -> list[Tool]:
    """Go is only needed until everything lies in the cache."""
    names = [kubernetes_name(), *([kwok_name()] if kwok else [])]
    cached = all((settings.cache_folder / name).is_dir() for name in names)
    return [] if cached else [GO]


def kubernetes_name() -> str:
    return f"kubernetes-{KUBERNETES_RELEASE}-etcd-{ETCD_RELEASE}"


def kwok_name() -> str:
    return f"kwok-{KWOK_RELEASE}"


async def kubernetes(settings: Settings, *, log: Path, note: Callable[[str], None]) -> Path:
    """Return the folder with etcd, the programs of Kubernetes, and ``pause``."""

    async def build(target: Path) -> None:
        note(f"building Kubernetes {KUBERNETES_RELEASE} with Go, once; this takes some minutes")
        builder = _Builder(target, settings=settings, log=log)
        await builder.build(KUBERNETES, replaced=staging_modules)
        await builder.build_pause()

    return await installed(settings.cache_folder, kubernetes_name(), build) / "bin"


async def kwok(settings: Settings, *, log: Path, note: Callable[[str], None]) -> Path:
    """Return the folder with ``kwok``."""

    async def build(target: Path) -> None:
        note(f"building KWOK {KWOK_RELEASE} with Go, once; this takes a minute or two")
        await _Builder(target, settings=settings, log=log).build(KWOK)

    return await installed(settings.cache_folder, kwok_name(), build) / "bin"


def staging_modules(module: Mapping[str, object]) -> list[str]:
    """Name the modules that Kubernetes takes from its own tree.

    It requires them at v0.0.0 and replaces them by folders, which counts for nothing
    where Kubernetes is somebody's dependency: they have to be replaced anew, by the
    releases that were published of them.
    """
    replaced = module.get("Replace") or []
    if not isinstance(replaced, list):
        raise LocalError(f"{KUBERNETES_MODULE} has a go.mod that is not understood")
    return [
        entry["Old"]["Path"] for entry in replaced if entry["New"]["Path"].startswith("./staging/")
    ]


def go_mod(module: Module, replaced: Mapping[str, str]) -> str:
    """The file from which Go learns what to fetch; ``replaced`` is module → release."""
    lines = [f"module slipway.local/{module.name}", "", "go 1.25.0", ""]
    lines += [f"require {name} v{release}" for name, release in module.requires.items()]
    lines += [f"replace {name} => {name} v{release}" for name, release in replaced.items()]
    return "\n".join(lines) + "\n"


class _Builder:
    """Builds modules in one folder; the programs come to lie in its ``bin``."""

    def __init__(self, folder: Path, *, settings: Settings, log: Path) -> None:
        self._folder = folder
        self._go = str(require(GO, settings))
        self._environment = {**settings.full, **ENVIRONMENT}
        self._program = Program("go", log=log, record=log.with_suffix(".pid"))

    async def build(
        self,
        module: Module,
        *,
        replaced: Callable[[Mapping[str, object]], list[str]] | None = None,
    ) -> None:
        work = self._folder / module.name
        work.mkdir()
        names = [] if replaced is None else replaced(await self._module_file(work))
        # Kubernetes 1.x.y publishes its libraries as 0.x.y.
        release = f"0.{KUBERNETES_RELEASE.partition('.')[2]}"
        (work / "go.mod").write_text(go_mod(module, dict.fromkeys(names, release)))
        flags = " ".join(["-s -w", *(f"-X {name}={text}" for name, text in module.linked.items())])
        await self._compile(work, flags, module.packages)
        binaries = self._folder / "bin"
        for found, wanted in module.renamed.items():
            (binaries / found).rename(binaries / wanted)

    async def build_pause(self) -> None:
        work = self._folder / "pause"
        work.mkdir()
        (work / "go.mod").write_text("module slipway.local/pause\n\ngo 1.25.0\n")
        (work / "main.go").write_text(PAUSE)
        await self._compile(work, "-s -w", (".",))

    async def _compile(self, work: Path, flags: str, packages: tuple[str, ...]) -> None:
        binaries = self._folder / "bin"
        binaries.mkdir(exist_ok=True)
        await self._program.run_once(
            [
                *(self._go, "build", *PARALLEL, "-trimpath", "-ldflags", flags),
                *("-o", f"{binaries}/", *packages),
            ],
            environment=self._environment,
            seconds=BUILD_SECONDS,
            folder=work,
        )

    async def _module_file(self, work: Path) -> Mapping[str, object]:
        """Fetch the module of Kubernetes and return its go.mod as Go understands it."""
        (work / "go.mod").write_text("module slipway.local/kubernetes\n\ngo 1.25.0\n")
        wanted = f"{KUBERNETES_MODULE}@v{KUBERNETES_RELEASE}"
        await self._program.run_once(
            [self._go, "mod", "download", wanted],
            environment=self._environment,
            seconds=RESOLVE_SECONDS,
            folder=work,
        )
        fetched = json.loads(self._ask(work, "mod", "download", "-json", wanted))
        parsed: Mapping[str, object] = json.loads(
            self._ask(work, "mod", "edit", "-json", fetched["GoMod"])
        )
        return parsed

    def _ask(self, work: Path, *arguments: str) -> str:
        try:
            answer = subprocess.run(
                [self._go, *arguments],
                env=self._environment,
                cwd=work,
                check=True,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=RESOLVE_SECONDS,
                text=True,
            )
        except subprocess.CalledProcessError as error:
            raise LocalError(f"go {' '.join(arguments)}: {error.stderr}") from error
        return answer.stdout
