"""What policies cost a fitted recommender in accuracy, and what they buy."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import numpy as np

from flanrec.data import Dataset
from flanrec.errors import SettingsError
from flanrec.evaluation.models import TOGETHER, drawn_users, in_catalogue
from flanrec.metrics import UserItems
from flanrec.ranking.policy import Policy
from flanrec.ranking.price import Prices, prices
from flanrec.recommender import Reading, Recommender

logger = logging.getLogger(__name__)


def price_policies(
    recommender: Recommender,
    test: Dataset,
    policies: Mapping[str, Policy],
    k: int = 10,
    reading: Reading = "fused",
    users: int | None = None,
    seed: int = 42,
    *,
    progress: Callable[[int], None] | None = None,
) -> Prices:
    """Compare the lists under each policy, and under each of its rules alone, with the lists without any.

    Parameters
    ----------
    test, users, progress
        As `flanrec.evaluation.models.evaluate_model` takes them.
    policies
        By the names under which their prices stand; a rule alone stands as ``name / rule``. Items that the
        catalogue does not have are logged as a warning.
    k
        Length of the lists; beyond the catalogue they are as long as they can be.

    Raises
    ------
    DataError
        The test is empty.
    NotFoundError
        The test has items that are not in the catalogue.
    SettingsError
        k is below 1, or a policy names a category, a column or an age that is unknown.
    """
    test = in_catalogue(recommender, test)
    facts = recommender.parts.item_facts
    for name, policy in policies.items():
        for note in policy.check(facts, name):
            logger.warning("policy %s, %s", name, note)
    asked = with_rules_alone(policies)
    ids = drawn_users(test, users, seed)
    persons = recommender.people(ids)
    plain = np.full((len(ids), max(k, 1)), -1, dtype=np.int64)
    lists = {name: plain.copy() for name in asked}
    spelled = reading == "generate"
    for first in range(0, len(ids), TOGETHER):
        part = persons[first : first + TOGETHER]
        found = recommender.candidates(part, k, reading=reading, progress=progress if spelled else None)
        rows = slice(first, first + len(part))
        plain[rows, : found.k] = found.plain()
        for name, policy in asked.items():
            lists[name][rows, : found.k] = found.reranked(policy, reasons=False).items
        if progress is not None and not spelled:
            progress(len(part))
    histories = UserItems.from_lists([person.items.tolist() for person in persons])
    return prices(plain, lists, test.sequences(ids), facts, histories, k, seed)


def with_rules_alone(policies: Mapping[str, Policy]) -> dict[str, Policy]:
    """Each policy, and after it each of its rules alone where it has several.

    >>> policy = Policy.parse({"boost": {"Drama": 2}, "pin": {"7": 1}})
    >>> list(with_rules_alone({"shop": policy, "pins": policy.alone("pin")}))
    ['shop', 'shop / boost', 'shop / pin', 'pins']

    Raises
    ------
    SettingsError
        Two would stand under one name.
    """
    found: dict[str, Policy] = {}
    for name, policy in policies.items():
        rules = policy.active if len(policy.active) > 1 else ()
        for key, one in ((name, policy), *((f"{name} / {rule}", policy.alone(rule)) for rule in rules)):
            if key in found:
                raise SettingsError(f"two policies are called {key!r}; give one another name")
            found[key] = one
    return found
