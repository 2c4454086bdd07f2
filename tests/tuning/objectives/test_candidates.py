"""The scores of candidates are what transformers' own forward pass makes of them under the trie."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from by_hand import item_log_probability

from flanrec.backbone import Backbone
from flanrec.catalogue.trie import TitleTrie
from flanrec.generation import title_log_probabilities
from flanrec.tuning.objectives.candidates import CandidateScorer, Choice, among_candidates

PROMPTS = ["The user wants comedy. Recommend one movie.", "Which movie comes next after Alien (1979); Heat (1995)?"]
TITLES = ["Alien", "Alien 3", "Aliens", "Heat", "Heat", "Toy Story (1995)", "Toy Soldiers (1991)", "Ed Wood"]
WEIGHTS = np.array([1.0, 5.0, 2.0, 3.0, 4.0, 9.0, 1.0, 20.0])
CHOICES = [
    Choice(PROMPTS[0], (6, 0, 4, 7), (1.0, 0.0, 0.0, 0.0), excluded=(5, 2)),
    Choice(PROMPTS[1], (1, 5), (0.0, 1.0), corrections=(0.5, -0.5)),
]


@pytest.fixture(scope="module")
def rows(backbone: Backbone) -> list[list[int]]:
    found: list[list[int]] = backbone.tokenizer(TITLES)["input_ids"]
    return found


@pytest.fixture(scope="module")
def scorer(backbone: Backbone, rows: list[list[int]]) -> CandidateScorer:
    return CandidateScorer(backbone, TitleTrie.build(rows, weights=WEIGHTS))


def scored(scorer: CandidateScorer, *choices: Choice) -> torch.Tensor:
    with torch.no_grad():
        return scorer.scores(scorer.prepare(choices))


def test_a_score_is_the_log_probability_by_transformers_own_forward_pass(
    backbone: Backbone, rows: list[list[int]], scorer: CandidateScorer
) -> None:
    found = scored(scorer, *CHOICES)
    assert found.shape == (2, 4)
    for at, choice in enumerate(CHOICES):
        for place, item in enumerate(choice.items):
            expected = item_log_probability(
                backbone, choice.prompt, rows, item, weights=WEIGHTS, excluded=choice.excluded
            )
            assert float(found[at, place]) == pytest.approx(expected, abs=1e-3)
    assert found[1, 2:].tolist() == [-math.inf] * 2


def test_a_score_is_what_generation_calls_the_items_probability(
    backbone: Backbone, rows: list[list[int]], scorer: CandidateScorer
) -> None:
    expected = title_log_probabilities(backbone, PROMPTS, rows, normalisation="trie", weights=WEIGHTS)
    every = tuple(range(len(TITLES)))
    found = scored(scorer, *(Choice(prompt, every, (0.0,) * 8) for prompt in PROMPTS))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)
    np.testing.assert_allclose(found.exp().sum(dim=1).numpy(), 1.0, atol=1e-4)


def test_the_order_of_candidates_and_their_company_do_not_matter(scorer: CandidateScorer) -> None:
    first, second = CHOICES[0], replace(CHOICES[0], items=CHOICES[0].items[::-1], grades=CHOICES[0].grades[::-1])
    here, there, alone = scored(scorer, first, CHOICES[1]), scored(scorer, CHOICES[1], second), scored(scorer, first)
    torch.testing.assert_close(there[1].flip(0), here[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(alone[0], here[0], atol=1e-4, rtol=1e-4)


def test_the_encoder_reads_a_prompt_once_for_all_candidates(backbone: Backbone, scorer: CandidateScorer) -> None:
    read: list[int] = []
    hook = backbone.model.get_encoder().final_layer_norm.register_forward_pre_hook(
        lambda _, given: read.append(len(given[0]))
    )
    try:
        scored(scorer, *CHOICES)
    finally:
        hook.remove()
    assert read == [sum(backbone.token_count(choice.prompt) for choice in CHOICES)]


def test_what_is_prepared_does_not_depend_on_the_models_weights(
    rows: list[list[int]], scorer: CandidateScorer, fresh_backbone: Callable[[], Backbone]
) -> None:
    other = fresh_backbone()
    with torch.no_grad():
        for weight in other.model.parameters():
            weight.zero_()
    one = scorer.prepare(CHOICES)
    two = CandidateScorer(other, TitleTrie.build(rows, weights=WEIGHTS)).prepare(CHOICES)
    assert torch.equal(one.asked.ids, two.asked.ids)
    assert all(torch.equal(first, second) for first, second in zip(one.asked.packed, two.asked.packed, strict=True))
    for ours, theirs in ((one.forks, two.forks), (one._replace(asked=None, forks=None), two)):
        for name, first, second in zip(ours._fields, ours, theirs, strict=True):
            assert first is None or torch.equal(torch.as_tensor(first), torch.as_tensor(second)), name
    assert one.grades.tolist() == [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]]
    assert one.corrections.tolist() == [[0.0] * 4, [0.5, -0.5, 0.0, 0.0]]
    assert one.present.tolist() == [[True] * 4, [True, True, False, False]]


def test_the_only_title_of_a_catalogue_is_certain(backbone: Backbone, rows: list[list[int]]) -> None:
    alone = CandidateScorer(backbone, TitleTrie.build([rows[3], rows[4]], weights=np.array([3.0, 1.0])))
    found = scored(alone, Choice(PROMPTS[0], (0, 1), (1.0, 0.0)))
    np.testing.assert_allclose(found.exp().numpy(), [[0.75, 0.25]], atol=1e-6)


def test_among_candidates_the_probabilities_add_up_and_differ_like_the_scores(scorer: CandidateScorer) -> None:
    scores = scored(scorer, *CHOICES)
    among = among_candidates(scores)
    np.testing.assert_allclose(among.exp().sum(dim=1).numpy(), 1.0, atol=1e-5)
    torch.testing.assert_close(among[0, 1:] - among[0, 0], scores[0, 1:] - scores[0, 0], atol=1e-4, rtol=1e-4)
    assert torch.isfinite(among).all()
