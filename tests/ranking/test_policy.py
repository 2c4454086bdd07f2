from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.data import Dataset
from flanrec.errors import DataError, SettingsError
from flanrec.metrics import UserItems
from flanrec.metrics.lists import EMPTY
from flanrec.ranking.facts import ItemFacts
from flanrec.ranking.policy import ORDER, Policy

SEEDS = st.integers(0, 2**32 - 1)
NAMES = ("Drama", "War", "Comedy")
DOCS = Path(__file__).parents[2] / "docs" / "reranking.md"


def draw(seed: int, users: int = 3, width: int = 10, items: int = 16):
    rng = np.random.default_rng(seed)
    # Rules may name any of them.
    categories = [tuple(NAMES), *(tuple(name for name in NAMES if rng.random() < 0.4) for _ in range(items - 1))]
    facts = ItemFacts(
        [f"i{item}" for item in range(items)],
        rng.integers(0, 30, items),
        {"category": categories, "provider": [("p0",), *((f"p{rng.integers(3)}",) for _ in range(items - 1))]},
        ages={"first_seen": rng.random(items) * 100},
    )
    candidates = np.array([rng.permutation(items)[:width] for _ in range(users)])
    histories = UserItems.from_lists(
        [[one for one in range(items) if one not in row and rng.random() < 0.7] for row in candidates.tolist()]
    )
    return candidates, -np.sort(-rng.normal(size=candidates.shape)), facts, histories


FULL = {
    "block": {"items": ["i3"], "categories": ["War"]},
    "boost": {"Drama": 1.5},
    "bury": {"Comedy": 0.5},
    "freshness": {"half_life_days": 20, "weight": 0.5},
    "diversity": {"method": "dpp", "balance": 0.2},
    "taste": {"weight": 0.2},
    "long_tail": {"share": 0.4},
    "quota": {"category": {"Drama": {"min": 1, "max": 3}}, "provider": {"p0": {"max": 2}}},
}


@given(seed=SEEDS, k=st.integers(1, 12))
def test_an_empty_policy_changes_nothing(seed: int, k: int) -> None:
    candidates, scores, facts, histories = draw(seed)
    result = Policy().apply(candidates, scores, facts, histories, k)
    width = min(k, 10)
    assert result.items[:, :width].tolist() == candidates[:, :width].tolist()
    assert result.scores[:, :width].tolist() == scores[:, :width].tolist()
    assert np.all(result.items[:, width:] == EMPTY)
    assert np.all(result.scores[:, width:] == -np.inf)
    assert result.notes == ()
    assert result.reasons.is_empty()


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, k=st.integers(1, 8), data=st.data())
def test_what_holds_whatever_rules_there_are(seed: int, k: int, data: st.DataObject) -> None:
    candidates, scores, facts, histories = draw(seed)
    used = data.draw(st.sets(st.sampled_from(sorted(FULL))))
    policy = Policy.parse({name: FULL[name] for name in used})
    result = policy.apply(candidates, scores, facts, histories, k)
    blocked = facts.members("category", "War")
    blocked[3] = True
    for user, row in enumerate(result.items):
        filled = row[row != EMPTY].tolist()
        assert len(filled) == len(set(filled))
        assert set(filled) <= set(candidates[user].tolist())
        assert row[: len(filled)].tolist() == filled
        if "block" in used:
            assert not blocked[filled].any()
        if "quota" in used:
            assert facts.members("category", "Drama")[filled].sum() <= 3
            assert facts.members("provider", "p0")[filled].sum() <= 2
    assert set(result.reasons["rule"]) <= used
    quiet = policy.apply(candidates, scores, facts, histories, k, reasons=False)
    assert quiet.items.tolist() == result.items.tolist()
    assert [str(note) for note in quiet.notes] == [str(note) for note in result.notes]


@settings(max_examples=50, deadline=None)
@given(seed=SEEDS, used=st.sets(st.sampled_from(sorted(set(FULL) - {"block"}))))
def test_pins_stand_at_their_ranks_and_nobody_gets_what_they_have(seed: int, used: set[str]) -> None:
    candidates, scores, facts, histories = draw(seed)
    result = Policy.parse({"pin": {"i0": 2, "i1": 5}} | {name: FULL[name] for name in used}).apply(
        candidates, scores, facts, histories, 5
    )
    for user, row in enumerate(result.items.tolist()):
        mine = histories.items[histories.offsets[user] : histories.offsets[user + 1]].tolist()
        assert len(set(row) - {EMPTY}) == len([one for one in row if one != EMPTY])
        full = EMPTY not in row
        for item, rank in ((0, 2), (1, 5)):
            if item in mine:
                assert item not in row
            else:
                assert item in row
                assert not full or row[rank - 1] == item


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_quotas_that_do_not_bind_leave_the_order_of_the_other_rules(seed: int) -> None:
    candidates, scores, facts, histories = draw(seed)
    rules = {"diversity": {"balance": 0.6}, "taste": {"weight": 0.3}, "pin": {"i0": 3}}
    loose = {"category": {"Drama": {"max": 6}, "War": {"min": 0}}}
    expected = Policy.parse(rules).apply(candidates, scores, facts, histories, 6)
    result = Policy.parse({**rules, "quota": loose}).apply(candidates, scores, facts, histories, 6)
    assert result.items.tolist() == expected.items.tolist()


def test_pins_count_in_quotas_from_the_first_rank_on() -> None:
    candidates, scores, facts = small()
    rules = {"quota": {"category": {"Drama": {"max": 1}}}, "pin": {"11": 3}}
    result = Policy.parse(rules).apply(candidates, scores, facts, k=3)
    assert result.items.tolist() == [[2, 3, 1]]
    assert result.notes == ()


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_reasons_lead_from_the_plain_list_to_the_result(seed: int) -> None:
    candidates, scores, facts, histories = draw(seed)
    rules = {**FULL, "pin": {"i0": 2}, "block": {"items": ["i3"]}}
    result = Policy.parse(rules).apply(candidates, scores, facts, histories, 6)
    assert result.reasons["rule"].is_in(list(ORDER)).all()
    assert result.reasons["user"].is_sorted()
    for user, row in enumerate(result.items.tolist()):
        mine = result.reasons.filter(pl.col("user") == user)
        places = mine["rule"].replace_strict(list(ORDER), list(range(len(ORDER))), return_dtype=pl.Int64)
        assert places.is_sorted()
        for item, rank in zip(mine["item"].to_list()[::-1][:1], mine["rank_after"].to_list()[::-1][:1], strict=True):
            assert (row.index(item) + 1 if item in row else None) == rank
        plain = candidates[user][:6].tolist()
        for item in set(row) - set(plain) - {EMPTY}:
            assert item in mine["item"], "an item came into the list without a reason"


def small() -> tuple[np.ndarray, np.ndarray, ItemFacts]:
    facts = ItemFacts(
        [10, 11, 12, 13],
        np.array([8, 4, 2, 1]),
        {"category": [("Drama",), ("Drama", "War"), ("Comedy",), ()]},
        ages={"year": np.array([1000.0, 900.0, 0.0, np.nan])},
    )
    return np.array([[0, 1, 2, 3]]), np.array([[4.0, 3.0, 2.0, 1.0]]), facts


def test_reasons_name_the_rule_and_the_ranks() -> None:
    candidates, scores, facts = small()
    rules = {"block": {"items": [10]}, "boost": {"Comedy": 4.0}, "pin": {"13": 1}}
    result = Policy.parse(rules).apply(candidates, scores, facts, k=3)
    assert result.items.tolist() == [[3, 2, 1]]
    assert result.reasons.select("item", "rule", "rank_before", "rank_after").rows() == [
        (0, "block", 1, None),
        (3, "block", None, 3),
        (2, "boost", 2, 1),
        (3, "pin", 3, 1),
    ]


def test_factors_work_in_standard_deviations_and_undo_each_other() -> None:
    candidates, scores, facts = small()
    deviation = scores.std()
    for scale, shift in ((1, 0), (1000, -5000)):
        lists = Policy.parse({"boost": {"Drama": 2.0}, "bury": {"War": 0.5}}).apply(
            candidates, scale * scores + shift, facts, k=4
        )
        expected = scale * (scores[0] + np.array([np.log(2), 0, 0, 0]) * deviation) + shift
        assert lists.items.tolist() == [[0, 1, 2, 3]]
        assert lists.scores[0] == pytest.approx(expected)


def test_freshness_lifts_new_items_only() -> None:
    candidates, scores, facts = small()
    rules = {"freshness": {"half_life_days": 30, "weight": 5, "by": "year"}}
    assert Policy.parse(rules).apply(candidates, scores, facts, k=4).items.tolist() == [[2, 0, 1, 3]]


def test_a_quota_that_cannot_be_met_is_noted_with_its_users() -> None:
    candidates, scores, facts = small()
    rules = {"quota": {"category": {"Drama": {"min": 3}, "Comedy": {"max": 0}}}, "long_tail": {"share": 0.5}}
    result = Policy.parse(rules).apply(np.vstack([candidates] * 2), np.vstack([scores] * 2), facts, k=4)
    assert result.items[0].tolist() == [0, 1, 3, EMPTY]
    assert [(note.rule, note.users.tolist()) for note in result.notes] == [
        ("long_tail", [0, 1]),
        ("quota.category.Drama", [0, 1]),
        ("quota", [0, 1]),
    ]
    assert str(result.notes[1]) == "quota.category.Drama: 2 lists have fewer than 3: their candidates give no more"


def test_pins_may_exceed_a_most_and_a_note_says_so() -> None:
    candidates, scores, facts = small()
    rules = {"quota": {"category": {"Drama": {"max": 1}}}, "pin": {"10": 1, "11": 2, "13": 9}}
    result = Policy.parse(rules).apply(candidates, scores, facts, k=3)
    assert result.items.tolist() == [[0, 1, 2]]
    assert [str(note) for note in result.notes] == [
        "pin: rank 9 of item 13 is beyond lists of 3",
        "quota.category.Drama: 1 lists have more than 1: pinned",
    ]


def test_pins_leave_out_what_a_user_has_and_bring_in_what_was_no_candidate() -> None:
    candidates, scores, facts = small()
    result = Policy.parse({"pin": {"13": 1}}).apply(
        np.vstack([candidates[:, :2]] * 2), np.vstack([scores[:, :2]] * 2), facts, UserItems.from_lists([[], [3]]), k=2
    )
    assert result.items.tolist() == [[3, 0], [0, 1]]
    assert result.scores[0].tolist() == [3.0, 4.0]
    assert [note.users.tolist() for note in result.notes] == [[1]]


def test_items_that_may_not_come_are_not_pinned_and_items_of_the_history_only_when_they_may_come_again() -> None:
    candidates, scores, facts = small()
    policy = Policy.parse({"pin": {"12": 1, "13": 2}})
    given = (candidates[:, :2], scores[:, :2], facts, UserItems.from_lists([[3]]))
    allowed = np.array([True, True, False, True])
    closed = policy.apply(*given, k=2, allowed=allowed)
    assert closed.items.tolist() == [[0, 1]]
    assert [str(note) for note in closed.notes] == [
        "pin: item 12 may not come in these lists, so it is not pinned",
        "pin: 1 lists lack a pinned item, because their user has it already",
    ]
    assert policy.apply(*given, k=2, allowed=allowed, seen=True).items.tolist() == [[0, 3]]


def test_active_rules_are_in_their_order_and_each_can_stand_alone() -> None:
    rules = {"pin": {"11": 1}, "boost": {"Drama": 2.0}, "block": {"items": [10]}}
    policy = Policy.parse(rules)
    assert policy.active == ("block", "boost", "pin")
    assert policy.alone("boost") == Policy.parse({"boost": {"Drama": 2.0}})
    assert Policy().active == ()
    assert Policy.parse(FULL | {"pin": {"i0": 1}}).active == ORDER


def test_items_that_the_catalogue_lacks_are_notes_because_items_come_and_go() -> None:
    candidates, scores, facts = small()
    result = Policy.parse({"block": {"items": ["99"]}, "pin": {"98": 1}}).apply(candidates, scores, facts, k=4)
    assert [str(note) for note in result.notes] == ["block.items: there is no item 99", "pin: there is no item 98"]
    assert result.items.tolist() == candidates.tolist()


def test_categories_that_the_catalogue_lacks_are_refused_together_with_the_nearest() -> None:
    facts = small()[2]
    rules = {
        "block": {"categories": ["comedie"]},
        "boost": {"Opera": 2.0},
        "quota": {"category": {"war": {"max": 1}}, "studio": {"x": {"max": 1}}},
    }
    with pytest.raises(SettingsError) as caught:
        Policy.parse(rules).check(facts, "shop.toml")
    assert str(caught.value) == (
        "shop.toml: block.categories: no item has category 'comedie'; the nearest is 'Comedy'; "
        "boost: no item has category 'Opera'; known are Comedy, Drama, War; "
        "quota.category: no item has category 'war'; the nearest is 'War'; "
        "quota.studio: the items have no column 'studio' to group by; they have: category"
    )


def test_the_example_of_the_documentation_loads_and_works(tmp_path: Path, small_dataset: Dataset) -> None:
    example = re.search(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    path = tmp_path / "policy.toml"
    path.write_text(example[1], encoding="utf-8")
    policy = Policy.load(path)
    assert set(policy.model_fields_set) == set(ORDER)
    known = ItemFacts.from_dataset(small_dataset)
    kinds = [*known.groups["category"][:27], ("Horror",), ("Documentary",), ("Action",)]
    facts = replace(known, groups={"category": kinds})
    sequences = small_dataset.sequences()
    candidates = np.tile(np.arange(30), (len(sequences), 1))
    result = policy.apply(candidates, -candidates.astype(float), facts, sequences, 10)
    assert np.all(result.items[:, 0] != EMPTY)
    assert np.all(facts.members("category", "Drama")[result.items].sum(axis=1) <= 5)


def test_an_empty_file_is_an_empty_policy(tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text("")
    assert Policy.load(tmp_path / "policy.toml") == Policy()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[blok]\nitems=[]", r"blok is not known; known here are block, boost, bury"),
        ("[block]\nitem=[]", r"block\.item is not known; known here are items, categories"),
        ("[diversity]\nbalanse=0.1", r"diversity\.balanse is not known; known here are method, balance"),
        ("[quota.category.Drama]\nmni=1", r"quota\.category\.Drama\.mni is not known; known here are min, max"),
        ("[quota.category.Drama]\nmin=3\nmax=1", r"quota\.category\.Drama is .*min 3 is above max 1"),
        ("[diversity]\nmethod='mrm'", r"diversity\.method is 'mrm': .*'mmr' or 'dpp'"),
        ("[boost]\nDrama=0.5", r"boost\.Drama is 0\.5: .*greater than or equal to 1"),
        ("[bury]\nDrama=0.0", r"bury\.Drama is 0\.0: .*greater than 0"),
        ("[long_tail]", r"long_tail\.share is missing; add it"),
        ("[pin]\na=1\nb=1", r"two items are pinned at one rank"),
        ("[block]\nitems=[5]\n[pin]\n5=1", r"items 5 are blocked and pinned"),
        ("[block", r"this is not TOML"),
    ],
)
def test_mistakes_in_a_file_are_told_with_file_key_and_what_is_known(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=rf"rules\.toml: .*{expected}"):
        Policy.load(path)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text("[block]\nitem=[]\n[diversity]\nbalance=2\n[freshness]\n")
    with pytest.raises(SettingsError) as caught:
        Policy.load(path)
    assert all(key in str(caught.value) for key in ("block.item ", "diversity.balance ", "freshness.half_life_days "))
    with pytest.raises(SettingsError, match="cannot be read"):
        Policy.load(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("rules", "expected"),
    [
        ({"taste": {}}, "needs the users' histories"),
        ({"freshness": {"half_life_days": 1}}, "asks for 'first_seen', but ages known are: year"),
        ({"quota": {"studio": {"x": {"max": 1}}}}, "no column 'studio'.*they have: category"),
        ({"block": {"categories": ["War"]}, "pin": {"11": 1}}, "item 11 is pinned at rank 1, but a category"),
    ],
)
def test_rules_that_the_facts_do_not_allow_are_refused(rules: dict, expected: str) -> None:
    candidates, scores, facts = small()
    with pytest.raises(SettingsError, match=expected):
        Policy.parse(rules).apply(candidates, scores, facts, k=2)


def test_rules_that_could_do_nothing_are_refused() -> None:
    bare = ItemFacts([10, 11], np.array([2, 1]))
    with pytest.raises(SettingsError) as caught:
        Policy.parse({"taste": {}, "freshness": {"half_life_days": 1}, "bury": {"War": 0.5}}).check(bare)
    assert str(caught.value) == (
        "policy: bury: the items have no column 'category' to group by; they have: none; "
        "the rule taste needs categories, and the items have none; add a column category to them; "
        "the rule freshness.by asks for 'first_seen', but ages known are: none, which needs timestamps"
    )


def test_shapes_that_do_not_fit_are_refused() -> None:
    candidates, scores, facts = small()
    with pytest.raises(DataError, match="one score a candidate"):
        Policy().apply(candidates, scores[:, 1:], facts)
    with pytest.raises(DataError, match="has item 4 at rank 1"):
        Policy().apply(candidates + 4, scores, facts)
    with pytest.raises(DataError, match="histories have 2 user rows but 1 were expected"):
        Policy().apply(candidates, scores, facts, UserItems.from_lists([[], []]))


@pytest.mark.parametrize("used", [set(), set(FULL), {"pin"}])
def test_users_without_candidates_get_empty_lists_or_their_pins(used: set[str]) -> None:
    facts = draw(5)[2]
    rules = {"pin": {"i0": 2}} if used == {"pin"} else {name: FULL[name] for name in used}
    nobody = UserItems.from_lists([[], []])
    for width in (0, 4):
        candidates = np.full((2, width), EMPTY)
        result = Policy.parse(rules).apply(candidates, np.zeros((2, width)), facts, nobody, 3)
        assert result.items.tolist() == [[0 if used == {"pin"} else EMPTY, EMPTY, EMPTY]] * 2
