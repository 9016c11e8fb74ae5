"""The input: which cities, what they need, and what depots and transport cost."""

from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from cities import City, Region
from slipway_open import field

# Land and labour cost more in a large city: up to half as much again in one of this size.
LARGE_CITY = 9_000_000
DEAREST_CITY = 0.5


class DepotSize(BaseModel):
    name: Annotated[str, Field(min_length=1, max_length=30)] = field(title="Name")
    capacity: float = field(title="Capacity (kt)", minimum=1, maximum=100_000)
    cost: float = field(title="Cost (M€)", minimum=0, maximum=10_000)


SIZES = [
    DepotSize(name="Small", capacity=450, cost=6),
    DepotSize(name="Medium", capacity=900, cost=9.6),
    DepotSize(name="Large", capacity=1800, cost=15.6),
]


class Market(BaseModel):
    """What both services ask for."""

    model_config = ConfigDict(extra="forbid")

    region: Region = field(Region.EUROPE, "Region")
    most_cities: int = field(
        90, "Cities", minimum=5, maximum=200, description="The largest ones of the region."
    )
    demand_per_person: float = field(
        50, "Demand per person", minimum=1, maximum=1000, step=1, unit="kg a year"
    )
    freight_rate: float = field(
        0.09, "Freight rate", minimum=0.01, maximum=1, step=0.01, unit="€ per t km"
    )
    sizes: Annotated[list[DepotSize], Field(min_length=1, max_length=6)] = field(
        SIZES, "Sizes of a depot"
    )

    def demand(self, cities: list[City]) -> np.ndarray:
        """Demand of each city in kilotonnes a year."""
        return np.array([city.population for city in cities]) * self.demand_per_person / 1e6

    def depot_cost(self, city: City, size: DepotSize) -> float:
        """Cost of a depot of this size in this city, in millions of euros a year."""
        return size.cost * (1 + DEAREST_CITY * min(1.0, city.population / LARGE_CITY))

    def transport_cost(self, kilotonne_kilometres: float) -> float:
        return kilotonne_kilometres * self.freight_rate / 1000
