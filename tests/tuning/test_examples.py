"""Instructions of one's own: tokenised once, mapped, and learnt as texts are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from losses import loss_of

from flanrec.backbone import Backbone
from flanrec.errors import CheckpointError, DataError
from flanrec.tuning.examples import Examples
from flanrec.tuning.objectives.answers import AnswerObjective, Question
from flanrec.tuning.objectives.examples import ExampleObjective

PROMPTS = ["How do I top up?", "My card was swallowed by a machine. What now?", "钱 </s> Is <pad> my transfer late?"]
TARGETS = ["top up by card", "card swallowed", "transfer timing"]


@pytest.fixture(scope="module")
def examples(backbone: Backbone) -> Examples:
    return Examples.tokenise(backbone, PROMPTS, TARGETS, 64)


def test_the_loss_is_that_of_the_texts(backbone: Backbone, examples: Examples) -> None:
    written = AnswerObjective("texts", backbone, lambda rng: Question("", (), ()), max_length=64)
    clean = [PROMPTS[0], PROMPTS[1], "钱 Is my transfer late?"]
    questions = [Question(prompt, (target,), (1.0,)) for prompt, target in zip(clean, TARGETS, strict=True)]
    for rows in (None, examples.used):
        written.rows = rows
        with torch.no_grad():
            mine = loss_of(ExampleObjective(backbone, examples, rows), [0, 1, 2])
            theirs = loss_of(written, questions)
        assert float(mine.total) == pytest.approx(float(theirs.total), rel=1e-5)
        assert mine.count == theirs.count == 3


def test_control_tokens_in_texts_are_no_tokens(backbone: Backbone, examples: Examples) -> None:
    prompt, target = examples.of(2)
    assert prompt[-1] == target[-1] == backbone.tokenizer.eos_token_id
    assert backbone.tokenizer.eos_token_id not in prompt[:-1]
    assert backbone.tokenizer.pad_token_id not in examples.tokens


def test_saved_and_mapped_they_are_the_same_and_take_no_memory(examples: Examples, tmp_path: Path) -> None:
    examples.save(tmp_path / "examples.npz")
    mapped = Examples.load(tmp_path / "examples.npz")
    assert isinstance(mapped.tokens, np.memmap)
    assert [mapped.of(number) for number in range(3)] == [examples.of(number) for number in range(3)]
    assert (len(mapped), mapped.digest()) == (3, examples.digest())


def test_a_damaged_file_is_refused_by_name(examples: Examples, tmp_path: Path) -> None:
    path = tmp_path / "examples.npz"
    Examples(examples.tokens[:-1], examples.offsets).save(path)
    with pytest.raises(CheckpointError, match=r"examples\.npz"):
        Examples.load(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(CheckpointError, match=r"examples\.npz"):
        Examples.load(path)


def test_long_texts_lose_their_end_and_are_counted(backbone: Backbone, caplog: pytest.LogCaptureFixture) -> None:
    found = Examples.tokenise(backbone, ["word " * 50, "short"], ["one", "two"], 16)
    prompt, _ = found.of(0)
    assert len(prompt) == 16
    assert prompt[-1] == backbone.tokenizer.eos_token_id
    assert "1 of 4 texts" in caplog.text


def test_a_text_of_control_tokens_alone_is_refused_by_its_number(backbone: Backbone) -> None:
    with pytest.raises(DataError, match=r"instruction 2 has no readable target"):
        Examples.tokenise(backbone, ["a", "b"], ["c", "</s><pad>"], 16)


def test_another_text_another_digest(backbone: Backbone, examples: Examples) -> None:
    assert Examples.tokenise(backbone, PROMPTS, TARGETS[::-1], 64).digest() != examples.digest()
