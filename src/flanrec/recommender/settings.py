"""The settings of a recommender, and the presets that fill them."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flanrec.catalogue.item_graph import IndexSettings
from flanrec.catalogue.item_tokens import ItemTokenSettings
from flanrec.errors import SettingsError
from flanrec.tuning.settings import OptimizerName

Preset = Literal["fast", "balanced", "best"]
TeacherName = Literal["blend", "none"]
PRESETS: tuple[Preset, ...] = ("fast", "balanced", "best")


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


class WordTuning(_Settings):
    """Instruction tuning of the T5 itself, for generation and match."""

    steps: int = Field(default=150, ge=0)
    """Weight updates; 0 leaves the backbone as it is."""
    method: Literal["full", "lora"] = "full"
    """full trains all blocks, lora low-rank adapters that are merged afterwards."""
    rank: int = Field(default=16, ge=1)
    """Rank of the adapters; lora only."""
    batch_size: int = Field(default=16, ge=1)
    """Prompts an update."""
    accumulation: int = Field(default=1, ge=1)
    """Forward passes the batch is made of: batch_size prompts each."""
    learning_rate: float = Field(default=1e-3, gt=0)
    """Peak rate."""
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
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between measurements of NDCG@10 of generation; None measures only at the end."""
    patience: int | None = Field(default=None, ge=1)
    """Measurements without improvement before it stops."""


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
    unreadable_limit: float = Field(default=0.05, gt=0, le=1)
    """Largest share of the catalogue's characters that the backbone may lack."""
    validation_users: int = Field(default=1000, ge=1)
    """Most users that a measurement during tuning asks."""
    autocast: Literal["off", "bf16", "auto"] = "auto"
    """Number format of tuning; auto takes bf16 where the hardware multiplies in it."""
    checkpoint_seconds: float | None = Field(default=120.0, gt=0)
    """Seconds between checkpoints, where a folder is given."""
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
