"""The generate reading: a prompt in, catalogue items out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.catalogue.trie import TitleTrie
from flanrec.errors import DataError
from flanrec.generation.beam import constrained_beam_search
from flanrec.generation.encoding import decoder_starts, encoded_batches
from flanrec.generation.head import Normalisation


@torch.inference_mode()
def generate_items(
    backbone: Backbone,
    prompts: Sequence[str],
    trie: TitleTrie,
    *,
    k: int,
    num_beams: int = 10,
    excluded: Sequence[Collection[int]] | None = None,
    prefixes: Sequence[str] | None = None,
    normalisation: Normalisation = "vocabulary",
    max_nodes: int = 0,
    batch_size: int = 32,
    max_length: int = 512,
    progress: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Decode the ``k`` most probable titles of each prompt under the trie.

    Parameters
    ----------
    backbone : Backbone
    prompts : n_users texts
    trie : TitleTrie
        Of the whole catalogue, or of a whitelist by :meth:`TitleTrie.only`.
    k, num_beams, excluded, normalisation, max_nodes
        See :func:`constrained_beam_search`.
    prefixes : n_users texts, optional
        Forced at the start of the decoder and not scored; "" for none.
    batch_size : int
        Users decoded together; they are taken in order of prompt length.
    max_length : int
        Longest prompt in tokens.
    progress : function, optional
        Called with the number of users done since the last call.

    Returns
    -------
    items : int64[n_users, k]
        Catalogue indices, best first, -1 where fewer than ``k`` are allowed.
    scores : float32[n_users, k]
        Log-probabilities, -inf where there is no item.

    Raises
    ------
    DataError
        If ``excluded`` or ``prefixes`` has another length than ``prompts``.
    SettingsError
        If ``k`` or ``num_beams`` is below 1, or ``normalisation`` is unknown.
    """
    if excluded is not None and len(excluded) != len(prompts):
        raise DataError(
            f"there are {len(prompts)} prompts but {len(excluded)} sets of excluded items; give one a prompt"
        )
    items = np.full((len(prompts), max(k, 0)), -1, dtype=np.int64)
    scores = np.full(items.shape, -np.inf, dtype=np.float32)
    starts = decoder_starts(backbone.model, backbone.tokenizer, prefixes, len(prompts))
    for users, hidden, mask in encoded_batches(backbone.model, backbone.tokenizer, prompts, batch_size, max_length):
        items[users], scores[users] = constrained_beam_search(
            backbone.model,
            hidden,
            mask,
            trie,
            k=k,
            num_beams=num_beams,
            excluded=None if excluded is None else [excluded[user] for user in users],
            prefixes=[starts[user][1:] for user in users],
            normalisation=normalisation,
            max_nodes=max_nodes,
        )
        if progress is not None:
            progress(len(users))
    return items, scores
