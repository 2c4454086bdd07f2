"""What decides how the service answers, and how much it lets in."""

from __future__ import annotations

from pydantic import Field

from flanrec.recommender.settings.base import Settings
from flanrec.serving.experiments import Experiment


class Limits(Settings):
    """The most that is let in; what is beyond is refused, never cut in silence."""

    body_bytes: int = Field(default=1_048_576, ge=1_024)
    """Bytes of a request's body, whether it says its length or comes in chunks."""
    k: int = Field(default=100, ge=1)
    """Items of a list."""
    history: int = Field(default=1_000, ge=1)
    """Entries of a history that is sent along; of a stored history the newest so many are used."""
    candidates: int = Field(default=1_000, ge=1)
    """Items to rank, to leave out, or to choose among."""
    text: int = Field(default=2_000, ge=1)
    """Characters of a wish, an aversion, or an attribute."""
    item_text: int = Field(default=20_000, ge=1)
    """Characters of an item's text, or of a review."""
    batch: int = Field(default=100, ge=1)
    """Requests in one batch."""
    feedback: int = Field(default=1_000, ge=1)
    """Events in one report."""
    page: int = Field(default=1_000, ge=1)
    """Records of a page."""


class Queue(Settings):
    """How requests wait for the model, and go through it together."""

    waiting: int = Field(default=64, ge=1)
    """Most requests that wait; one more gets 429 and when to come again."""
    wait_ms: int = Field(default=200, ge=1)
    """No more wait than the model answers in this time, as it did of late; sixteen may always."""
    overload_ms: int = Field(default=12, ge=1)
    """The same while more than three of ten are refused; two may always."""
    together: int = Field(default=32, ge=1)
    """Most questions that go through the model at once; a request of more goes in parts."""
    tokens: int = Field(default=8_192, ge=1)
    """Most tokens that go through it at once: instructions and histories together. One question may have more."""
    deadline_ms: int = Field(default=2_000, ge=1)
    """A request that is not answered by then gets 504; a request may ask for less."""


class Learning(Settings):
    """How what people do changes what they get."""

    negative: tuple[str, ...] = ("dislike", "hide")
    """Kinds of events that speak against an item: the user does not get it again, and it is no part of the history."""
    ignored: tuple[str, ...] = ("impression", "view_list")
    """Kinds of events that say nothing of the user; they are kept."""
    reported: tuple[str, ...] = ("report",)
    """Kinds of events that call for a person to look at an item: a case is opened for review, the user does not get the
    item again, and it says nothing of their taste."""

    @property
    def unwanted(self) -> tuple[str, ...]:
        """Kinds of events after which a user does not get an item again."""
        return (*self.negative, *self.reported)

    @property
    def not_behaviour(self) -> tuple[str, ...]:
        """Kinds of events that are no part of a history, and that no model learns from."""
        return (*self.unwanted, *self.ignored)


class ServeSettings(Settings):
    """Everything that decides what the service does."""

    limits: Limits = Limits()
    """What is let in."""
    queue: Queue = Queue()
    """How requests wait."""
    learning: Learning = Learning()
    """What events mean."""
    experiment: Experiment = Experiment()
    """Two models compared on the people who are served."""
    keep_shown_days: float = Field(default=90.0, gt=0)
    """How long lists that were shown are kept."""
    keep_audit_days: float = Field(default=365.0, gt=0)
    """How long the audit log is kept, and cases for review that were decided."""
    drain_seconds: float = Field(default=20.0, ge=0)
    """How long requests that are under way may take after SIGTERM."""
