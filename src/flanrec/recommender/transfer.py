"""From one log to another: a new recommender whose T5 begins where that of a saved one ended."""

from __future__ import annotations

import logging
from pathlib import Path

from flanrec.backbone import Backbone
from flanrec.backbone.attachments import attached
from flanrec.backbone.hardware import Precision
from flanrec.errors import SettingsError
from flanrec.recommender.core import Recommender
from flanrec.recommender.saving import TunedWords, load_words
from flanrec.recommender.settings import RecommenderSettings, WordTuning

logger = logging.getLogger(__name__)

_DIGITS = 12


def transferred(
    folder: Path | str,
    settings: RecommenderSettings | None = None,
    *,
    device: str = "auto",
    precision: Precision = "auto",
) -> Recommender:
    """A recommender that is not fitted yet, with the tuned T5 of a saved one.

    What the T5 learnt of instructions comes along, nothing else: catalogue, item tokens, calibration and fusion are of
    the log that it is fitted on. ``words.start_gain`` is not applied again, and with ``words.steps`` at 0 the T5 stays
    as it came. A soft prompt, prefix or bottlenecks come along; with their own method they are tuned further, with
    ``full`` together with the blocks.

    Parameters
    ----------
    folder
        Of `Recommender.save_pretrained`.
    settings
        Of the new fit; what the saved one was fitted with plays no part. ``origin`` is written here.

    Raises
    ------
    CheckpointError
        The folder holds no recommender, or a damaged one.
    SettingsError
        As in `load_tuned`.

    Examples
    --------
    Tune on films, then go on with series::

        rec = transferred("films/", RecommenderSettings.preset("balanced", noun="series", nouns="series"))
        rec.fit(series)
    """
    settings = settings or RecommenderSettings()
    words = settings.words
    backbone, _, data = load_tuned(Path(folder), words, device=device, precision=precision)
    origin = f"tuned on {data}, weights {digest_of(backbone)}"
    logger.info("the T5 comes from %s: %s", folder, origin)
    settings = settings.model_copy(update={"words": words.model_copy(update={"start_gain": 1.0}), "origin": origin})
    return Recommender(backbone, settings)


def load_tuned(folder: Path, words: WordTuning, *, device: str = "auto", precision: Precision = "auto") -> TunedWords:
    """Load the T5 of a saved recommender that a new fit begins with, tuned as `words` says.

    Raises
    ------
    CheckpointError
        The folder holds no recommender, or a damaged one.
    SettingsError
        No log has tuned the T5, or it carries something that the method of the new fit does not go with.
    """
    saved = load_words(folder, device=device, precision=precision)
    refuse_untuned(saved.settings, f"the recommender in {folder}")
    carried = attached(saved.backbone.model)
    if carried is not None and words.steps and words.method not in ("full", carried.method):
        raise SettingsError(
            f"the T5 in {folder} carries {carried.method}, which cannot be merged, so {words.method} cannot be put "
            f"into it; choose the method {carried.method} or full"
        )
    return saved


def refuse_untuned(settings: RecommenderSettings, what: str) -> None:
    """Raise SettingsError where a recommender with these settings has the T5 of a checkpoint as it came."""
    if not settings.t5_is_tuned:
        raise SettingsError(
            f"the T5 of {what} was never tuned (words.steps is 0), so it has nothing to pass on; take a recommender "
            "that was fitted with the preset balanced or best"
        )


def digest_of(backbone: Backbone) -> str:
    """The beginning of the digest of its weights, enough to tell one T5 from another."""
    return backbone.weights_digest()[:_DIGITS]
