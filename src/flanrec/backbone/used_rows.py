"""The vocabulary's rows in use, trained by themselves while the rest of both tables stays frozen.

A T5 has two tables of its whole vocabulary, input embeddings and output layer (one, where they are tied).
A catalogue uses a tenth of their rows. Inside `trained_rows` these are parameters of their own, with
gradients and optimiser state for them alone; afterwards they stand in the tables, as if never taken out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from flanrec.backbone.checkpoint import Backbone
from flanrec.errors import SettingsError


@contextmanager
def trained_rows(backbone: Backbone, rows: NDArray[np.int64]) -> Iterator[dict[str, nn.Parameter]]:
    """Let some rows of the vocabulary be parameters of their own inside the block.

    Reading, answering and searching see their values of the moment. Rows outside are read as they are and get
    no gradient. Afterwards, also after an error or Ctrl-C, the model has its own tables again, with what the
    rows have become.

    Parameters
    ----------
    backbone
        With or without an adapter.
    rows
        int64[n_rows], ascending; see `flanrec.backbone.vocabulary.used_rows`.

    Yields
    ------
    dict
        ``input`` and ``output``, each [n_rows, d_model]; ``shared`` alone, where both tables are one.

    Raises
    ------
    SettingsError
        The rows are none, out of order or outside the vocabulary, or the block is inside another one.
    """
    model: Any = backbone.model
    embeddings, head = model.get_input_embeddings(), model.get_output_embeddings()
    if isinstance(embeddings, _Embeddings) or isinstance(head, _Head):
        raise SettingsError("The vocabulary's rows are parameters of their own already; leave that block first.")
    if not len(rows) or rows[0] < 0 or rows[-1] >= len(embeddings.weight) or (np.diff(rows) <= 0).any():
        raise SettingsError(
            f"The rows to train must be some of 0 to {len(embeddings.weight) - 1}, ascending and each once."
        )
    chosen = torch.as_tensor(rows, device=embeddings.weight.device)
    own = backbone.head_is_separate
    read = _Table(embeddings.weight, chosen)
    said = _Table(head.weight, chosen) if own else read
    required = [(table.whole, table.whole.requires_grad) for table in (read, said)]
    stands_in = {id(embeddings.weight): _Embeddings(read)}
    places = [
        (owner, name, child, _Head(said) if child is head else stands_in[id(child.weight)])
        for owner in list(model.modules())
        for name, child in list(owner.named_children())
        if child is head or (isinstance(child, nn.Embedding) and id(child.weight) in stands_in)
    ]
    try:
        for whole, _ in required:
            whole.requires_grad_(False)
        for owner, name, _, replacement in places:
            setattr(owner, name, replacement)
        yield {"input": read.trained, "output": said.trained} if own else {"shared": read.trained}
    finally:
        for owner, name, child, _ in places:
            setattr(owner, name, child)
        for table in (read, said):
            table.current()
        for whole, before in required:
            whole.requires_grad_(before)


def head_rows(model: Any, tokens: Tensor) -> Tensor:
    """The output layer's weights for some tokens, with a gradient where they are trained.

    Parameters
    ----------
    model : T5ForConditionalGeneration or a relative of it
    tokens : int64[n_tokens]

    Returns
    -------
    Tensor [n_tokens, d_model]
    """
    head = model.get_output_embeddings()
    found: Tensor = head.table.read(tokens) if isinstance(head, _Head) else head.weight[tokens]
    return found


class _Table(nn.Module):
    """A table whose rows in use are a parameter of their own."""

    def __init__(self, whole: nn.Parameter, rows: Tensor) -> None:
        super().__init__()
        self.whole = whole
        self.trained = nn.Parameter(whole.detach()[rows].clone())
        self.rows = rows
        self.place = torch.full((len(whole),), -1, dtype=torch.long, device=whole.device)
        self.place[rows] = torch.arange(len(rows), device=whole.device)

    def read(self, tokens: Tensor) -> Tensor:
        """The rows of some tokens, those in use with a gradient."""
        place = self.place[tokens]
        used = functional.embedding(place.clamp(min=0), self.trained)
        return torch.where((place >= 0)[..., None], used, functional.embedding(tokens, self.whole))

    @torch.no_grad()
    def current(self) -> Tensor:
        """The whole table with the rows in use as they are now, without a gradient."""
        return self.whole.index_copy_(0, self.rows, self.trained)


class _StandIn(nn.Module):
    """Takes the place of a layer that is a table."""

    def __init__(self, table: _Table) -> None:
        super().__init__()
        self.table = table

    @property
    def weight(self) -> Tensor:
        return self.table.current()


class _Embeddings(_StandIn):
    """Stands in for the input embeddings."""

    def forward(self, tokens: Tensor) -> Tensor:
        return self.table.read(tokens)


class _Head(_StandIn):
    """Stands in for the output layer."""

    def forward(self, states: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return functional.linear(states, self.weight)
        logits = functional.linear(states, self.table.whole)
        return logits.index_copy(-1, self.table.rows, functional.linear(states, self.table.trained))
