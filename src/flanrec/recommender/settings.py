"""The settings of a recommender, and the presets that fill them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flanrec.backbone.adapters import AdapterSettings
from flanrec.catalogue.item_graph import IndexSettings
from flanrec.catalogue.item_tokens import ItemTokenSettings
from flanrec.errors import SettingsError
from flanrec.tuning.curriculum import Curriculum
from flanrec.tuning.settings import OptimizerName

Preset = Literal["fast", "balanced", "best"]
TeacherName = Literal["blend", "none"]
PRESETS: tuple[Preset, ...] = ("fast", "balanced", "best")
WordMethod = Literal[
    "full", "lora", "dora", "rslora", "adalora", "ia3", "prompt-tuning", "p-tuning", "prefix-tuning", "adapter"
]
METHOD_RATES: dict[WordMethod, float] = {
    "full": 1e-3,
    "lora": 5e-3,
    "dora": 5e-3,
    "rslora": 2e-3,
    "adalora": 2e-2,
    "ia3": 2e-2,
    "prompt-tuning": 5e-3,
    "p-tuning": 1e-3,
    "prefix-tuning": 5e-3,
    "adapter": 2e-3,
}
"""Peak learning rates that did best on the validation events of MovieLens-100K among those tried (docs/tuning.md)."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class TaskWeights(_Settings):
    """How often each family of instructions has its turn in tuning the T5, relative to the others."""

    sequential: float = Field(default=0.55, ge=0)
    """Which item comes next."""
    wish: float = Field(default=0.1, ge=0)
    """Which item comes next, of those that fit a wish."""
    match: float = Field(default=0.25, ge=0)
    """Whether a user likes an item."""
    pick: float = Field(default=0.03, ge=0)
    """Which of some candidates comes next."""
    rating: float = Field(default=0.04, ge=0)
    """Which rating a user gives; only with ratings."""
    profile: float = Field(default=0.03, ge=0)
    """How a user's taste is summed up."""
    item_from_description: float = Field(default=0.05, ge=0)
    """Which item a text describes; only where items have texts."""
    description_from_item: float = Field(default=0.02, ge=0)
    """What a text about an item says; only where items have texts."""
    review_rating: float = Field(default=0.05, ge=0)
    """Which rating a review came with; only with rated reviews."""
    examples: float = Field(default=0.1, ge=0)
    """Instructions of your own; only where some are given."""
    rating_regression: float = Field(default=0.0, ge=0)
    """Which rating a user gives, by how far the expectation is off; only with ratings, each of one first token."""
    pairwise: float = Field(default=0.0, ge=0)
    """What came next before items that were not taken, pair by pair (BPR)."""
    listwise: float = Field(default=0.0, ge=0)
    """Some items by the teacher's beliefs, or by their ratings (ListNet)."""
    sampled: float = Field(default=0.0, ge=0)
    """What came next among items drawn by their events (sampled softmax)."""
    contrastive: float = Field(default=0.0, ge=0)
    """A user's instruction nearer to the text of what came next than to others' (InfoNCE); trains the encoder alone."""
    preference: float = Field(default=0.0, ge=0)
    """What a user liked or took before what was rated low or passed by, measured from the start (DPO)."""


class Augmentation(_Settings):
    """Variations of what tuning tells the T5, each with its probability: see `flanrec.instructions.augment`."""

    crop: float = Field(default=0.0, ge=0, le=1)
    """That a history is cropped to a stretch of 60 % of it."""
    mask: float = Field(default=0.0, ge=0, le=1)
    """That 30 % of a history are left out."""
    reorder: float = Field(default=0.0, ge=0, le=1)
    """That a stretch of 60 % of a history is put into another order."""
    synonyms: float = Field(default=0.0, ge=0, le=1)
    """Of each word of instructions and wishes that has synonyms, that it becomes one of them."""
    synonym_files: tuple[str, ...] = ()
    """Files with groups of synonyms of your own, beside the package's (English and Chinese)."""
    typos: float = Field(default=0.0, ge=0, le=1)
    """Of each word of instructions and wishes, that it is mistyped."""
    title_typos: float = Field(default=0.0, ge=0, le=1)
    """Of each word of a title in a history, that it is mistyped; answers never are."""
    back_translation: tuple[str, str] | None = None
    """Folders of two models, to another language and back, that find other words for the instructions of the first
    language, once and before tuning; these are then told every other time."""
    back_translation_prefixes: tuple[str, str] = ("", "")
    """What each of the two is told before every text, such as ``translate English to German: ``."""


class WordTuning(_Settings):
    """Instruction tuning of the T5 itself, for generation and match."""

    steps: int = Field(default=150, ge=0)
    """Weight updates; 0 leaves the backbone as it is."""
    method: WordMethod = "full"
    """full trains all blocks; the others a few weights in a frozen T5: lora, dora, rslora, adalora and ia3, which are
    merged afterwards, and prompt-tuning, p-tuning, prefix-tuning and adapter (bottlenecks), which stay beside it."""
    rank: int = Field(default=16, ge=1)
    """Rank of low-rank adapters."""
    targets: tuple[str, ...] = ("q", "v")
    """Maps that low-rank adapters change: q, k, v, o, wi_0, wi_1, wo."""
    prompt_length: int = Field(default=20, ge=1)
    """Places of a soft prompt or a prefix."""
    bottleneck: int = Field(default=32, ge=1)
    """Width of bottleneck adapters."""
    batch_size: int = Field(default=16, ge=1)
    """Prompts an update."""
    accumulation: int = Field(default=1, ge=1)
    """Forward passes the batch is made of: batch_size prompts each."""
    learning_rate: float | None = Field(default=None, gt=0)
    """Peak rate; None takes the method's own (`METHOD_RATES`)."""
    vocabulary: Literal["frozen", "used"] = "frozen"
    """frozen leaves embeddings and output layer as they are, used trains the rows that the texts in use have there."""
    vocabulary_rate: float = Field(default=1e-3, gt=0)
    """Peak rate of these rows; used only."""
    optimizer: OptimizerName = "adamw"
    """See TrainerSettings."""
    activation_checkpointing: bool = False
    """Keep only each block's input for the gradient and compute the rest again: less memory, a third more time."""
    start_gain: float = Field(default=0.1, gt=0)
    """What the scale of the T5's logits is multiplied with before tuning; 1 keeps its zero-shot preferences."""
    answers: int = Field(default=8, ge=1)
    """Most answers of a question for the next item: draws from the teacher, or what came next."""
    teacher: TeacherName = "blend"
    """Whose expectation of the next item is taught: that of the closed-form blend, or only what came next."""
    trust: float = Field(default=0.8, ge=0, le=1)
    """Weight of the teacher beside what came next."""
    weights: TaskWeights = TaskWeights()
    """The mixture."""
    mixing: Literal["weights", "temperature"] = "weights"
    """weights takes the weights of the mixture; temperature gives each family of a weight above 0 a turn by how many
    examples it can draw, to the power of 1 / temperature."""
    temperature: float = Field(default=2.0, ge=1)
    """1 mixes in proportion to examples, a high one evenly; for mixing by temperature only."""
    mixing_limit: int = Field(default=2**19, ge=1)
    """Most examples of a family that count; for mixing by temperature only."""
    curriculum: Curriculum = "none"
    """easy-first draws short prompts first, families begin one after another; both end in the mixture as it is."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing of answers in free words."""
    beta: float = Field(default=1.0, gt=0)
    """How soon what is preferred has moved far enough from the start; preference only."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Share of values that tuning drops in the T5; None takes the checkpoint's own, mostly 0.1."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decay of the tuned weights of blocks or adapters."""
    adversarial: Literal["none", "fgm", "freelb"] = "none"
    """Learn from prompts that are moved for the worse too: by one step (fgm, twice the time) or three (freelb, four
    times)."""
    adversarial_size: float = Field(default=0.02, gt=0)
    """How far, as a share of the norm of the prompt's embeddings."""
    consistency: float = Field(default=0.0, ge=0)
    """Weight of R-Drop's divergence between two readings under dropout, which take twice the time; 0 reads once."""
    augment: Augmentation = Augmentation()
    """Variations of histories and wordings."""
    runs: int = Field(default=1, ge=1)
    """Tunings with different seeds, of which the best by NDCG@10 of generation on the validation events is kept: one of
    them, the average of all their weights, or a greedy average."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between measurements of NDCG@10 of generation; None measures only at the end."""
    patience: int | None = Field(default=None, ge=1)
    """Measurements without improvement before it stops."""

    @property
    def rate(self) -> float:
        """The peak rate: the one given, or the method's own."""
        return METHOD_RATES[self.method] if self.learning_rate is None else self.learning_rate

    @property
    def adapter(self) -> AdapterSettings | None:
        """The adapter that is trained; None for full."""
        if self.method == "full":
            return None
        return AdapterSettings(
            method=self.method, rank=self.rank, targets=self.targets, length=self.prompt_length, width=self.bottleneck
        )


class DistillationSettings(_Settings):
    """What a T5 learns from a larger, tuned one; for `distill` only."""

    by: Literal["logits", "sequence", "both"] = "logits"
    """logits: how probable the teacher holds everything that could be said at each place; sequence: what it answers,
    in place of the log's answers; both: how probable it holds everything on the way to its answers."""
    temperature: float = Field(default=2.0, gt=0)
    """What the logits of both are divided by; not for sequence."""
    share: float = Field(default=0.5, ge=0, le=1)
    """Weight of the teacher's probabilities beside the answers; not for sequence."""
    sequences: int = Field(default=1000, ge=1)
    """Questions that the teacher answers before tuning; not for logits."""
    titles: int = Field(default=4, ge=1)
    """Its likeliest titles that are the answers to a question for items, weighted by its probabilities; 1 is the
    best alone; not for logits."""


class TokenTuning(_Settings):
    """Tuning of the item-token reading."""

    passes: float = Field(default=6, ge=0)
    """Windows drawn for each user; 0 leaves the item tokens as counting makes them."""
    batch_size: int = Field(default=32, ge=1)
    """Windows an update."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """Peak rate of the decoder blocks."""
    vector_rate: float = Field(default=1e-3, gt=0)
    """Peak rate of the item vectors."""
    instruction_rate: float = Field(default=2e-3, gt=0)
    """Peak rate of the attention to the instruction, which starts from nothing."""
    optimizer: OptimizerName = "adamw"
    """See TrainerSettings."""
    weight_decay: float = Field(default=0.05, ge=0)
    """Decay of all weights."""
    average: float = Field(default=0.98, ge=0, lt=1)
    """Decay of the moving average of the weights; 0 is off."""
    wishes: float = Field(default=0.4, ge=0, le=1)
    """Share of the windows whose instruction carries a wish."""
    remarks: float = Field(default=0.5, ge=0, le=1)
    """Share of the windows whose instruction has words of another one beside it, so that wording counts less."""
    quiet: float = Field(default=1.0, ge=0)
    """Weight of the penalty on what wording alone does to a list, where it has no wish."""
    smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing; without a teacher only."""
    teacher: TeacherName = "blend"
    """Whose expectation of the next item is taught: that of the closed-form blend, or only what came next."""
    trust: float = Field(default=0.8, ge=0, le=1)
    """Weight of the teacher beside what came next."""
    evaluations: int = Field(default=2, ge=1)
    """Measurements of NDCG@10 on the validation events, evenly over the passes."""
    patience: int | None = Field(default=2, ge=1)
    """Measurements without improvement before it stops."""
    refit: bool = False
    """Tune once more from the start on training and validation events, as many steps as were best."""

    @model_validator(mode="after")
    def _smoothed_by_one(self) -> TokenTuning:
        if self.smoothing and self.teacher != "none":
            raise ValueError(f"smoothing is {self.smoothing}, but a teacher smooths already; set teacher to none")
        return self


class FusionSettings(_Settings):
    """The fused ranking of closed-form sources and item tokens."""

    depth: int = Field(default=100, ge=1)
    """Candidates that each source names."""
    rounds: int = Field(default=200, ge=0)
    """Most trees that correct the log-linear fusion; cross-validation on the validation events takes fewer, or none."""
    events: int = Field(default=2000, ge=0)
    """Held-out events to learn the weights on; where validation has fewer, earlier events are set apart as well."""
    language_model: Literal["auto", "always", "never"] = "auto"
    """Whether what the language model tells (texts, reviews, item tokens) is among the sources: auto takes what adds
    more to NDCG@10 of held-out events than its standard error. Wishes and new items are read either way."""

    @model_validator(mode="before")
    @classmethod
    def _renamed(cls, given: Any) -> Any:
        """Folders saved before say ``spoken``."""
        if isinstance(given, dict) and "spoken" in given:
            rest = {name: value for name, value in given.items() if name != "spoken"}
            return {"language_model": "auto" if given["spoken"] else "never", **rest}
        return given


class RecommenderSettings(_Settings):
    """Everything that decides what `fit` does."""

    languages: tuple[str, ...] = ("en",)
    """Languages of the instructions in tuning; the first is used in recommending."""
    templates: tuple[str, ...] = ()
    """Files or folders of further templates."""
    noun: str = ""
    """What one item is called in prompts, such as movie."""
    nouns: str = ""
    """What several are called."""
    liked_rating: float = 4.0
    """The least rating that means a like."""
    titles: int = Field(default=8, ge=1)
    """Most titles of a history in a prompt."""
    max_tokens: int = Field(default=128, ge=16)
    """Longest prompt."""
    num_beams: int = Field(default=24, ge=1)
    """Nodes of each user that generation decodes at once, and its beams once `search_nodes` are spent."""
    search_nodes: int = Field(default=600, ge=0)
    """Nodes of each user that generation decodes best first, which is exact, before it goes on as beam search."""
    shots: int = Field(default=0, ge=0)
    """Solved examples of other users before each question that the T5 is asked in words, in use and not in tuning."""
    shot_tokens: int = Field(default=384, ge=64, le=512)
    """Longest prompt with solved examples; they get what the question may not take (`max_tokens`), in equal parts."""
    unreadable_limit: float = Field(default=0.05, gt=0, le=1)
    """Largest share of the catalogue's characters that the backbone may lack."""
    validation_users: int = Field(default=1000, ge=1)
    """Most users that a measurement during tuning asks."""
    autocast: Literal["off", "bf16", "auto"] = "auto"
    """Number format of tuning; auto takes bf16 where the hardware multiplies in it."""
    checkpoint_seconds: float | None = Field(default=120.0, gt=0)
    """Seconds between checkpoints, where a folder is given."""
    max_steps: int | None = Field(default=None, ge=1)
    """Most updates in each stage of tuning, for short runs; None sets no bound."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Decides every draw."""
    words: WordTuning = WordTuning()
    """Tuning of the T5."""
    item_tokens: ItemTokenSettings = ItemTokenSettings()
    """Shape of the item-token reading."""
    item_index: IndexSettings = IndexSettings()
    """How item tokens search a catalogue that is too large to be scored whole."""
    tokens: TokenTuning = TokenTuning()
    """Tuning of the item-token reading."""
    fusion: FusionSettings = FusionSettings()
    """The fused ranking."""
    distillation: DistillationSettings = DistillationSettings()
    """What the T5 learns from a larger one, where it has a teacher."""
    origin: str = ""
    """Where the T5 had learnt before this log: written by `transferred` and `distill`."""

    def bounded(self, steps: int) -> int:
        """So many updates, or `max_steps` where that is less."""
        return steps if self.max_steps is None else min(steps, self.max_steps)

    @property
    def tokens_are_asked(self) -> bool:
        """Whether the item tokens may be a source of the fusion: they are tuned, and not kept out."""
        return self.fusion.language_model != "never" and self.tokens.passes > 0

    @classmethod
    def preset(cls, name: str, **changes: object) -> RecommenderSettings:
        """The settings of a preset, with single ones changed.

        ``fast`` tunes nothing of the language model and takes seconds; ``balanced`` takes
        minutes for 100,000 events on two cores; ``best`` takes most of an hour.

        Raises
        ------
        SettingsError
            The preset is unknown.
        """
        known: dict[str, dict[str, object]] = {
            "fast": {
                "words": WordTuning(steps=0),
                "tokens": TokenTuning(passes=0),
                "fusion": FusionSettings(rounds=0),
            },
            "balanced": {},
            "best": {
                "words": WordTuning(steps=700, evaluate_every=350, weights=TaskWeights(sequential=0.8)),
                "tokens": TokenTuning(passes=16, evaluations=4, refit=True),
            },
        }
        if name not in known:
            raise SettingsError(f"preset {name!r} is not known; use one of {', '.join(PRESETS)}")
        return cls.model_validate({**known[name], **changes})
