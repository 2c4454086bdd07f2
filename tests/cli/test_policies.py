"""``recommend --policy`` and ``evaluate --policy``: rules from files, what they moved, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from flanrec.data.dataset import Dataset

if TYPE_CHECKING:
    from conftest import Flanrec, Trained


def lists_of(document: dict[str, Any]) -> list[list[int]]:
    return [[row["item_id"] for row in one["items"]] for one in document["recommendations"]]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    return tmp_path / "shop.toml"


def test_rules_move_the_lists_and_stderr_and_json_say_what_each_moved(
    flanrec: Flanrec, trained: Trained, policy: Path
) -> None:
    asked = ["recommend", "--model", trained.model, "--user", 3, "--user", 4, "--k", 3, "--json"]
    plain = lists_of(flanrec(*asked).json)
    gone = {plain[0][0], plain[1][1]}
    policy.write_text(f"[block]\nitems = {sorted(gone)}\n[boost]\nDrama = 1\n[pin]\n999 = 2\n")
    said = flanrec(*asked, "--policy", policy)
    assert said.code == 0, said.err
    for before, after in zip(plain, lists_of(said.json), strict=True):
        kept = [item for item in before if item not in gone]
        assert after[: len(kept)] == kept
        assert not gone & set(after)
        assert len(after) == 3
    went = sum(item in gone for row in plain for item in row)
    assert said.json["policy"] == {
        "file": str(policy),
        "moves": [
            {"rule": "block", "lists": 2, "came_in": went, "went_out": went, "moved": 0},
            {"rule": "boost", "lists": 0, "came_in": 0, "went_out": 0, "moved": 0},
            {"rule": "pin", "lists": 0, "came_in": 0, "went_out": 0, "moved": 0},
        ],
        "notes": ["pin: there is no item 999"],
    }
    assert f"policy, block: 2 of 2 lists changed; {went} items came in, {went} went out, 0 changed" in said.err
    assert "WARNING policy, pin: there is no item 999" in said.err
    quiet = flanrec("--quiet", *asked, "--policy", policy)
    assert "policy, block" not in quiet.err
    assert "policy, pin" in quiet.err


@pytest.mark.parametrize("reading", ["fused", "item_tokens", "generate"])
def test_a_file_of_lists_under_a_policy_for_every_reading(
    flanrec: Flanrec, trained: Trained, numbered: Dataset, policy: Path, tmp_path: Path, reading: str
) -> None:
    out = tmp_path / "recs.csv"
    policy.write_text('[block]\ncategories = ["Comedy"]\n[diversity]\n[pin]\n128 = 1\n')
    said = flanrec("recommend", "--model", trained.model, "--history", "102", "--k", 4, "--reading", reading, "--wish",
                   "drama", "--policy", policy, "--out", out, "--json")  # fmt: skip
    assert said.code == 0, said.err
    assert said.json["policy"]["moves"][0]["rule"] == "block"
    items = pl.read_csv(out)["item_id"].to_list()
    assert items[0] == 128
    assert len(items) == 4
    comedies = numbered.items.filter(pl.col("category").list.contains("Comedy"))["item_id"].to_list()
    assert not set(items) & set(comedies)


def test_the_price_is_that_of_the_policy_and_of_each_rule_alone(
    flanrec: Flanrec, trained: Trained, tmp_path: Path, policy: Path
) -> None:
    asked = ["--model", trained.model, "--user", 3, "--user", 4, "--k", 5, "--json"]
    lists = lists_of(flanrec("recommend", *asked).json)
    test, idle = tmp_path / "test.csv", tmp_path / "idle.toml"
    # Both got what they wanted at rank 1. Blocked, they get nothing of it; the pin alone moves it to rank 2.
    test.write_text(f"user_id,item_id\n3,{lists[0][0]}\n4,{lists[1][0]}\n")
    policy.write_text(
        f"[block]\nitems = [{lists[0][0]}, {lists[1][0]}]\n"
        f"[pin]\n{next(item for item in (128, 129) if item not in (lists[0][0], lists[1][0]))} = 1\n"
    )
    idle.write_text("")
    command = ["evaluate", "--model", trained.model, "--test", test, "--k", "1,5", "--policy", policy, "--policy", idle]
    said = flanrec(*command, "--json")
    assert said.code == 0, said.err
    told = said.json["policies"]["fused"]
    assert (told["k"], told["users"]) == (5, 2)
    assert list(told["prices"]) == ["shop", "shop / block", "shop / pin", "idle"]
    assert set(told["prices"]["shop"]) == set(told["definitions"])
    block = told["prices"]["shop / block"]
    for metric in ("ndcg", "hit_rate"):
        assert (block[metric]["before"], block[metric]["after"]) == (1.0, 0.0)
        assert (block[metric]["difference"]["low"], block[metric]["difference"]["high"]) == (-1.0, -1.0)
    assert told["prices"]["shop / pin"]["ndcg"]["after"] == pytest.approx(0.6309, abs=1e-4)
    assert told["prices"]["shop / pin"]["hit_rate"]["after"] == 1.0
    assert all(change["before"] == change["after"] for change in told["prices"]["idle"].values())
    shown = flanrec(*command)
    assert shown.code == 0, shown.err
    for words in ("the price of policies, fused", "shop / block", "hit_rate", "2 users, lists of 5"):
        assert words in shown.out


def test_each_reading_has_its_own_prices(flanrec: Flanrec, trained: Trained, tmp_path: Path, policy: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_text("user_id,item_id\n3,129\n4,128\n")
    policy.write_text("[long_tail]\nshare = 0.4\n")
    said = flanrec("evaluate", "--model", trained.model, "--test", test, "--k", 5, "--reading", "item_tokens",
                   "--reading", "generate", "--policy", policy, "--json")  # fmt: skip
    assert said.code == 0, said.err
    assert list(said.json["policies"]) == ["item_tokens", "generate"]
    for told in said.json["policies"].values():
        assert list(told["prices"]) == ["shop"], "a rule that is the whole policy is not told twice"
        assert told["prices"]["shop"]["tail_share"]["after"] >= 0.4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "shop.toml: the policy cannot be read: No such file or directory; check the path"),
        ("[blok]\n", "shop.toml: blok is not known; known here are block, boost"),
        ("[block\n", "shop.toml: this is not TOML"),
        ("[boost]\nDrama = 0.5\n", "shop.toml: boost.Drama is 0.5"),
        ("[bury]\nDramma = 0.5\n", "shop.toml: bury: no item has category 'Dramma'; the nearest is 'Drama'"),
        ("[quota.studio.x]\nmax = 1\n", "shop.toml: quota.studio: the items have no column 'studio'"),
    ],
)
def test_a_policy_that_cannot_be_used_says_where_and_how_to_mend_it(
    flanrec: Flanrec, trained: Trained, policy: Path, tmp_path: Path, text: str | None, words: str
) -> None:
    if text is not None:
        policy.write_text(text)
    test = tmp_path / "test.csv"
    test.write_text("user_id,item_id\n3,129\n")
    for command in (["recommend", "--user", 3], ["evaluate", "--test", test]):
        said = flanrec(*command, "--model", trained.model, "--policy", policy)
        assert said.code == 2
        assert words in said.err
        assert said.out == ""


def test_mistakes_of_a_file_are_told_before_the_model_is_loaded(flanrec: Flanrec, policy: Path, tmp_path: Path) -> None:
    policy.write_text("[blok]\n")
    said = flanrec("recommend", "--model", tmp_path / "none", "--user", 3, "--policy", policy)
    assert said.code == 2
    assert "blok is not known" in said.err
