"""InfoNCE: a user's instruction shall lie nearer to the text of what came next than to those of other items."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.backbone.encoder import encoder_states, soft_prompt_length
from flanrec.errors import SettingsError
from flanrec.tuning.objective import LossSum, PredictedLoss
from flanrec.tuning.objectives.forks import NEVER


@dataclass(frozen=True)
class Meeting:
    """A user's instruction and the item that came next.

    Attributes
    ----------
    prompt
        The instruction.
    item
        Catalogue index of what came.
    hard
        Items that are easily taken for it.
    known
        Items that the user has, and `item` itself: where others met them, that says nothing against them here.
    """

    prompt: str
    item: int
    hard: tuple[int, ...]
    known: tuple[int, ...]


class PreparedMeetings(NamedTuple):
    """Groups of meetings for the model, in main memory.

    Attributes
    ----------
    ids, mask : int64 [n_meetings, longest]
        The instructions.
    text_ids, text_mask : int64 [n_texts, longest]
        The texts of all items among them, each once.
    text : int64 [n_candidates]
        The text of each candidate; the first ones are the meetings' own items.
    log_shares : float32 [n_candidates]
    compared : bool [n_meetings, n_candidates]
        Which candidates a meeting is compared with: those of its group that the user does not have, and its own.
    """

    ids: Tensor
    mask: Tensor
    text_ids: Tensor
    text_mask: Tensor
    text: Tensor
    log_shares: Tensor
    compared: Tensor


class ContrastiveObjective(PredictedLoss):
    """Cross-entropy of the own item among the items and hard negatives of all meetings of a group.

    A score is the cosine between the encoder's mean states of instruction and item text, by a temperature, less the log
    of the item's share of all events: an item meets others as often as it is popular, and would be pushed away
    for that. A hard negative is corrected like the others, so it weighs more than its share, which is what
    makes it hard. Items that the user has are no negatives.

    The item texts are those that item vectors are made from, so the tuned encoder tells items apart there too.

    An example is a whole group, since its meetings need each other: a batch of n meetings is drawn as
    ``n / group`` groups, each read at once. However a batch is sliced, the negatives are the same.

    Inputs
    ------
    ========== ====================================================================
    draw_one   draws a `Meeting`
    backbone   the T5 whose encoder is tuned
    texts      of each item, by catalogue index
    log_shares log of each item's share of all events, float [n_items]
    group      meetings that are each other's negatives; None for a whole batch
    ========== ====================================================================

    Raises
    ------
    SettingsError
        `group` is below 2, or `temperature` is not above 0.

    References
    ----------
    Van den Oord, Li and Vinyals, "Representation learning with contrastive predictive coding", 2018; hard negatives
    beside those of the batch: Karpukhin et al., "Dense passage retrieval for open-domain question answering", 2020; the
    correction: Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations", 2019.
    """

    name = "contrastive"
    apart = False

    def __init__(
        self,
        backbone: Backbone,
        draw_one: Callable[[np.random.Generator], Meeting],
        texts: Sequence[str],
        log_shares: NDArray[np.float64],
        *,
        group: int | None = None,
        temperature: float = 0.05,
        max_length: int = 192,
        longest_text: int = 96,
    ) -> None:
        if group is not None and group < 2:
            raise SettingsError(f"group is {group}; a meeting needs another one beside it: give at least 2.")
        if not temperature > 0:
            raise SettingsError(f"temperature is {temperature}; it must be above 0, such as 0.05.")
        self.backbone = backbone
        self.draw_one = draw_one
        self.texts = texts
        self.log_shares = log_shares
        self.group = group
        self.temperature = temperature
        self.max_length = max_length
        self.longest_text = longest_text

    def draw(self, rng: np.random.Generator, size: int) -> list[tuple[Meeting, ...]]:
        """Draw `size` meetings, in groups of about equal size."""
        if not size:
            return []
        meetings = [self.draw_one(rng) for _ in range(size)]
        groups = 1 if self.group is None else -(-size // self.group)
        bounds = np.linspace(0, size, groups + 1).round().astype(int).tolist()
        return [tuple(meetings[first:last]) for first, last in pairwise(bounds)]

    def prepare(self, examples: list[tuple[Meeting, ...]]) -> PreparedMeetings:
        """Tokenise instructions and item texts, and find who is compared with what."""
        meetings = [meeting for group in examples for meeting in group]
        of = np.repeat(np.arange(len(examples)), [len(group) for group in examples])
        hard = [item for meeting in meetings for item in meeting.hard]
        items = np.array([*(meeting.item for meeting in meetings), *hard], dtype=np.int64)
        group = np.append(of, np.repeat(of, [len(meeting.hard) for meeting in meetings]))
        compared = of[:, None] == group
        for at, meeting in enumerate(meetings):
            compared[at] &= ~np.isin(items, [meeting.item, *meeting.known])
            compared[at, at] = True
        distinct, text = np.unique(items, return_inverse=True)
        return PreparedMeetings(
            *self.backbone.tokenise([meeting.prompt for meeting in meetings], self.max_length),
            *self.backbone.tokenise([self.texts[item] for item in distinct], self.longest_text),
            torch.from_numpy(text.reshape(-1)),
            torch.from_numpy(self.log_shares[items]).float(),
            torch.from_numpy(compared),
        )

    def predict(self, prepared: PreparedMeetings) -> Tensor:
        """Log-probabilities of each meeting's candidates: float32 [n_meetings, n_candidates], -10,000 for others."""
        users = _directions(self.backbone, prepared.ids, prepared.mask)
        items = _directions(self.backbone, prepared.text_ids, prepared.text_mask)
        device = users.device
        # In bf16 a cosine would be known to a 256th, which is divided by the temperature.
        with torch.autocast(device.type, enabled=False):
            cosines = users @ items[prepared.text.to(device)].T
        scores = cosines / self.temperature - prepared.log_shares.to(device)
        return scores.masked_fill(~prepared.compared.to(device), -math.inf).log_softmax(dim=1).clamp(min=NEVER)

    def place_weights(self, prepared: PreparedMeetings) -> Tensor:
        """All meetings count alike."""
        return torch.ones(len(prepared.ids))

    def judge(self, predicted: Tensor, prepared: PreparedMeetings) -> LossSum:
        """Sum the cross-entropy over the meetings; the count is their number."""
        return LossSum(-predicted.diagonal().sum(), float(len(predicted)))


def _directions(backbone: Backbone, ids: Tensor, mask: Tensor) -> Tensor:
    """Mean encoder states of texts, of length one: float32 [n_texts, d_model]."""
    ids, mask = (one.to(backbone.device, non_blocking=True) for one in (ids, mask))
    states = encoder_states(backbone.model, ids, mask)[0][:, soft_prompt_length(backbone.model) :].float()
    # Places without a token are zeros.
    return functional.normalize(states.sum(dim=1), dim=1)
