from __future__ import annotations

import numpy as np

from flanrec.ranking.facts import ItemFacts
from flanrec.ranking.policy import Policy
from flanrec.ranking.tally import Tally

FACTS = ItemFacts([10, 11, 12, 13], np.array([8, 4, 2, 1]), {"category": [("Drama",), ("War",), ("Comedy",), ()]})
CANDIDATES, SCORES = np.array([[0, 1, 2, 3]]), np.array([[4.0, 3.0, 2.0, 1.0]])


def test_moves_and_notes_of_parts_add_up_to_those_of_all() -> None:
    rules = {
        "block": {"items": [10, 99]},
        "boost": {"Comedy": 4.0},
        "bury": {"Drama": 0.5},
        "quota": {"category": {"War": {"min": 2}}},
    }
    policy = Policy.parse(rules)
    parts, whole = Tally(policy.active), Tally(policy.active)
    for users in (1, 2):
        parts.add(policy.apply(np.tile(CANDIDATES, (users, 1)), np.tile(SCORES, (users, 1)), FACTS, k=3))
    whole.add(policy.apply(np.tile(CANDIDATES, (3, 1)), np.tile(SCORES, (3, 1)), FACTS, k=3))
    # Blocked 0 goes and 3 comes, 1 and 2 are moved up by it, which is not told; 2 then passes 1.
    expected = [("block", 3, 3, 3, 0), ("boost", 3, 0, 0, 3), ("bury", 0, 0, 0, 0), ("quota", 0, 0, 0, 0)]
    assert parts.table().rows() == expected
    assert whole.table().rows() == expected
    assert [str(note) for note in parts.notes] == [
        "block.items: there is no item 99",
        "quota.category.War: 3 lists have fewer than 2: their candidates give no more",
    ]
    assert parts.notes[1].users.tolist() == [0, 1, 2]


def test_a_policy_without_rules_has_an_empty_table() -> None:
    tally = Tally(())
    tally.add(Policy().apply(CANDIDATES, SCORES, FACTS, k=2))
    assert tally.table().is_empty()
    assert tally.notes == []
