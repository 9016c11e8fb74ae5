"""Depots: where to open them, how large, and which cities each of them serves."""

from datetime import timedelta
from typing import Annotated

import numpy as np
from pydantic import Field

from cities import Region, backdrop, cities_of, distances
from location import build_model
from market import Market
from plan import Plan, make_plan
from slipway_open import (
    App,
    Column,
    FieldError,
    Figure,
    InputInvalidError,
    LineLayer,
    MapView,
    Page,
    PointLayer,
    Run,
    TableView,
    field,
)


def first_look() -> dict[str, object]:
    """What the map shows before the first run."""
    market = Market()
    cities = cities_of(Region.EUROPE, market.most_cities)
    demand = market.demand(cities)
    places = [
        {
            "id": city.id,
            "name": city.name,
            "country": city.country,
            "longitude": city.longitude,
            "latitude": city.latitude,
            "demand": float(demand[i]),
        }
        for i, city in enumerate(cities)
    ]
    return {"cities": places, "backdrop": backdrop()}


app = App(
    title="Depots",
    description="Where to open depots, how large, and which cities each of them serves.",
    page=Page(
        services=("solve",),
        button="Choose depots",
        objective="Cost",
        unit="M€",
        initial=first_look,
        figures=(
            Figure(key="total_cost", title="Total cost a year", unit="M€", decimals=1),
            Figure(key="depot_cost", title="Depots", unit="M€", decimals=1),
            Figure(key="transport_cost", title="Transport", unit="M€", decimals=1),
            Figure(key="depots_open", title="Open depots"),
            Figure(key="average_distance", title="Average distance", unit="km"),
            Figure(key="gap", title="Optimality gap", percent=True, decimals=2),
        ),
        tables=(
            TableView(
                key="depots",
                title="Open depots",
                columns=(
                    Column(key="name", title="Depot"),
                    Column(key="country", title="Country"),
                    Column(key="size", title="Size"),
                    Column(key="cities", title="Cities served"),
                    Column(key="load", title="Load", unit="kt"),
                    Column(key="capacity", title="Capacity", unit="kt"),
                    Column(key="use", title="Use", percent=True, decimals=1),
                    Column(key="cost", title="Cost a year", unit="M€", decimals=1),
                ),
            ),
        ),
        map=MapView(
            title="Depots and the cities they serve",
            backdrop="backdrop",
            points=(
                PointLayer(
                    key="cities",
                    title="Cities",
                    size="demand",
                    details=(
                        Column(key="country", title="Country"),
                        Column(key="demand", title="Demand", unit="kt", decimals=1),
                        Column(key="served_by", title="Served by"),
                    ),
                ),
                PointLayer(
                    key="depots",
                    title="Depots",
                    style="site",
                    size="capacity",
                    details=(
                        Column(key="size", title="Size"),
                        Column(key="cities", title="Cities served"),
                        Column(key="use", title="Use", percent=True, decimals=1),
                        Column(key="cost", title="Cost a year", unit="M€", decimals=1),
                    ),
                ),
            ),
            lines=(
                LineLayer(
                    key="deliveries", title="Deliveries", start="depot", end="city", weight="amount"
                ),
            ),
        ),
    ),
)


class SolveInputs(Market):
    candidates: int = field(
        45, "Candidates", minimum=1, maximum=80, description="The largest cities may get a depot."
    )
    max_depots: int = field(10, "Most depots", minimum=1, maximum=40)
    single_sourcing: bool = field(
        True, "One depot per city", description="Otherwise several depots may share a city."
    )
    time_limit: float = field(30, "Time limit", minimum=1, maximum=3600, step=1, unit="s")
    gap: float = field(
        0.2,
        "Accepted gap",
        minimum=0,
        maximum=20,
        step=0.1,
        unit="%",
        description="How far from the best possible is good enough.",
    )


@app.service("solve", title="Choose depots")
def solve(run: Run, inputs: SolveInputs) -> Plan:
    run.progress(message="Reading cities")
    cities = cities_of(inputs.region, inputs.most_cities)

    run.progress(message="Building the model")
    model = build_model(
        run.highs(),
        inputs,
        cities,
        candidates=inputs.candidates,
        most_depots=inputs.max_depots,
        single_sourcing=inputs.single_sourcing,
    )

    run.progress(message="Choosing depots")
    solved = run.solve(
        model.highs, time_limit=timedelta(seconds=inputs.time_limit), gap=inputs.gap / 100
    )
    run.log(f"{solved.status}: {solved.objective:.2f} M€ after {solved.duration}")
    return make_plan(
        inputs,
        cities,
        sizes=model.open_depots(),
        shares=model.shares(),
        status=solved.status.value,
        bound=solved.bound,
        gap=solved.gap,
    )


class EvaluateInputs(Market):
    depots: Annotated[list[str], Field(min_length=1, max_length=40)] = field(
        ["Paris", "Berlin", "Madrid", "Rome", "Warsaw"], "Depots", description="Names of cities."
    )


@app.service("evaluate", title="Evaluate depots")
def evaluate(run: Run, inputs: EvaluateInputs) -> Plan:
    """Let each city go to the nearest depot, and each depot have the smallest size that does."""
    cities = cities_of(inputs.region, inputs.most_cities)
    index = {city.name: number for number, city in enumerate(cities)}
    unknown = [
        FieldError(path=f"/depots/{number}", message=f"{name} is none of the {len(cities)} cities")
        for number, name in enumerate(inputs.depots)
        if name not in index
    ]
    if unknown:
        raise InputInvalidError(*unknown)

    sites = sorted({index[name] for name in inputs.depots})
    nearest = np.array(sites)[distances(cities)[:, sites].argmin(axis=1)]
    shares = np.zeros((len(cities), len(cities)))
    shares[np.arange(len(cities)), nearest] = 1

    loads = inputs.demand(cities) @ shares
    by_capacity = sorted(inputs.sizes, key=lambda size: size.capacity)
    sizes = {
        site: next((size for size in by_capacity if size.capacity >= loads[site]), by_capacity[-1])
        for site in sites
    }
    for site, size in sizes.items():
        if loads[site] > size.capacity:
            run.log(f"{cities[site].name} needs {loads[site]:.0f} kt, more than any size has")
    return make_plan(inputs, cities, sizes=sizes, shares=shares, status="evaluated")
