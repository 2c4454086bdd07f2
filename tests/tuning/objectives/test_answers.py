"""The loss of answers in words, against transformers' own."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from losses import loss_of
from transformers import T5Config, T5ForConditionalGeneration

from flanrec.backbone import Backbone
from flanrec.backbone.vocabulary import used_rows
from flanrec.tuning.objectives.answers import AnswerObjective, Question

PROMPTS = ["The user wants comedy. Recommend one movie.", "Which movie comes next after Alien (1979); Heat (1995)?"]
TITLES = ("Amber Harbour (1980)", "Heat", "The Good, the Bad and the Ugly (1966)")


def unasked(_: np.random.Generator) -> Question:
    raise AssertionError("the loss draws nothing")


def objective(backbone: Backbone, **options: Any) -> AnswerObjective:
    return AnswerObjective("answers", backbone, unasked, **options)


def total(backbone: Backbone, *questions: Question, **options: Any) -> float:
    with torch.no_grad():
        return float(loss_of(objective(backbone, **options), list(questions)).total)


def theirs(backbone: Backbone, prompt: str, title: str) -> float:
    """Transformers' loss of one answer, a mean over its tokens."""
    ids = torch.tensor([backbone.tokenizer(prompt)["input_ids"]])
    labels = torch.tensor([backbone.tokenizer(title)["input_ids"]])
    with torch.no_grad():
        return float(backbone.model(input_ids=ids, labels=labels).loss)


@pytest.mark.parametrize("prompt", PROMPTS)
@pytest.mark.parametrize("title", TITLES)
def test_the_loss_of_one_answer_is_that_of_transformers_labels(backbone: Backbone, prompt: str, title: str) -> None:
    assert total(backbone, Question(prompt, (title,), (1.0,))) == pytest.approx(
        theirs(backbone, prompt, title), rel=1e-4
    )


def test_several_answers_cost_what_they_cost_one_by_one_and_one_encoder_run(backbone: Backbone) -> None:
    together = [Question(PROMPTS[0], TITLES, (1.0, 0.8, 0.5)), Question(PROMPTS[1], TITLES[:1], (0.3,))]
    expected = sum(
        weight * theirs(backbone, question.prompt, title)
        for question in together
        for title, weight in zip(question.answers, question.weights, strict=True)
    )
    read: list[int] = []
    hook = backbone.model.get_encoder().final_layer_norm.register_forward_pre_hook(
        lambda _, given: read.append(len(given[0]))
    )
    try:
        got = total(backbone, *together)
    finally:
        hook.remove()
    assert got == pytest.approx(expected, rel=1e-4)
    assert read == [sum(backbone.token_count(question.prompt) for question in together)]


def test_the_count_is_the_weight_of_all_answers(backbone: Backbone) -> None:
    questions = [Question(PROMPTS[0], TITLES[:2], (1.0, 0.8)), Question(PROMPTS[1], TITLES[:1], (0.5,))]
    with torch.no_grad():
        assert loss_of(objective(backbone), questions).count == pytest.approx(2.3)


def test_padding_beside_longer_neighbours_changes_nothing(backbone: Backbone) -> None:
    short = Question("Next?", ("Heat",), (1.0,))
    long = Question(PROMPTS[1] + " Think of everything that was said before.", (TITLES[2],), (1.0,))
    assert total(backbone, short, long) == pytest.approx(total(backbone, short) + total(backbone, long), rel=1e-4)


def test_smoothing_mixes_in_the_mean_loss_over_the_vocabulary(backbone: Backbone) -> None:
    ids = torch.tensor([backbone.tokenizer(PROMPTS[0])["input_ids"]])
    labels = torch.tensor([backbone.tokenizer("Heat")["input_ids"]])
    with torch.no_grad():
        steps = backbone.model(input_ids=ids, labels=labels).logits[0].log_softmax(-1)
    plain = -steps[torch.arange(labels.shape[1]), labels[0]].mean()
    expected = 0.9 * float(plain) - 0.1 * float(steps.mean())
    got = total(backbone, Question(PROMPTS[0], ("Heat",), (1.0,)), smoothing=0.1)
    assert got == pytest.approx(expected, rel=1e-4)


def test_a_model_that_scales_its_states_before_the_head_is_scaled_here_too(backbone: Backbone) -> None:
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=32128, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, decoder_start_token_id=0
    )
    scaled = replace(backbone, model=T5ForConditionalGeneration(config).eval())
    assert scaled.model.config.scale_decoder_outputs
    got = total(scaled, Question(PROMPTS[0], ("Heat",), (1.0,)))
    assert got == pytest.approx(theirs(scaled, PROMPTS[0], "Heat"), rel=1e-4)


def test_over_the_rows_in_use_the_loss_lacks_what_goes_to_other_rows(backbone: Backbone) -> None:
    question = Question(PROMPTS[0], ("Heat",), (1.0,))
    rows = used_rows(backbone.tokenizer, TITLES)
    ids = torch.tensor([backbone.tokenizer(PROMPTS[0])["input_ids"]])
    labels = torch.tensor([backbone.tokenizer("Heat")["input_ids"]])
    with torch.no_grad():
        logits = backbone.model(input_ids=ids, labels=labels).logits[0]
    elsewhere = logits.logsumexp(dim=1) - logits[:, rows].logsumexp(dim=1)
    assert float(elsewhere.min()) > 0
    whole, used = total(backbone, question), total(backbone, question, rows=rows)
    assert used == pytest.approx(whole - float(elsewhere.mean()), rel=1e-4)
    assert total(backbone, question, rows=np.arange(32128)) == pytest.approx(whole, rel=1e-5)


def test_a_label_outside_the_rows_in_use_joins_them(backbone: Backbone) -> None:
    questions = [Question(PROMPTS[0], ("Heat",), (1.0,)), Question(PROMPTS[1], ("quixotic",), (0.5,))]
    few, said = (used_rows(backbone.tokenizer, texts) for texts in (["Heat"], ["Heat", "quixotic"]))
    assert len(few) < len(said)
    assert total(backbone, *questions, rows=few) == pytest.approx(total(backbone, *questions, rows=said), rel=1e-6)
    assert total(backbone, questions[0], rows=few) < total(backbone, questions[0], rows=said)


def test_a_long_prompt_loses_its_end_and_an_answer_nothing(backbone: Backbone) -> None:
    ids = backbone.tokenizer(PROMPTS[1])["input_ids"]
    cut = backbone.tokenizer.decode(ids[:9])
    assert len(backbone.tokenizer(cut)["input_ids"]) == 10
    answer = ((TITLES[2],), (1.0,))
    got = total(backbone, Question(PROMPTS[1], *answer), max_length=10)
    assert got == pytest.approx(total(backbone, Question(cut, *answer)), rel=1e-4)


def test_a_few_steps_make_the_answers_likelier(backbone: Backbone) -> None:
    learner = replace(backbone, model=copy.deepcopy(backbone.model))
    learner.model.get_encoder().requires_grad_(False)
    questions = [Question(PROMPTS[0], TITLES[:2], (1.0, 0.8)), Question(PROMPTS[1], TITLES[2:], (1.0,))]
    trained = [weight for weight in learner.model.get_decoder().parameters() if weight.dim() > 1 and len(weight) < 9999]
    optimiser = torch.optim.AdamW(trained, lr=1e-3)
    losses = []
    for _ in range(4):
        loss = loss_of(objective(learner), questions).total
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]


def test_questions_are_drawn_by_the_rng_it_is_given(backbone: Backbone) -> None:
    def draw_one(rng: np.random.Generator) -> Question:
        return Question(PROMPTS[0], (TITLES[int(rng.integers(3))],), (1.0,))

    draws = AnswerObjective("answers", backbone, draw_one)
    first = draws.draw(np.random.default_rng(1), 20)
    assert len(first) == 20
    assert draws.draw(np.random.default_rng(1), 20) == first
    assert draws.draw(np.random.default_rng(2), 20) != first
