"""An app for tests: quick, slow, broken and silent on demand."""

import os
import signal
import subprocess
import time

from pydantic import BaseModel

from slipway_open import App, Page, Run, field

CANARY = "canary-of-the-probe-app"

app = App(title="Probe", page=Page())


class Text(BaseModel):
    text: str


class Seconds(BaseModel):
    seconds: float = field(60.0, "Seconds", minimum=0, maximum=600)


class Nothing(BaseModel):
    pass


@app.service("echo", title="Echo")
def echo(run: Run, inputs: Text) -> dict[str, str]:
    run.log(f"echo of {len(inputs.text)} letters")
    return {"text": inputs.text}


@app.service("optimum", title="A model with a known optimum")
def optimum(run: Run, inputs: Nothing) -> dict[str, float]:
    model = run.highs()
    items = model.addBinaries(3)
    model.addConstr(8 * items[0] + 11 * items[1] + 14 * items[2] <= 20)
    model.setObjective(-(5 * items[0] + 8 * items[1] + 9 * items[2]))
    return {"value": -run.solve(model).objective}


@app.service("slow", title="Slow, and keeps its best when asked to stop")
def slow(run: Run, inputs: Seconds) -> dict[str, int]:
    best = 0
    ends_at = time.monotonic() + inputs.seconds
    while time.monotonic() < ends_at and not run.stop_requested():
        best += 1
        run.progress(0.5, f"best so far {best}")
        time.sleep(0.05)
    return {"best": best}


@app.service("raises", title="Raises")
def raises(run: Run, inputs: Nothing) -> dict[str, int]:
    raise ZeroDivisionError("the model divides by zero")


@app.service("hangs", title="Hears nothing")
def hangs(run: Run, inputs: Nothing) -> dict[str, int]:
    while True:
        time.sleep(60)


@app.service("dies", title="Takes its engine with it")
def dies(run: Run, inputs: Nothing) -> dict[str, int]:
    os.kill(os.getpid(), signal.SIGKILL)
    return {}


@app.service("nul", title="Raises what no database takes")
def nul(run: Run, inputs: Nothing) -> dict[str, int]:
    raise ValueError("before\0after \ud800")


@app.service("mutters", title="Tells progress that no database takes")
def mutters(run: Run, inputs: Nothing) -> dict[str, int]:
    run.progress(0.5, "before\0after")
    time.sleep(1.5)
    return {"done": 1}


@app.service("leaves", title="Ends its engine, and leaves a child that holds the output")
def leaves(run: Run, inputs: Nothing) -> dict[str, int]:
    subprocess.Popen(["sleep", "600"])
    os._exit(3)


@app.service("spawns", title="Starts a child and forgets it")
def spawns(run: Run, inputs: Nothing) -> dict[str, int]:
    return {"pid": subprocess.Popen(["sleep", "600"]).pid}


class Size(BaseModel):
    mebi: int = field(1, "MiB", minimum=1, maximum=300)


@app.service("large", title="A large result")
def large(run: Run, inputs: Size) -> dict[str, str]:
    return {"text": "x" * (inputs.mebi * 1024 * 1024)}
