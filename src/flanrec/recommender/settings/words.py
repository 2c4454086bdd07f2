"""Settings of the T5's own tuning."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from flanrec.backbone.adapters import AdapterSettings
from flanrec.recommender.settings.base import Settings, TeacherName
from flanrec.recommender.settings.mixture import Augmentation, TaskWeights
from flanrec.tuning.curriculum import Curriculum
from flanrec.tuning.settings import OptimizerName

WordMethod = Literal[
    "full", "lora", "dora", "rslora", "adalora", "ia3", "prompt-tuning", "p-tuning", "prefix-tuning", "adapter"
]
METHOD_RATES: dict[WordMethod, float] = {
    "full": 1e-3,
    "lora": 1e-3,
    "dora": 1e-3,
    "rslora": 3e-4,
    "adalora": 2e-2,
    "ia3": 1e-1,
    "prompt-tuning": 3e-1,
    "p-tuning": 3e-2,
    "prefix-tuning": 1e-2,
    "adapter": 3e-3,
}
"""Peak learning rates where none is given; `flanrec find-rate` looks for those that suit a log."""


class WordTuning(Settings):
    """Instruction tuning of the T5 itself, for generation and match."""

    steps: int = Field(default=150, ge=0)
    """Weight updates; 0 leaves the backbone as it is."""
    method: WordMethod = "full"
    """full trains all blocks; the others a few weights in a frozen T5: lora, dora, rslora, adalora and ia3, which are
    merged afterwards, and prompt-tuning, p-tuning, prefix-tuning and adapter (bottlenecks), which stay beside it."""
    rank: int = Field(default=16, ge=1)
    """Rank of low-rank adapters."""
    rate_ratio: float = Field(default=16.0, ge=1)
    """How much faster than the first the second matrix of lora, dora and rslora learns (LoRA+)."""
    targets: tuple[str, ...] = ()
    """Maps that low-rank adapters change, of q, k, v, o, wi_0, wi_1, wo; none named takes all of the dense layers."""
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
    dropout: float | None = Field(default=0.0, ge=0, lt=1)
    """Share of values that tuning drops in the T5; None takes the checkpoint's own, mostly 0.1."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decay of the tuned weights of blocks or adapters."""
    adversarial: Literal["none", "fgm", "freelb"] = "none"
    """Learn from prompts that are moved for the worse too: by one step (fgm, twice the time) or three (freelb, four
    times)."""
    adversarial_size: float = Field(default=0.02, gt=0)
    """How far, as a share of the norm of the prompt's embeddings."""
    consistency: float = Field(default=0.0, ge=0)
    """Weight of R-Drop's divergence between two readings under dropout, which take twice the time; 0 reads once. It
    needs dropout."""
    augment: Augmentation = Augmentation()
    """Variations of histories and wordings."""
    runs: int = Field(default=1, ge=1)
    """Tunings with different seeds, of which the best by NDCG@10 of generation on the validation events is kept: one of
    them, the average of all their weights, or a greedy average."""
    evaluate_every: int | None = Field(default=None, ge=1)
    """Steps between measurements of NDCG@10 of generation; None measures only at the end."""
    patience: int | None = Field(default=None, ge=1)
    """Measurements without improvement before it stops."""

    @model_validator(mode="after")
    def _drops(self) -> WordTuning:
        if self.consistency and self.dropout == 0:
            raise ValueError("consistency compares two readings under dropout, so dropout must be above 0")
        return self

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


class DistillationSettings(Settings):
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
    titles: int = Field(default=30, ge=1)
    """Its likeliest titles that are the answers to a question for items, weighted by its probabilities; the best few
    alone hold little of these, and the student grows too sure of them; not for logits."""
