"""Solved examples before a question, in words: few-shot prompts (Brown et al., "Language models are few-shot
learners", NeurIPS 2020). The text between them is a language's own, in its ``language.toml``."""

from __future__ import annotations

from collections.abc import Sequence

from flanrec.errors import TemplateError
from flanrec.instructions.markup import Markup
from flanrec.instructions.render import Example
from flanrec.instructions.template import Wording


def solved(wording: Wording, example: Example) -> str:
    """A question with its answer.

    Raises
    ------
    TemplateError
        The language has no phrase ``example``, or the example has no answer in words.

    Examples
    --------
    >>> from flanrec.instructions import Templates
    >>> asked = Example("After Heat (1995), which film comes next?", "Fargo (1996)", "", "sequential", "mine", "en")
    >>> solved(Templates.load("en").wording, asked)
    'Question: After Heat (1995), which film comes next? Answer: Fargo (1996).'
    """
    if not example.target:
        raise TemplateError(
            f"an example of template '{example.template}' has no answer to show; give its task a target"
        )
    return _phrase(wording, "example").fill({"question": example.prompt, "answer": example.target})


def after_examples(wording: Wording, examples: Sequence[str], question: str) -> str:
    """A question after solved examples; without any the question as it is.

    Parameters
    ----------
    examples
        Texts of `solved`.

    Raises
    ------
    TemplateError
        The language has no phrase ``after_examples``.
    """
    if not examples:
        return question
    said = wording.joins.get("examples", " ").join(examples)
    return _phrase(wording, "after_examples").fill({"examples": said, "question": question})


def _phrase(wording: Wording, name: str) -> Markup:
    if name not in wording.phrases:
        raise TemplateError(
            f"the language has no phrase '{name}', so nothing can be asked after solved examples; add it under "
            "[phrases] in language.toml, or set shots to 0"
        )
    return wording.phrases[name]
