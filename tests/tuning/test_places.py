"""Questions and windows about some events of a history alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue import Catalogue
from flanrec.catalogue.facets import Facets
from flanrec.catalogue.factors import transition_factors
from flanrec.catalogue.item_tokens import ItemTokens, ItemTokenSettings
from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.people import people
from flanrec.catalogue.prompter import Prompter
from flanrec.data.dataset import Dataset
from flanrec.errors import DataError
from flanrec.tuning.objectives.item_tokens import ItemTokenObjective
from flanrec.tuning.questions import Questions

seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=40, deadline=None)
NOTHING = np.zeros(0, dtype=np.int64)
WIDTH = 4


@pytest.fixture(scope="module")
def asked(small_dataset: Dataset, small_prompter: Prompter) -> Questions:
    """About the first and the fifth event of u8, and about nobody else's."""
    places = [np.array([0, 4]) if user == "u8" else NOTHING for user in small_dataset.user_ids]
    return Questions(
        people(small_dataset), small_prompter, Facets.of(small_prompter.catalogue),
        LikeRates.of(small_dataset.sequences()), places=places, answers=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def tokens(backbone: Backbone, small_catalogue: Catalogue, small_dataset: Dataset) -> ItemTokens:
    torch.manual_seed(0)
    shape = ItemTokenSettings(layers=1, window=WIDTH, rank=16, damping=1.0)
    factors = transition_factors(small_dataset.sequences(), shape.rank)
    return ItemTokens.build(backbone, small_catalogue, factors, shape).eval()


@quick
@given(seed=seeds)
def test_questions_are_about_events_at_these_places(asked: Questions, small_dataset: Dataset, seed: int) -> None:
    (user,) = asked.users
    question = asked.next_item(np.random.default_rng(seed))
    assert question.items == (int(user.items[4]),)
    judged = asked.judgement(np.random.default_rng(seed))
    assert judged.liked == (user.ratings[4] >= 4.0)


def test_nobody_is_asked_about_a_first_event(small_dataset: Dataset, small_prompter: Prompter) -> None:
    alone = Questions(
        people(small_dataset), small_prompter, Facets.of(small_prompter.catalogue),
        LikeRates.of(small_dataset.sequences()), places=[np.array([0])] * 40,
    )  # fmt: skip
    assert alone.users == []
    with pytest.raises(DataError, match="nothing to ask"):
        alone.next_item(np.random.default_rng(0))


@quick
@given(seed=seeds, places=st.sets(st.integers(0, 9), min_size=1))
def test_windows_ask_about_events_at_these_places_and_about_one_at_least(
    tokens: ItemTokens, backbone: Backbone, small_dataset: Dataset, small_prompter: Prompter, seed: int,
    places: set[int],
) -> None:  # fmt: skip
    user = people(small_dataset, ["u4"])[0]  # ten events, no item twice
    objective = ItemTokenObjective(
        tokens, PromptEncoder(backbone), small_prompter, [user], Facets.of(small_prompter.catalogue), wishes=0.0,
        places=[np.array(sorted(places))],
    )  # fmt: skip
    (window,) = objective.draw(np.random.default_rng(seed), 1)
    asked = [item for item in window.targets.tolist() if item >= 0]
    assert asked
    assert {user.items.tolist().index(item) for item in asked} <= places
    assert len(window.items) <= WIDTH
    told = window.items.tolist()
    start = user.items.tolist().index(told[0]) if told else 0
    assert user.items[start : start + len(told)].tolist() == told


def test_users_without_such_events_are_left_out(
    tokens: ItemTokens, backbone: Backbone, small_dataset: Dataset, small_prompter: Prompter
) -> None:
    users = people(small_dataset, ["u1", "u2"])
    facets = Facets.of(small_prompter.catalogue)
    encoder = PromptEncoder(backbone)
    objective = ItemTokenObjective(tokens, encoder, small_prompter, users, facets, places=[NOTHING, np.array([3])])
    assert objective.users == [users[1]]
    assert ItemTokenObjective(tokens, encoder, small_prompter, users, facets, places=[NOTHING] * 2).draw(
        np.random.default_rng(0), 4
    ) == []  # fmt: skip
