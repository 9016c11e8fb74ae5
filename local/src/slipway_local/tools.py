"""The programs that the parts need from the machine, and how to get those that are missing."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from slipway_local.errors import MissingToolError
from slipway_local.settings import Settings

VERSION_SECONDS = 30
CNI_FOLDERS = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")
SYSTEM_FOLDERS = ("/usr/sbin", "/sbin")
TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    program: str
    version_arguments: tuple[str, ...]
    minimum: int
    """Lowest major version that will do; 0 for any."""

    reason: str
    debian: str
    """Packages of Debian and its kin."""

    macos: str
    """Formulas of Homebrew; empty for what only Linux has."""

    minimum_minor: int = 0
    """Lowest minor version of the lowest major one."""

    @property
    def wanted(self) -> str:
        """The lowest version that will do, as people write it; empty for any."""
        if self.minimum_minor:
            return f"{self.minimum}.{self.minimum_minor}"
        return str(self.minimum) if self.minimum else ""


@dataclass(frozen=True, slots=True)
class Finding:
    tool: Tool
    path: Path | None
    """None if the program is not there, or does not run."""

    version: str

    @property
    def good(self) -> bool:
        wanted = (self.tool.minimum, self.tool.minimum_minor)
        return self.path is not None and _numbers_of(self.version) >= wanted

    @property
    def problem(self) -> str:
        """What is wrong and which command helps; empty if all is well."""
        if self.good:
            return ""
        wanted = f"{self.tool.name} >= {self.tool.wanted}" if self.tool.wanted else self.tool.name
        found = f"found {self.version}" if self.path is not None else "not found"
        return f"{wanted} is needed to {self.tool.reason} ({found}). {hint(self.tool)}"


JAVA = Tool(
    name="Java",
    program="java",
    version_arguments=("-version",),
    minimum=17,
    reason="run Kafka",
    debian="openjdk-17-jre-headless",
    macos="openjdk@17",
)
MAVEN = Tool(
    name="Maven",
    program="mvn",
    version_arguments=("-B", "-version"),
    minimum=3,
    reason="fetch Kafka",
    debian="maven",
    macos="maven",
)
NODE = Tool(
    name="Node.js",
    program="node",
    version_arguments=("--version",),
    minimum=20,
    reason="run Azurite",
    debian="nodejs",
    macos="node@20",
)
NPM = Tool(
    name="npm",
    program="npm",
    version_arguments=("--version",),
    minimum=0,
    reason="fetch Azurite",
    debian="npm",
    macos="node@20",
)
GO = Tool(
    name="Go",
    program="go",
    version_arguments=("version",),
    minimum=1,
    minimum_minor=25,
    reason="build Kubernetes",
    debian="golang-go",
    macos="go",
)
CONTAINERD = Tool(
    name="containerd",
    program="containerd",
    version_arguments=("--version",),
    minimum=1,
    minimum_minor=6,
    reason="run pods",
    debian="containerd",
    macos="",
)
RUNC = Tool(
    name="runc",
    program="runc",
    version_arguments=("--version",),
    minimum=1,
    reason="run pods",
    debian="runc",
    macos="",
)
CNI_PLUGINS = Tool(
    name="CNI plugins",
    program="host-local",
    version_arguments=("--version",),
    minimum=0,
    reason="give pods a network",
    debian="containernetworking-plugins",
    macos="",
)
IP = Tool(
    name="ip",
    program="ip",
    version_arguments=("-Version",),
    minimum=0,
    reason="give pods a network",
    debian="iproute2",
    macos="",
)
DEBOOTSTRAP = Tool(
    name="debootstrap",
    program="debootstrap",
    version_arguments=("--version",),
    minimum=0,
    reason="make images",
    debian="debootstrap",
    macos="",
)


def hint(tool: Tool) -> str:
    if sys.platform == "darwin":
        return f"Install it with: brew install {tool.macos}"
    if shutil.which("apt-get"):
        return f"Install it with: apt-get install -y {tool.debian}"
    return (
        f"Install it with the system's package manager (Debian: apt-get install -y {tool.debian}, "
        f"macOS: brew install {tool.macos})"
    )


def major_of(version: str) -> int:
    """Return the major version; 0 if there is none in the text."""
    found = re.match(r"\d+", version)
    return int(found.group()) if found else 0


def _numbers_of(version: str) -> tuple[int, int]:
    """Return the major and the minor version; 0 for what is not in the text."""
    found = re.match(r"\d+\.(\d+)", version)
    return major_of(version), int(found.group(1)) if found else 0


def find(tool: Tool, settings: Settings) -> Finding:
    """Look for a program on the path (for Java: in JAVA_HOME first) and ask for its version."""
    path = _locate(tool, settings)
    if path is None:
        return Finding(tool, None, "")
    try:
        answer = subprocess.run(
            [path, *tool.version_arguments],
            env=dict(settings.full),
            capture_output=True,
            check=False,
            stdin=subprocess.DEVNULL,
            timeout=VERSION_SECONDS,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired):
        return Finding(tool, None, "")
    # Java tells its version on the error stream. A stand-in that only says how
    # to install the real thing ends with a status.
    text = TERMINAL_CODES.sub("", answer.stdout + answer.stderr)
    version = re.search(r"\d+(?:\.\d+)*", text)
    if answer.returncode != 0 or version is None:
        return Finding(tool, None, "")
    return Finding(tool, path, version.group())


def require(tool: Tool, settings: Settings) -> Path:
    """Return the path of a program that will do."""
    finding = find(tool, settings)
    if finding.path is None or not finding.good:
        raise MissingToolError(finding.problem)
    return finding.path


def require_all(tools: Sequence[Tool], settings: Settings) -> None:
    """Name everything that is missing at once, so that one visit to the shell is enough."""
    problems = [finding.problem for tool in tools if not (finding := find(tool, settings)).good]
    if problems:
        raise MissingToolError("\n".join(problems))


def _locate(tool: Tool, settings: Settings) -> Path | None:
    if tool is JAVA and settings.java_home is not None:
        candidate = settings.java_home / "bin" / "java"
        if candidate.is_file():
            return candidate
    path = settings.full.get("PATH", "")
    if tool is CNI_PLUGINS:
        path = os.pathsep.join(CNI_FOLDERS)  # they are no commands: nothing has them on its path
    elif tool.macos == "":
        # Debian's own PATH for people leaves out where it keeps programs of the system.
        path = os.pathsep.join([path, *SYSTEM_FOLDERS])
    found = shutil.which(tool.program, path=path)
    return Path(found) if found else None
