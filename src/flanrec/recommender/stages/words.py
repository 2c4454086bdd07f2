"""The words stage: the T5 itself is instruction-tuned on the mixture of task families."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.artefact import saving, verify_manifest
from flanrec.backbone import Backbone
from flanrec.backbone.adapters import add_lora, merge
from flanrec.backbone.encoder import recompute_blocks
from flanrec.backbone.used_rows import trained_rows
from flanrec.backbone.vocabulary import used_rows
from flanrec.errors import CheckpointError
from flanrec.generation import first_token_ids
from flanrec.generation.engines import TorchEngine
from flanrec.recommender.readings import WordReading
from flanrec.recommender.settings import WordTuning
from flanrec.recommender.stages.material import Callbacks, Material
from flanrec.tuning import ParameterGroup, Trainer, TrainerSettings, TrainingReport, Weighted
from flanrec.tuning.objectives.answers import AnswerObjective, Question
from flanrec.tuning.objectives.examples import ExampleObjective
from flanrec.tuning.objectives.match import MatchObjective
from flanrec.tuning.objectives.titles import TitleObjective
from flanrec.tuning.questions import Questions
from flanrec.tuning.text_questions import TextQuestions
from flanrec.tuning.wordings import texts_in_use

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
        # Most rows of the vocabulary are never met; those that are may be trained by themselves.
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

    rows = used_rows(
        backbone.tokenizer, texts_in_use(material.prompter, material.facets, material.train, material.users)
    )
    if material.examples is not None:
        rows = np.union1d(rows, material.examples.used)
    with _trained(backbone, words, rows) as groups:
        trainer = Trainer(
            {"words": backbone.model},
            groups,
            _mixture(backbone, material, questions, rows),
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
            identity=material.identity | {"vocabulary rows": hashlib.sha256(rows.tobytes()).hexdigest()},
        )
        report = trainer.fit(resume=resume)
    backbone = merge(backbone) if words.method == "lora" else backbone
    if folder is not None and trainer.processes.first:
        with saving(folder / _WORDS_DONE, {"kind": "stage", **material.identity}) as draft:
            backbone.save(draft / "backbone")
    return backbone, report


@contextmanager
def _trained(backbone: Backbone, words: WordTuning, rows: NDArray[np.int64]) -> Iterator[list[ParameterGroup]]:
    """Make the backbone ready for tuning inside the block, and say what is tuned."""
    groups = [ParameterGroup("words", dict(backbone.model.named_parameters()), words.learning_rate, 0.01)]
    recompute_blocks(backbone.model, words.activation_checkpointing)
    try:
        if words.vocabulary == "frozen":
            yield groups
        else:
            with trained_rows(backbone, rows) as own:
                yield [*groups, ParameterGroup("vocabulary", own, words.vocabulary_rate, 0.0)]
    finally:
        recompute_blocks(backbone.model, False)


def _mixture(backbone: Backbone, material: Material, questions: Questions, rows: NDArray[np.int64]) -> list[Weighted]:
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
    mixture += [
        Weighted(AnswerObjective(name, backbone, draw, rows=rows), weight) for name, (draw, weight) in free.items()
    ]
    if material.examples is not None:
        mixture.append(Weighted(ExampleObjective(backbone, material.examples, rows), weights.examples))
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


def words_are_tuned(folder: Path) -> bool:
    """Whether a fit was interrupted after its words were tuned."""
    return (folder / _WORDS_DONE).exists()


def tuned_words(folder: Path, material: Material, device: str) -> Backbone:
    """The T5 of a fit that was interrupted after its words were tuned.

    Raises
    ------
    CheckpointError
        It is damaged, or of other data or settings.
    """
    about = verify_manifest(folder / _WORDS_DONE)
    if {name: about.get(name) for name in material.identity} != material.identity:
        raise CheckpointError(
            f"{folder} holds a fit of other data or settings; give another folder, or fit without resuming"
        )
    return Backbone.load(folder / _WORDS_DONE / "backbone", device=device)
