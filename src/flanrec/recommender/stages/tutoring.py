"""Distillation in the words stage: a larger T5 answers questions first, and says how probable its answers are."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flanrec.artefact import write_text_atomically
from flanrec.backbone import Backbone
from flanrec.backbone.vocabulary import token_difference, used_rows
from flanrec.catalogue import Catalogue
from flanrec.errors import CheckpointError, SettingsError
from flanrec.generation.answers import free_answers
from flanrec.generation.engines import TorchEngine
from flanrec.instructions.text import occurs
from flanrec.recommender.stages.material import Material
from flanrec.recommender.stages.mixture import word_mixture
from flanrec.tuning import Weighted, all_processes
from flanrec.tuning.objective import Objective, Predicting
from flanrec.tuning.objectives.answers import AnswerObjective, Question
from flanrec.tuning.objectives.distillation import DistilledObjective
from flanrec.tuning.objectives.titles import TitleObjective
from flanrec.tuning.questions import Questions
from flanrec.tuning.tutoring import TaughtAnswers, Tutor
from flanrec.tuning.wordings import texts_in_use

logger = logging.getLogger(__name__)

_TOGETHER = 32
_ANSWERED = "teacher-done"
_PLAN = "plan.json"
Progress = Callable[[int], None]


def tutor_of(
    teacher: Backbone, student: Backbone, material: Material, folder: Path | None, resume: bool,
    progress: Progress | None = None,
) -> Tutor:  # fmt: skip
    """Make a teacher ready for a student: compare their tokens, and let it answer where its answers are taught.

    Parameters
    ----------
    folder
        Where answers are kept, so that a killed run asks for none of them again.
    resume
        Whether those that are kept there count; else they are removed.
    progress
        Called with the number of questions answered since the last call, `distillation.sequences` in all.

    Raises
    ------
    SettingsError
        Probabilities are to be taught, but the two do not read the same tokens.
    CheckpointError
        The kept answers are of another run.
    """
    by, titles = material.settings.distillation.by, material.prompter.catalogue.titles
    different = token_difference(teacher.tokenizer, student.tokenizer, titles)
    if different and by != "sequence":
        raise SettingsError(
            f"The teacher's probabilities are of its own tokens, which the student does not have: {different}. Distil "
            "by sequence, or choose a student with the teacher's vocabulary, such as its own blocks in part."
        )
    teacher.model.requires_grad_(False).eval()
    if by == "logits":
        return Tutor(teacher)
    kept = None if folder is None else folder / _ANSWERED
    own = Catalogue.from_dataset(material.train, teacher.tokenizer) if different else material.prompter.catalogue
    found = all_processes().from_first(lambda: _asked(teacher, own, material, kept, resume, progress))
    logger.info("the teacher answered %d questions", len(found))
    return Tutor(teacher, found)


def tutored(
    mixture: Sequence[Weighted], material: Material, questions: Questions, rows: NDArray[np.int64]
) -> list[Weighted]:
    """The mixture as the material's teacher has it taught; without one, and where it has no say, as it is.

    Yes and no are one token each, so `sequence` leaves them to the log: the likelier of the two alone would not tell
    how much likelier it is.
    """
    tutor, settings = material.tutor, material.settings.distillation
    if tutor is None:
        return list(mixture)
    for one in mixture:
        drawing = None if tutor.sequences is None else tutor.sequences.drawing(one.objective.name)
        if drawing is not None and isinstance(one.objective, TitleObjective | AnswerObjective):
            one.objective.draw_one = drawing
    if settings.by == "sequence":
        return list(mixture)
    theirs = {one.objective.name: one.objective for one in word_mixture(tutor.backbone, material, questions, rows)}

    def taught(objective: Objective) -> Objective:
        teacher = theirs.get(objective.name)
        if not isinstance(objective, Predicting) or not isinstance(teacher, Predicting):
            return objective
        return DistilledObjective(objective, teacher, temperature=settings.temperature, share=settings.share)

    return [replace(one, objective=taught(one.objective)) for one in mixture]


def _asked(
    teacher: Backbone, catalogue: Catalogue, material: Material, folder: Path | None, resume: bool,
    progress: Progress | None,
) -> TaughtAnswers:  # fmt: skip
    """Ask part by part; each part of the questions follows from the seed and its number."""
    settings = material.settings
    if folder is not None:
        _begin(folder, material, resume)
    questions = Questions(material.users, material.prompter, material.facets, material.rates)
    texts = texts_in_use(material.prompter, material.facets, material.train, material.users)
    rows = used_rows(teacher.tokenizer, texts)
    families = [
        one for one in word_mixture(teacher, material, questions, rows)
        if isinstance(one.objective, TitleObjective | AnswerObjective)
    ]  # fmt: skip
    counts = _shares(settings.distillation.sequences, [one.weight for one in families])
    found: dict[str, list[Question]] = {one.objective.name: [] for one in families}
    for number, (at, size) in enumerate(_parts(counts)):
        kept = None if folder is None else folder / f"{number:05d}.json"
        if kept is not None and kept.is_file():
            answered = _read(kept)
        else:
            rng = np.random.default_rng([settings.seed, 3, number])
            objective = families[at].objective
            asked = objective.draw(rng, size)
            if isinstance(objective, TitleObjective):
                answered = _by_titles(teacher, catalogue, material, asked)
            else:
                said = free_answers(teacher, [question.prompt for question in asked], rows=rows)
                answered = [
                    Question(question.prompt, (answer,), question.weights[:1])
                    for question, answer in zip(asked, said, strict=True)
                    if answer
                ]
            if kept is not None:
                write_text_atomically(kept, json.dumps([_plain(question) for question in answered]))
        found[families[at].objective.name] += answered
        if progress is not None:
            progress(size)
    return TaughtAnswers(found)


def _by_titles(
    teacher: Backbone, catalogue: Catalogue, material: Material, asked: Sequence[Question]
) -> list[Question]:
    """Each question with the teacher's likeliest titles; those left out that the prompt tells."""
    settings = material.settings
    items, scores = TorchEngine(teacher).top_titles(
        [question.prompt for question in asked],
        catalogue.trie,
        k=settings.distillation.titles,
        num_beams=max(settings.num_beams, settings.distillation.titles),
        excluded=[set(question.excluded) for question in asked],
        normalisation="trie",
        max_nodes=settings.search_nodes,
    )
    answered = []
    for question, row, logs in zip(asked, items.tolist(), scores, strict=True):
        kept = [at for at, item in enumerate(row) if item >= 0 and not occurs(catalogue.titles[item], question.prompt)]
        if kept:
            chances = np.exp(logs[kept].astype(np.float64) - logs[kept].max())
            answered.append(
                replace(
                    question,
                    answers=tuple(catalogue.titles[row[at]] for at in kept),
                    weights=tuple((chances / chances.sum()).tolist()),
                    items=tuple(row[at] for at in kept),
                    beliefs=None,
                )
            )
    return answered


def _shares(total: int, weights: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to weights that add up to a total, by largest remainders."""
    exact = total * np.array(weights, dtype=np.float64) / max(sum(weights), 1e-12)
    counts = np.floor(exact).astype(np.int64)
    for at in np.argsort(counts - exact, kind="stable")[: total - int(counts.sum())]:
        counts[at] += 1
    return [int(count) for count in counts]


def _parts(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Which family each part asks, and how many questions."""
    for at, count in enumerate(counts):
        for first in range(0, count, _TOGETHER):
            yield at, min(_TOGETHER, count - first)


def _begin(folder: Path, material: Material, resume: bool) -> None:
    """Make the folder of the answers, or see that it is of the same run."""
    if not resume:
        shutil.rmtree(folder, ignore_errors=True)
    plan = folder / _PLAN
    if plan.is_file():
        if json.loads(plan.read_text(encoding="utf-8")) != material.identity:
            raise CheckpointError(
                f"{folder} holds answers for other data, settings or teacher; give another folder, or do not resume"
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_text_atomically(plan, json.dumps(material.identity))


def _plain(question: Question) -> dict[str, object]:
    return {field.name: getattr(question, field.name) for field in dataclasses.fields(question) if field.compare}


def _read(path: Path) -> list[Question]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [
            Question(row["prompt"], tuple(row["answers"]), tuple(row["weights"]), tuple(row["items"]),
                     tuple(row["excluded"]))
            for row in rows
        ]  # fmt: skip
    except (ValueError, KeyError, TypeError) as problem:
        raise CheckpointError(f"{path} is damaged; remove it, and its questions are asked again") from problem
