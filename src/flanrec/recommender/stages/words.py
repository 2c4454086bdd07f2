"""The words stage: the T5 itself is instruction-tuned on the mixture of task families."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.artefact import saving, verify_manifest
from flanrec.backbone import Backbone
from flanrec.backbone.adapters import AdapterSettings, add_adapter, finished
from flanrec.backbone.attachments import attached, train_attached
from flanrec.backbone.dropout import dropout_at
from flanrec.backbone.encoder import recompute_blocks
from flanrec.backbone.used_rows import trained_rows
from flanrec.backbone.vocabulary import used_rows
from flanrec.catalogue.prompter import Prompter
from flanrec.errors import CheckpointError
from flanrec.generation.engines import TorchEngine
from flanrec.recommender.readings import WordReading
from flanrec.recommender.settings import WordTuning
from flanrec.recommender.stages.hardening import hardened, texts_of, varied_histories, varied_prompter
from flanrec.recommender.stages.material import Callbacks, Material
from flanrec.recommender.stages.measuring import Measurement
from flanrec.recommender.stages.mixture import reference_of, refuse_unfit, word_mixture
from flanrec.recommender.stages.runs import RUNS_DONE, best_run
from flanrec.recommender.stages.tutoring import tutored
from flanrec.tuning import ParameterGroup, Trainer, TrainerSettings, TrainingReport, all_processes
from flanrec.tuning.curriculum import arranged
from flanrec.tuning.questions import Questions
from flanrec.tuning.rank_schedule import RankSchedule
from flanrec.tuning.wordings import texts_in_use

_GENERATION_USERS = 200
WORDS_DONE = "words-done"
"""Folder of a finished words stage, beside its checkpoints."""


def tune_words(
    backbone: Backbone, material: Material, folder: Path | None, resume: bool, callbacks: Callbacks
) -> tuple[Backbone, TrainingReport]:
    """Instruction-tune the T5 on the mixture of task families, once or in several runs of which the best is kept."""
    settings = material.settings
    if settings.bounded(settings.words.steps) == 0 or all(len(user.items) < 2 for user in material.users):
        return backbone, TrainingReport()
    refuse_unfit(backbone, material)
    # Back-translation takes its time: all runs share what it finds.
    prompter = varied_prompter(material.prompter, settings.words.augment, str(backbone.device))
    tune = partial(_tuned, material=material, prompter=prompter, resume=resume)
    if settings.words.runs == 1:
        place = None if folder is None else folder / "words"
        backbone, report = tune(backbone, seed=settings.seed, folder=place, callbacks=callbacks)
    else:
        backbone, report = best_run(backbone, material, folder, resume, callbacks, tune, _measured)
    if folder is not None and all_processes().first:
        with saving(folder / WORDS_DONE, {"kind": "stage", **material.identity}) as draft:
            backbone.save(draft / "backbone")
    return backbone, report


def _measured(backbone: Backbone, material: Material) -> Measurement:
    """NDCG@10 of generation for some of the validation users."""
    settings = material.settings
    reading = WordReading(TorchEngine(backbone), material.prompter, settings.num_beams, settings.search_nodes)
    return Measurement(material, reading, _GENERATION_USERS)


def _tuned(
    backbone: Backbone, *, material: Material, prompter: Prompter, seed: int, folder: Path | None, resume: bool,
    callbacks: Callbacks,
) -> tuple[Backbone, TrainingReport]:  # fmt: skip
    """Tune a backbone, which changes, in one run with checkpoints in its own folder."""
    with word_trainer(backbone, material, prompter, seed=seed, folder=folder, callbacks=callbacks) as (tuned, trainer):
        report = trainer.fit(resume=resume)
    return finished(tuned), report


@contextmanager
def word_trainer(
    backbone: Backbone, material: Material, prompter: Prompter, *, seed: int, folder: Path | None, callbacks: Callbacks
) -> Iterator[tuple[Backbone, Trainer]]:
    """Make a backbone, which changes, ready for tuning inside the block; yields it as it is tuned, and its trainer.

    The prompter words what is learnt (`varied_prompter`); what is measured is in the usual words.
    """
    settings, words = material.settings, material.settings.words
    questions = Questions(
        material.users, prompter, material.facets, material.rates,
        answers=words.answers, teacher=material.teacher(words.teacher), trust=words.trust,
        histories=varied_histories(words.augment),
    )  # fmt: skip
    steps = settings.bounded(words.steps)
    torch.manual_seed(seed)
    reference = reference_of(backbone, words.start_gain) if words.weights.preference > 0 else None
    backbone = trainable(backbone, words.adapter, steps)
    with torch.no_grad():
        # Zero-shot preferences among titles are strong and mostly wrong: begin nearer to what the crowd takes.
        backbone.model.get_decoder().final_layer_norm.weight.mul_(words.start_gain)
    measure = _measured(backbone, material)
    texts = texts_in_use(prompter, material.facets, material.train, material.users) + texts_of(prompter)
    rows = used_rows(backbone.tokenizer, texts)
    if material.examples is not None:
        rows = np.union1d(rows, material.examples.used)
    with word_groups(backbone, words, rows) as groups:
        trainer = Trainer(
            {"words": backbone.model},
            groups,
            arranged(
                hardened(
                    tutored(word_mixture(backbone, material, questions, rows, reference), material, questions, rows),
                    backbone,
                    words,
                ),
                words.curriculum,
                seed,
            ),
            TrainerSettings(
                steps=steps,
                batch_size=words.batch_size,
                accumulation=words.accumulation,
                seed=seed,
                optimizer=words.optimizer,
                schedule="one_cycle",
                warmup=0.1,
                evaluate_every=words.evaluate_every,
                patience=words.patience,
                checkpoint_seconds=settings.checkpoint_seconds if folder else None,
                autocast=settings.autocast,
            ),
            evaluate=measure if measure.asked and words.evaluate_every else None,
            primary="ndcg@10" if measure.asked and words.evaluate_every else "",
            samples=measure.samples,
            folder=folder,
            callbacks=callbacks("words"),
            identity=material.identity | {"vocabulary rows": hashlib.sha256(rows.tobytes()).hexdigest()},
            companions=[RankSchedule(backbone.model)] if words.method == "adalora" else [],
        )
        yield backbone, trainer


def trainable(backbone: Backbone, adapter: AdapterSettings | None, steps: int) -> Backbone:
    """A backbone whose weights that are to be tuned in so many steps ask for gradients, and no others.

    Without an adapter these are all blocks and what the model carries; with one it is the adapter, which is put in
    unless the model carries one from an earlier fit, and the norm before the head.
    """
    if adapter is None:
        # Most rows of the vocabulary are never met; those that are may be trained by themselves.
        backbone.model.requires_grad_(True)
        backbone.model.get_input_embeddings().requires_grad_(False)
        backbone.model.get_output_embeddings().requires_grad_(False)
    elif attached(backbone.model) is not None:
        train_attached(backbone.model)
    else:
        backbone = add_adapter(backbone, adapter, steps=steps)
    if adapter is not None:
        # Tuning lowers the scale of the logits first (start_gain), so it must be able to raise it again.
        backbone.model.get_decoder().final_layer_norm.requires_grad_(True)
    return backbone


@contextmanager
def word_groups(backbone: Backbone, words: WordTuning, rows: NDArray[np.int64]) -> Iterator[list[ParameterGroup]]:
    """Make the backbone ready for tuning inside the block, and say what is tuned."""
    groups = _groups(backbone, words)
    recompute_blocks(backbone.model, words.activation_checkpointing)
    try:
        with dropout_at(backbone.model, words.dropout):
            if words.vocabulary == "frozen":
                yield groups
            else:
                with trained_rows(backbone, rows) as own:
                    yield [*groups, ParameterGroup("vocabulary", own, words.vocabulary_rate, 0.0)]
    finally:
        recompute_blocks(backbone.model, False)


def _groups(backbone: Backbone, words: WordTuning) -> list[ParameterGroup]:
    """The tuned weights by their rates."""
    named = dict(backbone.model.named_parameters())
    second = {name: weight for name, weight in named.items() if ".lora_B." in name}
    if words.method == "adalora" or not second:
        return [ParameterGroup("words", named, words.rate, words.weight_decay)]
    first = {name: weight for name, weight in named.items() if name not in second}
    return [
        ParameterGroup("words", first, words.rate, words.weight_decay),
        ParameterGroup("second matrices", second, words.rate * words.rate_ratio, words.weight_decay),
    ]


def refuse_earlier(folder: Path) -> None:
    """Refuse a folder that has a fit in it, before anything is tuned.

    Raises
    ------
    CheckpointError
        There is one.
    """
    done = (folder / WORDS_DONE).exists() or any(folder.glob(RUNS_DONE))
    if done or any(folder.glob("*/checkpoints/*")):
        raise CheckpointError(f"{folder} holds an earlier fit; go on with it (resume), or remove it first")


def words_are_tuned(folder: Path) -> bool:
    """Whether a fit was interrupted after its words were tuned."""
    return (folder / WORDS_DONE).exists()


def tuned_words(folder: Path, material: Material, device: str) -> Backbone:
    """The T5 of a fit that was interrupted after its words were tuned.

    Raises
    ------
    CheckpointError
        It is damaged, or of other data or settings.
    """
    about = verify_manifest(folder / WORDS_DONE)
    if {name: about.get(name) for name in material.identity} != material.identity:
        raise CheckpointError(
            f"{folder} holds a fit of other data or settings; give another folder, or fit without resuming"
        )
    return Backbone.load(folder / WORDS_DONE / "backbone", device=device)
