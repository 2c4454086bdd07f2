"""The item-token stage: the second reading is tuned on the frozen encoder."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue.factors import transition_factors
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.recommender.readings import TokenReading
from flanrec.recommender.settings import TokenTuning
from flanrec.recommender.stages.material import Callbacks, Material
from flanrec.recommender.stages.measuring import Measurement
from flanrec.tuning import ParameterGroup, Trainer, TrainerSettings, TrainingReport, Weighted
from flanrec.tuning.objectives.item_tokens import ItemTokenObjective

_INSTRUCTION = (
    "prompt_norm.", "word_norm.", "query.", "key.", "value.", "mix.", "nothing", "text_answer.", "text_norm.",
)  # fmt: skip


def tune_tokens(
    backbone: Backbone,
    material: Material,
    folder: Path | None,
    resume: bool,
    callbacks: Callbacks,
    *,
    steps: int | None = None,
) -> tuple[ItemTokens, TrainingReport]:
    """Tune the item-token reading on the backbone's frozen encoder.

    With `steps` it makes that many updates of the usual course and measures nothing: the refit.
    """
    tokens, trainer = token_trainer(backbone, material, folder, callbacks, steps=steps)
    report = TrainingReport() if trainer is None else trainer.fit(resume=resume)
    touched = material.train.sequences().items
    counts = torch.from_numpy(np.bincount(touched, minlength=tokens.n_items)).float().to(tokens.bias.device)
    tokens.estimate_untouched(counts > 0, counts)
    return tokens.eval(), report


def token_trainer(
    backbone: Backbone, material: Material, folder: Path | None, callbacks: Callbacks, *, steps: int | None = None
) -> tuple[ItemTokens, Trainer | None]:
    """Untuned item tokens, and their trainer; None where there is nothing to tune them on, or no pass is wanted."""
    settings, tuning = material.settings, material.settings.tokens
    torch.manual_seed(settings.seed)
    backbone.model.requires_grad_(False)
    sequences = material.train.sequences()
    shape = settings.item_tokens
    factors = transition_factors(sequences, shape.rank, damping=shape.damping, seed=settings.seed)
    tokens = ItemTokens.build(backbone, material.prompter.catalogue, factors, shape)
    encoder = PromptEncoder(backbone)
    objective = ItemTokenObjective(
        tokens, encoder, material.prompter, material.users, material.facets,
        wishes=tuning.wishes, remarks=tuning.remarks, quiet=tuning.quiet, smoothing=tuning.smoothing,
        teacher=material.teacher(tuning.teacher), trust=tuning.trust,
    )  # fmt: skip
    if not objective.users or not tuning.passes:
        return tokens, None
    total = settings.bounded(max(1, math.ceil(tuning.passes * len(objective.users) / tuning.batch_size)))
    measured = bool(material.asked) and steps is None
    measure = Measurement(material, TokenReading(tokens, encoder, material.prompter))
    return tokens, Trainer(
        {"tokens": tokens},
        parameter_groups(tokens, tuning),
        [Weighted(objective)],
        TrainerSettings(
            steps=total if steps is None else steps,
            batch_size=tuning.batch_size,
            seed=settings.seed,
            optimizer=tuning.optimizer,
            weight_decay=tuning.weight_decay,
            schedule="one_cycle",
            warmup=0.15,
            average=tuning.average,
            evaluate_every=math.ceil(total / tuning.evaluations) if measured else None,
            patience=tuning.patience if measured else None,
            checkpoint_seconds=settings.checkpoint_seconds if folder else None,
            autocast=settings.autocast,
        ),
        evaluate=measure if measured else None,
        primary="ndcg@10" if measured else "",
        samples=measure.samples,
        folder=folder / ("tokens" if steps is None else "tokens-refit") if folder else None,
        callbacks=callbacks("item tokens" if steps is None else "item tokens, refit"),
        identity=material.identity,
    )


def parameter_groups(tokens: ItemTokens, tuning: TokenTuning) -> list[ParameterGroup]:
    """Decoder blocks, item vectors, and the attention to the instruction, each with its rate."""
    weights = dict(tokens.named_parameters())
    blocks = {name: weight for name, weight in weights.items() if name.startswith("decoder.")}
    asking = {name: weight for name, weight in weights.items() if name.startswith(_INSTRUCTION)}
    vectors = {name: weight for name, weight in weights.items() if name not in blocks and name not in asking}
    return [
        ParameterGroup("blocks", blocks, tuning.learning_rate),
        ParameterGroup("vectors", vectors, tuning.vector_rate),
        ParameterGroup("instruction", asking, tuning.instruction_rate),
    ]
