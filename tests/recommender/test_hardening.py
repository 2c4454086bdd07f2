"""The switches of the words stage against overfitting: each runs, resumes to the same losses, and does what it says."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.catalogue.prompter import Prompter
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import CheckpointError
from flanrec.recommender import Augmentation, RecommenderSettings, WordTuning
from flanrec.recommender.stages import Material, hardening, tune_words, words
from flanrec.recommender.stages.hardening import hardened, varied_histories, varied_prompter
from flanrec.recommender.stages.mixture import word_mixture
from flanrec.recommender.stages.words import trainable, word_groups
from flanrec.tuning import TrainingReport
from flanrec.tuning.adversarial import AdversarialObjective
from flanrec.tuning.consistency import ConsistentObjective
from flanrec.tuning.questions import Questions
from flanrec.tuning.report import StepRecord

Fresh = Callable[[], Backbone]
SHORT = {"steps": 3, "batch_size": 2, "method": "lora", "rank": 2}
SWITCHES: dict[str, dict[str, Any]] = {
    "fgm": {"adversarial": "fgm"},
    "freelb": {"adversarial": "freelb", "adversarial_size": 0.05, "dropout": 0.2},
    "r-drop": {"consistency": 1.0, "dropout": 0.1, "weight_decay": 0.1},
    "all": {
        "adversarial": "fgm",
        "consistency": 1.0,
        "dropout": 0.2,
        "vocabulary": "used",
        "augment": {"crop": 0.5, "mask": 0.5, "reorder": 0.5, "synonyms": 0.5, "typos": 0.3, "title_typos": 0.2},
    },
}


class Watch:
    """Notes stages and losses, and presses Ctrl-C after a step."""

    def __init__(self, stage: str = "", step: int = 0) -> None:
        self.stop = (stage, step)
        self.losses: dict[str, list[float]] = {}
        self._stage = ""

    def __call__(self, stage: str) -> Sequence[Any]:
        self._stage = stage
        return [self]

    def on_step(self, record: StepRecord) -> None:
        self.losses.setdefault(self._stage, []).append(record.loss)
        if (self._stage, record.step) == self.stop:
            raise KeyboardInterrupt

    def on_evaluation(self, evaluation: object) -> None:
        pass

    def on_end(self, report: TrainingReport) -> None:
        pass


@pytest.fixture(scope="module")
def material(small_dataset: Dataset, small_prompter: Prompter) -> Callable[..., Material]:
    train, validation = hold_out_last(small_dataset)

    def made(validate: bool = True, **switches: Any) -> Material:
        settings = RecommenderSettings.model_validate({"noun": "movie", "nouns": "movies", "validation_users": 12,
                                                       "num_beams": 4, "words": SHORT | switches})  # fmt: skip
        told = validation if validate else validation.with_interactions(validation.interactions.head(0))
        identity = {"fit": settings.model_dump_json()}
        return Material.gather(train, told, small_prompter, settings, identity)

    return made


@pytest.fixture(scope="module")
def plain(material: Callable[..., Material], fresh_backbone: Fresh) -> list[float]:
    """The losses without any switch."""
    return tune_words(fresh_backbone(), material(), None, False, Watch())[1].losses


@pytest.mark.parametrize(
    "switch", [pytest.param(name, marks=() if name in ("fgm", "all") else pytest.mark.slow) for name in SWITCHES]
)
def test_a_short_tuning_with_a_switch_runs_and_resumes_to_the_same_losses(
    material: Callable[..., Material], fresh_backbone: Fresh, plain: list[float], tmp_path: Path, switch: str
) -> None:
    chosen = material(**SWITCHES[switch])
    _, report = tune_words(fresh_backbone(), chosen, None, False, Watch())
    assert report.losses != plain
    first, second = Watch("words", 2), Watch()
    with pytest.raises(KeyboardInterrupt):
        tune_words(fresh_backbone(), chosen, tmp_path, False, first)
    _, resumed = tune_words(fresh_backbone(), chosen, tmp_path, True, second)
    assert resumed.losses == report.losses
    assert len(second.losses["words"]) == 1


def test_nothing_is_wrapped_or_varied_by_default(small_prompter: Prompter) -> None:
    plain = WordTuning()
    assert varied_histories(plain.augment) is None
    assert varied_prompter(small_prompter, plain.augment, "cpu") is small_prompter
    assert hardened([], None, plain) == []  # type: ignore[arg-type]


def test_the_whole_mixture_is_wrapped_adversarial_training_outermost(
    material: Callable[..., Material], backbone: Backbone
) -> None:
    chosen = material(
        adversarial="freelb", adversarial_size=0.07, consistency=2.0, dropout=0.1, weights={"pairwise": 0.1}
    )
    asked = Questions(chosen.users, chosen.prompter, chosen.facets, chosen.rates)
    plain = word_mixture(backbone, chosen, asked, np.arange(2, 400))
    found = hardened(plain, backbone, chosen.settings.words)
    assert [(one.objective.name, one.weight) for one in found] == [(one.objective.name, one.weight) for one in plain]
    assert {one.objective.name for one in found} >= {"sequential", "match", "pick", "pairwise"}
    for one, inner in zip(found, plain, strict=True):
        outer = one.objective
        assert isinstance(outer, AdversarialObjective)
        assert (outer.size, outer.steps) == (0.07, 3)
        assert isinstance(outer.objective, ConsistentObjective)
        assert outer.objective.objective is inner.objective
        drawn = [objective.draw(np.random.default_rng(1), 2) for objective in (outer, inner.objective)]
        assert str(drawn[0]) == str(drawn[1])


def test_r_drop_without_dropout_is_refused() -> None:
    with pytest.raises(ValueError, match="consistency compares two readings under dropout"):
        WordTuning(consistency=1.0)
    assert WordTuning(consistency=1.0, dropout=None).dropout is None


def test_the_second_matrices_learn_faster_and_the_scale_of_the_logits_with_every_method(fresh_backbone: Fresh) -> None:
    adapted = trainable(fresh_backbone(), (words := WordTuning(method="lora", rank=2)).adapter, 1)
    with word_groups(adapted, words, np.arange(3)) as groups:
        rates = {name: group.learning_rate for group in groups for name in group.trained()}
    assert {rate for name, rate in rates.items() if "lora_B" in name} == {16e-3}
    assert {rate for name, rate in rates.items() if "lora_B" not in name} == {1e-3}
    tuned = [name for name in rates if "lora_" not in name]
    assert [name.rpartition("decoder.")[2] for name in tuned] == ["final_layer_norm.weight"]
    with word_groups(fresh_backbone(), WordTuning(), np.arange(3)) as groups:
        assert len(groups) == 1


def test_decay_and_dropout_are_those_of_the_settings(fresh_backbone: Fresh) -> None:
    learner = fresh_backbone()
    with word_groups(learner, WordTuning(weight_decay=0.3, dropout=0.25), np.arange(3)) as groups:
        assert [group.weight_decay for group in groups] == [0.3]
        assert {layer.p for layer in learner.model.modules() if isinstance(layer, torch.nn.Dropout)} == {0.25}
    assert {layer.p for layer in learner.model.modules() if isinstance(layer, torch.nn.Dropout)} == {0.1}


def test_varied_prompts_ask_for_the_same_answers(material: Callable[..., Material]) -> None:
    chosen = material()
    augment = Augmentation(crop=1.0, reorder=1.0, synonyms=1.0, typos=0.5)
    titles = set(chosen.prompter.catalogue.titles)
    plain = Questions(chosen.users, chosen.prompter, chosen.facets, chosen.rates)
    varied = Questions(
        chosen.users, varied_prompter(chosen.prompter, augment, "cpu"), chosen.facets, chosen.rates,
        histories=varied_histories(augment),
    )  # fmt: skip
    different = 0
    for seed in range(40):
        # What varies is drawn after what is asked, so the first draws, user and moment, are the same.
        one, two = (questions.next_item(np.random.default_rng(seed)) for questions in (plain, varied))
        assert (one.items, one.excluded) == (two.items, two.excluded)
        assert set(two.answers) <= titles
        shown = [[title for title in titles if title in question.prompt] for question in (one, two)]
        assert len(shown[1]) <= len(shown[0])
        different += one.prompt != two.prompt
        judged = [questions.judgement(np.random.default_rng(seed)) for questions in (plain, varied)]
        assert judged[0].liked == judged[1].liked
        assert judged[0].offset == judged[1].offset
    assert different == 40


def test_back_translation_words_sentences_anew_once(
    small_prompter: Prompter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls: list[tuple[Path, Path, Any]] = []

    def reversed_words(texts: Sequence[str], there: Path, back: Path, **options: Any) -> list[str]:
        calls.append((there, back, options))
        return [" ".join(reversed(text.split())) for text in texts]

    monkeypatch.setattr(hardening, "back_translated", reversed_words)
    augment = Augmentation(back_translation=("to", "fro"), back_translation_prefixes=("a: ", "b: "))
    with caplog.at_level(logging.INFO, "flanrec"):
        prompter = varied_prompter(small_prompter, augment, "cpu")
    assert calls == [(Path("to"), Path("fro"), {"prefixes": ("a: ", "b: "), "device": "cpu"})]
    assert prompter.changes is not None
    assert prompter.changes.paraphrases["Which movie comes next?"] == "next? comes movie Which"
    assert not any(text.startswith(",") for text in prompter.changes.paraphrases)
    assert "back-translation found other words for" in caplog.text


def test_all_runs_share_one_back_translation(
    material: Callable[..., Material], fresh_backbone: Fresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def reversed_words(texts: Sequence[str], there: Path, back: Path, **options: Any) -> list[str]:
        calls.append(len(texts))
        return [" ".join(reversed(text.split())) for text in texts]

    monkeypatch.setattr(hardening, "back_translated", reversed_words)
    chosen = material(steps=1, runs=2, augment={"back_translation": ("to", "fro")})
    _, report = tune_words(fresh_backbone(), chosen, None, False, Watch())
    assert report.steps == 1
    assert len(calls) == 1


def test_several_runs_keep_the_best_and_tell_what_each_had(
    material: Callable[..., Material], fresh_backbone: Fresh, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = material(steps=2, runs=2)
    watch = Watch()
    with caplog.at_level(logging.INFO, "flanrec"):
        kept, report = tune_words(fresh_backbone(), chosen, None, False, watch)
    assert list(watch.losses) == ["words, run 1 of 2", "words, run 2 of 2"]
    assert watch.losses["words, run 1 of 2"] != watch.losses["words, run 2 of 2"]
    told = next(line for line in caplog.messages if "NDCG@10 of generation on validation events" in line)
    for name in ("run 1 0.", "run 2 0.", "uniform soup 0.", "greedy soup of runs"):
        assert name in told
    assert report.losses in watch.losses.values()
    best = max(float(value) for value in re.findall(r" (0\.\d{4})", told))
    assert round(words._measured(kept, chosen)()["ndcg@10"], 4) == best


@pytest.mark.slow
def test_no_run_is_tuned_twice_after_an_interruption(
    material: Callable[..., Material], fresh_backbone: Fresh, tmp_path: Path
) -> None:
    chosen = material(steps=2, runs=2)
    kept, _ = tune_words(fresh_backbone(), chosen, None, False, Watch())
    first, second = Watch("words, run 2 of 2", 1), Watch()
    with pytest.raises(KeyboardInterrupt):
        tune_words(fresh_backbone(), chosen, tmp_path, False, first)
    again, _ = tune_words(fresh_backbone(), chosen, tmp_path, True, second)
    assert list(second.losses) == ["words, run 2 of 2"]
    assert len(second.losses["words, run 2 of 2"]) == 1
    for one, two in zip(kept.model.parameters(), again.model.parameters(), strict=True):
        torch.testing.assert_close(one, two, atol=1e-6, rtol=1e-5)
    other = replace(chosen, identity={"fit": "other"})
    with pytest.raises(CheckpointError, match="other data or settings"):
        tune_words(fresh_backbone(), other, tmp_path, True, Watch())


def test_without_validation_the_first_of_several_runs_is_kept(
    material: Callable[..., Material], fresh_backbone: Fresh, caplog: pytest.LogCaptureFixture
) -> None:
    alone, _ = tune_words(fresh_backbone(), material(validate=False, steps=1), None, False, Watch())
    kept, _ = tune_words(fresh_backbone(), material(validate=False, steps=1, runs=2), None, False, Watch())
    assert "the first is kept" in caplog.text
    for one, two in zip(alone.model.parameters(), kept.model.parameters(), strict=True):
        assert torch.equal(one, two)
