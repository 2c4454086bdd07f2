"""Answers in free words, the likeliest token each time: ratings, summaries, descriptions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.backbone.used_rows import head_rows
from flanrec.generation.decoder import ROOT, TreeDecoder
from flanrec.generation.encoding import encoded_batches


@torch.inference_mode()
def free_answers(
    backbone: Backbone,
    prompts: Sequence[str],
    *,
    rows: NDArray[np.int64] | None = None,
    max_tokens: int = 48,
    batch_size: int = 16,
    max_length: int = 512,
    progress: Callable[[int], None] | None = None,
) -> list[str]:
    """What the T5 says to each prompt by greedy search, without special tokens.

    Parameters
    ----------
    backbone
        In evaluation mode.
    rows
        Vocabulary rows among which each token is chosen, int64 ascending, the end token among them; None for all.
        A T5 that was tuned on some rows has never unlearnt the others.
    max_tokens
        Longest answer; a longer one is cut.
    batch_size
        Prompts that are read together.
    max_length
        Longest prompt in tokens.
    progress
        Called with the number of prompts done since the last call.
    """
    said: list[list[int]] = [[] for _ in prompts]
    batches = encoded_batches(backbone.model, backbone.tokenizer, prompts, batch_size, max_length)
    for positions, hidden, mask in batches:
        for position, row in zip(positions.tolist(), _greedy(backbone, hidden, mask, rows, max_tokens), strict=True):
            said[position] = row
        if progress is not None:
            progress(len(positions))
    return [str(backbone.tokenizer.decode(row, skip_special_tokens=True)).strip() for row in said]


def _greedy(
    backbone: Backbone, hidden: Tensor, mask: Tensor, rows: NDArray[np.int64] | None, max_tokens: int
) -> list[list[int]]:
    """The tokens of each answer, the end token left out."""
    end = int(backbone.tokenizer.eos_token_id)
    ready = TreeDecoder.start(backbone.model, hidden, mask)
    tokens = np.full((len(hidden), 1), int(backbone.model.config.decoder_start_token_id), dtype=np.int64)
    parents = np.full((len(hidden), 1), ROOT, dtype=np.int64)
    found: list[list[int]] = [[] for _ in range(len(hidden))]
    speaking = np.ones(len(hidden), dtype=bool)
    for place in range(max_tokens):
        states = ready.extend(tokens, parents, speaking.astype(np.int64))[:, 0]
        tokens = _likeliest(backbone, states, rows)[:, None]
        parents = np.full((len(hidden), 1), place, dtype=np.int64)
        speaking &= tokens[:, 0] != end
        if not speaking.any():
            break
        for row in np.flatnonzero(speaking).tolist():
            found[row].append(int(tokens[row, 0]))
    return found


def _likeliest(backbone: Backbone, states: Tensor, rows: NDArray[np.int64] | None) -> NDArray[np.int64]:
    if rows is None:
        return np.asarray(backbone.model.get_output_embeddings()(states).argmax(dim=1).cpu().numpy())
    head = head_rows(backbone.model, torch.from_numpy(rows).to(states.device))
    best = functional.linear(states, head.to(states.dtype)).argmax(dim=1).cpu().numpy()
    return np.asarray(rows[best], dtype=np.int64)
