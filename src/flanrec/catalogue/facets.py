"""Facets: what a wish can name, the categories and decades of a catalogue."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.items import Catalogue
from flanrec.instructions.text import sanitise


@dataclass(frozen=True)
class Facets:
    """Named sets of items.

    Attributes
    ----------
    names
        Categories first, in order of size, then decades such as ``1980s``.
    members
        bool [n_items, n_facets]
    n_categories
        How many of the names are categories.
    """

    names: list[str]
    members: NDArray[np.bool_]
    n_categories: int

    @classmethod
    def of(cls, catalogue: Catalogue, fewest: int = 5) -> Facets:
        """Collect the facets that at least `fewest` items have."""
        categories = _sets([tuple(names) for names in catalogue.categories], fewest)
        decades = _sets([(f"{year // 10 * 10}s",) if year else () for year in catalogue.years], fewest)
        names = [*categories, *decades]
        members = np.zeros((len(catalogue), len(names)), dtype=bool)
        for column, items in enumerate([*categories.values(), *decades.values()]):
            members[items, column] = True
        return cls(names, members, len(categories))

    def largest_categories(self, count: int) -> list[int]:
        """Columns of the categories with the most items."""
        return list(range(min(count, self.n_categories)))


def _sets(names_of_items: list[tuple[str, ...]], fewest: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for item, names in enumerate(names_of_items):
        for name in dict.fromkeys(map(sanitise, names)):
            if name:
                found.setdefault(name, []).append(item)
    large = {name: items for name, items in found.items() if len(items) >= fewest}
    return dict(sorted(large.items(), key=lambda pair: (-len(pair[1]), pair[0])))
