"""What the decoder starts from: prompts through the encoder, in batches of like length, and forced beginnings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from flanrec.backbone.encoder import encoder_states
from flanrec.errors import DataError


def encoded_batches(
    model: Any, tokenizer: Any, prompts: Sequence[str], batch_size: int, max_length: int
) -> Iterator[tuple[NDArray[np.int64], Tensor, Tensor]]:
    """Encode prompts in batches, the longest first, so that little is padding and memory peaks at once.

    Parameters
    ----------
    model, tokenizer : of a Backbone
    prompts : n texts
    batch_size : int
    max_length : int
        Tokens a prompt; longer ones are cut at the end.

    Yields
    ------
    positions : int64[batch], which prompts these are
    states : [batch, longest, d_model]
    mask : int64[batch, longest], 1 where there is a token

    Where the model carries a soft prompt, its places come first in both.
    """
    order = np.argsort([-len(prompt) for prompt in prompts], kind="stable").astype(np.int64)
    device = model.get_input_embeddings().weight.device
    for first in range(0, len(order), batch_size):
        positions = order[first : first + batch_size]
        batch = tokenizer(
            [prompts[int(position)] for position in positions],
            padding=True,
            truncation=True,
            max_length=max_length,
            return_tensors="pt",
        )
        ids, mask = batch["input_ids"].to(device), batch["attention_mask"].to(device)
        yield positions, *encoder_states(model, ids, mask)


def decoder_starts(model: Any, tokenizer: Any, prefixes: Sequence[str] | None, n: int) -> list[list[int]]:
    """The start token and the forced beginning of each of ``n`` texts; "" forces nothing.

    Raises
    ------
    DataError
        If there are not ``n`` prefixes.
    """
    start = int(model.config.decoder_start_token_id)
    if prefixes is None:
        return [[start]] * n
    if len(prefixes) != n:
        raise DataError(f"there are {n} prompts but {len(prefixes)} decoder prefixes; give one a prompt")
    rows = tokenizer(list(prefixes), add_special_tokens=False)["input_ids"] if n else []
    return [[start, *row] for row in rows]
