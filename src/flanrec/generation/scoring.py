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
from flanrec.catalogue.token_rows import TokenRows
from flanrec.catalogue.trie import TitleTrie
from flanrec.errors import DataError, SettingsError
from flanrec.generation.decoder import TreeDecoder
from flanrec.generation.encoding import decoder_starts, encoded_batches
from flanrec.generation.head import Head, Normalisation
from flanrec.generation.paths import Paths, path_states

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
    titles_at_once: int | None = None,
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
    batch_size : int
        Users whose prompts are encoded together.
    titles_at_once : int, optional
        Titles of them all that go through the decoder together; memory grows with it. By default what suits the
        caches of a CPU, or fills a GPU.
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
    wanted = candidate_matrix(candidates, len(prompts), len(token_rows))
    starts = decoder_starts(backbone.model, backbone.tokenizer, prefixes, len(prompts))
    row_of = trie.rows_of(np.arange(len(token_rows)))
    barred = list(excluded) if excluded is not None else [()] * len(prompts)
    if len(barred) != len(prompts):
        raise DataError(f"there are {len(prompts)} prompts but {len(barred)} sets of excluded items; give one a prompt")
    scores = np.full(wanted.shape, -np.inf, dtype=np.float32)
    for users, hidden, mask in encoded_batches(backbone.model, backbone.tokenizer, prompts, batch_size, max_length):
        ready = TreeDecoder.start(backbone.model, hidden, mask)
        closed = ClosedRows(trie, [barred[int(user)] for user in users])
        owner, place = np.nonzero(wanted[users] >= 0)
        items = wanted[users[owner], place]
        rows = row_of[items]
        # A user's neighbours in the trie share most of their beginnings.
        order = np.lexsort((rows, owner))
        size = titles_at_once or _titles_at_once(hidden.device)
        for first in range(0, len(order), size):
            part = order[first : first + size]
            found = _score_rows(ready, head, trie, closed, owner[part], rows[part], [starts[user] for user in users])
            if normalisation == "trie":
                found += closed.log_shares(owner[part], items[part])
            found = np.where(closed.excluded(owner[part], items[part]), -np.inf, found)
            scores[users[owner[part]], place[part]] = found
        if progress is not None:
            progress(len(users))
    return scores


def _titles_at_once(device: torch.device) -> int:
    return 128 if device.type == "cpu" else 4096


def _score_rows(
    ready: TreeDecoder, head: Head, trie: TitleTrie, closed: ClosedRows, users: Ints, rows: Ints, starts: Rows
) -> NDArray[np.float64]:
    """The log-probability of a trie row for a user: all float64[n_pairs], after the user's forced beginning."""
    # Under the trie's normalisation the tokens after the last fork are certain.
    scored = (trie.fork_depths if head.normalisation == "trie" else trie.lengths)[rows]
    owner = np.repeat(np.arange(len(rows)), scored)
    depth = np.arange(len(owner)) - np.repeat(np.cumsum(scored) - scored, scored)
    begun = np.array([len(start) for start in starts], dtype=np.int64)[users]
    texts = np.full((len(rows), int((begun + np.maximum(scored - 1, 0)).max(initial=0))), -1, dtype=np.int64)
    for user, start in enumerate(starts):
        texts[users == user, : len(start)] = start
    read = depth < scored[owner] - 1
    texts[owner[read], (begun[owner] + depth)[read]] = trie.rows.at(rows[owner[read]], depth[read])
    paths = Paths.of(users, texts)
    states = path_states(ready, paths)
    nodes = paths.nodes[owner, begun[owner] + depth - 1]
    if head.normalisation == "trie":
        gained = _among_children(head, trie, closed, states, paths, nodes, rows[owner], depth)
    else:
        gained = head.next_token(states, nodes, trie.rows.at(rows[owner], depth))
    return np.bincount(owner, weights=gained, minlength=len(rows)).astype(np.float64)


def _among_children(
    head: Head, trie: TitleTrie, closed: ClosedRows, states: Tensor, paths: Paths, nodes: Ints, rows: Ints, depths: Ints
) -> NDArray[np.float64]:
    """What :meth:`Head.next_token` gives, normalised over each trie node's children."""
    gained = np.zeros(len(nodes))
    for depth in np.unique(depths):
        here = np.flatnonzero(depths == depth)
        distinct, first, state = np.unique(nodes[here], return_index=True, return_inverse=True)
        children = trie.children(*trie.ranges(rows[here[first]], int(depth)), int(depth))
        priors = closed.log_priors(paths.users[distinct[children.parent]], children)
        chosen = states[torch.as_tensor(distinct, device=states.device)]
        listed = head.log_probabilities(chosen, children.parent, children.token, priors)
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
        asked = [pair for each in chosen for pair in pairs[each]]
        users = np.repeat(np.arange(len(chosen)), [len(pairs[each]) for each in chosen])
        begun = TokenRows.of([starts[pair] for pair in asked])
        paths = Paths.of(users, begun.padded(np.arange(len(asked))).astype(np.int64))
        states = path_states(TreeDecoder.start(model, hidden, mask), paths)
        last = paths.nodes[np.arange(len(asked)), begun.lengths - 1]
        both = torch.nn.functional.linear(states[torch.as_tensor(last, device=states.device)], answers).float()
        yes, no = both[:, : len(yes_ids)].logsumexp(dim=1), both[:, len(yes_ids) :].logsumexp(dim=1)
        logits[asked] = (yes - no).cpu().numpy()
        if progress is not None:
            progress(len(asked))
    return logits


def first_token_ids(tokenizer: Any, words: Sequence[str]) -> list[int]:
    """The distinct first tokens of some words, such as "yes" and "Yes"."""
    rows = [tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    return list(dict.fromkeys(int(row[0]) for row in rows if row))


def candidate_matrix(candidates: Sequence[Sequence[int]] | Ints | None, n_users: int, n_items: int) -> Ints:
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
