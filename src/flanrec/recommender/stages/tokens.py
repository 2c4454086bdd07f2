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
from flanrec.recommender.stages.material import Callbacks, Material
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
    report = TrainingReport()
    if objective.users and tuning.passes:
        blocks = {name: weight for name, weight in tokens.named_parameters() if name.startswith("decoder.")}
        asking = {name: weight for name, weight in tokens.named_parameters() if name.startswith(_INSTRUCTION)}
        vectors = {
            name: weight for name, weight in tokens.named_parameters() if name not in blocks and name not in asking
        }
        total = max(1, math.ceil(tuning.passes * len(objective.users) / tuning.batch_size))
        measured = bool(material.asked) and steps is None
        reading = TokenReading(tokens, encoder, material.prompter)

        def measure() -> dict[str, float]:
            items, _ = reading.top(material.asked, 10, excluded=[user.items for user in material.asked])
            return {"ndcg@10": material.ranking(items)}

        report = Trainer(
            {"tokens": tokens},
            [
                ParameterGroup("blocks", blocks, tuning.learning_rate),
                ParameterGroup("vectors", vectors, tuning.vector_rate),
                ParameterGroup("instruction", asking, tuning.instruction_rate),
            ],
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
            folder=folder / ("tokens" if steps is None else "tokens-refit") if folder else None,
            callbacks=callbacks("item tokens" if steps is None else "item tokens, refit"),
            identity=material.identity,
        ).fit(resume=resume)
    counts = torch.from_numpy(np.bincount(sequences.items, minlength=tokens.n_items)).float().to(tokens.bias.device)
    tokens.estimate_untouched(counts > 0, counts)
    return tokens.eval(), report
