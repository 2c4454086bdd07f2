"""Fitting: all stages in their order, from a log and a backbone to the parts of a recommender."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import polars as pl

from flanrec.backbone import Backbone
from flanrec.backbone.adapters import fingerprint
from flanrec.backbone.vocabulary import check_readable
from flanrec.catalogue import Catalogue
from flanrec.catalogue.reviews import ReviewReader
from flanrec.catalogue.vectors import title_states
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import DataError, SettingsError
from flanrec.recommender import stages
from flanrec.recommender.fused import reviews_of
from flanrec.recommender.parts import Parts
from flanrec.recommender.prompting import make_prompter
from flanrec.recommender.settings import RecommenderSettings
from flanrec.recommender.stages import Callbacks, Material
from flanrec.recommender.tables import joined, with_items_of
from flanrec.tuning import Processes, TrainingReport, all_processes
from flanrec.tuning.callbacks import Callback
from flanrec.tuning.examples import Examples


@dataclass(frozen=True)
class Fitted:
    """What `fit` returns: the tuned backbone, the parts, and the course of each stage."""

    backbone: Backbone
    parts: Parts
    reports: dict[str, TrainingReport]


def fit(
    backbone: Backbone,
    settings: RecommenderSettings,
    train: Dataset,
    validation: Dataset | None,
    *,
    folder: Path | None,
    resume: bool,
    callbacks: Callbacks | None,
    examples: pl.DataFrame | Callable[[], pl.DataFrame] | None = None,
    teacher: Backbone | None = None,
    progress: Callable[[int], None] | None = None,
) -> Fitted:
    """Tune the words, then the item tokens on the tuned encoder, then calibrate and fuse; see `Recommender.fit`.

    With a teacher, a larger and tuned T5, the words are distilled from it: see `flanrec.recommender.distilling`.
    """
    if train.items.height == 0:
        raise DataError("the catalogue is empty; give a table of items with item_id and title")
    validation = None if validation is None else with_items_of(validation, train.items)
    known = train if validation is None else joined(train, validation)
    if known.interactions.height == 0:
        raise DataError("there are no interactions to learn from; give some, or loosen what is rejected")
    if validation is None:
        train, validation = hold_out_last(train)
    told = callbacks or nobody
    reports: dict[str, TrainingReport] = {}
    # What the folder holds is asked once: the first process writes there while others still come.
    together = all_processes()
    if folder is not None and not resume:
        together.from_first(partial(stages.refuse_earlier, folder))
    went_on = folder is not None and resume and together.from_first(partial(stages.words_are_tuned, folder))
    identity = {"fit": settings.model_dump_json(), "backbone": fingerprint(backbone)}
    material = _material(
        backbone, settings, train, validation, identity, tokenised(backbone, settings, examples, folder, together)
    )
    refuse_unreadable(backbone, material, settings.unreadable_limit)
    if went_on and folder is not None:
        done = stages.tuned_words(folder, material, str(backbone.device))
        backbone = replace(done, source=backbone.source)
    else:
        if teacher is not None:
            tutor = stages.tutor_of(teacher, backbone, material, folder, resume, progress)
            material = replace(material, tutor=tutor)
        backbone, reports["words"] = stages.tune_words(backbone, material, folder, resume, told)
    tokens, reports["item tokens"] = stages.tune_tokens(backbone, material, folder, resume, told)
    calibration = stages.calibrate(backbone, material)
    titles = title_states(backbone, material.prompter.catalogue.titles)
    reader = ReviewReader(backbone)
    fusion = stages.fuse(backbone, material, tokens, titles, reader)
    steps = reports["item tokens"].best_step
    if settings.tokens.refit and steps:
        everything = _material(backbone, settings, known, known.with_interactions(known.interactions.head(0)), identity)
        tokens, reports["item tokens, refit"] = stages.tune_tokens(
            backbone, everything, folder, resume, told, steps=steps
        )
    reviews = reviews_of(known, reader) if "written" in fusion.sources else None
    parts = Parts.assemble(backbone, known, tokens, calibration, fusion, titles, reviews, settings)
    return Fitted(backbone, parts, reports)


def _material(
    backbone: Backbone, settings: RecommenderSettings, train: Dataset, validation: Dataset, identity: dict[str, str],
    examples: Examples | None = None,
) -> Material:  # fmt: skip
    prompter = make_prompter(backbone, Catalogue.from_dataset(train, backbone.tokenizer), settings)
    return Material.gather(train, validation, prompter, settings, identity, examples)


def tokenised(
    backbone: Backbone, settings: RecommenderSettings, given: pl.DataFrame | Callable[[], pl.DataFrame] | None,
    folder: Path | None, together: Processes,
) -> Examples | None:  # fmt: skip
    """Instructions of the caller's own; with a folder the first process reads and writes them, and all map the file.

    Raises
    ------
    SettingsError
        There are some, but the T5 is not tuned.
    """

    def made() -> Examples:
        table = given() if callable(given) else given
        assert table is not None
        prompts, targets = (table[name].to_list() for name in ("prompt", "target"))
        return Examples.tokenise(backbone, prompts, targets, settings.max_tokens)

    if given is None:
        return None
    if settings.words.steps == 0:
        raise SettingsError("instructions of your own need a T5 that is tuned, and words.steps is 0; choose a preset")
    if folder is None:
        return made()
    path = folder / "examples.npz"
    together.from_first(lambda: made().save(path))
    return Examples.load(path)


def refuse_unreadable(backbone: Backbone, material: Material, limit: float) -> None:
    """Raise CheckpointError where the vocabulary lacks what catalogue or first language of instructions say."""
    check_readable(backbone.tokenizer, material.prompter.catalogue.titles, limit)
    wording = material.prompter.templates[0].wording
    check_readable(backbone.tokenizer, [wording.words["yes"], wording.words["no"]], limit)


def nobody(stage: str) -> Sequence[Callback]:
    """Nobody is told of a stage's progress."""
    return ()
