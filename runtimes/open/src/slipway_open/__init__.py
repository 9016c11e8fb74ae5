"""The open engine on HiGHS, and what an app imports from it.

from slipway_open import App, Run, field

app = App(title="Depots")

@app.service("solve", title="Choose depots")
def solve(run: Run, inputs: Inputs) -> Plan:
    model = run.highs()
    ...
    run.solve(model)
"""

from slipway_open.app import App
from slipway_open.files import project
from slipway_open.inputs import field
from slipway_open.page import (
    Column,
    Figure,
    LineLayer,
    MapView,
    Page,
    PointLayer,
    TableView,
)
from slipway_open.problems import (
    FieldError,
    InfeasibleError,
    InputInvalidError,
    NoSolutionError,
)
from slipway_open.run import Run

__all__ = [
    "App",
    "Column",
    "FieldError",
    "Figure",
    "InfeasibleError",
    "InputInvalidError",
    "LineLayer",
    "MapView",
    "NoSolutionError",
    "Page",
    "PointLayer",
    "Run",
    "TableView",
    "field",
    "project",
]
