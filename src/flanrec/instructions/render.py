"""From a template and a task to the words the model reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from flanrec.errors import TemplateError
from flanrec.instructions.families import FAMILIES, HISTORY_FIELDS, SHARED_FIELDS
from flanrec.instructions.loader import Templates
from flanrec.instructions.tasks import Task
from flanrec.instructions.template import Template
from flanrec.instructions.text import ELLIPSIS, clip_words, occurs, sanitise

CountTokens = Callable[[str], int]

# Never cut: an answer has to be one of the candidates, and numbers and nouns are short.
_WHOLE_FIELDS = SHARED_FIELDS | {"candidates", "low", "high", "year"}
_SENTENCES = frozenset({"text", "description", "review"})
_SHORTEST_CUT = len(ELLIPSIS) + 8


class LeakError(TemplateError):
    """Raised when a prompt would contain the answer it asks for."""


@dataclass(frozen=True)
class Example:
    """One instruction as the model sees it.

    Attributes
    ----------
    prompt : str
        What the encoder reads.
    target : str
        What the decoder shall write; empty when the task has no answer yet or none in words.
    prefix : str
        Text the decoder is given before the target, mostly empty.
    family, template, language : str
        Where the wording comes from: task family, template id, language.
    """

    prompt: str
    target: str
    prefix: str
    family: str
    template: str
    language: str


def render(
    template: Template,
    task: Task,
    *,
    count_tokens: CountTokens | None = None,
    max_tokens: int | None = None,
) -> Example:
    """Word a task.

    Every text is sanitised. While the prompt is too long, the oldest titles of the histories go first,
    always whole; only when the newest title alone does not fit are the longest texts cut, at a word
    boundary where there is one. Candidates are never cut.

    Parameters
    ----------
    template : Template
        A template of the task's family.
    task : Task
        The facts and, for tuning, the answer.
    count_tokens : callable, optional
        Length of a prompt in tokens; without it nothing is trimmed.
    max_tokens : int, optional
        Greatest length of the prompt, as `count_tokens` counts it.

    Returns
    -------
    Example

    Raises
    ------
    LeakError
        When the answer occurs among the facts, in the families where it must not.
    TemplateError
        When template and task are of different families, a needed field is missing, or the prompt
        cannot be made short enough.
    """
    if template.family != task.family:
        raise TemplateError(
            f"template '{template.id}' words {template.family} tasks, not {task.family}; choose one of that family"
        )
    values = _clean(template, task)
    if count_tokens is None or max_tokens is None:
        prompt = _fill(template, values)
    else:
        prompt, values = _fitted(template, values, count_tokens, max_tokens)
    target = _target(template, task)
    if target and FAMILIES[task.family].leak_checked:
        _check_leak(template, values, sanitise(task.target or ""))
    return Example(
        prompt=prompt,
        target="" if FAMILIES[task.family].target == "none" else target,
        prefix=template.prefix.fill(template.wording.noun_fields(task)),
        family=task.family,
        template=template.id,
        language=template.language,
    )


def render_all(
    templates: Templates,
    tasks: Iterable[Task],
    rng: np.random.Generator,
    *,
    held_out: bool = False,
    count_tokens: CountTokens | None = None,
    max_tokens: int | None = None,
) -> tuple[list[Example], int]:
    """Word many tasks, each by a template drawn for it, and pass over those that would leak.

    Returns
    -------
    examples : list of Example
        In the order of the tasks.
    leaks : int
        How many tasks were passed over because the answer stood among their facts.

    Raises
    ------
    TemplateError
        As `render` does, leaks excepted.
    """
    examples = []
    leaks = 0
    for task in tasks:
        template = templates.choose(task.family, rng, held_out, task)
        try:
            examples.append(render(template, task, count_tokens=count_tokens, max_tokens=max_tokens))
        except LeakError:
            leaks += 1
    return examples, leaks


def _clean(template: Template, task: Task) -> dict[str, list[str]]:
    """Return every field as a list of sanitised, non-empty texts."""
    facts = dict(task.fields) | dict(template.wording.noun_fields(task))
    values = {}
    for name, value in facts.items():
        texts = [sanitise(text) for text in ([value] if isinstance(value, str) else value)]
        values[name] = [_sentence(text) if name in _SENTENCES else text for text in texts if text]
    return values


def _sentence(text: str) -> str:
    """Close a text that ends in a letter or digit, so that the next words start a new sentence."""
    if not text[-1].isalnum():
        return text
    return text + ("\u3002" if "\u3040" <= text[-1] <= "\u9fff" else ".")


def _fill(template: Template, values: dict[str, list[str]]) -> str:
    joins = template.wording.joins
    joined = {name: joins.get(name, ", ").join(texts) for name, texts in values.items()}
    try:
        return template.prompt.fill(joined)
    except KeyError as error:
        name = error.args[0]
        raise TemplateError(
            f"template '{template.id}' ({template.source}) needs the field {{{name}}}, which the task lacks; "
            f"give it, or write [[ ... {{{name}}} ... ]] around the words that may be dropped"
        ) from error


def _fitted(
    template: Template, values: dict[str, list[str]], count_tokens: CountTokens, max_tokens: int
) -> tuple[str, dict[str, list[str]]]:
    def prompt_of(candidate: dict[str, list[str]]) -> str | None:
        prompt = _fill(template, candidate)
        return prompt if count_tokens(prompt) <= max_tokens else None

    prompt = prompt_of(values)
    if prompt is not None:
        return prompt, values
    longest = max((len(values.get(name, ())) for name in HISTORY_FIELDS), default=0)
    best = _largest(1, longest - 1, lambda newest: prompt_of(_newest(values, newest)))
    if best is not None:
        return best[1], _newest(values, best[0])
    values = _newest(values, 1)
    longest = max((len(text) for name in values.keys() - _WHOLE_FIELDS for text in values[name]), default=0)
    best = _largest(_SHORTEST_CUT, longest - 1, lambda characters: prompt_of(_cut(values, characters)))
    if best is not None:
        return best[1], _cut(values, best[0])
    shortest = count_tokens(_fill(template, _cut(values, _SHORTEST_CUT)))
    raise TemplateError(
        f"template '{template.id}' ({template.source}) needs at least {shortest} tokens for this task, more than "
        f"the {max_tokens} allowed; allow more, choose a shorter template or give fewer candidates"
    )


def _largest(low: int, high: int, attempt: Callable[[int], str | None]) -> tuple[int, str] | None:
    """Find, by bisection, the largest number for which an attempt succeeds, and its result."""
    best = None
    while low <= high:
        middle = (low + high) // 2
        result = attempt(middle)
        if result is None:
            high = middle - 1
        else:
            best = (middle, result)
            low = middle + 1
    return best


def _newest(values: dict[str, list[str]], count: int) -> dict[str, list[str]]:
    return {name: texts[-count:] if name in HISTORY_FIELDS else texts for name, texts in values.items()}


def _cut(values: dict[str, list[str]], characters: int) -> dict[str, list[str]]:
    return {
        name: texts if name in _WHOLE_FIELDS else [clip_words(text, characters) for text in texts]
        for name, texts in values.items()
    }


def _target(template: Template, task: Task) -> str:
    if task.target is None:
        return ""
    if FAMILIES[task.family].target == "answer":
        if task.target not in ("yes", "no"):
            raise TemplateError(f"the answer of a {task.family} task is 'yes' or 'no', not '{task.target}'")
        return template.wording.words[task.target]
    return sanitise(task.target)


def _check_leak(template: Template, values: dict[str, list[str]], target: str) -> None:
    for name in sorted(template.prompt.carried([name for name in values if values[name]]) - SHARED_FIELDS):
        for text in values[name]:
            if occurs(target, text):
                raise LeakError(
                    f"the answer '{clip_words(target, 80)}' stands in the field {{{name}}} ('{clip_words(text, 80)}') "
                    f"of a {template.family} task worded by '{template.id}'; take it out before rendering"
                )
