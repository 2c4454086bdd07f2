"""A template, parsed and checked, and the words that all templates of its language share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flanrec.instructions.families import SHARED_FIELDS
from flanrec.instructions.markup import Markup
from flanrec.instructions.tasks import Task


@dataclass(frozen=True)
class Wording:
    """The words, joints and phrases that all templates of a language share.

    Attributes
    ----------
    words : dict
        ``noun`` and ``nouns`` (what items are called), ``yes`` and ``no``.
    joins : dict
        By field, what stands between the entries of a list.
    phrases : dict
        Wordings that are filled apart from templates, such as ``profile``.
    """

    words: Mapping[str, str]
    joins: Mapping[str, str]
    phrases: Mapping[str, Markup]

    def noun_fields(self, task: Task) -> dict[str, str]:
        """Return what one item and several are called in a task; one given word serves for both if need be."""
        noun = task.fields.get("noun")
        nouns = task.fields.get("nouns") or noun
        return {
            "noun": noun if isinstance(noun, str) and noun else self.words["noun"],
            "nouns": nouns if isinstance(nouns, str) and nouns else self.words["nouns"],
        }


@dataclass(frozen=True)
class Template:
    """One wording of a task family.

    Attributes
    ----------
    id : str
        Unique name among the loaded templates.
    family, language : str
        What it words, and in which language.
    prompt, target, prefix : Markup
        What the encoder reads, what the decoder shall write, and what the decoder is given to start with.
    held_out : bool
        Kept from tuning, to test on unseen wording.
    source : str
        The file it came from.
    wording : Wording
        Shared words of its language.
    """

    id: str
    family: str
    language: str
    prompt: Markup
    target: Markup
    prefix: Markup
    held_out: bool
    source: str
    wording: Wording = field(repr=False, compare=False)

    def fits(self, task: Task) -> bool:
        """Tell whether a task has every field the prompt cannot do without."""
        return self.prompt.required <= task.present | SHARED_FIELDS
