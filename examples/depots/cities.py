"""The cities of a region, with their demand and the distances between them."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from slipway_open import project

EARTH_RADIUS = 6371.0


class Region(StrEnum):
    EUROPE = "Europe"
    NORTH = "Northern Europe"
    WEST = "Western Europe"
    CENTRE = "Central Europe"
    SOUTH = "Southern Europe"
    IBERIA = "Spain and Portugal"
    ISLES = "British Isles"


COUNTRIES: dict[Region, set[str]] = {
    Region.NORTH: {
        "Denmark", "Estonia", "Finland", "Iceland", "Latvia", "Lithuania", "Norway", "Sweden",
    },
    Region.WEST: {
        "Belgium", "France", "Germany", "Ireland", "Luxembourg", "The Netherlands",
        "United Kingdom",
    },
    Region.CENTRE: {
        "Austria", "Czechia", "Germany", "Hungary", "Poland", "Slovakia", "Slovenia",
        "Switzerland",
    },
    Region.SOUTH: {
        "Albania", "Bosnia and Herzegovina", "Bulgaria", "Croatia", "Greece", "Italy",
        "Montenegro", "North Macedonia", "Romania", "Serbia",
    },
    Region.IBERIA: {"Portugal", "Spain"},
    Region.ISLES: {"Ireland", "United Kingdom"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class City:
    id: int
    name: str
    country: str
    longitude: float
    latitude: float
    population: int


def cities_of(region: Region, most: int) -> list[City]:
    """Give the largest cities of the region, the largest first."""
    everywhere = [City(**entry) for entry in _data()["cities"]]
    countries = COUNTRIES.get(region)
    return [city for city in everywhere if countries is None or city.country in countries][:most]


def backdrop() -> list[list[float]]:
    """Give longitude and latitude of every town: enough to recognise the continent."""
    towns: list[list[float]] = _data()["backdrop"]
    return towns


def distances(cities: list[City]) -> np.ndarray:
    """Give the great-circle distances between all cities, in kilometres."""
    latitude = np.radians([city.latitude for city in cities])
    longitude = np.radians([city.longitude for city in cities])
    half_north = (latitude[:, None] - latitude) / 2
    half_east = (longitude[:, None] - longitude) / 2
    square = (
        np.sin(half_north) ** 2
        + np.cos(latitude[:, None]) * np.cos(latitude) * np.sin(half_east) ** 2
    )
    return 2 * EARTH_RADIUS * np.arcsin(np.sqrt(square))


def _data() -> dict[str, Any]:
    data: dict[str, Any] = project.read_json("data/cities.json")
    return data
