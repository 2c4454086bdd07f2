"""What the T5 is tuned on, and how its prompts vary."""

from __future__ import annotations

from pydantic import Field

from flanrec.recommender.settings.base import Settings


class TaskWeights(Settings):
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


class Augmentation(Settings):
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
