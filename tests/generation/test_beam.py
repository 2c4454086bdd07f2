from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flanrec.backbone import Backbone
from flanrec.catalogue.trie import TitleTrie
from flanrec.errors import DataError, SettingsError
from flanrec.generation import generate_items, title_log_probabilities

NOUNS = ["Star", "Night", "River", "House", "Dog", "King", "Moon", "Train", "Garden", "Storm", "Letter", "Road"]
TITLES = [f"{first} {second} ({1950 + 7 * n})" for n, first in enumerate(NOUNS) for second in ("Wars", "of Love", "II")]
# Titles that begin other titles end while longer ones go on, in and outside the best beams.
WORDS = ["Star", "Night", "River", "House", "Dog", "King", "Moon", "The", "A", "Wars", "Man"]
_random = np.random.default_rng(0)
NESTED = sorted({" ".join(_random.choice(WORDS, _random.integers(1, 4))) for _ in range(60)})
PROMPTS = [
    "A viewer liked Star Wars (1977), Alien (1979). Which movie comes next?",
    "A viewer liked The Garden of Love. What should they watch on a stormy night?",
    "Recommend a movie about a dog.",
]
awkward = st.text(max_size=12) | st.sampled_from(
    ["Alien", "Alien 3", "Alien 3 Extended", "🎬", "🎬🎥", "同じ", "long " * 60, "x" * 300, "Star Wars", "Star Trek"]
)
with_checkpoint = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def rows_of(backbone: Backbone, titles: list[str]) -> list[list[int]]:
    encoded = backbone.tokenizer(titles, add_special_tokens=False)["input_ids"] if titles else []
    return [[*[token for token in row if token > 1][:48], 1] for row in encoded]


def transformers_beams(
    backbone: Backbone, rows: list[list[int]], num_beams: int
) -> tuple[list[list[tuple[int, ...]]], np.ndarray]:
    following: dict[tuple[int, ...], set[int]] = {}
    for row in rows:
        for end in range(len(row)):
            following.setdefault(tuple(row[:end]), set()).add(row[end])
    ids, mask = backbone.encode_texts(PROMPTS)
    out = backbone.model.generate(
        input_ids=ids,
        attention_mask=mask,
        num_beams=num_beams,
        num_return_sequences=num_beams,
        length_penalty=0.0,
        early_stopping=False,
        do_sample=False,
        max_new_tokens=60,
        prefix_allowed_tokens_fn=lambda _, ids: sorted(following.get(tuple(ids.tolist()[1:]), {0})),
        return_dict_in_generate=True,
        output_scores=True,
    )
    sequences = [tuple(row[1 : row.index(1) + 1]) for row in out.sequences.tolist()]
    shaped = [sequences[n : n + num_beams] for n in range(0, len(sequences), num_beams)]
    return shaped, out.sequences_scores.reshape(len(PROMPTS), num_beams).numpy()


@pytest.mark.parametrize("num_beams", [3, 5, 10])
@pytest.mark.parametrize("titles", [TITLES, NESTED], ids=["plain", "nested"])
def test_items_and_scores_are_those_of_transformers_beam_search(
    backbone: Backbone, titles: list[str], num_beams: int
) -> None:
    rows = rows_of(backbone, titles)
    expected, expected_scores = transformers_beams(backbone, rows, num_beams)
    items, scores = generate_items(backbone, PROMPTS, TitleTrie.build(rows), k=num_beams, num_beams=num_beams)
    assert [[tuple(rows[item]) for item in user] for user in items] == expected
    np.testing.assert_allclose(scores, expected_scores, atol=1e-4, rtol=2e-6)


def test_excluded_items_give_the_list_of_a_catalogue_without_them(backbone: Backbone) -> None:
    rows = rows_of(backbone, TITLES)
    trie = TitleTrie.build(rows)
    first, _ = generate_items(backbone, PROMPTS, trie, k=5, num_beams=5)
    items, scores = generate_items(backbone, PROMPTS, trie, k=5, num_beams=5, excluded=[set(row) for row in first])
    for user, prompt in enumerate(PROMPTS):
        left = trie.remove(first[user].tolist())
        expected, expected_scores = generate_items(backbone, [prompt], left, k=5, num_beams=5)
        assert items[user].tolist() == expected[0].tolist()
        np.testing.assert_allclose(scores[user], expected_scores[0], atol=1e-4)


@pytest.mark.parametrize("normalisation", ["vocabulary", "catalogue", "trie"])
def test_beams_as_wide_as_the_catalogue_find_the_exact_order(backbone: Backbone, normalisation: str) -> None:
    rows = rows_of(backbone, TITLES)
    exact = title_log_probabilities(backbone, PROMPTS, rows, normalisation=normalisation, titles_at_once=7)
    items, scores = generate_items(
        backbone, PROMPTS, TitleTrie.build(rows), k=len(rows), num_beams=len(rows), normalisation=normalisation
    )
    np.testing.assert_allclose(scores, np.take_along_axis(exact, items, axis=1), atol=1e-4, rtol=1e-5)
    assert (np.diff(scores, axis=1) <= 0).all()
    assert (np.sort(items, axis=1) == np.arange(len(rows))).all()


@pytest.mark.parametrize("num_beams", [1, 4])
def test_best_first_search_finds_the_exact_best_where_beams_alone_lose_them(backbone: Backbone, num_beams: int) -> None:
    rows = rows_of(backbone, NESTED)
    weights = 1.0 + np.arange(len(rows)) % 7
    trie = TitleTrie.build(rows, weights=weights)
    seen = [set(range(20)), {5, 6}, set()]
    exact = title_log_probabilities(backbone, PROMPTS, rows, excluded=seen, normalisation="trie", weights=weights)
    np.testing.assert_allclose(np.exp(exact).sum(axis=1), 1.0, atol=1e-4)
    best = -np.sort(-exact, axis=1)[:, :4]
    items, scores = generate_items(
        backbone, PROMPTS, trie, k=4, num_beams=num_beams, excluded=seen, normalisation="trie", max_nodes=1000
    )
    np.testing.assert_allclose(scores, best, atol=1e-4)
    np.testing.assert_allclose(np.take_along_axis(exact, items, axis=1), best, atol=1e-4)
    few, few_scores = generate_items(
        backbone, PROMPTS, trie, k=4, num_beams=num_beams, excluded=seen, normalisation="trie", max_nodes=2
    )
    np.testing.assert_allclose(few_scores, np.take_along_axis(exact, few, axis=1), atol=1e-4)
    assert (few_scores <= scores + 1e-4).all()


def test_under_the_trie_probabilities_are_given_that_no_excluded_item_comes(backbone: Backbone) -> None:
    rows = rows_of(backbone, TITLES)
    weights = 1.0 + np.arange(len(rows)) % 5
    trie = TitleTrie.build(rows, weights=weights)
    barred = {0, 1, 2, 9}
    left = trie.remove(sorted(barred))
    expected, expected_scores = generate_items(backbone, PROMPTS, left, k=5, num_beams=9, normalisation="trie")
    items, scores = generate_items(
        backbone, PROMPTS, trie, k=5, num_beams=9, excluded=[barred] * 3, normalisation="trie"
    )
    assert items.tolist() == expected.tolist()
    np.testing.assert_allclose(scores, expected_scores, atol=1e-4)


def test_a_decoder_prefix_is_forced_and_not_scored(backbone: Backbone) -> None:
    rows = rows_of(backbone, TITLES)
    prefixes = ["", "The next movie is", "Title:"]
    items, scores = generate_items(backbone, PROMPTS, TitleTrie.build(rows), k=4, prefixes=prefixes)
    for user, (prompt, prefix) in enumerate(zip(PROMPTS, prefixes, strict=True)):
        ids, mask = backbone.encode_texts([prompt])
        start = [0, *backbone.tokenizer(prefix, add_special_tokens=False)["input_ids"]]
        for item, score in zip(items[user], scores[user], strict=True):
            row = torch.tensor(rows[item])
            decoder_ids = torch.tensor([start + rows[item][:-1]])
            with torch.inference_mode():
                logits = backbone.model(input_ids=ids, attention_mask=mask, decoder_input_ids=decoder_ids).logits[0]
            expected = logits[len(start) - 1 :].log_softmax(-1)[torch.arange(len(row)), row].sum()
            assert score == pytest.approx(float(expected), abs=1e-4)


@with_checkpoint
@given(
    titles=st.lists(awkward, max_size=14),
    seen=st.sets(st.integers(0, 13)),
    k=st.integers(1, 6),
    normalisation=st.sampled_from(["vocabulary", "catalogue", "trie"]),
)
def test_every_output_is_an_unseen_item_once_whatever_the_catalogue(
    backbone: Backbone, titles: list[str], seen: set[int], k: int, normalisation: str
) -> None:
    trie = TitleTrie.build(rows_of(backbone, titles))
    items, scores = generate_items(
        backbone, PROMPTS[:2], trie, k=k, num_beams=4, excluded=[seen, ()], normalisation=normalisation
    )
    for user, barred in enumerate((seen, set())):
        allowed = set(range(len(titles))) - barred
        given_items = items[user][items[user] >= 0].tolist()
        assert set(given_items) <= allowed
        assert len(given_items) == len(set(given_items)) == min(k, len(allowed))
        assert np.isfinite(scores[user, : len(given_items)]).all()
        assert (scores[user, len(given_items) :] == -np.inf).all()
        assert (scores[user, :-1] >= scores[user, 1:]).all()


def test_identical_titles_are_listed_each_with_the_same_score(backbone: Backbone) -> None:
    trie = TitleTrie.build(rows_of(backbone, ["Alien", "Heat", "Alien", "Alien"]))
    items, scores = generate_items(backbone, ["Alien. What is it called?"], trie, k=3, excluded=[[0]])
    assert sorted(items[0].tolist()) == [1, 2, 3]
    twins = np.isin(items[0], [2, 3])
    assert np.ptp(scores[0][twins]) == 0


def test_no_users_and_an_empty_catalogue_are_answered(backbone: Backbone) -> None:
    trie = TitleTrie.build(rows_of(backbone, TITLES))
    assert generate_items(backbone, [], trie, k=3)[0].shape == (0, 3)
    assert generate_items(backbone, PROMPTS, TitleTrie.build([]), k=2)[0].tolist() == [[-1, -1]] * 3


def test_wrong_settings_are_named(backbone: Backbone) -> None:
    trie = TitleTrie.build(rows_of(backbone, TITLES))
    with pytest.raises(SettingsError, match="k is 0"):
        generate_items(backbone, PROMPTS, trie, k=0)
    with pytest.raises(SettingsError, match="vocabulary, catalogue, trie"):
        generate_items(backbone, PROMPTS, trie, k=1, normalisation="none")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="3 prompts but 1"):
        generate_items(backbone, PROMPTS, trie, k=1, excluded=[[]])
