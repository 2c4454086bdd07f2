"""The stages of fitting: words, item tokens, calibration."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.artefact import saving, verify_manifest
from flanrec.backbone import Backbone
from flanrec.backbone.adapters import add_lora, merge
from flanrec.backbone.prompts import PromptEncoder
from flanrec.candidates.blend import Blend
from flanrec.catalogue.facets import Facets
from flanrec.catalogue.factors import transition_factors
from flanrec.catalogue.item_tokens import ItemTokens
from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.people import Person, people
from flanrec.catalogue.prompter import Prompter
from flanrec.data import Dataset
from flanrec.errors import CheckpointError
from flanrec.generation import first_token_ids
from flanrec.metrics import UserItems, ndcg
from flanrec.ranking.boosting import BoostingSettings
from flanrec.ranking.features import Behaviour, Features
from flanrec.recommender.calibration import Calibration
from flanrec.recommender.fused import BASE, FusedReading, Fusion, closed_items, first_answers, unit_texts
from flanrec.recommender.readings import MatchReading, TokenReading, WordReading
from flanrec.recommender.settings import RecommenderSettings, TeacherName
from flanrec.tuning import ParameterGroup, Trainer, TrainerSettings, TrainingReport, Weighted
from flanrec.tuning.callbacks import Callback
from flanrec.tuning.objectives.answers import AnswerObjective, Question
from flanrec.tuning.objectives.item_tokens import ItemTokenObjective
from flanrec.tuning.objectives.match import MatchObjective
from flanrec.tuning.objectives.titles import TitleObjective
from flanrec.tuning.questions import Questions, TextQuestions
from flanrec.tuning.teaching import Teacher

logger = logging.getLogger(__name__)

_GENERATION_USERS = 200
_WORDS_DONE = "words-done"
_INSTRUCTION = (
    "prompt_norm.",
    "word_norm.",
    "query.",
    "key.",
    "value.",
    "mix.",
    "nothing",
    "text_answer.",
    "text_norm.",
)
Callbacks = Callable[[str], Sequence[Callback]]


@dataclass(frozen=True)
class Material:
    """What the stages share: the people of the training log, their validation events, and the wording.

    Attributes
    ----------
    train
        The log that is learnt from.
    users
        Its users, those without events left out.
    asked
        Validation users as they were before their validation events.
    answers
        The items of those events, a row a user.
    answer_ratings
        float32, the rating of each user's first validation event, nan where there is none.
    """

    train: Dataset
    users: list[Person]
    asked: list[Person]
    answers: UserItems
    answer_ratings: NDArray[np.float32]
    prompter: Prompter
    facets: Facets
    rates: LikeRates
    settings: RecommenderSettings
    identity: dict[str, str]

    @classmethod
    def gather(
        cls,
        train: Dataset,
        validation: Dataset,
        prompter: Prompter,
        settings: RecommenderSettings,
        identity: dict[str, str],
    ) -> Material:
        """Collect the material of a fit."""
        ids = validation.interactions["user_id"].unique(maintain_order=True).to_list()
        if len(ids) > settings.validation_users:
            rng = np.random.default_rng(settings.seed)
            ids = [ids[at] for at in np.sort(rng.choice(len(ids), settings.validation_users, replace=False))]
        later = validation.sequences(ids)
        rows = [later.of(row) for row in range(len(ids))]
        return cls(
            train=train,
            users=[user for user in people(train) if len(user.items)],
            asked=people(train, ids),
            answers=UserItems.from_lists([row.tolist() for row in rows]),
            answer_ratings=later.ratings[later.offsets[:-1]] if len(ids) else np.zeros(0, dtype=np.float32),
            prompter=prompter,
            facets=Facets.of(prompter.catalogue),
            rates=LikeRates.of(train.sequences(), settings.liked_rating),
            settings=settings,
            identity={**identity, "data": train.fingerprint()},
        )

    def ranking(self, items: NDArray[np.int64], rows: slice | NDArray[np.int64] = slice(None)) -> float:
        """Mean NDCG@10 of ranked items int64[n, 10] for the validation users of the given rows."""
        chosen = np.arange(len(self.asked))[rows]
        lists = [self.answers.items[self.answers.offsets[row] : self.answers.offsets[row + 1]].tolist()
                 for row in chosen]  # fmt: skip
        return float(np.nanmean(ndcg(items, UserItems.from_lists(lists), 10))) if len(chosen) else float("nan")


def tune_words(
    backbone: Backbone, material: Material, folder: Path | None, resume: bool, callbacks: Callbacks
) -> tuple[Backbone, TrainingReport]:
    """Instruction-tune the T5 on the mixture of task families."""
    settings, words = material.settings, material.settings.words
    questions = Questions(
        material.users, material.prompter, material.facets, material.rates,
        answers=words.answers, teacher=_teacher(material, words.teacher), trust=words.trust,
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
        reading = WordReading(backbone, material.prompter, settings.num_beams, settings.search_nodes)
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
    report = trainer.fit(resume=resume)
    backbone = merge(backbone) if words.method == "lora" else backbone
    if folder is not None:
        with saving(folder / _WORDS_DONE, {"kind": "stage", **material.identity}) as draft:
            backbone.save(draft / "backbone")
    return backbone, report


def _teacher(material: Material, name: TeacherName) -> Teacher | None:
    """The closed-form blend of the training log, its weights fitted on the validation events."""
    if name == "none" or not material.users:
        return None
    first = material.answers.offsets[:-1]
    blend = Blend().fit(material.train.sequences())
    if len(first):
        asked = [person.items for person in material.asked]
        blend = blend.tuned(asked, material.answers.items[first], material.settings.seed)
    return blend.scores


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
        teacher=_teacher(material, tuning.teacher), trust=tuning.trust,
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


def calibrate(backbone: Backbone, material: Material) -> Calibration:
    """Fit the match probability on the validation events; as it is where they cannot tell.

    An untuned T5 is not asked: its words weigh nothing.
    """
    rated = ~np.isnan(material.answer_ratings)
    if not rated.any():
        return Calibration(words=0.0) if material.settings.words.steps == 0 else Calibration()
    silent = material.settings.words.steps == 0
    begin = Calibration(words=0.0) if silent else Calibration()
    reading = MatchReading(backbone, material.prompter, material.rates, begin)
    rows = np.flatnonzero(rated)
    items = [int(material.answers.items[material.answers.offsets[row]]) for row in rows]
    rule, words = reading.odds([material.asked[row] for row in rows], items)
    liked = material.answer_ratings[rows] >= material.settings.liked_rating
    if silent:
        return replace(Calibration.fit(rule, words, liked), words=0.0)
    return Calibration.chosen(rule, words, liked)


def fuse(material: Material, tokens: ItemTokens, encoder: PromptEncoder) -> Fusion:
    """Learn the fusion on the validation events, from sources that saw the training log alone."""
    if not material.asked:
        return Fusion.unlearned(BASE if material.settings.tokens_are_fused else BASE[:-1])
    settings = material.settings
    catalogue = material.prompter.catalogue
    behaviour = Behaviour.fit(material.train.sequences(), material.facets.members, catalogue.years)
    reading = TokenReading(tokens, encoder, material.prompter)
    features = Features(settings.fusion.depth)
    unlearned = Fusion.unlearned(BASE)
    fused = FusedReading(behaviour, unlearned, features, reading, unit_texts(tokens), spoken=settings.tokens_are_fused)
    asked = material.asked
    closed = closed_items(asked, tokens.n_items, [person.items for person in asked], None)
    given = fused.said_by_text(asked, reading.scores(asked) if fused.spoken else None)
    histories, moments = [person.items for person in asked], [person.moment for person in asked]
    pool = features.pool(behaviour, histories, moments, closed, given)
    boosting = BoostingSettings(rounds=settings.fusion.rounds) if settings.fusion.rounds else None
    return Fusion.fit(pool, first_answers(material.answers), boosting, settings.seed)
