"""The sample app on the real engine: its plans are right, and an interrupt keeps the best one."""

import asyncio
import itertools
import json
import math

import pytest

from .conftest import DEPOTS, EngineProcess, StartEngine

SIZES = [
    {"name": "Small", "capacity": 450, "cost": 6},
    {"name": "Large", "capacity": 900, "cost": 9},
]
TINY = {
    "region": "British Isles",
    "most_cities": 7,
    "candidates": 4,
    "max_depots": 2,
    "sizes": SIZES,
    "single_sourcing": True,
    "gap": 0,
}


def cities(countries: set[str], most: int) -> list[dict]:
    everywhere = json.loads((DEPOTS / "data" / "cities.json").read_text("utf-8"))["cities"]
    return [city for city in everywhere if not countries or city["country"] in countries][:most]


def kilometres(a: dict, b: dict) -> float:
    """The spherical law of cosines: another formula than that of the app."""
    north, other = math.radians(a["latitude"]), math.radians(b["latitude"])
    east = math.radians(a["longitude"] - b["longitude"])
    cosine = math.sin(north) * math.sin(other) + math.cos(north) * math.cos(other) * math.cos(east)
    return 6371.0 * math.acos(min(1.0, cosine))


def demand(city: dict) -> float:
    return city["population"] * 50 / 1e6


def depot_cost(city: dict, size: dict) -> float:
    return size["cost"] * (1 + 0.5 * min(1.0, city["population"] / 9_000_000))


def cheapest_by_enumeration(places: list[dict], *, candidates: int, most: int) -> float:
    """Try every set of depots of every size with every assignment."""
    best = math.inf
    for count in range(1, most + 1):
        for sites in itertools.combinations(places[:candidates], count):
            for sizes in itertools.product(SIZES, repeat=count):
                fixed = sum(map(depot_cost, sites, sizes))
                for assignment in itertools.product(range(count), repeat=len(places)):
                    loads = [0.0] * count
                    cost = fixed
                    for place, site in zip(places, assignment, strict=True):
                        loads[site] += demand(place)
                        cost += demand(place) * kilometres(place, sites[site]) * 0.09 / 1000
                    fits = all(
                        load <= size["capacity"] for load, size in zip(loads, sizes, strict=True)
                    )
                    if fits:
                        best = min(best, cost)
    return best


def assert_feasible(plan: dict, *, most_depots: int) -> None:
    depots = {depot["id"]: depot for depot in plan["depots"]}
    places = {city["id"]: city for city in plan["cities"]}
    received = dict.fromkeys(places, 0.0)
    loads = dict.fromkeys(depots, 0.0)
    for delivery in plan["deliveries"]:
        received[delivery["city"]] += delivery["amount"]
        loads[delivery["depot"]] += delivery["amount"]
    assert 1 <= len(depots) == plan["depots_open"] <= most_depots
    for identity, amount in received.items():
        assert amount == pytest.approx(places[identity]["demand"], rel=1e-5)
    for identity, load in loads.items():
        assert load <= depots[identity]["capacity"] * (1 + 1e-5)
    by_hand = sum(depot["cost"] for depot in depots.values()) + sum(
        delivery["amount"]
        * kilometres(depots[delivery["depot"]], places[delivery["city"]])
        * 0.09
        / 1000
        for delivery in plan["deliveries"]
    )
    assert plan["total_cost"] == pytest.approx(by_hand, rel=1e-6)


async def test_plan_is_the_cheapest_of_all(
    start_engine: StartEngine, depots_archive: bytes
) -> None:
    async with start_engine(depots_archive) as engine:
        await engine.until_loaded()

        told, end = await engine.call("solve", TINY)

    assert end["outcome"] == "completed"
    plan = end["value"]
    assert_feasible(plan, most_depots=2)
    places = cities({"Ireland", "United Kingdom"}, 7)
    assert [city["name"] for city in plan["cities"]] == [city["name"] for city in places]
    expected = cheapest_by_enumeration(places, candidates=4, most=2)
    assert plan["total_cost"] == pytest.approx(expected, rel=1e-6)
    assert {line["type"] for line in told} == {"progress", "log"}
    assert [line for line in told if line["type"] == "progress"][-1]["gap"] == 0


@pytest.mark.parametrize("single_sourcing", [True, False])
async def test_plan_keeps_every_promise(
    start_engine: StartEngine, depots_archive: bytes, single_sourcing: bool
) -> None:
    values = {
        "region": "Central Europe",
        "most_cities": 40,
        "candidates": 12,
        "max_depots": 5,
        "single_sourcing": single_sourcing,
    }
    async with start_engine(depots_archive) as engine:
        await engine.until_loaded()

        _, end = await engine.call("solve", values)

    assert_feasible(end["value"], most_depots=5)
    sources = [delivery["city"] for delivery in end["value"]["deliveries"]]
    assert len(sources) == len(set(sources)) or not single_sourcing
    assert end["value"]["bound"] <= end["value"]["total_cost"] * (1 + 1e-6)


async def test_interrupt_of_the_solve_keeps_the_best_plan(
    start_engine: StartEngine, depots_archive: bytes
) -> None:
    async with start_engine(depots_archive) as engine:
        await engine.until_loaded()

        end = await interrupted_solve(engine, {"gap": 0, "time_limit": 300})

    assert (end["type"], end["outcome"]) == ("result", "interrupted")
    assert end["value"]["status"] == "interrupted"
    assert end["value"]["gap"] > 0
    assert_feasible(end["value"], most_depots=10)


async def interrupted_solve(engine: EngineProcess, values: dict) -> dict:
    last: dict = {}
    asked = False
    async with (
        asyncio.timeout(30),
        engine.client.post("/_slipway/procedures/solve", json=values) as answer,
    ):
        async for line in answer.content:
            last = json.loads(line)
            if not asked and last.get("gap") is not None:
                asked = True
                assert await engine.interrupt("solve") == 202
    return last


async def test_too_few_depots_are_infeasible(
    start_engine: StartEngine, depots_archive: bytes
) -> None:
    async with start_engine(depots_archive) as engine:
        await engine.until_loaded()

        _, end = await engine.call("solve", {"max_depots": 1})

    assert end["problem"]["type"] == "urn:slipway:problem:infeasible"


async def test_given_depots_are_costed_without_a_solve(
    start_engine: StartEngine, depots_archive: bytes
) -> None:
    async with start_engine(depots_archive) as engine:
        await engine.until_loaded()

        told, end = await engine.call("evaluate", {"depots": ["Paris", "Berlin", "Madrid"]})
        _, wrong = await engine.call("evaluate", {"depots": ["Paris", "Atlantis"]})

    assert all(line.get("state") != "solving" for line in told)
    plan = end["value"]
    sites = list(plan["depots"])
    for delivery in plan["deliveries"]:
        city = next(city for city in plan["cities"] if city["id"] == delivery["city"])
        nearest = min(sites, key=lambda site: kilometres(site, city))
        assert delivery["depot"] == nearest["id"]
    assert wrong["problem"]["errors"][0]["path"] == "/depots/1"
