"""Instructions through a frozen encoder, each distinct wording once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from flanrec.backbone.checkpoint import Backbone
from flanrec.backbone.encoder import encoder_states, soft_prompt_length, stack_states
from flanrec.backbone.hardware import has_fast_bf16
from flanrec.backbone.lowered import lowered


class PromptEncoder:
    """Encoder states of instructions, remembered so that a wording that returns costs nothing.

    The encoder is used as it stands and gets no gradient. Make a new one after tuning the backbone. The
    states of a wording depend on nothing but the wording: not on the caller's autocast, and on a CPU not on
    what is encoded beside it, so that a resumed run sees what the first one saw.

    Parameters
    ----------
    backbone
        Whose tokenizer and encoder read the instructions.
    remember
        How many wordings to keep; the ones unused the longest go first.
    max_length
        Longest instruction in tokens; longer ones lose their end.
    """

    def __init__(self, backbone: Backbone, *, remember: int = 4096, max_length: int = 256) -> None:
        self.backbone = backbone
        self.remember = remember
        self.max_length = max_length
        self._states: OrderedDict[str, tuple[Tensor, Tensor]] = OrderedDict()

    @cached_property
    def _stack(self) -> Any:
        stack, device = self.backbone.model.get_encoder(), self.backbone.device
        casts = device.type == "cpu" and has_fast_bf16(device) and self.backbone.dtype == torch.float32
        return lowered(stack) if casts else stack

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the states of some instructions, padded to the longest.

        Returns
        -------
        states
            float32 [len(prompts), longest, d_model], what the encoder makes of each token where it stands
        mask
            int64 [len(prompts), longest], 1 where there is a token
        words
            float32 [len(prompts), longest, d_model], the tokens' input embeddings, wherever they stand
        """
        self._encode_missing([prompt for prompt in dict.fromkeys(prompts) if prompt not in self._states])
        found = [self._states[prompt] for prompt in prompts]
        for prompt in prompts:
            self._states.move_to_end(prompt)
        longest = max((len(states) for states, _ in found), default=0)
        width = int(self.backbone.model.config.d_model)
        padded = torch.zeros(len(prompts), longest, width, device=self.backbone.device)
        mask = torch.zeros(len(prompts), longest, dtype=torch.long, device=self.backbone.device)
        tokens = torch.zeros_like(mask)
        for row, (states, ids) in enumerate(found):
            padded[row, : len(states)] = states
            mask[row, : len(states)] = 1
            tokens[row, : len(ids)] = ids
        words = self.backbone.model.get_input_embeddings()(tokens).float() * mask[..., None]
        while len(self._states) > self.remember:
            self._states.popitem(last=False)
        return padded, mask, words

    def _encode_missing(self, prompts: list[str]) -> None:
        model = self.backbone.model
        device = self.backbone.device
        together = 1 if device.type == "cpu" else 64
        prompts = sorted(prompts, key=len)
        for first in range(0, len(prompts), together):
            batch = prompts[first : first + together]
            ids, mask = self.backbone.encode_texts(batch, self.max_length)
            with torch.autocast(device.type, torch.bfloat16, enabled=has_fast_bf16(device)):
                states = stack_states(self._stack, ids, mask)[0][:, soft_prompt_length(model) :].float()
            for prompt, row, tokens, length in zip(batch, states, ids, mask.sum(dim=1).tolist(), strict=True):
                self._states[prompt] = (row[:length].clone(), tokens[:length].clone())


@torch.no_grad()
def mean_states(
    backbone: Backbone, texts: Sequence[str], *, depth: float = 1.0, max_length: int = 96, batch_size: int = 64
) -> Tensor:
    """Encode texts and average each one's encoder states over its tokens: float32 [len(texts), d_model].

    Parameters
    ----------
    depth
        How far up the encoder, as a share of its blocks; 1 for its output.
    """
    own = soft_prompt_length(backbone.model)
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    means = torch.zeros(len(texts), int(backbone.model.config.d_model), device=backbone.device)
    for first in range(0, len(order), batch_size):
        rows = order[first : first + batch_size]
        ids, mask = backbone.encode_texts([texts[row] for row in rows], max_length)
        states = encoder_states(backbone.model, ids, mask, depth)[0][:, own:].float()
        weights = mask.unsqueeze(-1)
        means[rows] = (states * weights).sum(dim=1) / weights.sum(dim=1)
    return means


@torch.no_grad()
def mean_embeddings(backbone: Backbone, texts: Sequence[str], *, max_length: int = 96) -> Tensor:
    """Average the input embeddings of each text's tokens, the end token left out: float32 [len(texts), d_model]."""
    table = backbone.model.get_input_embeddings().weight
    rows = backbone.tokenizer(list(texts), add_special_tokens=False, verbose=False)["input_ids"] if texts else []
    means = torch.zeros(len(texts), table.shape[1], device=backbone.device)
    for at, row in enumerate(rows):
        if row:
            means[at] = table[torch.tensor(row[:max_length], device=table.device)].float().mean(dim=0)
    return means
