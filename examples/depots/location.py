"""The model: a capacitated facility location problem with several sizes of a depot.

minimise    the cost of the open depots + the cost of transport
subject to  each city is served in full
            a depot serves no more than the capacity of its size
            a depot has at most one size, and serves only if it is open
            no more depots are open than allowed
"""

from dataclasses import dataclass

import highspy
import numpy as np

from cities import City, distances
from market import DepotSize, Market


@dataclass(frozen=True, slots=True)
class LocationModel:
    """The variables of the model, to read the solution from."""

    highs: highspy.Highs
    share: highspy.HighspyArray
    """``[i, j]``: the part of the demand of city i that depot j serves."""

    chosen: highspy.HighspyArray
    """``[j, k]``: whether a depot of size k is opened in candidate j."""

    sizes: list[DepotSize]

    def open_depots(self) -> dict[int, DepotSize]:
        chosen = np.asarray(self.highs.vals(self.chosen), dtype=float)
        return {int(j): self.sizes[int(k)] for j, k in zip(*np.nonzero(chosen > 0.5), strict=True)}

    def shares(self) -> np.ndarray:
        return np.asarray(self.highs.vals(self.share), dtype=float)


def build_model(
    highs: highspy.Highs,
    market: Market,
    cities: list[City],
    *,
    candidates: int,
    most_depots: int,
    single_sourcing: bool,
) -> LocationModel:
    """Write the model into ``highs``; the largest cities are the candidates for a depot."""
    count = len(cities)
    candidates = min(candidates, count)
    demand = market.demand(cities)
    kilometres = distances(cities)
    capacity = np.array([size.capacity for size in market.sizes])

    if single_sourcing:
        share = highs.addBinaries(count, candidates)
    else:
        share = highs.addVariables(count, candidates, lb=0, ub=1)
    chosen = highs.addBinaries(candidates, len(market.sizes))
    is_open = [chosen[j].sum() for j in range(candidates)]

    for i in range(count):
        highs.addConstr(share[i].sum() == 1)
    for j in range(candidates):
        highs.addConstr(is_open[j] <= 1)
        highs.addConstr((demand * share[:, j]).sum() <= (capacity * chosen[j]).sum())
        # Implied by the capacity, and yet what makes the bound of the search a good one.
        highs.addConstrs(share[i, j] <= is_open[j] for i in range(count))
    highs.addConstr(chosen.sum() <= most_depots)

    transport = [
        [market.transport_cost(demand[i] * kilometres[i, j]) for j in range(candidates)]
        for i in range(count)
    ]
    opening = [
        [market.depot_cost(cities[j], size) for size in market.sizes] for j in range(candidates)
    ]
    highs.setObjective((share * np.array(transport)).sum() + (chosen * np.array(opening)).sum())
    return LocationModel(highs=highs, share=share, chosen=chosen, sizes=market.sizes)
