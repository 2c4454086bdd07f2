"""From decoder states to log-probabilities of the few tokens that a catalogue allows."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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

_ROWS_AT_ONCE = 64


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
        self._weight: Tensor = model.get_output_embeddings().weight
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
        for start in range(0, len(states), _ROWS_AT_ONCE):
            first, last = np.searchsorted(rows, [start, start + _ROWS_AT_ONCE])
            if first == last:
                continue
            logits = torch.nn.functional.linear(states[start : start + _ROWS_AT_ONCE], self._weight).float()
            pairs = (self._index(rows[first:last] - start), self._index(tokens[first:last]))
            chosen = logits[pairs] - torch.logsumexp(logits, dim=-1)[pairs[0]]
            scores[first:last] = chosen.double().cpu().numpy()
        return scores

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
