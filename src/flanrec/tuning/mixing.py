"""How often each task family has its turn, by how many examples it can draw."""

from __future__ import annotations

from collections.abc import Mapping

from flanrec.errors import SettingsError


def temperature_weights(
    sizes: Mapping[str, int], temperature: float = 2.0, limit: int | None = None
) -> dict[str, float]:
    """The share of each task under examples-proportional mixing with a temperature.

    A task of n examples gets a share in proportion to ``min(n, limit) ** (1 / temperature)``. At temperature 1 that is
    its share of all examples, and the higher it is the more alike the shares become. The limit keeps a task that has
    far more examples than a run can use from crowding out the others.

    Parameters
    ----------
    sizes
        Examples of each task.
    temperature
        At least 1.
    limit
        Most examples of a task that count; None for all.

    Returns
    -------
    dict
        Shares that add up to one; 0 for a task without examples.

    Raises
    ------
    SettingsError
        The temperature is below 1, the limit below 1, or no task has examples.

    References
    ----------
    Raffel et al., "Exploring the limits of transfer learning with a unified text-to-text transformer", 2020,
    section 3.5.2.

    Examples
    --------
    >>> temperature_weights({"sequential": 900, "rating": 100}, temperature=1.0)
    {'sequential': 0.9, 'rating': 0.1}
    >>> temperature_weights({"sequential": 900, "rating": 100}, temperature=2.0)
    {'sequential': 0.75, 'rating': 0.25}
    >>> temperature_weights({"sequential": 900, "rating": 100}, temperature=1.0, limit=300)
    {'sequential': 0.75, 'rating': 0.25}
    """
    if temperature < 1 or (limit is not None and limit < 1):
        raise SettingsError(f"temperature is {temperature} and limit {limit}; both must be at least 1")
    rates = {
        name: float(size if limit is None else min(size, limit)) ** (1 / temperature) if size > 0 else 0.0
        for name, size in sizes.items()
    }
    total = sum(rates.values())
    if not total:
        raise SettingsError(f"none of the tasks {sorted(sizes)} has examples, so there is nothing to mix")
    return {name: rate / total for name, rate in rates.items()}
