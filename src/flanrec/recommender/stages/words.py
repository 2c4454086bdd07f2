"""The words stage: the T5 itself is instruction-tuned on the mixture of task families."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from flanrec.artefact import saving, verify_manifest
from flanrec.backbone import Backbone
from flanrec.backbone.adapters import add_lora, merge
from flanrec.backbone.encoder import recompute_blocks
from flanrec.errors import CheckpointError
from flanrec.generation import first_token_ids
from flanrec.generation.engines import TorchEngine
from flanrec.recommender.readings import WordReading
from flanrec.recommender.stages.material import Callbacks, Material
from flanrec.tuning import ParameterGroup, Trainer, TrainerSettings, TrainingReport, Weighted
from flanrec.tuning.objectives.answers import AnswerObjective, Question
from flanrec.tuning.objectives.match import MatchObjective
from flanrec.tuning.objectives.titles import TitleObjective
from flanrec.tuning.questions import Questions
from flanrec.tuning.text_questions import TextQuestions

_GENERATION_USERS = 200
_WORDS_DONE = "words-done"


def tune_words(
    backbone: Backbone, material: Material, folder: Path | None, resume: bool, callbacks: Callbacks
) -> tuple[Backbone, TrainingReport]:
    """Instruction-tune the T5 on the mixture of task families."""
    settings, words = material.settings, material.settings.words
    questions = Questions(
        material.users, material.prompter, material.facets, material.rates,
        answers=words.answers, teacher=material.teacher(words.teacher), trust=words.trust,
    )  # fmt: skip
    if not questions.users or words.steps == 0:
        return backbone, TrainingReport()
    torch.manual_seed(settings.seed)
    if words.method == "lora":
        backbone = add_lora(backbone, rank=words.rank, alpha=2.0 * words.rank)
    else:
        # Rows of the vocabulary move little in a short tuning, and their optimiser state would be the largest.
        backbone.model.requires_grad_(True)
        backbone.model.get_input_embeddings().requires_grad_(False)
        backbone.model.get_output_embeddings().requires_grad_(False)
    with torch.no_grad():
        # Zero-shot preferences among titles are strong and mostly wrong: begin nearer to what the crowd takes.
        backbone.model.get_decoder().final_layer_norm.weight.mul_(words.start_gain)
    asked = material.asked[:_GENERATION_USERS]

    def measure() -> dict[str, float]:
        reading = WordReading(TorchEngine(backbone), material.prompter, settings.num_beams, settings.search_nodes)
        items, _ = reading.top(asked, 10, excluded=[user.items for user in asked])
        return {"ndcg@10": material.ranking(items, slice(0, len(asked)))}

    trainer = Trainer(
        {"words": backbone.model},
        [ParameterGroup("words", dict(backbone.model.named_parameters()), words.learning_rate, 0.01)],
        _mixture(backbone, material, questions),
        TrainerSettings(
            steps=words.steps,
            batch_size=words.batch_size,
            accumulation=words.accumulation,
            seed=settings.seed,
            optimizer=words.optimizer,
            schedule="one_cycle",
            warmup=0.1,
            evaluate_every=words.evaluate_every,
            patience=words.patience,
            checkpoint_seconds=settings.checkpoint_seconds if folder else None,
            autocast=settings.autocast,
        ),
        evaluate=measure if asked and words.evaluate_every else None,
        primary="ndcg@10" if asked and words.evaluate_every else "",
        folder=folder / "words" if folder else None,
        callbacks=callbacks("words"),
        identity=material.identity,
    )
    recompute_blocks(backbone.model, words.activation_checkpointing)
    try:
        report = trainer.fit(resume=resume)
    finally:
        recompute_blocks(backbone.model, False)
    backbone = merge(backbone) if words.method == "lora" else backbone
    if folder is not None:
        with saving(folder / _WORDS_DONE, {"kind": "stage", **material.identity}) as draft:
            backbone.save(draft / "backbone")
    return backbone, report


def _mixture(backbone: Backbone, material: Material, questions: Questions) -> list[Weighted]:
    weights = material.settings.words.weights
    texts = TextQuestions(material.train, material.prompter)
    trie = material.prompter.catalogue.trie
    described, reviewed = bool(texts.described), bool(texts.reviews)
    mixture = [
        Weighted(TitleObjective("sequential", backbone, trie, questions.next_item), weights.sequential),
        Weighted(
            TitleObjective("wish", backbone, trie, questions.wish), weights.wish if material.facets.names else 0.0
        ),
    ]
    free: dict[str, tuple[Callable[[np.random.Generator], Question], float]] = {
        "pick": (questions.pick, weights.pick),
        "rating": (questions.rating, weights.rating if questions.rated else 0.0),
        "profile": (questions.profile, weights.profile if material.facets.names else 0.0),
        "item_from_description": (texts.item_from_description, weights.item_from_description * described),
        "description_from_item": (texts.description_from_item, weights.description_from_item * described),
        "review_rating": (texts.review_rating, weights.review_rating * reviewed),
    }
    mixture += [Weighted(AnswerObjective(name, backbone, draw), weight) for name, (draw, weight) in free.items()]
    if weights.match > 0:
        said = material.prompter.templates[0].wording.words
        yes, no = (first_token_ids(backbone.tokenizer, [said[answer]]) for answer in ("yes", "no"))
        mixture.append(Weighted(MatchObjective(backbone, questions.judgement, yes, no), weights.match))
    return [weighted for weighted in mixture if weighted.weight > 0]


def refuse_earlier(folder: Path) -> None:
    """Refuse a folder that has a fit in it, before anything is tuned.

    Raises
    ------
    CheckpointError
        There is one.
    """
    if (folder / _WORDS_DONE).exists() or any(folder.glob("*/checkpoints/*")):
        raise CheckpointError(f"{folder} holds an earlier fit; go on with it (resume), or remove it first")


def tuned_words(folder: Path | None, material: Material, device: str) -> Backbone | None:
    """The T5 of a fit that was interrupted after its words were tuned; None if it was interrupted before."""
    if folder is None or not (folder / _WORDS_DONE).exists():
        return None
    about = verify_manifest(folder / _WORDS_DONE)
    if {name: about.get(name) for name in material.identity} != material.identity:
        raise CheckpointError(
            f"{folder} holds a fit of other data or settings; give another folder, or fit without resuming"
        )
    return Backbone.load(folder / _WORDS_DONE / "backbone", device=device)
