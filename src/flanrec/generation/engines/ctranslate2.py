"""The engine on CTranslate2 (extra ``fast``): a C++ runtime with its own int8, for scores of given texts.

CTranslate2 cannot be told which tokens may follow, so it does not search the trie; the best titles come from scoring
all of them. Its probabilities are over the whole vocabulary, so the other normalisations are refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

import numpy as np
import torch

from flanrec.artefact import verify_manifest
from flanrec.backbone import Backbone
from flanrec.backbone.reading import load_tokenizer
from flanrec.backbone.smoothing import smoothed
from flanrec.catalogue.trie import TitleTrie
from flanrec.errors import CheckpointError, DataError, SettingsError
from flanrec.generation.engines.base import Floats, Ints, Rows, ScoreOptions, SearchOptions
from flanrec.generation.scoring import candidate_matrix
from flanrec.metrics import top_k

KIND = "ctranslate2"
Quantisation = Literal["float32", "int8"]
_TEXTS_AT_ONCE = 64


def write(backbone: Backbone, folder: Path, quantisation: Quantisation = "int8") -> CTranslate2Engine:
    """Write a backbone as a CTranslate2 model with its tokenizer, and open it; :func:`export_backbone` seals it.

    Parameters
    ----------
    backbone : Backbone
        In float32 on a CPU, without an adapter.
    folder : path
        An empty one.
    quantisation : "float32" or "int8"
        Of the weights.

    Raises
    ------
    SettingsError
        The extra is not installed.
    """
    _library()
    from ctranslate2.converters import transformers as converters

    # A copy, since the converter rounds the very weights that it is given.
    model = smoothed(backbone).model
    # It takes this flag for "the decoder's output is scaled", which is another question.
    model.config.tie_word_embeddings = bool(getattr(model.config, "scale_decoder_outputs", False))
    with torch.no_grad():
        spec = converters._MODEL_LOADERS[type(model.config).__name__](model, backbone.tokenizer)
    spec.validate()
    spec.optimize(quantization=quantisation)
    (folder / "model").mkdir()
    spec.save(str(folder / "model"))
    backbone.tokenizer.save_pretrained(folder / "tokenizer")
    return CTranslate2Engine._opened(folder, quantisation)


class CTranslate2Engine:
    """Runs what :func:`write` wrote, on the CPU.

    Parameters
    ----------
    folder : path
    backbone : Backbone, optional
        Which the folder must have been made from.
    threads : int
        Of one batch; 0 for as many as torch has.

    Raises
    ------
    SettingsError
        The extra is not installed.
    CheckpointError
        The folder is damaged, something else, or made from other weights.
    """

    def __init__(self, folder: Path | str, backbone: Backbone | None = None, threads: int = 0) -> None:
        folder = Path(folder)
        about = verify_manifest(folder)
        if about.get("kind") != KIND:
            raise CheckpointError(
                f"{folder} holds a {about.get('kind', 'folder')!s}, not a CTranslate2 model; "
                "write one with `flanrec export ctranslate2`"
            )
        if backbone is not None and about.get("weights") != backbone.weights_digest():
            raise CheckpointError(
                f"{folder} was made from other weights than the model's, perhaps before it was tuned again; "
                "write it anew with `flanrec export ctranslate2`"
            )
        self._open(folder, about["quantisation"], threads)

    @classmethod
    def _opened(cls, folder: Path, quantisation: str) -> CTranslate2Engine:
        """What a folder holds that is not sealed yet."""
        engine = cls.__new__(cls)
        engine._open(folder, quantisation, 0)
        return engine

    def _open(self, folder: Path, quantisation: str, threads: int) -> None:
        self.name = f"{KIND} {quantisation}"
        self.tokenizer: Any = load_tokenizer(folder / "tokenizer")
        compute = "int8_float32" if quantisation == "int8" else "float32"
        self._model: Any = _library().Translator(
            str(folder / "model"), compute_type=compute, intra_threads=threads or torch.get_num_threads()
        )

    def top_titles(
        self, prompts: Sequence[str], trie: TitleTrie, *, k: int, **options: Unpack[SearchOptions]
    ) -> tuple[Ints, Floats]:
        """The best of all titles, every one scored: exact, and slow for a large catalogue."""
        items = np.sort(trie.leaf_items)
        rows = [trie.tokens_of(int(row)) for row in trie.rows_of(items)]
        place = {int(item): at for at, item in enumerate(items)}
        excluded = options.get("excluded") or [()] * len(prompts)
        asked: ScoreOptions = {
            "excluded": [{place[item] for item in closed if item in place} for closed in excluded],
            "prefixes": options.get("prefixes"),
            "normalisation": options.get("normalisation", "vocabulary"),
            "progress": options.get("progress"),
        }
        scores = self.title_log_probabilities(prompts, rows, **asked)
        found, best = top_k(scores, k, np.isneginf(scores))
        return np.where(found >= 0, items[found], -1), best

    def title_log_probabilities(
        self, prompts: Sequence[str], token_rows: Rows, **options: Unpack[ScoreOptions]
    ) -> Floats:
        """Each (prompt, title) pair through the whole model: CTranslate2 encodes the prompt again for each title."""
        normalisation, excluded = options.get("normalisation", "vocabulary"), options.get("excluded")
        progress = options.get("progress")
        if normalisation != "vocabulary":
            raise SettingsError(
                f"CTranslate2 gives probabilities over the whole vocabulary, not over the {normalisation}; "
                "use the engine torch or int8"
            )
        wanted = candidate_matrix(options.get("candidates"), len(prompts), len(token_rows))
        scores = np.full(wanted.shape, -np.inf, dtype=np.float32)
        begun = self._beginnings(options.get("prefixes"), len(prompts))
        names = [self._tokens(row[:-1]) for row in token_rows]
        for user, source in enumerate(self._sources(prompts)):
            closed = set() if excluded is None else set(excluded[user])
            asked = [place for place, item in enumerate(wanted[user]) if item >= 0 and int(item) not in closed]
            targets = [[*begun[user], *names[int(wanted[user, place])]] for place in asked]
            for place, logs in zip(asked, self._scored([source] * len(asked), targets), strict=True):
                scores[user, place] = sum(logs[len(begun[user]) :])
            if progress is not None:
                progress(1)
        return scores

    def yes_no_logits(
        self,
        prompts: Sequence[str],
        prefixes: Sequence[str] | None,
        yes_ids: Sequence[int],
        no_ids: Sequence[int],
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Floats:
        """Every answer of every prompt through the whole model."""
        begun = self._beginnings(prefixes, len(prompts))
        answers = [*yes_ids, *no_ids]
        words = self._tokens(answers)
        sources = [source for source in self._sources(prompts) for _ in answers]
        targets = [[*start, word] for start in begun for word in words]
        logs = [row[len(target) - 1] for row, target in zip(self._scored(sources, targets), targets, strict=True)]
        both = np.asarray(logs, dtype=np.float64).reshape(len(prompts), len(answers))
        yes, no = both[:, : len(yes_ids)], both[:, len(yes_ids) :]
        if progress is not None:
            progress(len(prompts))
        found: Floats = (np.logaddexp.reduce(yes, axis=1) - np.logaddexp.reduce(no, axis=1)).astype(np.float32)
        return found

    def _tokens(self, ids: Sequence[int]) -> list[str]:
        return [str(token) for token in self.tokenizer.convert_ids_to_tokens(list(ids))]

    def _sources(self, prompts: Sequence[str]) -> list[list[str]]:
        rows = self.tokenizer(list(prompts), truncation=True, max_length=512)["input_ids"] if len(prompts) else []
        return [self._tokens(row) for row in rows]

    def _beginnings(self, prefixes: Sequence[str] | None, count: int) -> list[list[str]]:
        if prefixes is None:
            return [[]] * count
        if len(prefixes) != count:
            raise DataError(f"there are {count} prompts but {len(prefixes)} decoder prefixes; give one a prompt")
        rows = self.tokenizer(list(prefixes), add_special_tokens=False)["input_ids"] if count else []
        return [self._tokens(row) for row in rows]

    def _scored(self, sources: list[list[str]], targets: list[list[str]]) -> Iterator[list[float]]:
        """The log-probability of each token of each target, and of the end token behind them."""
        if not sources:
            return
        for result in self._model.score_batch(
            sources, targets, max_batch_size=_TEXTS_AT_ONCE, batch_type="examples", max_input_length=0
        ):
            yield list(result.log_probs)


def _library() -> Any:
    try:
        import ctranslate2
    except ImportError as problem:
        raise SettingsError("CTranslate2 is not installed; pip install 'flanrec[fast]'") from problem
    return ctranslate2
