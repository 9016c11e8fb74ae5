"""How an app's page shows a result: key figures, tables and a map over the values by name.

The result itself stays plain data, the same for a caller of the REST API as for the page.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class View(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Figure(View):
    """One number of the result, large."""

    key: str
    """Name of the value in the result; ``a.b`` goes into an object."""

    title: str
    unit: str = ""
    decimals: int = 0
    percent: bool = False
    """Shows 0.25 as 25 %."""


class Column(View):
    key: str
    title: str
    unit: str = ""
    decimals: int = 0
    percent: bool = False


class TableView(View):
    """A list of objects in the result, as a table."""

    key: str
    title: str
    columns: tuple[Column, ...]


class PointLayer(View):
    """A list of objects with longitude and latitude in the result, as points."""

    key: str
    title: str
    """Stands in the legend."""

    style: Literal["place", "site"] = "place"
    """A place is a quiet dot, a site the marker that the eye should find."""

    identity: str = "id"
    """Name of the value that the lines refer to."""

    longitude: str = "longitude"
    latitude: str = "latitude"
    label: str = "name"
    """Name of the value that is written beside a site, and on top of the tooltip."""

    size: str | None = None
    """Name of the value that the area of the point stands for; None: all the same."""

    details: tuple[Column, ...] = ()
    """What the tooltip says below the label."""


class LineLayer(View):
    """A list of objects in the result that connect two points each."""

    key: str
    title: str
    start: str = "start"
    end: str = "end"
    """Names of the values that hold the identities of the points."""

    weight: str | None = None
    """Name of the value that the width stands for; None: all the same."""


class MapView(View):
    title: str = "Map"
    points: tuple[PointLayer, ...] = ()
    lines: tuple[LineLayer, ...] = ()
    backdrop: str | None = None
    """Name of a list of ``[longitude, latitude]`` in the initial value: a faint background."""


class Page(View):
    services: tuple[str, ...] | None = None
    """Which services the page offers, the first one open; None: all."""

    button: str = "Run"
    figures: tuple[Figure, ...] = ()
    tables: tuple[TableView, ...] = ()
    map: MapView | None = None
    objective: str = "Objective"
    """What the plotted number is called."""

    unit: str = ""
    """Unit of the plotted number."""

    initial: Callable[[], dict[str, Any]] | None = None
    """Makes a value that the page shows before the first result, such as the places."""


def value_at(value: Any, key: str) -> Any:
    """Follow ``a.b`` into nested objects; None where there is nothing."""
    for part in key.split("."):
        if not isinstance(value, dict):
            return None
        value = value.get(part)
    return value


def formatted(value: Any, *, unit: str = "", decimals: int = 0, percent: bool = False) -> str:
    """Write a value for a person, the same way as the page's script does."""
    match value:
        case None:
            return "–"  # noqa: RUF001 - the dash of an empty cell
        case bool():
            return "yes" if value else "no"
        case int() | float():
            number = f"{value * 100:,.{decimals}f} %" if percent else f"{value:,.{decimals}f}"
            return f"{number} {unit}".rstrip()
        case list() | tuple():
            return ", ".join(str(entry) for entry in value)
        case _:
            return str(value)


def rows_at(value: Any, key: str) -> Sequence[dict[str, Any]]:
    rows = value_at(value, key)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
