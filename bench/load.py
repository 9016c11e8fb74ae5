"""Load by wrk: bounded in connections and time, against this machine only."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 16
SECONDS = 10

_CREATE = """
local counter = 0
local thread = 0
function setup(t) t:set("id", thread); thread = thread + 1 end
request = function()
  counter = counter + 1
  wrk.headers["Idempotency-Key"] = "%s-" .. id .. "-" .. counter
  return wrk.format("POST", nil, nil, '%s')
end
"""

_POST = "wrk.method = 'POST'"


@dataclass(frozen=True)
class Load:
    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


def run(url: str, *, headers: dict[str, str] | None = None, script: str | None = None) -> Load:
    if shutil.which("wrk") is None:
        raise SystemExit("the load comes from wrk: apt-get install -y wrk")
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency"]
    for name, value in (headers or {}).items():
        command += ["-H", f"{name}: {value}"]
    with tempfile.TemporaryDirectory() as folder:
        if script is not None:
            path = Path(folder) / "script.lua"
            path.write_text(script)
            command += ["-s", str(path)]
        done = subprocess.run([*command, url], capture_output=True, text=True, check=True)
    return _parse(done.stdout)


def creating(run_name: str, body: str) -> str:
    return _CREATE % (run_name, body)


def posting() -> str:
    return _POST


def _parse(text: str) -> Load:
    def milliseconds(label: str) -> float:
        match = re.search(rf"{label}%\s+([\d.]+)(us|ms|s)", text)
        assert match is not None, text
        return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[match[2]]

    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate is not None, text
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return Load(
        float(rate[1]), milliseconds("50"), milliseconds("99"), int(failed[1]) if failed else 0
    )
