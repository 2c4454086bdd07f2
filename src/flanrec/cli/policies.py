"""Policies on the command line: named by files, and told on stderr what they did."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flanrec.ranking.policy import Policy
    from flanrec.ranking.tally import Tally
    from flanrec.recommender import Recommender

logger = logging.getLogger(__name__)


def read_policies(paths: Sequence[Path]) -> dict[Path, Policy]:
    """The policies of TOML files, each file once.

    Raises
    ------
    SettingsError
        A file cannot be read, or a key or a value of it cannot work.
    """
    from flanrec.ranking.policy import Policy

    return {path: Policy.load(path) for path in dict.fromkeys(paths)}


def check_policies(policies: dict[Path, Policy], recommender: Recommender) -> None:
    """Refuse policies that name what the catalogue does not have, with their file.

    Raises
    ------
    SettingsError
        As `flanrec.ranking.naming.check_names`.
    """
    for path, policy in policies.items():
        policy.check(recommender.parts.item_facts, str(path))


def by_name(policies: dict[Path, Policy]) -> dict[str, Policy]:
    """Policies by the names of their files without suffix; by the whole paths where those are not enough.

    >>> list(by_name({Path("a/shop.toml"): None, Path("b/shop.toml"): None, Path("b/news.toml"): None}))
    ['a/shop.toml', 'b/shop.toml', 'news']
    """
    stems = [path.stem for path in policies]
    return {path.stem if stems.count(path.stem) == 1 else str(path): policy for path, policy in policies.items()}


def tell(tally: Tally) -> None:
    """Log what each rule moved, and warn of what it could not do."""
    for rule, lists, came, went, moved in tally.table().iter_rows():
        logger.info(
            "policy, %s: %d of %d lists changed; %d items came in, %d went out, %d changed their rank",
            rule, lists, tally.n_users, came, went, moved,
        )  # fmt: skip
    for note in tally.notes:
        logger.warning("policy, %s", note)


def plain(path: Path, tally: Tally) -> dict[str, Any]:
    """The same for JSON."""
    return {"file": str(path), "moves": tally.table().to_dicts(), "notes": [str(note) for note in tally.notes]}
