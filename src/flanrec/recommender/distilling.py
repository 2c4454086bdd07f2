"""Distillation: a smaller recommender that learns from a larger, tuned one, and how the two compare."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from flanrec.backbone import Backbone, load_backbone
from flanrec.backbone.shrinking import shrunken
from flanrec.catalogue import Catalogue
from flanrec.data import Dataset
from flanrec.data.splits import hold_out_last
from flanrec.errors import SettingsError
from flanrec.generation.engines import TorchEngine
from flanrec.metrics.probability import auc
from flanrec.recommender.calibration import Calibration
from flanrec.recommender.core import Recommender
from flanrec.recommender.fitting import fit
from flanrec.recommender.prompting import make_prompter
from flanrec.recommender.readings import MatchReading, WordReading
from flanrec.recommender.saving import is_saved
from flanrec.recommender.settings import RecommenderSettings, WordTuning
from flanrec.recommender.stages import Callbacks, Material
from flanrec.recommender.stages.measuring import Measurement
from flanrec.recommender.tables import with_items_of
from flanrec.recommender.transfer import digest_of, load_tuned, refuse_untuned

_USERS = 200


@dataclass(frozen=True)
class Portrait:
    """What a tuned T5 is and does, on validation users.

    Attributes
    ----------
    blocks
        Of encoder and decoder.
    parameters
        Numbers in its weights.
    users
        Who were asked in generation; all rated validation events count for the match.
    ndcg
        Mean NDCG@10 of generation.
    match_auc
        AUC of the match odds, the like rates included, on rated validation events; nan without ratings.
    milliseconds
        Of generation, a user.
    """

    blocks: tuple[int, int]
    parameters: int
    users: int
    ndcg: float
    match_auc: float
    milliseconds: float


@dataclass(frozen=True)
class Distilled:
    """A student and its teacher, asked the same.

    Attributes
    ----------
    recommender
        The student, fitted.
    """

    recommender: Recommender
    teacher: Portrait
    student: Portrait

    def to_dict(self) -> dict[str, Any]:
        """The numbers as plain values."""
        return {"teacher": asdict(self.teacher), "student": asdict(self.student)}


def distill(
    teacher: Recommender,
    train: Dataset,
    validation: Dataset | None = None,
    *,
    student: str | Path | None = None,
    encoder_layers: int | None = None,
    decoder_layers: int | None = None,
    settings: RecommenderSettings | None = None,
    folder: Path | str | None = None,
    resume: bool = False,
    callbacks: Callbacks | None = None,
    progress: Callable[[int], None] | None = None,
) -> Distilled:
    """Fit a recommender whose T5 learns from the tuned T5 of another one.

    ``settings.distillation`` says what it learns: how probable the teacher holds what could be said, what the teacher
    answers, or both. Item tokens, calibration and fusion are then fitted on the student as on any T5, so the result is
    an ordinary recommender.

    Parameters
    ----------
    teacher
        Fitted, best on the same log. It stays as it is.
    train, validation
        As in `Recommender.fit`.
    student
        The T5 that learns: what `load_backbone` takes, or a folder of `Recommender.save_pretrained`.
    encoder_layers, decoder_layers
        Instead of it: how many of the teacher's own blocks the student has (`shrunken`). All, where one is left out.
    settings
        Of the student; by default those of `student_settings`. The scale of the logits of a T5 that was tuned before
        begins as it is, whatever ``words.start_gain`` says.
    folder, resume, callbacks
        As in `Recommender.fit`.
    progress
        Called with the number of questions that the teacher answered since the last call.

    Raises
    ------
    SettingsError
        Neither or both kinds of student are named, there is nothing to tune (``words.steps`` is 0), the teacher or a
        student from a folder was never tuned, the student carries something that the method does not go with, or
        probabilities are to be taught to a student with other tokens.
    DataError, CheckpointError
        As in `Recommender.fit`.

    References
    ----------
    Hinton, Vinyals and Dean, "Distilling the knowledge in a neural network", 2015; Kim and Rush, "Sequence-level
    knowledge distillation", 2016; Shleifer and Rush, "Pre-trained summarization distillation", 2020.

    Examples
    --------
    Half of the blocks, taught by all of them::

        teacher = Recommender.load("large/")
        found = distill(teacher, split.train, split.validation, encoder_layers=4, decoder_layers=4)
        found.recommender.save_pretrained("small/")
    """
    settings = student_settings(teacher) if settings is None else settings
    if settings.words.steps == 0:
        raise SettingsError("words.steps is 0, so the student would learn nothing; set it to 1 or more")
    refuse_untuned(teacher.settings, "the teacher")
    smaller = student_of(teacher, student, encoder_layers, decoder_layers, settings.words)
    gain = settings.words.start_gain if smaller.fresh else 1.0
    settings = settings.model_copy(
        update={
            "words": settings.words.model_copy(update={"start_gain": gain}),
            "origin": _origin(teacher, smaller.backbone),
        }
    )
    fitted = fit(
        smaller.backbone, settings, train, validation, folder=None if folder is None else Path(folder), resume=resume,
        callbacks=callbacks, teacher=teacher.backbone, progress=progress,
    )  # fmt: skip
    recommender = Recommender(fitted.backbone, settings)
    recommender.adopt(fitted.parts)
    recommender.reports = fitted.reports
    if validation is None:
        train, validation = hold_out_last(train)
    validation = with_items_of(validation, train.items)
    portraits = []
    for one in (teacher.backbone, fitted.backbone):
        prompter = make_prompter(one, Catalogue.from_dataset(train, one.tokenizer), settings)
        portraits.append(portrait(one, Material.gather(train, validation, prompter, settings, {})))
    return Distilled(recommender, *portraits)


def student_settings(teacher: Recommender) -> RecommenderSettings:
    """The teacher's settings, for a student whose blocks are all tuned at their usual rate."""
    given = teacher.settings
    return given.model_copy(update={"words": given.words.model_copy(update={"method": "full", "learning_rate": None})})


class Student(NamedTuple):
    """The T5 that is to learn, and whether it is one that no log has tuned yet."""

    backbone: Backbone
    fresh: bool


def student_of(
    teacher: Recommender, name: str | Path | None, encoder_layers: int | None, decoder_layers: int | None,
    words: WordTuning,
) -> Student:  # fmt: skip
    """A checkpoint, the T5 of a saved recommender, or some of the teacher's own blocks, to be tuned; see `distill`.

    Raises
    ------
    SettingsError
        Neither or both are named, the teacher has not as many blocks, or as in `load_tuned`.
    """
    layers = encoder_layers, decoder_layers
    if (name is None) == (layers == (None, None)):
        raise SettingsError("name the student: a checkpoint, or how many of the teacher's blocks it keeps, not both")
    backbone, device = teacher.backbone, str(teacher.backbone.device)
    if name is None:
        config: Any = backbone.model.config
        whole = int(config.num_layers), int(config.num_decoder_layers)
        kept = [total if some is None else some for some, total in zip(layers, whole, strict=True)]
        return Student(shrunken(backbone, *kept), fresh=False)
    if is_saved(Path(name)):
        return Student(load_tuned(Path(name), words, device=device).backbone, fresh=False)
    return Student(load_backbone(name, device=device), fresh=True)


def portrait(backbone: Backbone, material: Material) -> Portrait:
    """What a T5 is and does for the validation users of a log, some of them in generation."""
    settings, prompter, model = material.settings, material.prompter, backbone.model
    engine, config = TorchEngine(backbone), model.config
    reading = WordReading(engine, prompter, settings.num_beams, settings.search_nodes)
    measure = Measurement(material, reading, _USERS)
    found, milliseconds = float("nan"), float("nan")
    if measure.asked:
        began = time.perf_counter()
        found = measure()["ndcg@10"]
        milliseconds = 1000 * (time.perf_counter() - began) / len(measure.asked)
    rows = np.flatnonzero(~np.isnan(material.answer_ratings))
    matched = float("nan")
    if len(rows):
        match = MatchReading(engine, prompter, material.rates, Calibration())
        rule, words = match.odds([material.asked[row] for row in rows], material.first_answers[rows].tolist())
        matched = auc(material.answer_ratings[rows] >= settings.liked_rating, rule + words)
    return Portrait(
        (int(config.num_layers), int(config.num_decoder_layers)),
        sum(weight.numel() for weight in model.parameters()),
        len(measure.asked),
        found,
        matched,
        milliseconds,
    )


def _origin(teacher: Recommender, student: Backbone) -> str:
    """What the student learns from and what it was, so that a run of another student is not taken for its own."""
    known = teacher.parts.dataset.name
    return f"distilled from {_told(teacher.backbone, f' tuned on {known}')}, into {_told(student)}"


def _told(backbone: Backbone, since: str = "") -> str:
    config: Any = backbone.model.config
    return f"{config.num_layers}+{config.num_decoder_layers} blocks{since}, weights {digest_of(backbone)}"
