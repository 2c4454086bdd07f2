"""Learning from what arrived: the T5 and the item tokens are tuned a little, on new events beside replayed old ones."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flanrec.artefact import saving
from flanrec.backbone import Backbone
from flanrec.backbone.adapters import add_adapter, finished
from flanrec.backbone.attachments import attached, detached
from flanrec.backbone.prompts import PromptEncoder
from flanrec.backbone.vocabulary import used_rows
from flanrec.candidates.blend import Blend
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.catalogue.people import Person
from flanrec.recommender.settings import TeacherName, WordTuning
from flanrec.recommender.stages import Callbacks, Material
from flanrec.recommender.stages.mixture import word_mixture
from flanrec.recommender.stages.tokens import parameter_groups
from flanrec.recommender.stages.words import WORDS_DONE, word_groups
from flanrec.recommender.updating.settings import Penalty, UpdateSettings
from flanrec.tuning import Trainer, TrainerSettings, TrainingReport, Weighted
from flanrec.tuning.anchors import Anchor, diagonal_fisher, relative
from flanrec.tuning.objectives.item_tokens import ItemTokenObjective
from flanrec.tuning.objectives.replayed import Replayed
from flanrec.tuning.parameters import trained_parameters
from flanrec.tuning.questions import Questions
from flanrec.tuning.teaching import Teacher
from flanrec.tuning.wordings import texts_in_use

_WARMUP = 0.1


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is learnt from: events that arrived, and those that were known.

    Attributes
    ----------
    material
        Of the log without what is set apart; its users are those of `new` and `old`.
    new, old
        Of each user, the places of events that arrived, and of those that were known: int64, rising.
    """

    material: Material
    new: Sequence[NDArray[np.int64]]
    old: Sequence[NDArray[np.int64]]

    @classmethod
    def of(cls, material: Material, arrived: Mapping[Any, NDArray[np.int64]]) -> Lesson:
        """From the places of new events by user id."""
        nothing = np.zeros(0, dtype=np.int64)
        new = [arrived.get(user, nothing) for user in material.train.user_ids]
        old = [
            np.setdiff1d(np.arange(len(user.items)), places) for user, places in zip(material.users, new, strict=True)
        ]
        return cls(material, new, old)

    @property
    def updated(self) -> int:
        """How many users have new events."""
        return sum(len(places) > 0 for places in self.new)

    def teacher(self, name: TeacherName) -> Teacher | None:
        """As `Material.teacher`, but with its usual weights: held-out events are not for learning here."""
        return None if name == "none" else Blend().fit(self.material.train.sequences()).scores


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
                warmup=_WARMUP,
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


def learn_tokens(
    tokens: ItemTokens, backbone: Backbone, lesson: Lesson, settings: UpdateSettings, folder: Path | None,
    resume: bool, callbacks: Callbacks,
) -> TrainingReport:  # fmt: skip
    """Tune item tokens a little, in place; those of a model that never tuned them stay as they are."""
    material, tuning = lesson.material, lesson.material.settings.tokens
    if not (lesson.updated and tuning.passes and settings.tokens.passes):
        return TrainingReport()
    torch.manual_seed(settings.seed)
    encoder = PromptEncoder(backbone)
    teacher = lesson.teacher(tuning.teacher)

    def objective(users: Sequence[Person], places: Sequence[NDArray[np.int64]]) -> ItemTokenObjective:
        return ItemTokenObjective(
            tokens, encoder, material.prompter, users, material.facets,
            wishes=tuning.wishes, remarks=tuning.remarks, quiet=tuning.quiet, smoothing=tuning.smoothing,
            teacher=teacher, trust=tuning.trust, places=places,
        )  # fmt: skip

    fresh, known = objective(material.users, lesson.new), objective(material.users, lesson.old)
    report = TrainingReport()
    if fresh.users:
        slower = tuning.model_copy(
            update={name: getattr(tuning, name) * settings.tokens.rate
                    for name in ("learning_rate", "vector_rate", "instruction_rate")}
        )  # fmt: skip
        tokens.requires_grad_(True)
        groups = parameter_groups(tokens, slower)
        drawn = settings.tokens.passes * len(fresh.users) / (1 - settings.replay)
        report = Trainer(
            {"tokens": tokens},
            groups,
            beside([Weighted(fresh)], [Weighted(known)], settings.replay if known.users else 0.0),
            TrainerSettings(
                steps=material.settings.bounded(max(1, math.ceil(drawn / tuning.batch_size))),
                batch_size=tuning.batch_size,
                seed=settings.seed,
                optimizer=tuning.optimizer,
                warmup=_WARMUP,
                average=tuning.average,
                checkpoint_seconds=material.settings.checkpoint_seconds if folder else None,
                autocast=material.settings.autocast,
            ),
            folder=folder / "tokens" if folder else None,
            callbacks=callbacks("item tokens"),
            identity=material.identity,
            companions=anchors(trained_parameters(groups), [Weighted(known)], settings.penalty, settings.seed),
        ).fit(resume=resume)
    counts = torch.from_numpy(material.prompter.catalogue.popularity).float().to(tokens.bias.device)
    tokens.estimate_untouched(counts > 0, counts)
    tokens.eval()
    return report


def word_steps(words: WordTuning, settings: UpdateSettings) -> int:
    """Updates of the T5: none where it was never tuned."""
    if words.steps == 0:
        return 0
    return math.ceil(words.steps / 10) if settings.words.steps is None else settings.words.steps


def beside(new: Sequence[Weighted], old: Sequence[Weighted], share: float) -> list[Weighted]:
    """Objectives with old examples beside new ones; one that has no old examples is learnt from new ones alone."""
    before = {weighted.objective.name: weighted.objective for weighted in old}
    return [
        Weighted(Replayed(one.objective, before[one.objective.name], share), one.weight)
        if share and one.objective.name in before
        else one
        for one in new
    ]


def anchors(parameters: Mapping[str, Tensor], old: Sequence[Weighted], penalty: Penalty, seed: int) -> list[Anchor]:
    """What holds the weights near where they are.

    Parameters
    ----------
    old
        What importance is estimated on.
    """
    if penalty.kind == "none" or not penalty.strength:
        return []
    if penalty.kind == "l2_sp":
        return [Anchor(parameters, penalty.strength, name="l2_sp")]
    importance = diagonal_fisher(parameters, old, batches=penalty.batches, seed=seed)
    return [Anchor(parameters, penalty.strength, relative(importance), name="ewc")]


def _ready(backbone: Backbone, words: WordTuning, steps: int) -> Backbone:
    """A backbone whose weights that are to be tuned ask for gradients: those that its fit tuned, or such as those."""
    if attached(backbone.model) is not None:
        return _attachment_trained(backbone)
    if words.adapter is None:
        backbone.model.requires_grad_(True)
        backbone.model.get_input_embeddings().requires_grad_(False)
        backbone.model.get_output_embeddings().requires_grad_(False)
        return backbone
    # Ranks were allotted when the model was fitted, over a long schedule: a few steps take plain low-rank adapters.
    adapter = words.adapter
    plain = adapter.model_copy(update={"method": "lora"}) if adapter.method == "adalora" else adapter
    return add_adapter(backbone, plain, steps=max(steps, 1))


def _attachment_trained(backbone: Backbone) -> Backbone:
    """A backbone that carries what its fit tuned, which alone is tuned on."""
    model = backbone.model
    with detached(model):
        frozen = {id(weight) for weight in model.parameters()}
    for weight in model.parameters():
        weight.requires_grad_(id(weight) not in frozen)
    return backbone
