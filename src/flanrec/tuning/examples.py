"""Instructions of one's own, tokenised once into one file that all processes map."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flanrec.backbone import Backbone
from flanrec.catalogue.arrays import load_arrays, save_arrays
from flanrec.errors import CheckpointError, DataError
from flanrec.instructions.text import sanitise

logger = logging.getLogger(__name__)

_AT_ONCE = 10_000


@dataclass(frozen=True)
class Examples:
    """Prompts and targets as tokens, each ended by ``</s>``.

    Attributes
    ----------
    tokens : int32 [n_tokens]
        Prompt, target, prompt, target and so on.
    offsets : int64 [2 * n_examples + 1]
        Where each text begins; the last one where all end.
    """

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]

    @classmethod
    def tokenise(cls, backbone: Backbone, prompts: Sequence[str], targets: Sequence[str], max_length: int) -> Examples:
        """Clean and tokenise texts; those longer than `max_length` lose their end, and a warning counts them.

        Raises
        ------
        DataError
            Nothing readable is left of a text; the message names the first.
        """
        found: list[NDArray[np.int32]] = []
        lengths: list[int] = []
        cut = 0
        for first in range(0, len(prompts), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            texts = [sanitise(text) for pair in zip(prompts[part], targets[part], strict=True) for text in pair]
            if not all(texts):
                number = first + texts.index("") // 2
                raise DataError(
                    f"instruction {number + 1} has no readable {'target' if texts.index('') % 2 else 'prompt'}: "
                    f"{(prompts[number], targets[number])!r}. Leave it out, or write it in words."
                )
            rows = backbone.tokenizer(texts, truncation=False, verbose=False)["input_ids"]
            end = backbone.tokenizer.eos_token_id
            cut += sum(len(row) > max_length for row in rows)
            rows = [row if len(row) <= max_length else [*row[: max_length - 1], end] for row in rows]
            lengths += map(len, rows)
            found.append(np.fromiter((token for row in rows for token in row), dtype=np.int32))
        if cut:
            logger.warning("%d of %d texts of instructions were cut to %d tokens", cut, len(lengths), max_length)
        offsets = np.append(0, np.cumsum(np.array(lengths, dtype=np.int64))).astype(np.int64)
        return cls(np.concatenate([np.zeros(0, dtype=np.int32), *found]), offsets)

    def save(self, path: Path) -> None:
        """Write both arrays to one file, atomically."""
        save_arrays(path, {"tokens": self.tokens, "offsets": self.offsets})

    @classmethod
    def load(cls, path: Path) -> Examples:
        """Map a file that `save` wrote: what is not read takes no memory, and processes share what is.

        Raises
        ------
        CheckpointError
            The file is missing or damaged.
        """
        found = load_arrays(path, {"tokens": 1, "offsets": 1})
        tokens, offsets = found["tokens"], found["offsets"]
        fits = len(offsets) % 2 == 1 and offsets[0] == 0 and offsets[-1] == len(tokens) and (np.diff(offsets) > 0).all()
        if not fits:
            raise CheckpointError(f"{path} does not hold instructions: its arrays do not fit each other; remove it")
        return cls(tokens, offsets)

    def __len__(self) -> int:
        return len(self.offsets) // 2

    def of(self, number: int) -> tuple[list[int], list[int]]:
        """The tokens of one prompt and its target."""
        begin, middle, end = self.offsets[2 * number : 2 * number + 3].tolist()
        return self.tokens[begin:middle].tolist(), self.tokens[middle:end].tolist()

    @property
    def used(self) -> NDArray[np.int64]:
        """The vocabulary rows that they use, ascending."""
        return np.unique(self.tokens).astype(np.int64)

    def digest(self) -> str:
        """A SHA-256 of all tokens."""
        whole = hashlib.sha256()
        for part in self._parts():
            whole.update(part.tobytes())
        return whole.hexdigest()

    def _parts(self) -> Iterator[NDArray[np.int32] | NDArray[np.int64]]:
        yield self.offsets
        for first in range(0, len(self.tokens), 1 << 20):
            yield self.tokens[first : first + (1 << 20)]
