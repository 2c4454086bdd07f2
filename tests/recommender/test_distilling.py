"""A smaller recommender learns from a larger one what it holds probable, what it answers, or both."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flanrec.backbone import Backbone
from flanrec.backbone.shrinking import shrunken
from flanrec.backbone.vocabulary import used_rows
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import CheckpointError, SettingsError
from flanrec.generation.answers import free_answers
from flanrec.recommender import Recommender, RecommenderSettings, distill
from flanrec.recommender.distilling import student_of, student_settings
from flanrec.recommender.stages import Material, tutor_of
from flanrec.recommender.stages.mixture import word_mixture
from flanrec.recommender.stages.tutoring import tutored
from flanrec.tuning.objectives.distillation import DistilledObjective
from flanrec.tuning.objectives.titles import TitleObjective
from flanrec.tuning.questions import Questions
from flanrec.tuning.report import StepRecord
from flanrec.tuning.wordings import texts_in_use


@pytest.fixture(scope="module")
def brief(short_settings: RecommenderSettings) -> RecommenderSettings:
    """Tunes the words in two steps, and nothing else."""
    body = short_settings.model_dump()
    body["tokens"]["passes"], body["fusion"]["rounds"], body["fusion"]["events"] = 0, 0, 0
    body["distillation"] |= {"sequences": 12, "titles": 3}
    body["search_nodes"] = 0
    return RecommenderSettings.model_validate(body)


def by(settings: RecommenderSettings, how: str, **changes: Any) -> RecommenderSettings:
    taught = settings.distillation.model_copy(update={"by": how})
    words = settings.words.model_copy(update=changes)
    return settings.model_copy(update={"distillation": taught, "words": words})


@pytest.fixture(scope="module")
def teacher(backbone: Backbone, brief: RecommenderSettings, small_dataset: Dataset) -> Recommender:
    return Recommender(shrunken(backbone, 3, 3), brief).fit(small_dataset)


@pytest.fixture(scope="module")
def material(teacher: Recommender, small_dataset: Dataset) -> Material:
    train, validation = hold_out_last(small_dataset)
    return Material.gather(train, validation, teacher.parts.prompter, teacher.settings, {"fit": "this"})


def questions(material: Material) -> Questions:
    return Questions(material.users, material.prompter, material.facets, material.rates)


def told(material: Material, how: str) -> Material:
    return replace(material, settings=by(material.settings, how))


class Stop:
    """Notes losses, and presses Ctrl-C after a step of the words stage."""

    def __init__(self, step: int = 0) -> None:
        self.step = step
        self.losses: list[float] = []

    def __call__(self, stage: str) -> Sequence[Any]:
        return [self] if stage == "words" else []

    def on_step(self, record: StepRecord) -> None:
        self.losses.append(record.loss)
        if record.step == self.step:
            raise KeyboardInterrupt

    def on_evaluation(self, evaluation: object) -> None:
        pass

    def on_end(self, report: object) -> None:
        pass


@pytest.mark.parametrize("how", ["logits", pytest.param("both", marks=pytest.mark.slow)])
def test_the_student_is_a_recommender_like_any_other_and_both_are_measured(
    teacher: Recommender, brief: RecommenderSettings, small_dataset: Dataset, tmp_path: Path, how: str
) -> None:
    before = {name: value.clone() for name, value in teacher.backbone.model.state_dict().items()}
    found = distill(teacher, small_dataset, encoder_layers=1, decoder_layers=2, settings=by(brief, how))
    assert (found.teacher.blocks, found.student.blocks) == ((3, 3), (1, 2))
    assert found.student.parameters < found.teacher.parameters
    for one in (found.teacher, found.student):
        assert (0 <= one.ndcg <= 1, 0 <= one.match_auc <= 1, one.milliseconds > 0, one.users) == (True, True, True, 12)
    found.recommender.save_pretrained(tmp_path / "student")
    loaded = Recommender.load(tmp_path / "student", device="cpu")
    asked = {"users": ["u1", "u6"], "k": 5, "reading": "generate"}
    assert loaded.recommend(**asked)["item_id"].to_list() == found.recommender.recommend(**asked)["item_id"].to_list()
    assert loaded.settings.origin.startswith("distilled from 3+3 blocks tuned on small, weights ")
    assert loaded.settings.words.start_gain == 1.0
    assert all(torch.equal(value, before[name]) for name, value in teacher.backbone.model.state_dict().items())
    assert json.loads(json.dumps(found.to_dict()))["student"]["blocks"] == [1, 2]


def test_by_logits_every_family_that_predicts_is_taught_at_its_places(teacher: Recommender, material: Material) -> None:
    student, settings = shrunken(teacher.backbone, 1, 1), told(material, "logits")
    rows = np.arange(1000)
    assert all(not isinstance(one.objective, DistilledObjective)
               for one in tutored(word_mixture(student, settings, questions(settings), rows), settings,
                                  questions(settings), rows))  # fmt: skip
    taught = replace(settings, tutor=tutor_of(teacher.backbone, student, settings, None, False))
    mixture = tutored(word_mixture(student, taught, questions(taught), rows), taught, questions(taught), rows)
    assert {one.objective.name for one in mixture} >= {"sequential", "wish", "match", "pick", "rating"}
    for one in mixture:
        assert isinstance(one.objective, DistilledObjective)
        examples = one.objective.draw(np.random.default_rng(1), 2)
        with torch.no_grad():
            assert float(one.objective.loss(one.objective.prepare(examples)).total) > 0


def test_its_answers_are_its_own_likeliest_titles_and_words(teacher: Recommender, material: Material) -> None:
    settings = told(material, "sequence")
    asked: list[int] = []
    found = tutor_of(teacher.backbone, teacher.backbone, settings, None, False, asked.append).sequences
    assert found is not None
    assert sum(asked) == 12
    assert {name for name, some in found.questions.items() if some} >= {"sequential", "wish"}
    titles = material.prompter.catalogue.titles
    for question in found.questions["sequential"]:
        items, logs = teacher.engine.top_titles(
            [question.prompt], material.prompter.catalogue.trie, k=3, num_beams=4,
            excluded=[set(question.excluded)], normalisation="trie",
        )  # fmt: skip
        kept = [at for at, item in enumerate(items[0]) if item in question.items]
        assert question.items == tuple(items[0, kept].tolist())
        assert question.answers == tuple(titles[item] for item in question.items)
        assert sum(question.weights) == pytest.approx(1.0)
        chances = np.exp(logs[0, kept] - logs[0, kept].max())
        np.testing.assert_allclose(question.weights, chances / chances.sum(), atol=1e-3)
    texts = texts_in_use(material.prompter, material.facets, material.train, material.users)
    rows = used_rows(teacher.backbone.tokenizer, texts)
    free = [question for family in ("pick", "rating", "profile") for question in found.questions.get(family, ())]
    assert [one.answers[0] for one in free] == free_answers(teacher.backbone, [one.prompt for one in free], rows=rows)


def test_by_sequence_its_answers_are_what_is_drawn_and_yes_and_no_stay_with_the_log(
    teacher: Recommender, material: Material
) -> None:
    student, settings = shrunken(teacher.backbone, 1, 1), told(material, "sequence")
    rows = np.arange(1000)
    taught = replace(settings, tutor=tutor_of(teacher.backbone, student, settings, None, False))
    assert taught.tutor is not None
    assert taught.tutor.sequences is not None
    known = taught.tutor.sequences.questions
    for one in tutored(word_mixture(student, taught, questions(taught), rows), taught, questions(taught), rows):
        assert not isinstance(one.objective, DistilledObjective)
        drawn = one.objective.draw(np.random.default_rng(2), 6)
        if known.get(one.objective.name):
            assert all(question in known[one.objective.name] for question in drawn)
        if isinstance(one.objective, TitleObjective):
            assert one.objective.backbone is student


@pytest.fixture(scope="module")
def other(teacher: Recommender) -> Backbone:
    """A T5 with a token of its own."""
    tokenizer = copy.deepcopy(teacher.backbone.tokenizer)
    tokenizer.add_tokens(["Quarry"])
    return replace(shrunken(teacher.backbone, 1, 1), tokenizer=tokenizer)


@pytest.mark.parametrize("how", ["logits", "both"])
def test_a_student_with_other_tokens_learns_no_probabilities(
    teacher: Recommender, material: Material, other: Backbone, how: str
) -> None:
    with pytest.raises(SettingsError, match=r"one has \d+ tokens and the other \d+\. Distil by sequence"):
        tutor_of(teacher.backbone, other, told(material, how), None, False)


@pytest.mark.slow
def test_a_student_with_other_tokens_learns_answers(
    teacher: Recommender, brief: RecommenderSettings, small_dataset: Dataset, other: Backbone, tmp_path: Path
) -> None:
    other.save(tmp_path / "other")
    found = distill(teacher, small_dataset, student=tmp_path / "other", settings=by(brief, "sequence"))
    assert found.student.blocks == (1, 1)
    assert found.recommender.settings.words.start_gain == 0.1


def test_interrupted_it_goes_on_as_it_would_have_and_asks_nothing_twice(
    teacher: Recommender, brief: RecommenderSettings, small_dataset: Dataset, tmp_path: Path
) -> None:
    settings = by(brief, "both", steps=4)
    whole, first, second = Stop(), Stop(2), Stop()
    kind: dict[str, Any] = {"encoder_layers": 1, "decoder_layers": 1, "settings": settings}
    distill(teacher, small_dataset, folder=tmp_path / "whole", callbacks=whole, **kind)
    with pytest.raises(KeyboardInterrupt):
        distill(teacher, small_dataset, folder=tmp_path / "run", callbacks=first, **kind)
    parts = {path: path.stat().st_mtime_ns for path in (tmp_path / "run" / "teacher-done").glob("0*.json")}
    assert parts
    distill(teacher, small_dataset, folder=tmp_path / "run", callbacks=second, resume=True, **kind)
    assert [*first.losses, *second.losses] == whole.losses
    assert {path: path.stat().st_mtime_ns for path in parts} == parts


def test_another_student_does_not_go_on_with_a_run(
    teacher: Recommender, brief: RecommenderSettings, small_dataset: Dataset, tmp_path: Path
) -> None:
    settings, folder = by(brief, "logits"), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        distill(teacher, small_dataset, encoder_layers=1, settings=settings, folder=folder, callbacks=Stop(2))
    with pytest.raises(CheckpointError, match="other"):
        distill(teacher, small_dataset, encoder_layers=2, settings=settings, folder=folder, resume=True)


def test_neither_teacher_nor_student_may_be_a_t5_that_no_log_has_tuned(
    teacher: Recommender, backbone: Backbone, brief: RecommenderSettings, small_dataset: Dataset, tmp_path: Path
) -> None:
    raw = Recommender(shrunken(backbone, 1, 1), by(brief, "logits", steps=0)).fit(small_dataset)
    with pytest.raises(SettingsError, match="the T5 of the teacher was never tuned"):
        distill(raw, small_dataset, encoder_layers=1, settings=brief)
    raw.save_pretrained(tmp_path / "raw")
    with pytest.raises(SettingsError, match=r"the T5 of the recommender in .*raw was never tuned"):
        distill(teacher, small_dataset, student=tmp_path / "raw", settings=brief)


def test_answers_of_another_run_are_refused(teacher: Recommender, material: Material, tmp_path: Path) -> None:
    settings = told(material, "sequence")
    fresh, kept = (tutor_of(teacher.backbone, teacher.backbone, settings, tmp_path, resume) for resume in (False, True))
    assert fresh.sequences is not None
    assert fresh.sequences == kept.sequences
    with pytest.raises(CheckpointError, match="other data, settings or teacher"):
        tutor_of(teacher.backbone, teacher.backbone, replace(settings, identity={"fit": "other"}), tmp_path, True)


def test_the_student_is_named_once(teacher: Recommender, small_dataset: Dataset, brief: RecommenderSettings) -> None:
    for wrong in ({}, {"student": "offline", "encoder_layers": 2}):
        with pytest.raises(SettingsError, match="name the student"):
            distill(teacher, small_dataset, settings=brief, **wrong)
    with pytest.raises(SettingsError, match="choose a number from 1 to 3"):
        distill(teacher, small_dataset, settings=brief, encoder_layers=4)
    with pytest.raises(SettingsError, match="steps is 0"):
        distill(teacher, small_dataset, settings=by(brief, "logits", steps=0), encoder_layers=2)
    assert student_of(teacher, None, 2, None, brief.words).backbone.model.config.num_decoder_layers == 3


def test_its_settings_are_the_teachers_with_all_blocks_tuned(teacher: Recommender) -> None:
    words = teacher.settings.words.model_copy(update={"method": "lora", "learning_rate": 3e-3})
    lent = Recommender(teacher.backbone, teacher.settings.model_copy(update={"words": words}))
    found = student_settings(lent)
    assert (found.words.method, found.words.learning_rate) == ("full", None)
    assert found.words.weights == teacher.settings.words.weights
    assert (found.noun, found.seed) == ("movie", teacher.settings.seed)
