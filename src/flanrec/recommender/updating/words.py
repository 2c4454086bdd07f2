"""The T5 goes on learning: a few steps on the mixture of task families."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.artefact import saving
from flanrec.backbone import Backbone
from flanrec.backbone.adapters import finished
from flanrec.backbone.vocabulary import used_rows
from flanrec.recommender.settings import WordTuning
from flanrec.recommender.stages import Callbacks
from flanrec.recommender.stages.mixture import word_mixture
from flanrec.recommender.stages.words import WORDS_DONE, trainable, word_groups
from flanrec.recommender.updating.lesson import WARMUP, Lesson, anchors, beside
from flanrec.recommender.updating.settings import UpdateSettings
from flanrec.tuning import Trainer, TrainerSettings, TrainingReport
from flanrec.tuning.parameters import trained_parameters
from flanrec.tuning.questions import Questions
from flanrec.tuning.wordings import texts_in_use


def learn_words(
    backbone: Backbone, lesson: Lesson, settings: UpdateSettings, folder: Path | None, resume: bool,
    callbacks: Callbacks,
) -> tuple[Backbone, TrainingReport]:  # fmt: skip
    """Tune the T5 a little; the given backbone stays as it is."""
    material, words = lesson.material, lesson.material.settings.words
    steps = material.settings.bounded(word_steps(words, settings))
    torch.manual_seed(settings.seed)
    reference = backbone
    backbone = _ready(dataclasses.replace(backbone, model=copy.deepcopy(backbone.model)), words, steps)
    teacher = lesson.teacher(words.teacher)

    def questions(places: Sequence[NDArray[np.int64]]) -> Questions:
        return Questions(
            material.users, material.prompter, material.facets, material.rates,
            answers=words.answers, teacher=teacher, trust=words.trust, places=places,
        )  # fmt: skip

    fresh, known = questions(lesson.new), questions(lesson.old)
    if not fresh.users or steps == 0:
        return finished(backbone), TrainingReport()
    rows = used_rows(
        backbone.tokenizer, texts_in_use(material.prompter, material.facets, material.train, material.users)
    )
    slower = words.model_copy(
        update={"learning_rate": words.rate * settings.words.rate,
                "vocabulary_rate": words.vocabulary_rate * settings.words.rate}
    )  # fmt: skip
    with word_groups(backbone, slower, rows) as groups:
        new, old = (word_mixture(backbone, material, asked, rows, reference) for asked in (fresh, known))
        trainer = Trainer(
            {"words": backbone.model},
            [dataclasses.replace(group, weight_decay=0.0) for group in groups],
            beside(new, old, settings.replay if known.users else 0.0),
            TrainerSettings(
                steps=steps,
                batch_size=words.batch_size,
                accumulation=words.accumulation,
                seed=settings.seed,
                optimizer=words.optimizer,
                warmup=WARMUP,
                checkpoint_seconds=material.settings.checkpoint_seconds if folder else None,
                autocast=material.settings.autocast,
            ),
            folder=folder / "words" if folder else None,
            callbacks=callbacks("words"),
            identity=material.identity,
            companions=anchors(trained_parameters(groups), old, settings.penalty, settings.seed),
        )
        report = trainer.fit(resume=resume)
    backbone = finished(backbone)
    backbone.model.requires_grad_(False)
    if folder is not None and trainer.processes.first:
        with saving(folder / WORDS_DONE, {"kind": "stage", **material.identity}) as draft:
            backbone.save(draft / "backbone")
    return backbone, report


def word_steps(words: WordTuning, settings: UpdateSettings) -> int:
    """Updates of the T5: none where it was never tuned."""
    if words.steps == 0:
        return 0
    return math.ceil(words.steps / 10) if settings.words.steps is None else settings.words.steps


def _ready(backbone: Backbone, words: WordTuning, steps: int) -> Backbone:
    """A backbone whose weights that are to be tuned ask for gradients: those that its fit tuned, or such as those."""
    # Ranks were allotted when the model was fitted, over a long schedule: a few steps take plain low-rank adapters.
    adapter = words.adapter
    if adapter is not None and adapter.method == "adalora":
        adapter = adapter.model_copy(update={"method": "lora"})
    return trainable(backbone, adapter, max(steps, 1))
