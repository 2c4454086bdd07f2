"""An update from what arrived to a decision: set events apart, learn, ask both models, keep the better one."""

from __future__ import annotations

import copy
import hashlib
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.catalogue import Catalogue
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.catalogue.reviews import ReviewReader, Reviews
from flanrec.catalogue.vectors import title_states
from flanrec.data import Dataset
from flanrec.data.arrivals import Arrivals
from flanrec.recommender import stages
from flanrec.recommender.answering import Answering
from flanrec.recommender.fused import reviews_of
from flanrec.recommender.parts import Parts
from flanrec.recommender.prompting import make_prompter
from flanrec.recommender.stages import Callbacks, Material
from flanrec.recommender.updating.asking import Asked
from flanrec.recommender.updating.gate import checks
from flanrec.recommender.updating.held_out import HeldOut, hold_out
from flanrec.recommender.updating.lesson import Lesson
from flanrec.recommender.updating.relearning import calibration_after, fusion_after
from flanrec.recommender.updating.report import UpdateReport
from flanrec.recommender.updating.settings import UpdateSettings
from flanrec.recommender.updating.sources import behaviour_after
from flanrec.recommender.updating.tokens import learn_tokens
from flanrec.recommender.updating.words import learn_words, word_steps
from flanrec.tuning import TrainingReport, all_processes

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Learnt:
    """What learning makes: the T5, the item tokens, and the items' titles as that T5 reads them."""

    backbone: Backbone
    tokens: ItemTokens
    titles: NDArray[np.float32]


def update(
    model: Answering,
    found: Arrivals,
    settings: UpdateSettings,
    *,
    folder: Path | None,
    resume: bool,
    callbacks: Callbacks,
) -> tuple[tuple[Backbone, Parts] | None, UpdateReport]:
    """Learn what arrived; the given model stays as it is. See `Recommender.update`.

    Returns
    -------
    candidate
        Backbone and parts that take the old ones' place; None where the gate refused, or nothing was new.
    report
    """
    report = UpdateReport.of(found)
    if found.nothing:
        return None, report
    report.changed = True
    fitted, backbone = model.settings, model.backbone
    with report.timed("texts"):
        grown = model.parts.extended(backbone, found.dataset.items, fitted)
    if not report.interactions:
        as_it_was = Learnt(backbone, grown.tokens, grown.titles)
        return (backbone, _parts(as_it_was, grown, found.dataset, model)), report

    with report.timed("sources"):
        held = hold_out(found, settings.gate.users, settings.seed)
        known = held.log.with_interactions(held.log.interactions.filter(pl.col("row") < found.first_row))
        before = _parts(Learnt(backbone, grown.tokens, grown.titles), grown, known, model)
    material = _material(model, held.log, settings)
    learnt = _learn(grown, Lesson.of(material, found.places(held.log)), model, settings, folder, resume, callbacks,
                    report)  # fmt: skip
    with report.timed("sources"):
        after = _parts(learnt, grown, held.log, model, since=before)
    chosen = grown
    if held.persons:
        old, new = _asked(model, held, {"old": (backbone, before), "updated": (learnt.backbone, after)}, report)
        spelled = "words" in report.stages
        with report.timed("gate"):
            report.checks = checks(old, new, settings.gate, spelled=spelled)
        report.accepted = report.changed = all(check.passed for check in report.checks)
        if not report.accepted:
            return None, report
        with report.timed("fusion and calibration"):
            fusion, choice = fusion_after(new)
            report.choices.append(choice)
            chosen = replace(chosen, fusion=fusion)
            if spelled or not chosen.calibration.words:  # else the T5 says what it said
                calibration, choice = calibration_after(new, settings.gate.generation_users)
                report.choices.append(choice)
                chosen = replace(chosen, calibration=calibration)
    with report.timed("sources"):
        reviews = _reviews(learnt.backbone, chosen, found.dataset, anew="words" in report.stages)
        chosen = replace(chosen, read_reviews=reviews)
        return (learnt.backbone, _parts(learnt, chosen, found.dataset, model, since=after)), report


def _parts(learnt: Learnt, chosen: Parts, dataset: Dataset, model: Answering, since: Parts | None = None) -> Parts:
    """What was learnt and chosen, among the histories of a log.

    Parameters
    ----------
    chosen
        Whose calibration, fusion and reviews are taken.
    since
        Parts of a part of the log, whose closed-form sources are added to.
    """
    parts = Parts.assemble(
        learnt.backbone, dataset, learnt.tokens, chosen.calibration, chosen.fusion, learnt.titles, chosen.read_reviews,
        model.settings, behaviour=None if since is None else since.behaviour,
    )  # fmt: skip
    if since is None:
        return parts
    grown = behaviour_after(since.behaviour, since.dataset, dataset, parts.catalogue, parts.facets)
    return replace(parts, behaviour=grown)


def _material(model: Answering, log: Dataset, settings: UpdateSettings) -> Material:
    catalogue = Catalogue.from_dataset(log, model.backbone.tokenizer)
    identity = {
        "update": settings.model_dump_json(), "fit": model.settings.model_dump_json(), "model": _digest(model),
    }  # fmt: skip
    return Material.gather(
        log,
        log.with_interactions(log.interactions.head(0)),
        make_prompter(model.backbone, catalogue, model.settings),
        model.settings,
        identity,
    )


def _learn(
    grown: Parts, lesson: Lesson, model: Answering, settings: UpdateSettings, folder: Path | None, resume: bool,
    callbacks: Callbacks, report: UpdateReport,
) -> Learnt:  # fmt: skip
    together = all_processes()
    if folder is not None and not resume:
        together.from_first(partial(stages.refuse_earlier, folder))
    went_on = folder is not None and resume and together.from_first(partial(stages.words_are_tuned, folder))
    material, backbone, titles = lesson.material, model.backbone, grown.titles
    tokens = copy.deepcopy(grown.tokens)
    if lesson.updated and word_steps(model.settings.words, settings):
        with report.timed("words"):
            if went_on and folder is not None:
                done = stages.tuned_words(folder, material, str(backbone.device))
                backbone, report.stages["words"] = replace(done, source=backbone.source), TrainingReport()
            else:
                backbone, report.stages["words"] = learn_words(backbone, lesson, settings, folder, resume, callbacks)
        with report.timed("texts"):
            logger.info("reading the texts of %d items with the T5 as it is now", tokens.n_items)
            tokens.read_texts(backbone, material.prompter.catalogue)
            titles = title_states(backbone, material.prompter.catalogue.titles)
    with report.timed("item tokens"):
        report.stages["item tokens"] = learn_tokens(tokens, backbone, lesson, settings, folder, resume, callbacks)
    return Learnt(backbone, tokens, titles)


def _reviews(backbone: Backbone, chosen: Parts, dataset: Dataset, anew: bool) -> Reviews | None:
    """What users wrote, where the fusion listens to it."""
    if "written" not in chosen.fusion.sources or (chosen.read_reviews is not None and not anew):
        return chosen.read_reviews
    return reviews_of(dataset, ReviewReader(backbone))


def _asked(
    model: Answering, held: HeldOut, candidates: dict[str, tuple[Backbone, Parts]], report: UpdateReport
) -> list[Asked]:
    """The old and the updated model, asked about what was set apart."""
    found = []
    with report.timed("gate"):
        for name, (backbone, parts) in candidates.items():
            logger.info("asking the %s model about %d events that were set apart", name, len(held.persons))
            answering = Answering(backbone, model.settings)
            answering.adopt(parts)
            found.append(Asked.of(answering, held, tokens=bool(report.stages["item tokens"].steps)))
    return found


def _digest(model: Answering) -> str:
    """SHA-256 of all weights, so that no checkpoint of another model's update is taken up."""
    digest = hashlib.sha256()
    for module in (model.backbone.model, model.parts.tokens):
        for name, value in sorted(module.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
