"""What decides how a saved recommender learns what arrived since."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flanrec.recommender.settings.base import Settings

PenaltyKind = Literal["none", "l2_sp", "ewc"]


class WordUpdate(Settings):
    """How the T5 itself goes on learning. A model whose T5 was never tuned keeps it as it is."""

    steps: int | None = Field(default=None, ge=0)
    """Weight updates; 0 leaves the T5 as it is, None takes a tenth of those the model was fitted with."""
    rate: float = Field(default=0.2, gt=0)
    """Peak learning rate as a share of the one the model was fitted with."""


class TokenUpdate(Settings):
    """How the item tokens go on learning. A model whose item tokens were never tuned only gets those of new items."""

    passes: float | None = Field(default=None, ge=0)
    """Windows with new events drawn for each user who has some; 0 leaves the item tokens as they are, None takes a
    third of those the model was fitted with."""
    rate: float = Field(default=0.5, gt=0)
    """Peak learning rates as a share of those the model was fitted with."""


class Penalty(Settings):
    """What holds the weights near where they were; see `flanrec.tuning.anchors`."""

    kind: PenaltyKind = "l2_sp"
    """none, l2_sp (all weights alike) or ewc (each as it matters to what was learnt before)."""
    strength: float = Field(default=0.1, ge=0)
    """Weight of the penalty; of ewc too, whose importance has a mean of one."""
    batches: int = Field(default=8, ge=1)
    """Batches of replayed old examples that importance is estimated on; ewc only."""


class Gate(Settings):
    """What an update must pass: NDCG@10 on events that it does not learn."""

    tolerance: float = Field(default=0.02, ge=0, lt=1)
    """Share of NDCG@10 on old events that may be lost."""
    level: float = Field(default=0.95, gt=0.5, lt=1)
    """How sure a loss must be to count: the level of the paired bootstrap interval."""
    users: int = Field(default=250, ge=1)
    """Most new events, and most old ones, that the readings by all sources and by item tokens are asked about."""
    generation_users: int = Field(default=50, ge=1)
    """Most of them that the T5 itself is asked about, to spell titles and to say yes or no, which takes longest; only
    where it has learnt."""


class UpdateSettings(Settings):
    """Everything that decides what `Recommender.update` does."""

    seed: int = Field(default=42, ge=0, lt=2**32)
    """Decides every draw."""
    replay: float = Field(default=0.5, ge=0, lt=1)
    """Share of old events among the examples that are learnt from."""
    words: WordUpdate = WordUpdate()
    """Tuning of the T5."""
    tokens: TokenUpdate = TokenUpdate()
    """Tuning of the item-token reading."""
    penalty: Penalty = Penalty()
    """What holds the weights."""
    gate: Gate = Gate()
    """What the result must pass."""
