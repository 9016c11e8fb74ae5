"""What comes out: the depots, which city each of them serves, and what all of it costs.

Amounts are kilotonnes a year, costs are millions of euros a year, distances kilometres.
"""

from typing import Literal

import numpy as np
from pydantic import BaseModel

from cities import City, distances
from market import DepotSize, Market

# A share below this is an inaccuracy of the solver, not a delivery.
SMALLEST_SHARE = 1e-6


class Depot(BaseModel):
    id: int
    name: str
    country: str
    longitude: float
    latitude: float
    size: str
    capacity: float
    load: float
    use: float
    """Part of the capacity that is used; more than 1 is too much."""

    cities: int
    cost: float


class ServedCity(BaseModel):
    id: int
    name: str
    country: str
    longitude: float
    latitude: float
    demand: float
    served_by: str


class Delivery(BaseModel):
    depot: int
    city: int
    share: float
    amount: float
    distance: float


class Plan(BaseModel):
    status: Literal["optimal", "interrupted", "limit", "evaluated"]
    total_cost: float
    depot_cost: float
    transport_cost: float
    bound: float | None = None
    gap: float | None = None
    depots_open: int
    demand: float
    average_distance: float
    """Of a tonne, from its depot to its city."""

    depots: list[Depot]
    cities: list[ServedCity]
    deliveries: list[Delivery]


def make_plan(
    market: Market,
    cities: list[City],
    *,
    sizes: dict[int, DepotSize],
    shares: np.ndarray,
    status: Literal["optimal", "interrupted", "limit", "evaluated"],
    bound: float | None = None,
    gap: float | None = None,
) -> Plan:
    """Work out a plan from the open depots and the share that each has of each city.

    ``sizes`` has the index of each open depot among the cities; ``shares[i, j]`` is the part
    of the demand of city ``i`` that depot ``j`` serves.
    """
    demand = market.demand(cities)
    kilometres = distances(cities)
    deliveries = [
        Delivery(
            depot=cities[j].id,
            city=city.id,
            share=round(float(shares[i, j]), 6),
            amount=float(shares[i, j] * demand[i]),
            distance=float(kilometres[i, j]),
        )
        for i, city in enumerate(cities)
        for j in sizes
        if shares[i, j] > SMALLEST_SHARE
    ]
    depots = [
        _depot(market, cities[j], size, deliveries)
        for j, size in sorted(sizes.items(), key=lambda entry: cities[entry[0]].name)
    ]
    depot_cost = sum(depot.cost for depot in depots)
    tonne_kilometres = sum(delivery.amount * delivery.distance for delivery in deliveries)
    transport_cost = market.transport_cost(tonne_kilometres)
    names = {city.id: city.name for city in cities}
    served_by: dict[int, list[str]] = {}
    for delivery in deliveries:
        served_by.setdefault(delivery.city, []).append(names[delivery.depot])
    return Plan(
        status=status,
        total_cost=depot_cost + transport_cost,
        depot_cost=depot_cost,
        transport_cost=transport_cost,
        bound=bound,
        gap=gap,
        depots_open=len(depots),
        demand=float(demand.sum()),
        average_distance=tonne_kilometres / float(demand.sum()),
        depots=depots,
        cities=[
            ServedCity(
                id=city.id,
                name=city.name,
                country=city.country,
                longitude=city.longitude,
                latitude=city.latitude,
                demand=float(demand[i]),
                served_by=", ".join(served_by.get(city.id, [])),
            )
            for i, city in enumerate(cities)
        ],
        deliveries=deliveries,
    )


def _depot(market: Market, city: City, size: DepotSize, deliveries: list[Delivery]) -> Depot:
    own = [delivery for delivery in deliveries if delivery.depot == city.id]
    load = sum(delivery.amount for delivery in own)
    return Depot(
        id=city.id,
        name=city.name,
        country=city.country,
        longitude=city.longitude,
        latitude=city.latitude,
        size=size.name,
        capacity=size.capacity,
        load=load,
        use=load / size.capacity,
        cities=len(own),
        cost=market.depot_cost(city, size),
    )
