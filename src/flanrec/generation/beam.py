"""Beam search over the titles of a catalogue, for many users at once.

The result is that of transformers' beam search with ``prefix_allowed_tokens_fn``, ``length_penalty=0``
and no early stop: at each step the best ``num_beams`` continuations of a user are kept, those that end
a title leave the beam, and a title's score is the sum of its tokens' log-probabilities. It is got with
less work:

- a user's beams share the keys and values of the prompt (:mod:`flanrec.generation.decoder`);
- beams that can no longer enter the best ``num_beams`` titles are dropped, exactly, since
  log-probabilities only fall;
- once each beam of a user has a single title left, nothing can push one out any more, and the rest
  of all of them is scored in one pass;
- ranges in which every item is excluded are never entered.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flanrec.catalogue.closed import ClosedRows
from flanrec.catalogue.trie import Children, TitleTrie
from flanrec.errors import SettingsError
from flanrec.generation.decoder import TreeDecoder
from flanrec.generation.forest import plant
from flanrec.generation.head import Head, Normalisation

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass
class _Beams:
    """Open nodes of all users' searches, flat and ordered by user: int64[n], but ``score`` float64[n]."""

    user: Ints
    node: Ints  # the decoder node of its last token; while that is not decoded yet, of the token before
    token: Ints
    depth: Ints  # tokens of a title so far, the last one included
    low: Ints
    high: Ints
    score: Floats

    def at(self, chosen: NDArray[Any]) -> _Beams:
        return _Beams(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def beside(self, others: _Beams) -> _Beams:
        """Both, each user's best first."""
        both = _Beams(
            *(np.concatenate([getattr(self, name), getattr(others, name)]) for name in self.__dataclass_fields__)
        )
        return both.at(np.lexsort((both.low, -both.score, both.user)))


@torch.inference_mode()
def constrained_beam_search(
    model: Any,
    encoder_hidden: Tensor,
    encoder_mask: Tensor,
    trie: TitleTrie,
    *,
    k: int,
    num_beams: int = 10,
    excluded: Sequence[Collection[int]] | None = None,
    prefixes: Sequence[Sequence[int]] | None = None,
    normalisation: Normalisation = "vocabulary",
    max_nodes: int = 0,
) -> tuple[Ints, NDArray[np.float32]]:
    """The ``k`` most probable items of each user.

    Parameters
    ----------
    model : T5ForConditionalGeneration or a relative of it, in evaluation mode
    encoder_hidden : [n_users, source, d_model]
    encoder_mask : [n_users, source]
    trie : TitleTrie
        Only its items come out.
    k : int
        Items a user.
    num_beams : int
        Beams a user; at least ``k`` are kept in any case.
    excluded : one collection of catalogue indices a user, optional
        Items that must not come out, such as those the user has seen. Under ``trie`` the probabilities are
        those given that it is none of them; otherwise scores do not depend on it.
    prefixes : one token row a user, optional
        Text forced at the start of the decoder, before the title; it is not scored.
    normalisation : Normalisation
        Over which tokens each step's probabilities sum to one.
    max_nodes : int
        Nodes a user that are decoded best first before the search goes on as beam search; 0 is beam search alone.

    Returns
    -------
    items : int64[n_users, k]
        Catalogue indices, best first; items of one title and titles of one score in catalogue and
        token order. -1 where fewer than ``k`` items are allowed.
    scores : float32[n_users, k]
        The log-probability of the item's title; -inf where there is no item.

    Raises
    ------
    SettingsError
        If ``k`` or ``num_beams`` is below 1, or ``normalisation`` is unknown.
    """
    if k < 1 or num_beams < 1:
        raise SettingsError(f"k is {k} and num_beams is {num_beams}: both must be at least 1")
    n_users = len(encoder_hidden)
    head = Head(model, trie, normalisation)
    closed = ClosedRows(trie, excluded if excluded is not None else [()] * n_users)
    search = _Search(trie, head, closed, max(k, num_beams), n_users, k, max_nodes)
    if len(trie) and n_users:
        search.run(TreeDecoder.start(model, encoder_hidden, encoder_mask), prefixes or [()] * n_users)
    return _best_items(*search.finished(), n_users, k)


class _Search:
    """One run over one batch of users: `width` nodes of each go through the decoder in a round."""

    def __init__(
        self, trie: TitleTrie, head: Head, closed: ClosedRows, width: int, n_users: int, k: int, max_nodes: int
    ) -> None:
        self.trie, self.head, self.closed, self.width, self.max_nodes = trie, head, closed, width, max_nodes
        self._found: list[tuple[Ints, Ints, Floats]] = []
        self._best = np.full((n_users, k), -np.inf)

    def run(self, decoder: TreeDecoder, prefixes: Sequence[Sequence[int]]) -> None:
        users = np.arange(len(self._best))
        states, chosen = self._root(decoder, prefixes)
        waiting = chosen.at(np.zeros(0, dtype=np.int64))
        while True:
            beams = waiting.beside(self._step(states, chosen, beam=not self.max_nodes))
            beams = beams.at(beams.score > self._best[beams.user, -1])
            if decoder.n_nodes >= self.max_nodes:
                beams = beams.at(_rank_within(beams.user) < self.width)
            beams = self._finish_decided(decoder, users, beams)
            if not len(beams.user):
                return
            active = np.unique(beams.user)
            if 2 * len(active) <= len(users):
                decoder = decoder.select(np.searchsorted(users, active))
                users = active
            now = _rank_within(beams.user) < self.width
            waiting = beams.at(~now)
            states, chosen = self._decode(decoder, users, beams.at(now))

    def finished(self) -> tuple[Ints, Ints, Floats]:
        """All finished items as (user, item, score)."""
        nothing = np.zeros(0, dtype=np.int64)
        found = [(nothing, nothing, np.zeros(0)), *self._found]
        return tuple(np.concatenate(part) for part in zip(*found, strict=True))  # type: ignore[return-value]

    def _root(self, decoder: TreeDecoder, prefixes: Sequence[Sequence[int]]) -> tuple[Tensor, _Beams]:
        start = decoder.model.config.decoder_start_token_id
        forest = plant([[[start, *prefix]] for prefix in prefixes])
        states = decoder.extend(forest.tokens, forest.parents, forest.counts)
        last = np.array([path[0][-1] for path in forest.paths], dtype=np.int64)
        everyone = np.arange(len(prefixes))
        zeros = np.zeros_like(everyone)
        beams = _Beams(everyone, last, zeros, zeros, zeros, zeros + len(self.trie), zeros.astype(float))
        open_ = ~self.closed.all_closed(everyone, beams.low, beams.high)
        return states[everyone, last][open_], beams.at(open_)

    def _decode(self, decoder: TreeDecoder, users: Ints, beams: _Beams) -> tuple[Tensor, _Beams]:
        """Decode each beam's last token; a user's beams are padded to those of the user with most."""
        row = np.searchsorted(users, beams.user)
        column = _rank_within(beams.user)
        shape = (len(users), int(column.max()) + 1)
        tokens = np.zeros(shape, dtype=np.int64)
        parents = np.zeros(shape, dtype=np.int64)
        tokens[row, column], parents[row, column] = beams.token, beams.node
        before = decoder.n_nodes
        states = decoder.extend(tokens, parents, np.bincount(row, minlength=len(users)))
        beams.node = before + column
        return states[row, column], beams

    def _step(self, states: Tensor, beams: _Beams, *, beam: bool) -> _Beams:
        """Continue every beam by one token, file what ended, and return what is open, each user's best first.

        In beam search a title ends only among the best `width` of its round, as transformers has it.
        """
        children = self._children(beams)
        parent = children.parent
        shared = self.head.normalisation == "trie"
        priors = self.closed.log_priors(beams.user[parent], children) if shared else None
        gained = self.head.log_probabilities(states, parent, children.token, priors)
        ahead = _Beams(
            beams.user[parent], beams.node[parent], children.token, beams.depth[parent] + 1,
            children.low, children.high, beams.score[parent] + gained,
        )  # fmt: skip
        ahead = ahead.at(~self.closed.all_closed(ahead.user, ahead.low, ahead.high))
        ahead = ahead.at(np.lexsort((ahead.low, -ahead.score, ahead.user)))
        ended = ahead.token == self.trie.eos
        if shared:
            ended |= ahead.high - ahead.low == 1
        done = ahead.at(ended & (_rank_within(ahead.user) < self.width) if beam else ended)
        self._file(done.user, done.low, done.score)
        return ahead.at(~ended)

    def _children(self, beams: _Beams) -> Children:
        """The allowed next tokens of beams at different depths, ordered by beam."""
        found = []
        for depth in np.unique(beams.depth):
            here = np.flatnonzero(beams.depth == depth)
            children = self.trie.children(beams.low[here], beams.high[here], int(depth))
            found.append(children._replace(parent=here[children.parent]))
        if len(found) == 1:
            return found[0]
        joined = Children(*(np.concatenate(part) for part in zip(*found, strict=True)))
        order = np.argsort(joined.parent, kind="stable")
        return Children(*(part[order] for part in joined))

    def _file(self, users: Ints, rows: Ints, scores: Floats) -> None:
        """Keep the open items of finished titles; items of one title share its probability under the trie."""
        position, items = self.trie.items_of(rows)
        users, scores = users[position], scores[position]
        open_ = ~self.closed.excluded(users, items)
        users, items, scores = users[open_], items[open_], scores[open_]
        if self.head.normalisation == "trie":
            scores = scores + self.closed.log_shares(users, items)
        self._found.append((users, items, scores))
        order = np.lexsort((-scores, users))
        users, scores = users[order], scores[order]
        rank = _rank_within(users)
        further = np.full((len(self._best), int(rank.max(initial=-1)) + 1), -np.inf)
        further[users, rank] = scores
        k = self._best.shape[1]
        self._best = -np.sort(-np.concatenate([self._best, further], axis=1), axis=1)[:, :k]

    def _finish_decided(self, decoder: TreeDecoder, users: Ints, beams: _Beams) -> _Beams:
        """Score the rest of all beams of those users whose every beam has one title left; return the others."""
        undecided = np.unique(beams.user[beams.high - beams.low > 1])
        decided = ~np.isin(beams.user, undecided)
        if not decided.any():
            return beams
        ending = beams.at(decided)
        active, position = np.unique(ending.user, return_inverse=True)
        rest: list[list[list[int]]] = [[] for _ in active]
        under: list[list[int]] = [[] for _ in active]
        for user, row, node, depth in zip(position, ending.low, ending.node, ending.depth, strict=True):
            rest[user].append(self.trie.tokens_of(int(row))[int(depth) - 1 :])
            under[user].append(int(node))
        finishing = decoder.select(np.searchsorted(users, active))
        forest = plant([[row[:-1] for row in rows] for rows in rest], under, finishing.n_nodes)
        states = finishing.extend(forest.tokens, forest.parents, forest.counts)
        rows = [(forest.flat(user, n), row[1:]) for user in range(len(rest)) for n, row in enumerate(rest[user])]
        nodes = np.concatenate([path for path, _ in rows])
        targets = np.concatenate([np.asarray(target, dtype=np.int64) for _, target in rows])
        gained = self.head.next_token(states.flatten(0, 1), nodes, targets)
        starts = np.cumsum([0] + [len(path) for path, _ in rows[:-1]])
        self._file(ending.user, ending.low, ending.score + np.add.reduceat(gained, starts))
        return beams.at(~decided)


def _rank_within(groups: Ints) -> Ints:
    """The position of each entry among those of its group, groups standing together."""
    new = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(new, np.diff(new, append=len(groups)))


def _best_items(users: Ints, items: Ints, scores: Floats, n_users: int, k: int) -> tuple[Ints, NDArray[np.float32]]:
    """Each user's best items; those of one score in the order they were found in, then of the catalogue."""
    order = np.lexsort((items, -scores, users))
    users, scores, items = users[order], scores[order], items[order]
    rank = _rank_within(users)
    first = rank < k
    best = np.full((n_users, k), -1, dtype=np.int64)
    best_scores = np.full((n_users, k), -np.inf, dtype=np.float32)
    best[users[first], rank[first]] = items[first]
    best_scores[users[first], rank[first]] = scores[first]
    return best, best_scores
