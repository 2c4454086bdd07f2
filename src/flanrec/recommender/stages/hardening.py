"""What the words stage does against overfitting and for robustness, as the settings say."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from flanrec.backbone import Backbone
from flanrec.backbone.translation import back_translated
from flanrec.catalogue.prompter import Prompter
from flanrec.instructions.augment import WordingChanges, is_sentence, usable_paraphrases
from flanrec.instructions.synonyms import Synonyms
from flanrec.recommender.settings import Augmentation, WordTuning
from flanrec.tuning import Weighted, all_processes
from flanrec.tuning.adversarial import AdversarialObjective
from flanrec.tuning.consistency import consistent
from flanrec.tuning.histories import HistoryChanges

logger = logging.getLogger(__name__)

_STEPS = {"fgm": 1, "freelb": 3}
"""How often each kind betters its perturbation; FreeLB's authors take two to five."""
_SHOWN = 5


def hardened(mixture: Sequence[Weighted], backbone: Backbone, words: WordTuning) -> list[Weighted]:
    """The mixture under R-Drop and adversarial training, where the settings ask for them."""
    found = [replace(one, objective=consistent(one.objective, words.consistency)) for one in mixture]
    if words.adversarial == "none":
        return found
    steps = _STEPS[words.adversarial]
    return [
        replace(one, objective=AdversarialObjective(one.objective, backbone, size=words.adversarial_size, steps=steps))
        for one in found
    ]


def varied_histories(augment: Augmentation) -> HistoryChanges | None:
    """What varies the histories that are told; None for nothing."""
    found = HistoryChanges(augment.crop, augment.mask, augment.reorder)
    return None if found == HistoryChanges() else found


def varied_prompter(prompter: Prompter, augment: Augmentation, device: str) -> Prompter:
    """A prompter whose drawn wordings vary, where the settings ask for it; for tuning alone.

    The first of several processes translates, for all of them.
    """
    found = WordingChanges(
        synonyms=augment.synonyms,
        typos=augment.typos,
        title_typos=augment.title_typos,
        tables={
            templates.language: Synonyms.load(templates.language, augment.synonym_files)
            for templates in prompter.templates
            if augment.synonyms
        },
        paraphrases=all_processes().from_first(lambda: _paraphrases(prompter, augment, device)),
    )
    return prompter if found == WordingChanges() else replace(prompter, changes=found)


def _paraphrases(prompter: Prompter, augment: Augmentation, device: str) -> dict[str, str]:
    """Other wordings of what the templates of the first language say, by way of another language."""
    if augment.back_translation is None:
        return {}
    stretches = [text for text in prompter.stretches(0) if is_sentence(text)]
    there, back = map(Path, augment.back_translation)
    returned = back_translated(stretches, there, back, prefixes=augment.back_translation_prefixes, device=device)
    found = usable_paraphrases(stretches, returned)
    shown = "; ".join(f"{text!r} as {other!r}" for text, other in list(found.items())[:_SHOWN])
    logger.info("back-translation found other words for %d of %d sentences: %s", len(found), len(stretches), shown)
    return found


def texts_of(prompter: Prompter) -> list[str]:
    """What a varied prompter may say beside the usual words."""
    return [] if prompter.changes is None else prompter.changes.texts()
