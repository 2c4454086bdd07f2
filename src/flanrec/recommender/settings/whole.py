"""All settings of a recommender, and the presets that fill them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from flanrec.catalogue.item_graph import IndexSettings
from flanrec.catalogue.item_tokens import ItemTokenSettings
from flanrec.errors import SettingsError
from flanrec.recommender.settings.base import Settings
from flanrec.recommender.settings.mixture import TaskWeights
from flanrec.recommender.settings.readings import FusionSettings, TokenTuning
from flanrec.recommender.settings.words import DistillationSettings, WordTuning

Preset = Literal["fast", "balanced", "best"]
PRESETS: tuple[Preset, ...] = ("fast", "balanced", "best")


class RecommenderSettings(Settings):
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
    def t5_is_tuned(self) -> bool:
        """Whether the T5 has learnt instructions, of this log or of one before it."""
        return self.words.steps > 0 or self.origin != ""

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
                "words": WordTuning(steps=700, dropout=None, evaluate_every=350, weights=TaskWeights(sequential=0.8)),
                "tokens": TokenTuning(passes=16, evaluations=4, refit=True),
            },
        }
        if name not in known:
            raise SettingsError(f"preset {name!r} is not known; use one of {', '.join(PRESETS)}")
        return cls.model_validate({**known[name], **changes})
