"""The item tokens go on learning: a few windows for each user who has new events."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.recommender.stages import Callbacks
from flanrec.recommender.stages.tokens import parameter_groups
from flanrec.recommender.updating.lesson import WARMUP, Lesson, anchors, beside
from flanrec.recommender.updating.settings import UpdateSettings
from flanrec.tuning import Trainer, TrainerSettings, TrainingReport, Weighted
from flanrec.tuning.objectives.item_tokens import ItemTokenObjective
from flanrec.tuning.parameters import trained_parameters


def learn_tokens(
    tokens: ItemTokens, backbone: Backbone, lesson: Lesson, settings: UpdateSettings, folder: Path | None,
    resume: bool, callbacks: Callbacks,
) -> TrainingReport:  # fmt: skip
    """Tune item tokens a little, in place; those of a model that never tuned them stay as they are."""
    material, tuning = lesson.material, lesson.material.settings.tokens
    passes = tuning.passes / 3 if settings.tokens.passes is None else settings.tokens.passes
    if not (lesson.updated and tuning.passes and passes):
        return TrainingReport()
    torch.manual_seed(settings.seed)
    encoder = PromptEncoder(backbone)
    teacher = lesson.teacher(tuning.teacher)

    def objective(places: Sequence[NDArray[np.int64]]) -> ItemTokenObjective:
        return ItemTokenObjective(
            tokens, encoder, material.prompter, material.users, material.facets,
            wishes=tuning.wishes, remarks=tuning.remarks, quiet=tuning.quiet, smoothing=tuning.smoothing,
            teacher=teacher, trust=tuning.trust, places=places,
        )  # fmt: skip

    fresh, known = objective(lesson.new), objective(lesson.old)
    report = TrainingReport()
    if fresh.users:
        slower = tuning.model_copy(
            update={name: getattr(tuning, name) * settings.tokens.rate
                    for name in ("learning_rate", "vector_rate", "instruction_rate")}
        )  # fmt: skip
        tokens.requires_grad_(True)
        groups = parameter_groups(tokens, slower)
        replay = settings.replay if known.users else 0.0
        drawn = passes * len(fresh.users) / (1 - replay)
        report = Trainer(
            {"tokens": tokens},
            groups,
            beside([Weighted(fresh)], [Weighted(known)], replay),
            TrainerSettings(
                steps=material.settings.bounded(max(1, math.ceil(drawn / tuning.batch_size))),
                batch_size=tuning.batch_size,
                seed=settings.seed,
                optimizer=tuning.optimizer,
                warmup=WARMUP,
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
