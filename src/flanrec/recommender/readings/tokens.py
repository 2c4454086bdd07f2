"""The item-token reading: the whole catalogue in one forward pass."""

from __future__ import annotations

import importlib.util
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue.item_graph import IndexSettings
from flanrec.catalogue.item_tokens import ItemTokens, pad_histories
from flanrec.catalogue.nearest import ItemIndex
from flanrec.catalogue.people import Person
from flanrec.catalogue.prompter import Prompter
from flanrec.metrics import top_k
from flanrec.recommender.asking import NOTHING, Asking, each_asking
from flanrec.recommender.lists import Floats, Ints, closed_items, filled

logger = logging.getLogger(__name__)

_REMEMBERED = 4096


class TokenReading:
    """Scores the whole catalogue at once by item tokens.

    Parameters
    ----------
    outputs
        Of the tokens, where they no longer change; else they are computed for every batch.
    sample
        Returns some users like those who will ask; only a large catalogue needs them.
    searched
        How a large catalogue is searched.
    saved_index
        Folder of an index that was saved of these outputs.
    """

    def __init__(
        self,
        tokens: ItemTokens,
        encoder: PromptEncoder,
        prompter: Prompter,
        batch_size: int = 64,
        outputs: torch.Tensor | None = None,
        sample: Callable[[], Sequence[Person]] | None = None,
        searched: IndexSettings | None = None,
        saved_index: Path | None = None,
    ) -> None:
        self.tokens = tokens
        self.encoder = encoder
        self.prompter = prompter
        self.batch_size = batch_size
        self.outputs = outputs
        self.sample = sample
        self.searched = searched or IndexSettings()
        self.saved_index = saved_index
        self._read: OrderedDict[tuple[str, tuple[int, ...]], torch.Tensor] = OrderedDict()

    @cached_property
    def index(self) -> ItemIndex | None:
        """Finds the best of a large catalogue's items without scoring them all.

        When it is first asked for, the saved one is mapped, or one is made.

        Raises
        ------
        CheckpointError
            The saved one is damaged.
        """
        if self.outputs is None or self.tokens.n_items <= self.searched.exact_below:
            return None
        if importlib.util.find_spec("usearch") is None:
            logger.info("every one of %d items is scored; flanrec[fast] would search them", self.tokens.n_items)
            return None
        vectors, bias = (one.detach().float().cpu().numpy() for one in (self.outputs, self.tokens.bias))
        # The model's folder may have been replaced or deleted since.
        if self.saved_index is not None and self.saved_index.is_dir():
            found = ItemIndex.load(self.saved_index, vectors, bias, self.searched)
            if found is not None:
                return found
            logger.warning("%s does not fit the model; the graph of items is built anew", self.saved_index)
        return ItemIndex(vectors, bias, None if self.sample is None else self._sampled(self.sample()), self.searched)

    def _sampled(self, users: Sequence[Person]) -> Floats:
        found = [self.states(users[part], self.prompts(users[part])).cpu().numpy() for part in self._parts(users)]
        return np.concatenate(found)

    def prompts(self, users: Sequence[Person], asking: Asking | Sequence[Asking] = NOTHING) -> list[str]:
        """The instruction of each user as the encoder reads it."""
        words = []
        for at, (user, said) in enumerate(zip(users, each_asking(asking, len(users)), strict=True)):
            told = said.told or not len(user.items)
            window = self.tokens.settings.window
            task = self.prompter.item_tokens(user, window, wish=said.wish, avoid=said.avoid, told=told)
            words.append(said.worded_by(self.prompter, task, at))
        return words

    def batches(
        self, users: Sequence[Person], asking: Asking | Sequence[Asking] = NOTHING
    ) -> Iterator[tuple[slice, Floats]]:
        """Yield slices of the users with their log-probabilities float32 [users, n_items] of coming next."""
        asked = each_asking(asking, len(users))
        for part in self._parts(users):
            yield part, self._scores(users[part], self.prompts(users[part], asked[part]))

    def scores(self, users: Sequence[Person], asking: Asking | Sequence[Asking] = NOTHING) -> Floats:
        """The log-probability of every item coming next: float32 [n_users, n_items]."""
        scores = np.empty((len(users), self.tokens.n_items), dtype=np.float32)
        for part, found in self.batches(users, asking):
            scores[part] = found
        return scores

    def change(self, users: Sequence[Person], asking: Asking | Sequence[Asking]) -> Floats:
        """What a wish or an aversion changes: the log ratio of the probabilities, float32 [n_users, n_items]."""
        plain, said = self.both(users, asking)
        return said - plain

    def both(self, users: Sequence[Person], asking: Asking | Sequence[Asking]) -> tuple[Floats, Floats]:
        """`scores` without the wish and the aversion, and with them; read together."""
        asked = each_asking(asking, len(users))
        found = self.scores([*users, *users], [*(said.plain for said in asked), *asked])
        return found[: len(users)], found[len(users) :]

    def states(self, users: Sequence[Person], prompts: Sequence[str]) -> torch.Tensor:
        """What is compared with the items' outputs, after each user's history: float32 [n_users, width].

        Where the tokens no longer change, the last ones are remembered: who asks again, or says a wish, mostly has the
        same history as before.
        """
        histories = [user.items[-self.tokens.settings.window :] for user in users]
        if self.outputs is None:
            return self._states(histories, prompts)
        asked = [(prompt, tuple(history.tolist())) for prompt, history in zip(prompts, histories, strict=True)]
        new = {one: row for row, one in enumerate(asked) if one not in self._read}
        if new:
            states = self._states([histories[row] for row in new.values()], [one for one, _ in new])
            self._read.update(zip(new, (state.clone() for state in states), strict=True))
        found = torch.stack([self._read[one] for one in asked]) if asked else self._states(histories, prompts)
        for one in asked:
            self._read.move_to_end(one)
        while len(self._read) > _REMEMBERED:
            self._read.popitem(last=False)
        return found

    @torch.inference_mode()
    def _states(self, histories: Sequence[Ints], prompts: Sequence[str]) -> torch.Tensor:
        items, lengths = pad_histories(histories, self.tokens.settings.window, self.tokens.bias.device)
        last: torch.Tensor = self.tokens(items, *self.encoder.encode(prompts), lengths)
        return last[:, 0]

    @torch.inference_mode()
    def _scores(self, users: Sequence[Person], prompts: list[str]) -> Floats:
        logits = self.tokens.logits(self.states(users, prompts), self.outputs)
        found: Floats = logits.log_softmax(dim=1).float().cpu().numpy()
        return found

    def top(
        self,
        users: Sequence[Person],
        k: int,
        asking: Asking | Sequence[Asking] = NOTHING,
        *,
        excluded: Sequence[Ints] | None = None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[Ints, Floats]:
        """The `k` best items of each user, as `generate_items` returns them.

        Of a catalogue too large to be scored whole, scores are log-probabilities up to a constant of each user, and
        the lists are as near to the truth as `ItemIndex.recall` says.
        """
        shape = (len(users), k)
        if self.index is None or allowed is not None:
            return filled(
                shape,
                (
                    (part, *top_k(found, k, closed_items(found.shape, excluded and excluded[part], allowed)))
                    for part, found in self.batches(users, asking)
                ),
            )
        index, asked = self.index, each_asking(asking, len(users))
        read = ((part, self.states(users[part], self.prompts(users[part], asked[part]))) for part in self._parts(users))
        return filled(
            shape,
            ((part, *index.top(states.cpu().numpy(), k, excluded and excluded[part])) for part, states in read),
        )

    def _parts(self, users: Sequence[Person]) -> Iterator[slice]:
        for first in range(0, len(users), self.batch_size):
            yield slice(first, min(first + self.batch_size, len(users)))
