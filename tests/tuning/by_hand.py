"""What objectives say, worked out from transformers' own forward pass."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.backbone import Backbone


def item_log_probability(
    backbone: Backbone,
    prompt: str,
    rows: Sequence[Sequence[int]],
    item: int,
    *,
    weights: NDArray[np.float64] | None = None,
    excluded: Collection[int] = (),
) -> float:
    """Chosen token by token among what the titles of open items allow, each weighing what they weigh together.

    Without weights all tokens weigh the same, and so do items of one title: the log-probability is the title's.
    """
    row = list(rows[item])
    ids = torch.tensor([backbone.tokenizer(prompt)["input_ids"]])
    with torch.no_grad():
        logits = backbone.model(input_ids=ids, labels=torch.tensor([row])).logits[0].double()
    total = 0.0
    for depth, token in enumerate(row):
        open_: dict[int, float] = {}
        for other, title in enumerate(rows):
            if other not in excluded and list(title[:depth]) == row[:depth]:
                before = open_.get(title[depth], 0.0)
                open_[title[depth]] = 1.0 if weights is None else before + float(weights[other])
        tokens = list(open_)
        scores = logits[depth, tokens] + torch.tensor([open_[one] for one in tokens]).double().log()
        total += float(scores.log_softmax(dim=0)[tokens.index(token)])
    if weights is None:
        return total
    alike = [other for other, title in enumerate(rows) if list(title) == row and other not in excluded]
    return total + float(np.log(weights[item] / weights[alike].sum()))
