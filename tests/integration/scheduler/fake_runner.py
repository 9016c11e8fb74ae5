"""Stands in for a runner: keeps its records, and behaves as the name of its app says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

PREFIX = "SLIPWAY_RUNNER_"


def write(name: str, content: dict[str, object]) -> None:
    path = Path(os.environ[PREFIX + name])
    draft = path.with_suffix(".own-draft")
    draft.write_text(json.dumps(content))
    draft.replace(path)


def end(reason: str, message: str) -> None:
    write("TERMINATION_FILE", {"reason": reason, "message": message, "peakMemoryMib": 7})
    sys.exit(0)


def main() -> None:
    folder = Path(os.environ[PREFIX + "FOLDER"])
    app = json.loads((folder / "wanted.json").read_text())["app_name"]
    print("a line of the log", flush=True)
    if app == "unborn":
        sys.exit("it never began")
    if app == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    else:
        signal.signal(signal.SIGTERM, lambda *_: end("finished", "as it was asked"))
    process = psutil.Process()
    write("UNIT_FILE", {"pid": process.pid, "started": process.create_time()})
    (folder / "environment.json").write_text(json.dumps(dict(os.environ)))
    match app:
        case "fails":
            end("app-failed", "It failed.")
        case "vanishes":
            os.kill(process.pid, signal.SIGKILL)
        case "garbage":
            Path(os.environ[PREFIX + "TERMINATION_FILE"]).write_text('{"reason": "☃", ')
            sys.exit(1)
        case "leaves-child":
            child = subprocess.Popen(["sleep", "600"], cwd=folder)
            (folder / "child").write_text(str(child.pid))
            os.kill(process.pid, signal.SIGKILL)
        case "silent":
            pass
        case _:
            write("READY_FILE", {"address": "127.0.0.1:1"})
    while True:
        time.sleep(0.05)


if __name__ == "__main__":
    main()
