"""Settings of the item tokens' tuning and of the fused ranking."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from flanrec.recommender.settings.base import Settings, TeacherName
from flanrec.tuning.settings import OptimizerName


class TokenTuning(Settings):
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


class FusionSettings(Settings):
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
