"""The three readings of a tuned model, each as scores for people of one catalogue."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue.item_graph import IndexSettings
from flanrec.catalogue.item_tokens import ItemTokens, pad_histories
from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.nearest import ItemIndex
from flanrec.catalogue.people import Person
from flanrec.catalogue.prompter import Prompter
from flanrec.generation import Normalisation, first_token_ids
from flanrec.generation.engines import Engine
from flanrec.metrics import top_k
from flanrec.recommender.calibration import Calibration

logger = logging.getLogger(__name__)

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Asking:
    """What a request says beside the user's history.

    Attributes
    ----------
    wish, avoid
        Plain words; "" for none.
    told
        Tell the item tokens attributes and older tastes of a user with events too. On validation events of
        MovieLens-100K that cost 0.005 of NDCG@10: the events say it better. Untold, all users share one wording, which
        is encoded once.
    held_out
        Word the instruction by a template that tuning did not see.
    seed
        Draw the template of each user by this seed; None takes the first that fits.
    rewrite
        Changes each instruction before the model reads it; for tests of what the words do.
    """

    wish: str = ""
    avoid: str = ""
    told: bool = False
    held_out: bool = False
    seed: int | None = None
    rewrite: Callable[[str], str] | None = None

    @property
    def worded(self) -> bool:
        """Whether something is wanted or not wanted."""
        return self.wish != "" or self.avoid != ""

    @property
    def plain(self) -> Asking:
        """The same request without a wish or an aversion."""
        return replace(self, wish="", avoid="")


NOTHING = Asking()


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
            rng = None if said.seed is None else np.random.default_rng([said.seed, at])
            prompt = self.prompter.word(task, rng, held_out=said.held_out).prompt
            words.append(said.rewrite(prompt) if said.rewrite else prompt)
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
        plain = [said.plain for said in each_asking(asking, len(users))]
        return self.scores(users, asking) - self.scores(users, plain)

    @torch.inference_mode()
    def states(self, users: Sequence[Person], prompts: Sequence[str]) -> torch.Tensor:
        """What is compared with the items' outputs, after each user's history: float32 [n_users, width]."""
        device = self.tokens.bias.device
        items, lengths = pad_histories([user.items for user in users], self.tokens.settings.window, device)
        read = self.tokens(items, *self.encoder.encode(prompts))
        last: torch.Tensor = read[torch.arange(len(users), device=device), lengths]
        return last

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


class WordReading:
    """Spells titles under the catalogue's trie."""

    def __init__(self, engine: Engine, prompter: Prompter, num_beams: int, max_nodes: int = 0) -> None:
        self.engine = engine
        self.prompter = prompter
        self.num_beams = num_beams
        self.max_nodes = max_nodes

    def prompts(self, users: Sequence[Person], asking: Asking | Sequence[Asking] = NOTHING) -> list[str]:
        """The instruction of each user, its history in words."""
        words = []
        for at, (user, said) in enumerate(zip(users, each_asking(asking, len(users)), strict=True)):
            task = self.prompter.sequential(user, wish=said.wish, avoid=said.avoid)
            rng = None if said.seed is None else np.random.default_rng([said.seed, at])
            prompt = self.prompter.word(task, rng, held_out=said.held_out).prompt
            words.append(said.rewrite(prompt) if said.rewrite else prompt)
        return words

    def top(
        self,
        users: Sequence[Person],
        k: int,
        asking: Asking | Sequence[Asking] = NOTHING,
        *,
        excluded: Sequence[Ints] | None = None,
        allowed: NDArray[np.bool_] | None = None,
        normalisation: Normalisation = "trie",
        progress: Callable[[int], None] | None = None,
    ) -> tuple[Ints, Floats]:
        """Find the `k` most probable titles; every one is an item, no one twice, no excluded one.

        Under the trie's normalisation the search is exact up to `max_nodes` nodes a user.
        """
        trie = self.prompter.catalogue.trie
        return self.engine.top_titles(
            self.prompts(users, asking),
            trie if allowed is None else trie.only(np.flatnonzero(allowed).tolist()),
            k=k,
            num_beams=max(self.num_beams, k),
            excluded=None if excluded is None else [set(closed.tolist()) for closed in excluded],
            normalisation=normalisation,
            max_nodes=self.max_nodes if normalisation == "trie" else 0,
            progress=progress,
        )

    def scores(
        self,
        users: Sequence[Person],
        asking: Asking | Sequence[Asking] = NOTHING,
        *,
        candidates: Sequence[Sequence[int]] | None = None,
        excluded: Sequence[Ints] | None = None,
        normalisation: Normalisation = "trie",
    ) -> Floats:
        """The exact log-probability of titles, of all or of each user's candidates: float32 [n_users, n]."""
        catalogue = self.prompter.catalogue
        return self.engine.title_log_probabilities(
            self.prompts(users, asking),
            catalogue.token_rows,
            candidates=candidates,
            excluded=None if excluded is None else [closed.tolist() for closed in excluded],
            normalisation=normalisation,
            weights=catalogue.weights,
        )


class MatchReading:
    """Says how probable it is that a user likes an item."""

    def __init__(self, engine: Engine, prompter: Prompter, rates: LikeRates, calibration: Calibration) -> None:
        self.engine = engine
        self.prompter = prompter
        self.rates = rates
        self.calibration = calibration
        words = prompter.templates[0].wording.words
        self.yes_ids = first_token_ids(engine.tokenizer, [words["yes"]])
        self.no_ids = first_token_ids(engine.tokenizer, [words["no"]])

    def prompts(self, users: Sequence[Person], items: Sequence[int]) -> list[str]:
        """The question about each pair."""
        return [
            self.prompter.word(self.prompter.match(user, int(item))).prompt
            for user, item in zip(users, items, strict=True)
        ]

    def odds(
        self, users: Sequence[Person], items: Sequence[int], progress: Callable[[int], None] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Log odds of yes by the like rates, and by the words: float64 [n] each.

        Where words weigh nothing the T5 is not asked, and theirs are zero.
        """
        likes = np.array([self._likes(user) for user in users], dtype=np.float64).reshape(-1, 2)
        rule = self.rates.log_odds(np.asarray(items, dtype=np.int64), likes[:, 0], likes[:, 1])
        if not self.calibration.words:
            if progress is not None:
                progress(len(users))
            return rule, np.zeros(len(users))
        words = self.engine.yes_no_logits(
            self.prompts(users, items), None, self.yes_ids, self.no_ids, progress=progress
        )
        return rule, words.astype(np.float64)

    def probabilities(
        self, users: Sequence[Person], items: Sequence[int], progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float64]:
        """Calibrated probability of yes: float64 [n]."""
        return self.calibration.probabilities(*self.odds(users, items, progress))

    def _likes(self, user: Person) -> tuple[int, int]:
        rated = user.ratings[~np.isnan(user.ratings)]
        return int((rated >= self.prompter.liked_rating).sum()), len(rated)


def each_asking(asking: Asking | Sequence[Asking], count: int) -> Sequence[Asking]:
    """What each of several users asks."""
    return [asking] * count if isinstance(asking, Asking) else asking


def filled(shape: tuple[int, int], parts: Iterable[tuple[slice, Ints, NDArray[Any]]]) -> tuple[Ints, Floats]:
    """Lists of parts of the users as those of all: items int64 and scores float32 of the shape [n_users, k]."""
    items = np.full(shape, -1, dtype=np.int64)
    scores = np.full(shape, -np.inf, dtype=np.float32)
    for part, found, values in parts:
        items[part], scores[part] = found, values
    return items, scores


def closed_items(
    shape: tuple[int, ...], excluded: Sequence[Ints] | None, allowed: NDArray[np.bool_] | None
) -> NDArray[np.bool_]:
    """Which items may not come: bool of the shape [n_users, n_items].

    Parameters
    ----------
    excluded
        Of each user.
    allowed
        bool [n_items], what alone may come; None for everything.
    """
    closed = np.zeros(shape, dtype=bool)
    if allowed is not None:
        closed[:, ~allowed] = True
    for row, items in enumerate(excluded or ()):
        closed[row, items] = True
    return closed
