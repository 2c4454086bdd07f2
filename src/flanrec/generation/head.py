"""From decoder states to log-probabilities of the few tokens that a catalogue allows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flanrec.backbone.int8 import Int8Head
from flanrec.catalogue.trie import TitleTrie
from flanrec.errors import SettingsError

Normalisation = Literal["vocabulary", "catalogue", "trie"]
"""Over which tokens the probabilities of a step sum to one.

``vocabulary``: all tokens of the model, as transformers' ``prefix_allowed_tokens_fn`` has it.
``catalogue``: the tokens that any title uses, which matches a model tuned on those rows alone and
needs a tenth of the work.
``trie``: the tokens that may follow, so that the probabilities of all titles sum to one, and the rest
of a title costs nothing once its beginning is like no other's. Where the trie has weights, each branch
starts from its share of them, as a decoder does that is fused with a language model of the catalogue.
"""

_STATES_AT_ONCE = 1024
_PAIRS_AT_ONCE = 4096
_TOKENS_AT_ONCE = 2048
"""Rows of the output layer at once on a CPU: few enough that their logits never leave the cache."""


class Head:
    """The output layer of a model under one normalisation.

    Parameters
    ----------
    model : T5ForConditionalGeneration or a relative of it
    trie : TitleTrie
        Needed for its tokens when ``normalisation`` is ``catalogue``.
    normalisation : Normalisation

    Raises
    ------
    SettingsError
        If ``normalisation`` is none of the three.
    """

    def __init__(self, model: Any, trie: TitleTrie, normalisation: Normalisation) -> None:
        if normalisation not in get_args(Normalisation):
            known = ", ".join(get_args(Normalisation))
            raise SettingsError(f"normalisation {normalisation!r} is not known; use one of {known}")
        self.normalisation = normalisation
        self._output = model.get_output_embeddings()
        self._weight: Tensor = self._output.weight
        self._used: NDArray[np.int64] | None = None
        if normalisation == "catalogue":
            self._used = trie.used_tokens
            self._weight = self._weight[torch.as_tensor(self._used, device=self._weight.device)]

    def log_probabilities(
        self,
        states: Tensor,
        rows: NDArray[np.int64],
        tokens: NDArray[np.int64],
        priors: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float64]:
        """The log-probability of each (state, token) pair.

        Parameters
        ----------
        states : [n_states, d_model]
            As :meth:`TreeDecoder.extend` returns them.
        rows : int64[n_pairs], ascending
            The state of each pair.
        tokens : int64[n_pairs]
            Its token. Under ``trie`` the tokens listed with a state must be all that may follow there.
        priors : float64[n_pairs], optional
            What is added to each logit; under ``trie`` alone.
        """
        if not len(rows):
            return np.zeros(0)
        if self.normalisation == "trie":
            return self._among_listed(states, rows, tokens, np.zeros(len(rows)) if priors is None else priors)
        if self._used is not None:
            tokens = np.searchsorted(self._used, tokens)
        scores = np.empty(len(rows))
        for start in range(0, len(states), _STATES_AT_ONCE):
            first, last = np.searchsorted(rows, [start, start + _STATES_AT_ONCE])
            if first < last:
                part = states[start : start + _STATES_AT_ONCE]
                scores[first:last] = self._among_all(part, rows[first:last] - start, tokens[first:last])
        return scores

    def next_token(self, states: Tensor, nodes: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """The log-probability of one token after each node, each state going through the output layer once.

        Not for ``trie``, where the other tokens that may follow count.

        Parameters
        ----------
        states : [n_states, d_model]
        nodes : int64[n_pairs], positions in the states, any order
        tokens : int64[n_pairs]
        """
        distinct, state = np.unique(nodes, return_inverse=True)
        order = np.argsort(state, kind="stable")
        scores = np.empty(len(nodes))
        scores[order] = self.log_probabilities(states[self._index(distinct)], state[order], tokens[order])
        return scores

    def _among_all(self, states: Tensor, rows: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log-probabilities over all rows of the weight, which goes through block by block."""
        order = np.argsort(tokens, kind="stable")
        chosen = torch.empty(len(rows), device=states.device)
        totals = []
        first = 0
        for project, width in self._blocks:
            logits = project(states).float()
            if self._rounded:
                # What weighs most in the sum is read from the table: its rounding would not average out.
                top = logits.argmax(dim=1, keepdim=True)
                exact = (states * self._weight[first + top[:, 0]]).sum(dim=1, keepdim=True)
                logits.scatter_(1, top, exact)
            # log_softmax makes one pass where logsumexp makes four; at the peak little cancels.
            totals.append(logits.amax(dim=1) - torch.log_softmax(logits, dim=1).amax(dim=1))
            if not self._rounded:
                here = order[slice(*np.searchsorted(tokens[order], [first, first + width]))]
                chosen[self._index(here)] = logits[self._index(rows[here]), self._index(tokens[here] - first)]
            first += width
        if self._rounded:
            for at in range(0, len(rows), _PAIRS_AT_ONCE):
                pairs = slice(at, at + _PAIRS_AT_ONCE)
                said, asked = states[self._index(rows[pairs])], self._weight[self._index(tokens[pairs])]
                chosen[pairs] = (said * asked).sum(dim=1)
        total = torch.logsumexp(torch.stack(totals), dim=0)
        return np.asarray((chosen - total[self._index(rows)]).double().cpu().numpy())

    @cached_property
    def _rounded(self) -> bool:
        """Whether the blocks are of int8: good enough for the sum, while single logits come from the table."""
        return isinstance(self._output, Int8Head) and self._used is None

    @cached_property
    def _blocks(self) -> list[tuple[Callable[[Tensor], Tensor], int]]:
        """Parts of the output layer in order of their tokens, each with how many it has."""
        if self._rounded:
            return [(block, block.width) for block in self._output.blocks]
        block = _TOKENS_AT_ONCE if self._weight.device.type == "cpu" else len(self._weight)
        parts = torch.split(self._weight, block)
        return [(partial(torch.nn.functional.linear, weight=rows), len(rows)) for rows in parts]

    def _among_listed(
        self, states: Tensor, rows: NDArray[np.int64], tokens: NDArray[np.int64], priors: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        distinct, column = np.unique(tokens, return_inverse=True)
        logits = torch.nn.functional.linear(states, self._weight[self._index(distinct)]).float()
        listed = logits[self._index(rows), self._index(column)].double().cpu().numpy() + priors
        starts = np.flatnonzero(np.diff(rows, prepend=-1))
        per_row = np.diff(starts, append=len(rows))
        peak = np.repeat(np.maximum.reduceat(listed, starts), per_row)
        peak[peak == -np.inf] = 0.0  # nothing is open there
        total = np.add.reduceat(np.exp(listed - peak), starts)
        return np.asarray(listed - peak - np.repeat(np.log(np.where(total > 0, total, 1.0)), per_row))

    def _index(self, values: NDArray[np.int64]) -> Tensor:
        return torch.as_tensor(values, device=self._weight.device)
