"""Exact log-probabilities of given titles, and the yes/no answer of the match reading.

Both share a prompt's encoder states and its cross-attention among all texts decoded against it, and
the decoder states of equal beginnings among texts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.catalogue.closed import ClosedRows
from flanrec.catalogue.trie import TitleTrie
from flanrec.errors import DataError, SettingsError
from flanrec.generation.decoder import TreeDecoder
from flanrec.generation.encoding import decoder_starts, encoded_batches
from flanrec.generation.forest import Forest, next_token_log_probabilities, plant
from flanrec.generation.head import Head, Normalisation

Ints = NDArray[np.int64]
Rows = Sequence[Sequence[int]]


@torch.inference_mode()
def title_log_probabilities(
    backbone: Backbone,
    prompts: Sequence[str],
    token_rows: Rows,
    *,
    candidates: Sequence[Sequence[int]] | Ints | None = None,
    excluded: Sequence[Collection[int]] | None = None,
    prefixes: Sequence[str] | None = None,
    normalisation: Normalisation = "vocabulary",
    weights: NDArray[np.float64] | None = None,
    batch_size: int = 8,
    titles_at_once: int = 64,
    max_length: int = 512,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """The log-probability of titles given prompts, equal to what beam search gives them.

    Parameters
    ----------
    backbone : Backbone
    prompts : n_users texts
    token_rows : n_items token rows
        Each ends in the end-of-sequence token, as :attr:`Catalogue.token_rows` does. Under the
        ``catalogue`` and ``trie`` normalisations all of them together are what is normalised over.
    candidates : for each user, positions in ``token_rows``, optional
        What to score; -1 and the ends of short rows are scored -inf. By default all rows.
    excluded : one collection of positions a user, optional
        Scored -inf; under ``trie`` the others' probabilities are those given that it is none of them.
    prefixes : n_users texts, optional
        Forced at the start of the decoder and not scored; "" for none.
    normalisation : Normalisation
    weights : float64[n_items], optional
        Of the trie that the rows make; they count under ``trie`` alone.
    batch_size, titles_at_once : int
        Users, and titles of each, that go through the decoder together; memory grows with the product.
    max_length : int
        Longest prompt in tokens.
    progress : function, optional
        Called with the number of users done since the last call.

    Returns
    -------
    float32[n_users, n_items], or float32[n_users, longest candidate list]

    Raises
    ------
    DataError
        If a token row is malformed or a candidate is not a position in ``token_rows``.
    SettingsError
        If ``normalisation`` is unknown.
    """
    trie = TitleTrie.build(token_rows, eos=int(backbone.tokenizer.eos_token_id), weights=weights)
    head = Head(backbone.model, trie, normalisation)
    wanted = _candidate_matrix(candidates, len(prompts), len(token_rows))
    starts = decoder_starts(backbone.model, backbone.tokenizer, prefixes, len(prompts))
    row_of = trie.rows_of(np.arange(len(token_rows)))
    barred = list(excluded) if excluded is not None else [()] * len(prompts)
    if len(barred) != len(prompts):
        raise DataError(f"there are {len(prompts)} prompts but {len(barred)} sets of excluded items; give one a prompt")
    scores = np.full(wanted.shape, -np.inf, dtype=np.float32)
    for users, hidden, mask in encoded_batches(backbone.model, backbone.tokenizer, prompts, batch_size, max_length):
        ready = TreeDecoder.start(backbone.model, hidden, mask)
        closed = ClosedRows(trie, [barred[int(user)] for user in users])
        for first in range(0, wanted.shape[1], titles_at_once):
            part = wanted[users, first : first + titles_at_once]
            rows = np.where(part >= 0, row_of[part] if len(row_of) else -1, -1)
            found = _score_rows(ready, head, trie, closed, rows, [starts[int(user)] for user in users])
            owner, place = np.nonzero(part >= 0)
            items = part[owner, place]
            if normalisation == "trie":
                found[owner, place] += closed.log_shares(owner, items)
            found[owner, place] = np.where(closed.excluded(owner, items), -np.inf, found[owner, place])
            scores[users, first : first + titles_at_once] = found
        if progress is not None:
            progress(len(users))
    return scores


def _score_rows(
    decoder: TreeDecoder, head: Head, trie: TitleTrie, closed: ClosedRows, rows: Ints, starts: Rows
) -> NDArray[np.float64]:
    """The log-probabilities of trie rows int64[n_users, m], -1 for none: float64[n_users, m]."""
    user, column = np.nonzero(rows >= 0)
    scores = np.full(rows.shape, -np.inf)
    if not len(user):
        return scores
    row = rows[user, column]
    # Under the trie's normalisation the tokens after the last fork are certain.
    scored = trie.fork_depths[row] if head.normalisation == "trie" else trie.lengths[row]
    texts: list[list[list[int]]] = [[] for _ in starts]
    for at, title, count in zip(user.tolist(), row.tolist(), scored.tolist(), strict=True):
        texts[at].append([*starts[at], *trie.tokens_of(title)[: max(count - 1, 0)]])
    forest = plant(texts)
    states = decoder.restarted().extend(forest.tokens, forest.parents, forest.counts)
    nodes = _title_nodes(forest, starts, scored, user)
    owner = np.repeat(np.arange(len(row)), scored)
    depth = np.arange(len(owner)) - np.repeat(np.cumsum(scored) - scored, scored)
    if head.normalisation == "trie":
        gained = _among_children(head, trie, closed, states, nodes, row[owner], depth)
    else:
        gained = next_token_log_probabilities(head, states, nodes, trie.rows.at(row[owner], depth))
    scores[user, column] = np.bincount(owner, weights=gained, minlength=len(row))
    return scores


def _title_nodes(forest: Forest, starts: Rows, scored: Ints, user: Ints) -> Ints:
    """The flat positions of the nodes that predict each scored token of each title."""
    seen = [0] * len(starts)
    nodes = [np.zeros(0, dtype=np.int64)]
    for owner, count in zip(user.tolist(), scored.tolist(), strict=True):
        nodes.append(forest.flat(owner, seen[owner])[len(starts[owner]) - 1 :][:count])
        seen[owner] += 1
    return np.concatenate(nodes)


def _among_children(
    head: Head, trie: TitleTrie, closed: ClosedRows, states: Tensor, nodes: Ints, rows: Ints, depths: Ints
) -> NDArray[np.float64]:
    """What :func:`next_token_log_probabilities` gives, normalised over each trie node's children."""
    gained = np.zeros(len(nodes))
    flat = states.flatten(0, 1)
    for depth in np.unique(depths):
        here = np.flatnonzero(depths == depth)
        distinct, first, state = np.unique(nodes[here], return_index=True, return_inverse=True)
        children = trie.children(*trie.ranges(rows[here[first]], int(depth)), int(depth))
        priors = closed.log_priors(distinct[children.parent] // states.shape[1], children)
        listed = head.log_probabilities(flat[distinct], children.parent, children.token, priors)
        span = len(trie) + 1
        taken = np.searchsorted(children.parent * span + children.low, state * span + rows[here], side="right") - 1
        gained[here] = listed[taken]
    return gained


@torch.inference_mode()
def yes_no_logits(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    prefixes: Sequence[str] | None,
    yes_ids: Sequence[int],
    no_ids: Sequence[int],
    *,
    batch_size: int = 32,
    max_length: int = 512,
    progress: Callable[[int], None] | None = None,
) -> NDArray[np.float32]:
    """How much likelier yes is than no as the next token: log P(yes) - log P(no).

    P(yes), of the two answers alone, is the sigmoid of it. Equal prompts are encoded once, so the
    pairs of one user cost little more than their prefixes when those, not the prompts, name the item.

    Parameters
    ----------
    model, tokenizer : of a Backbone
    prompts : n texts
    prefixes : n texts, optional
        Forced at the start of the decoder, before the answer; "" for none.
    yes_ids, no_ids : token ids
        The first tokens of the words that count as the answer; the probabilities of several are added.
    batch_size : int
        Distinct prompts encoded together.
    max_length : int
        Longest prompt in tokens.
    progress : function, optional
        Called with the number of pairs done since the last call.

    Returns
    -------
    float32[n]

    Raises
    ------
    SettingsError
        If there is no yes token or no no token, or a token is on both sides.
    """
    if not yes_ids or not no_ids or set(yes_ids) & set(no_ids):
        raise SettingsError(
            f"the answers yes ({list(yes_ids)}) and no ({list(no_ids)}) need at least one token each and none in common"
        )
    pairs_of: dict[str, list[int]] = {}
    for pair, prompt in enumerate(prompts):
        pairs_of.setdefault(prompt, []).append(pair)
    starts = decoder_starts(model, tokenizer, prefixes, len(prompts))
    pairs = list(pairs_of.values())
    weight = model.get_output_embeddings().weight
    answers = weight[torch.as_tensor([*yes_ids, *no_ids], device=weight.device)]
    logits = np.empty(len(prompts), dtype=np.float32)
    for chosen, hidden, mask in encoded_batches(model, tokenizer, list(pairs_of), batch_size, max_length):
        forest = plant([[starts[pair] for pair in pairs[each]] for each in chosen])
        states = TreeDecoder.start(model, hidden, mask).extend(forest.tokens, forest.parents, forest.counts)
        owner = [(row, n, pair) for row, each in enumerate(chosen) for n, pair in enumerate(pairs[each])]
        last = torch.as_tensor([forest.paths[row][n][-1] for row, n, _ in owner], device=states.device)
        at = states[torch.as_tensor([row for row, _, _ in owner], device=states.device), last]
        both = torch.nn.functional.linear(at, answers).float()
        yes, no = both[:, : len(yes_ids)].logsumexp(dim=1), both[:, len(yes_ids) :].logsumexp(dim=1)
        logits[[pair for _, _, pair in owner]] = (yes - no).cpu().numpy()
        if progress is not None:
            progress(len(owner))
    return logits


def first_token_ids(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """The distinct first tokens of some words, such as "yes" and "Yes"."""
    rows = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    return list(dict.fromkeys(int(row[0]) for row in rows if row))


def _candidate_matrix(candidates: Sequence[Sequence[int]] | Ints | None, n_users: int, n_items: int) -> Ints:
    if candidates is None:
        return np.tile(np.arange(n_items), (n_users, 1))
    if len(candidates) != n_users:
        raise DataError(f"there are {n_users} prompts but {len(candidates)} candidate lists; give one a prompt")
    matrix = np.full((n_users, max((len(row) for row in candidates), default=0)), -1, dtype=np.int64)
    for user, row in enumerate(candidates):
        matrix[user, : len(row)] = row
    if matrix.max(initial=-1) >= n_items:
        raise DataError(f"candidate {matrix.max()} is beyond the {n_items} token rows; candidates count from 0")
    return matrix
