"""The sample policies: every one loads, does what its comments say, and names only what MovieLens has."""

from __future__ import annotations

from pathlib import Path

import pytest

from flanrec.data.movielens import GENRES
from flanrec.metrics import UserItems
from flanrec.ranking.policy import ORDER, Policy
from flanrec.ranking.taste import divergence_of_lists
from flanrec.recommender import Recommender

FOLDER = Path(__file__).parents[1] / "examples" / "policies"
FILES = sorted(FOLDER.glob("*.toml"))
USERS = [f"u{user}" for user in range(0, 40, 3)]


def test_together_the_samples_show_every_rule_with_names_of_movielens() -> None:
    policies = [Policy.load(path) for path in FILES]
    assert {rule for policy in policies for rule in policy.active} == set(ORDER)
    for policy in policies:
        named = {*policy.block.categories, *policy.boost, *policy.bury, *policy.quota.get("category", {})}
        assert named <= set(GENRES)
        assert set(policy.quota) <= {"category"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_sample_says_what_it_is_for_and_works_on_a_fitted_recommender(fitted: Recommender, path: Path) -> None:
    assert path.read_text(encoding="utf-8").startswith(f"# {path.stem.capitalize()}: ")
    assert path.name in (FOLDER.parents[1] / "docs" / "reranking.md").read_text(encoding="utf-8")
    table = fitted.recommend(USERS, k=5, policy=path)
    assert table.height == 5 * len(USERS)
    assert not table.equals(fitted.recommend(USERS, k=5))


def test_discovery_keeps_its_share_for_the_tail(fitted: Recommender) -> None:
    tail = fitted.parts.item_facts.tail
    items, _ = fitted.rank(fitted.people(USERS), 5, policy=FOLDER / "discovery.toml")
    assert tail[items].mean(axis=1).min() >= 0.2


def test_taste_brings_the_categories_nearer_to_the_history(fitted: Recommender) -> None:
    persons, shares = fitted.people(USERS), fitted.parts.item_facts.category_shares
    histories = UserItems.from_lists([person.items.tolist() for person in persons])
    plain, _ = fitted.rank(persons, 5)
    items, _ = fitted.rank(persons, 5, policy=FOLDER / "taste.toml")
    far, near = (divergence_of_lists(lists, histories, shares).mean() for lists in (plain, items))
    assert near < far


def test_campaign_shows_no_adventure_and_keeps_its_dramas_within_bounds(fitted: Recommender) -> None:
    facts = fitted.parts.item_facts
    items, _ = fitted.rank(fitted.people(USERS), 8, policy=FOLDER / "campaign.toml")
    assert not facts.members("category", "Adventure")[items].any()
    dramas = facts.members("category", "Drama")[items].sum(axis=1)
    assert dramas.min() >= 1
    assert dramas.max() <= 5
