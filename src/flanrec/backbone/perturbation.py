"""Where the embeddings of prompts may be changed on their way into the encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from flanrec.backbone.rows import Rows

Change = Callable[[Tensor, Rows], Tensor]
"""From embeddings [n_tokens, d_model] and where they stand to others of the same shape."""


@contextmanager
def perturbation(model: Any, change: Change) -> Iterator[None]:
    """Let `encoder_states` pass what the encoder reads through a function inside the block.

    That is every place of the prompts, those of a soft prompt included, before the first dropout. The decoder, whose
    embeddings are the same table, and transformers' own forward pass read as before.

    Parameters
    ----------
    model : T5ForConditionalGeneration or a relative of it
    change
        Called once for each batch of prompts.
    """
    stack = model.get_encoder()
    before = getattr(stack, "perturbation", None)
    stack.perturbation = change
    try:
        yield
    finally:
        stack.perturbation = before


def perturbed(stack: Any, embedded: Tensor, rows: Rows) -> Tensor:
    """What an encoder reads: the embeddings, or what they are changed to inside `perturbation`."""
    change: Change | None = getattr(stack, "perturbation", None)
    return embedded if change is None else change(embedded, rows)
