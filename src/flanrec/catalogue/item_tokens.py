"""The item-token reading: every item is one virtual token of the T5 decoder.

The encoder reads the instruction (wish, profile, wording); the decoder reads the history as one vector
an item and predicts, at every position, the next item. One forward pass scores the whole catalogue.

An item's vectors are made from its text plus a learned part, so an item that nobody has touched can be
read and recommended at once: its learned part is estimated from its text (`estimate_untouched`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.backbone.attachments import detached
from flanrec.backbone.decoder import causal, decoder_states
from flanrec.backbone.dropout import drop
from flanrec.backbone.rows import Rows
from flanrec.catalogue.factors import TransitionFactors, rotation
from flanrec.catalogue.item_texts import item_texts, of_length, text_vectors
from flanrec.catalogue.items import Catalogue
from flanrec.catalogue.ridge import ridge_estimates

# T5's decoder stream is some hundreds long, an order above the norm of what its blocks add:
# vectors much shorter drown, and much longer ones never learn.
_INPUT_SCALE = 8.0
_LEARNED_SCALE = 5.0
_OUTPUT_SCALE = 3.0
_TEXT_OUTPUT_SCALE = 0.05
_NOTHING = 3.0


class ItemTokenSettings(BaseModel):
    """Shape of the item-token reading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    layers: int = Field(default=4, ge=1)
    """Decoder blocks, the first ones of the backbone's; at most as many as it has."""
    window: int = Field(default=40, ge=1)
    """Newest events of a history that are read."""
    rank: int = Field(default=64, ge=1)
    """Columns of the transition factors that the learned vectors start from."""
    damping: float = Field(default=50.0, gt=0)
    """Evidence, in events, that an item's transitions need to count against the overall shares."""
    block_gain: float = Field(default=0.3, gt=0)
    """What the blocks' output maps are multiplied with at the start, so that the factors are heard through them."""
    heads: int = Field(default=4, ge=1)
    """Heads of the attention from each position to the instruction."""
    head_width: int = Field(default=64, ge=1)
    """Width of each of these heads."""
    word_gain: float = Field(default=0.1, ge=0)
    """How much a word of the instruction speaks for items with the same word in their text, at the start."""
    dropout: float = Field(default=0.3, ge=0, lt=1)
    """Dropout on item vectors and states."""
    ridge: float = Field(default=30.0, gt=0)
    """Regularisation of the estimate of untouched items' vectors from their text."""


class ItemTokens(nn.Module):
    """Item vectors, decoder blocks and the attention to the instruction.

    Parameters
    ----------
    backbone
        Whose first decoder blocks are copied; it is not changed.
    n_items
        Size of the catalogue.
    settings
        The shape.
    """

    text_input: Tensor
    text_output: Tensor
    mean_input: Tensor
    mean_output: Tensor

    def __init__(self, backbone: Backbone, n_items: int, settings: ItemTokenSettings) -> None:
        super().__init__()
        width = int(backbone.model.config.d_model)
        inner = settings.heads * settings.head_width
        self.settings = settings
        self.decoder = _first_blocks(backbone, settings.layers)
        self.register_buffer("text_input", torch.zeros(n_items, width))
        self.register_buffer("text_output", torch.zeros(n_items, width))
        self.register_buffer("mean_input", torch.zeros(width))
        self.register_buffer("mean_output", torch.zeros(width))
        self.start = nn.Parameter(torch.randn(width) * 5)
        self.learned_input = nn.Parameter(torch.randn(n_items, width) * 0.02)
        self.learned_output = nn.Parameter(torch.randn(n_items, width) * 0.02)
        self.bias = nn.Parameter(torch.zeros(n_items))
        self.norm = nn.LayerNorm(width)
        self.text_map = nn.Linear(width, width, bias=False)
        # Attention from positions to the instruction. Where to look is said by what the encoder made of each
        # token, so that wanted and unwanted things are told apart; what is found there is the word itself, and
        # items answer to it by the words of their own text. Both are projected alike at the start, so that
        # an item whose text has a word of the wish is preferred before anything is learnt.
        self.prompt_norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, inner, bias=False)
        self.key = nn.Linear(width, inner, bias=False)
        self.value = nn.Linear(width, inner, bias=False)
        self.mix = nn.Linear(inner, inner, bias=False)
        # What is not asked for: attention that goes here finds nothing.
        self.nothing = nn.Parameter(torch.full((settings.heads,), _NOTHING))
        self.word_norm = nn.LayerNorm(width)
        self.text_norm = nn.LayerNorm(width)
        self.text_answer = nn.Linear(width, inner, bias=False)
        with torch.no_grad():
            projection = rotation(min(inner, width), width)
            for layer in (self.value, self.text_answer):
                layer.weight.zero_()[: len(projection)] = projection
            nn.init.eye_(self.mix.weight).mul_(settings.word_gain)

    @classmethod
    def build(
        cls, backbone: Backbone, catalogue: Catalogue, factors: TransitionFactors, settings: ItemTokenSettings
    ) -> ItemTokens:
        """Make the module for a catalogue, its learned vectors starting from transition factors."""
        tokens = cls(backbone, len(catalogue), settings).to(backbone.device)
        tokens.read_texts(backbone, catalogue)
        with torch.no_grad():
            tokens._start_from(factors)
            for name, weight in tokens.decoder.named_parameters():
                if name.endswith((".o.weight", ".wo.weight")):
                    weight.mul_(settings.block_gain)
        return tokens

    @torch.no_grad()
    def read_texts(self, backbone: Backbone, catalogue: Catalogue) -> None:
        """Make the vectors of the items' texts, or make them anew where the backbone has changed."""
        read, answered = text_vectors(backbone, item_texts(catalogue))
        self.mean_input.copy_(read.mean(dim=0))
        self.mean_output.copy_(answered.mean(dim=0))
        self.text_input.copy_(of_length(read - self.mean_input))
        self.text_output.copy_(answered - self.mean_output)

    def _start_from(self, factors: TransitionFactors) -> None:
        width = self.start.shape[0]
        rank = min(factors.before.shape[1], width)
        spread = rotation(rank, width)
        before, after = factors.before[:, :rank] @ spread, factors.after[:, :rank] @ spread
        length = before.norm(dim=1).mean().clamp(min=1e-6)
        noise = 0.02 * torch.randn(before.shape)
        self.learned_input.copy_(before / length * math.sqrt(width) / _LEARNED_SCALE + noise)
        # The normalised state is sqrt(width) long: undo that, so that state . output is the log ratio.
        self.learned_output.copy_(after * length / math.sqrt(width) / _OUTPUT_SCALE)
        self.bias.copy_(factors.log_share)

    @property
    def n_items(self) -> int:
        """Size of the catalogue."""
        return int(self.bias.shape[0])

    def inputs(self) -> Tensor:
        """What the decoder reads of each item: [n_items, d_model]."""
        return _INPUT_SCALE * (self.text_input + _LEARNED_SCALE * self.learned_input)

    def outputs(self) -> Tensor:
        """What states are compared with: [n_items, d_model + heads * head_width]."""
        own = _OUTPUT_SCALE * self.learned_output + _TEXT_OUTPUT_SCALE * self.text_map(self.text_output)
        return torch.cat([own, self.text_answer(self.text_norm(self.text_input))], dim=1)

    def forward(
        self,
        histories: Tensor,
        prompt_states: Tensor,
        prompt_mask: Tensor,
        prompt_words: Tensor,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """Read histories and instructions.

        Parameters
        ----------
        histories
            int64 [batch, length], catalogue indices, oldest first, padded at the end by any index.
        prompt_states
            float32 [batch, prompt length, d_model], the instruction's encoder states.
        prompt_mask
            int64 [batch, prompt length].
        prompt_words
            float32 [batch, prompt length, d_model], the input embeddings of its tokens.
        lengths
            int64 [batch]: read each history's first so many items alone; None for every beginning of it.

        Returns
        -------
        Tensor
            float32 [batch, length + 1, d_model + heads * head_width]; row ``t`` has read the first ``t`` items. With
            lengths: [batch, 1, d_model + heads * head_width].
        """
        rate = self.settings.dropout
        items = functional.embedding(histories, self.inputs())
        start = (_INPUT_SCALE * self.start).expand(len(histories), 1, -1)
        stream = drop(torch.cat([start, items], dim=1), rate, self.training)
        rows = Rows((len(stream), stream.shape[1]), None)
        barrier = causal(stream.shape[1], stream.device)
        read = decoder_states(self.decoder, stream.flatten(0, 1), rows, barrier, prompt_states, prompt_mask, lengths)
        spread = read[:, None] if lengths is not None else rows.spread(read)
        states = self.norm(5 * spread.float())
        asked = self._attend(states, prompt_states, prompt_mask, prompt_words)
        return torch.cat([drop(states, rate, self.training), asked], dim=-1).float()

    def _attend(self, states: Tensor, prompt_states: Tensor, prompt_mask: Tensor, prompt_words: Tensor) -> Tensor:
        def split(rows: Tensor) -> Tensor:
            return rows.view(*rows.shape[:-1], self.settings.heads, -1).transpose(1, 2)

        seen, words = self.prompt_norm(prompt_states), self.word_norm(prompt_words)
        blocked = torch.zeros_like(prompt_mask, dtype=states.dtype).masked_fill(prompt_mask == 0, -math.inf)
        scores = blocked[:, None, None, :].expand(-1, self.settings.heads, -1, -1)
        idle = self.nothing.to(states.dtype).view(1, -1, 1, 1).expand(len(states), -1, 1, 1)
        keys, values = (
            functional.pad(split(layer(source)), (0, 0, 1, 0))
            for layer, source in ((self.key, seen), (self.value, words))
        )
        found = functional.scaled_dot_product_attention(
            split(self.query(states)), keys, values, attn_mask=torch.cat([idle, scores], dim=3)
        )
        mixed: Tensor = self.mix(found.transpose(1, 2).flatten(2))
        return mixed

    def swayed(self, states: Tensor, outputs: Tensor) -> Tensor:
        """How far the attention to the instruction moves the items apart: variance of what it adds, one a state.

        Parameters
        ----------
        states
            [n, d_model + heads * head_width]
        outputs
            Of `outputs`.
        """
        width = self.start.shape[0]
        return (states[:, width:] @ outputs[:, width:].t()).var(dim=1, correction=0)

    def logits(self, states: Tensor, outputs: Tensor | None = None) -> Tensor:
        """Score every item: [..., n_items], log-probabilities up to a constant of each row."""
        return states @ (self.outputs() if outputs is None else outputs).t() + self.bias

    @torch.no_grad()
    def estimate_untouched(self, touched: Tensor, counts: Tensor) -> None:
        """Estimate the learned part of items without events from the texts of the others.

        See `ridge_estimates`.

        Parameters
        ----------
        touched
            bool [n_items]
        counts
            float32 [n_items], events of each item.
        """
        if bool(touched.all()) or not bool(touched.any()):
            return
        features = functional.layer_norm(self.text_output, self.text_output.shape[1:])
        known = torch.cat([self.learned_input, self.learned_output, self.bias[:, None]], dim=1)
        estimate = ridge_estimates(features, known, touched, counts, self.settings.ridge)
        width = self.learned_input.shape[1]
        self.learned_input[~touched] = estimate[:, :width]
        self.learned_output[~touched] = estimate[:, width : 2 * width]
        self.bias[~touched] = estimate[:, -1]

    @torch.no_grad()
    def extended(
        self, backbone: Backbone, catalogue: Catalogue, counts: Any, changed: Sequence[int] = ()
    ) -> ItemTokens:
        """A copy for a catalogue with further items behind the present ones, estimated from their text.

        Parameters
        ----------
        catalogue
            The larger one.
        counts
            int64 [n_items], events of the present items; those without any are estimated too.
        changed
            Present items whose texts are others now.
        """
        added = len(catalogue) - self.n_items
        rows = [*changed, *range(self.n_items, len(catalogue))]
        texts = item_texts(catalogue)
        read, answered = text_vectors(backbone, [texts[row] for row in rows])
        larger = ItemTokens(backbone, len(catalogue), self.settings).to(backbone.device)
        state = {name: value.clone() for name, value in self.state_dict().items()}
        for name in ("text_input", "text_output", "learned_input", "learned_output", "bias"):
            state[name] = torch.cat([state[name], torch.zeros(added, *state[name].shape[1:], device=self.bias.device)])
        state["text_input"][rows] = of_length(read - self.mean_input)
        state["text_output"][rows] = answered - self.mean_output
        larger.load_state_dict(state)
        events = torch.cat([torch.as_tensor(counts, dtype=torch.float32), torch.zeros(added)]).to(self.bias.device)
        larger.estimate_untouched(events > 0, events)
        return larger.eval()


def _first_blocks(backbone: Backbone, layers: int) -> nn.Module:
    """Copy the first decoder blocks with the final norm, without the vocabulary table and what the model carries."""
    with detached(backbone.model) as plain:
        decoder: Any = plain.get_decoder()
        stack = copy.deepcopy(decoder, memo={id(decoder.embed_tokens): None})
    stack.block = nn.ModuleList(list(stack.block)[:layers])
    stack.requires_grad_(True)
    result: nn.Module = stack.float()
    return result


def pad_histories(histories: Sequence[Any], window: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Stack the newest `window` events of each history.

    Returns
    -------
    items
        int64 [n, longest], padded at the end with 0.
    lengths
        int64 [n]
    """
    newest = [history[-window:] for history in histories]
    lengths = torch.tensor([len(history) for history in newest], dtype=torch.long)
    items = torch.zeros(len(newest), int(lengths.max()) if len(newest) else 0, dtype=torch.long)
    for row, history in enumerate(newest):
        items[row, : len(history)] = torch.tensor(history, dtype=torch.long)
    return items.to(device), lengths.to(device)
