"""Can this checkpoint read these texts? And which rows of its vocabulary do they use?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from flanrec.errors import CheckpointError

_BATCH = 4096
_ADVICE = (
    "Choose a checkpoint whose vocabulary covers the language: google/mt5-small and google/umt5-small read "
    "101 and 107 languages, Langboat/mengzi-t5-base reads Chinese (weights must be safetensors)."
)


def unknown_rate(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> float:
    """Return the share of the texts' characters that the tokenizer reads as ``<unk>``.

    Characters are counted, white space aside, because a whole run of unknown ones becomes a single
    ``<unk>``: ten Chinese words between two English ones would pass as one token in three.

    Returns
    -------
    float
        Between 0 and 1; 0 for no text at all.
    """
    lost = seen = 0
    for _, unknown, characters in _unknown_characters(tokenizer, texts):
        lost, seen = lost + unknown, seen + characters
    return lost / seen if seen else 0.0


def check_readable(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], limit: float = 0.05) -> float:
    """Return the unknown rate of a catalogue's texts, or refuse when it is above `limit`.

    Raises
    ------
    CheckpointError
        The rate is above `limit`; the message shows the worst texts and names checkpoints that can read them.
    """
    counted = list(_unknown_characters(tokenizer, texts))
    seen = sum(characters for _, _, characters in counted)
    rate = sum(unknown for _, unknown, _ in counted) / seen if seen else 0.0
    if rate > limit:
        worst = sorted(counted, key=lambda row: (-row[1] / max(row[2], 1), row[0]))[:3]
        shown = ", ".join(repr(texts[at] if len(texts[at]) <= 60 else f"{texts[at][:57]}...") for at, _, _ in worst)
        raise CheckpointError(
            f"This checkpoint's vocabulary cannot read {rate:.1%} of the characters in the texts (limit {limit:.0%}), "
            f"for instance {shown}. {_ADVICE}"
        )
    return rate


def used_rows(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> NDArray[np.int64]:
    """Return the vocabulary rows that the texts use, ascending; padding, end and unknown always count.

    Rows outside need no gradient, no optimiser state and no softmax while these texts are all there is.
    """
    used = {tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id}
    for start in range(0, len(texts), _BATCH):
        for row in tokenizer(list(texts[start : start + _BATCH]), truncation=False, verbose=False)["input_ids"]:
            used.update(row)
    return np.array(sorted(used), dtype=np.int64)


def token_difference(first: PreTrainedTokenizerFast, second: PreTrainedTokenizerFast, texts: Sequence[str]) -> str:
    """In what two tokenizers differ, in words; "" where they make the same tokens of the same texts.

    Parameters
    ----------
    texts
        Some that both are about to read.
    """
    one, other = first.get_vocab(), second.get_vocab()
    if len(one) != len(other):
        return f"one has {len(one)} tokens and the other {len(other)}"
    ends = [(each.pad_token_id, each.eos_token_id, each.unk_token_id) for each in (first, second)]
    if one != other or ends[0] != ends[1]:
        return "their tokens have other numbers"
    for start in range(0, len(texts), _BATCH):
        batch = list(texts[start : start + _BATCH])
        rows = [each(batch, truncation=False, padding=False, verbose=False)["input_ids"] for each in (first, second)]
        for text, row, same in zip(batch, *rows, strict=True):
            if row != same:
                return f"they cut {text!r} differently"
    return ""


def _unknown_characters(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> Iterator[tuple[int, int, int]]:
    """Yield (index, unknown characters, characters) of each text, white space not counted."""
    for start in range(0, len(texts), _BATCH):
        batch = list(texts[start : start + _BATCH])
        encoded = tokenizer(
            batch, add_special_tokens=False, truncation=False, return_offsets_mapping=True, verbose=False
        )
        for at, (text, ids, offsets) in enumerate(
            zip(batch, encoded["input_ids"], encoded["offset_mapping"], strict=True), start
        ):
            pieces = [text[low:high] for token, (low, high) in zip(ids, offsets, strict=True)
                      if token == tokenizer.unk_token_id]  # fmt: skip
            yield at, sum(map(_visible, pieces)), _visible(text)


def _visible(text: str) -> int:
    return sum(not character.isspace() for character in text)
