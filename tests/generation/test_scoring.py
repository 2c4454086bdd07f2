from __future__ import annotations

import numpy as np
import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.errors import DataError, SettingsError
from flanrec.generation import first_token_ids, title_log_probabilities, yes_no_logits

TITLES = ["Alien (1979)", "Aliens (1986)", "Alien", "Heat (1995)", "Alien"]
PROMPTS = ["Liked: Blade Runner, The Terminator. Next?", "Name a crime movie by Michael Mann with Al Pacino."]


def rows_of(backbone: Backbone) -> list[list[int]]:
    return backbone.tokenizer(TITLES)["input_ids"]


def logits_of(backbone: Backbone, prompt: str, decoder_ids: list[int]) -> torch.Tensor:
    ids, mask = backbone.encode_texts([prompt])
    with torch.inference_mode():
        return backbone.model(input_ids=ids, attention_mask=mask, decoder_input_ids=torch.tensor([decoder_ids])).logits[
            0
        ]


def test_title_scores_are_those_of_a_plain_forward_pass(backbone: Backbone) -> None:
    rows = rows_of(backbone)
    scores = title_log_probabilities(backbone, PROMPTS, rows, batch_size=2, titles_at_once=2)
    for user, prompt in enumerate(PROMPTS):
        for item, row in enumerate(rows):
            step = logits_of(backbone, prompt, [0, *row[:-1]]).log_softmax(-1)
            expected = step[torch.arange(len(row)), torch.tensor(row)].sum()
            assert scores[user, item] == pytest.approx(float(expected), abs=1e-4)


def test_the_titles_of_a_trie_share_all_probability(backbone: Backbone) -> None:
    scores = title_log_probabilities(backbone, PROMPTS, rows_of(backbone), normalisation="trie")
    # Items 2 and 4 are one title.
    assert np.exp(scores[:, :4]).sum(axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert scores[:, 2].tolist() == scores[:, 4].tolist()


@pytest.mark.parametrize("normalisation", ["vocabulary", "catalogue", "trie"])
def test_candidates_get_the_scores_of_the_full_list(backbone: Backbone, normalisation: str) -> None:
    rows = rows_of(backbone)
    prefixes = ["", "It is"]
    full = title_log_probabilities(backbone, PROMPTS, rows, prefixes=prefixes, normalisation=normalisation)
    some = title_log_probabilities(
        backbone, PROMPTS, rows, candidates=[[3], [4, -1, 0]], prefixes=prefixes, normalisation=normalisation
    )
    expected = np.array([[full[0, 3], -np.inf, -np.inf], [full[1, 4], -np.inf, full[1, 0]]])
    np.testing.assert_allclose(some, expected, atol=1e-4)


def test_candidates_that_are_no_rows_are_refused(backbone: Backbone) -> None:
    with pytest.raises(DataError, match="candidate 5 is beyond"):
        title_log_probabilities(backbone, PROMPTS, rows_of(backbone), candidates=[[5], [0]])


def test_yes_no_is_the_difference_of_the_answers_logits(backbone: Backbone) -> None:
    yes, no = first_token_ids(backbone.tokenizer, ["yes"]), first_token_ids(backbone.tokenizer, ["no"])
    prompts = [PROMPTS[0], PROMPTS[1], PROMPTS[0]]
    prefixes = ["", "Heat:", "Alien (1979):"]
    got = yes_no_logits(backbone.model, backbone.tokenizer, prompts, prefixes, yes, no, batch_size=1)
    for pair, (prompt, prefix) in enumerate(zip(prompts, prefixes, strict=True)):
        start = [0, *backbone.tokenizer(prefix, add_special_tokens=False)["input_ids"]]
        last = logits_of(backbone, prompt, start)[-1]
        assert got[pair] == pytest.approx(float(last[yes[0]] - last[no[0]]), abs=1e-4)


def test_several_words_for_an_answer_add_their_probabilities(backbone: Backbone) -> None:
    yes, no = first_token_ids(backbone.tokenizer, ["yes", "Yes"]), first_token_ids(backbone.tokenizer, ["no", "No"])
    got = yes_no_logits(backbone.model, backbone.tokenizer, PROMPTS[:1], None, yes, no)
    last = logits_of(backbone, PROMPTS[0], [0])[-1].softmax(-1)
    assert got[0] == pytest.approx(float(last[yes].sum().log() - last[no].sum().log()), abs=1e-4)


def test_the_untuned_checkpoint_answers_an_entailment_question(backbone: Backbone) -> None:
    yes, no = first_token_ids(backbone.tokenizer, ["yes"]), first_token_ids(backbone.tokenizer, ["no"])
    questions = [
        "Premise: The dog is sleeping on the sofa. Hypothesis: The dog is asleep. Does the premise entail the "
        "hypothesis? Answer yes or no.",
    ]
    assert yes_no_logits(backbone.model, backbone.tokenizer, questions, None, yes, no)[0] > 0


def test_answers_that_overlap_or_lack_are_refused(backbone: Backbone) -> None:
    for yes, no in (([], [5]), ([5], []), ([5], [5])):
        with pytest.raises(SettingsError, match="at least one token"):
            yes_no_logits(backbone.model, backbone.tokenizer, PROMPTS, None, yes, no)
    assert yes_no_logits(backbone.model, backbone.tokenizer, [], None, [5], [6]).shape == (0,)
