"""Answers in free words are those of transformers' greedy search, whoever else is asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from flanrec.backbone import Backbone
from flanrec.backbone.adapters import AdapterSettings, add_adapter
from flanrec.backbone.vocabulary import used_rows
from flanrec.generation.answers import free_answers

PROMPTS = [
    "Which genre is the movie The Terminator?",
    "Summarize: A young man finds a letter in an old library and travels to the north to find who wrote it.",
    "yes or no: is water wet?",
    "Translate to German: The house is wonderful and large.",
]


def test_they_are_those_of_greedy_search(backbone: Backbone) -> None:
    ids, mask = backbone.encode_texts(PROMPTS)
    with torch.no_grad():
        rows = backbone.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=48, do_sample=False)
    expected = [backbone.tokenizer.decode(row, skip_special_tokens=True) for row in rows]
    assert free_answers(backbone, PROMPTS) == expected
    assert free_answers(backbone, PROMPTS[::-1], batch_size=1) == expected[::-1]


def test_only_the_given_rows_are_said(backbone: Backbone) -> None:
    rows = used_rows(backbone.tokenizer, ["comedy", "drama"])
    said = free_answers(backbone, PROMPTS, rows=rows, max_tokens=5)
    tokens = {token for row in backbone.tokenizer(said, add_special_tokens=False)["input_ids"] for token in row}
    assert tokens <= set(rows.tolist()) | {3}  # a word in the middle may begin with another piece when read alone
    everything = np.arange(backbone.model.config.vocab_size)
    assert free_answers(backbone, PROMPTS[:1], rows=everything) == free_answers(backbone, PROMPTS[:1])


def test_long_answers_are_cut_and_nobody_is_an_answer_for_nobody(backbone: Backbone) -> None:
    done: list[int] = []
    said = free_answers(backbone, PROMPTS, max_tokens=2, batch_size=3, progress=done.append)
    assert all(len(row) <= 2 for row in backbone.tokenizer(said, add_special_tokens=False)["input_ids"])
    assert done == [3, 1]
    assert free_answers(backbone, []) == []


def test_a_soft_prompt_is_heard(backbone: Backbone, fresh_backbone: Callable[[], Backbone]) -> None:
    torch.manual_seed(0)
    told = add_adapter(fresh_backbone(), AdapterSettings(method="prompt-tuning", length=20))
    assert free_answers(told, PROMPTS) != free_answers(backbone, PROMPTS)
