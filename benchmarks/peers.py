"""What people use instead for inference, on the same checkpoint: transformers' constrained beams, a pair reranker."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional
from transformers import T5ForConditionalGeneration

from flanrec.backbone import Backbone

Rows = Sequence[Sequence[int]]


class PrefixTree:
    """Nested dictionaries of tokens, as the research code has it: the callback of transformers' beam search."""

    def __init__(self, rows: Rows, pad: int = 0) -> None:
        self.root: dict[int, Any] = {}
        self.pad = pad
        for row in rows:
            node = self.root
            for token in row:
                node = node.setdefault(token, {})

    def __call__(self, batch: int, ids: torch.Tensor) -> list[int]:
        """The tokens that may follow, after the start token."""
        node = self.root
        for token in ids.tolist()[1:]:
            node = node.get(token, {})
        return list(node) or [self.pad]


def beams(
    backbone: Backbone, prompts: Sequence[str], tree: PrefixTree, *, num_beams: int, batch_size: int, longest: int
) -> tuple[list[list[tuple[int, ...]]], NDArray[np.float32]]:
    """Each user's best titles as token rows, best first, with their log-probabilities."""
    titles: list[list[tuple[int, ...]]] = []
    scores = []
    eos = int(backbone.tokenizer.eos_token_id)
    for first in range(0, len(prompts), batch_size):
        ids, mask = backbone.encode_texts(prompts[first : first + batch_size])
        out = backbone.model.generate(
            input_ids=ids,
            attention_mask=mask,
            num_beams=num_beams,
            num_return_sequences=num_beams,
            length_penalty=0.0,
            early_stopping=False,
            do_sample=False,
            max_new_tokens=longest,
            prefix_allowed_tokens_fn=tree,
            return_dict_in_generate=True,
            output_scores=True,
        )
        rows = [tuple(row[1 : row.index(eos) + 1]) for row in out.sequences.tolist()]
        titles += [rows[at : at + num_beams] for at in range(0, len(rows), num_beams)]
        scores.append(out.sequences_scores.reshape(-1, num_beams).float().cpu().numpy())
    return titles, np.concatenate(scores)


@torch.inference_mode()
def rerank(backbone: Backbone, prompt: str, rows: Rows, *, batch_size: int) -> NDArray[np.float32]:
    """The log-probability of each title, every (prompt, title) pair through the whole model."""
    model: Any = backbone.model
    scores = np.empty(len(rows), dtype=np.float32)
    for first in range(0, len(rows), batch_size):
        part = rows[first : first + batch_size]
        ids, mask = backbone.encode_texts([prompt] * len(part))
        labels = torch.full((len(part), max(map(len, part))), -100, device=backbone.device)
        for at, row in enumerate(part):
            labels[at, : len(row)] = torch.tensor(row, device=backbone.device)
        logits = model(input_ids=ids, attention_mask=mask, labels=labels).logits.float()
        losses = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
        scores[first : first + len(part)] = -losses.sum(dim=1).cpu().numpy()
    return scores


def plain_model(backbone: Backbone) -> Backbone:
    """The same weights in transformers' own layers throughout, as its users have them."""
    with tempfile.TemporaryDirectory() as folder:
        backbone.save(Path(folder) / "checkpoint")
        model = T5ForConditionalGeneration.from_pretrained(Path(folder) / "checkpoint", dtype=backbone.dtype).eval()
    model.config.tie_word_embeddings = False
    model.to(backbone.device)
    return replace(backbone, model=model)
