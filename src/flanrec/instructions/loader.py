"""Templates as plain TOML files: those of the package, and those a user adds.

A folder holds one file a task family and, if wished, a ``language.toml`` with the words and joints
that all of them share. A user's template with the id of a built-in one replaces it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flanrec.errors import NotFoundError, TemplateError
from flanrec.instructions.families import FAMILIES, SHARED_FIELDS
from flanrec.instructions.tasks import Task
from flanrec.instructions.template import Template, Wording
from flanrec.instructions.template_files import add_templates, package_files, read, read_wording, user_files

# Fields that change what is asked for: a template that would drop one is chosen only if no other carries it.
_CARRIED = frozenset({"wish", "avoid", "profile", "history", "liked", "disliked", "attributes"})


@dataclass(frozen=True)
class Templates:
    """The templates of one language, the package's and a user's.

    Examples
    --------
    >>> templates = Templates.load("en")
    >>> "item_tokens" in templates.families()
    True
    >>> all(template.held_out for template in templates.of("item_tokens", held_out=True))
    True
    """

    language: str
    templates: tuple[Template, ...]
    wording: Wording
    _choices: dict[tuple[str, bool, frozenset[str]], list[Template]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def load(cls, language: str = "en", extra: Iterable[Path | str] = ()) -> Templates:
        """Read the package's templates of a language and add those of a user.

        Parameters
        ----------
        language : str
            ``"en"``, ``"zh"``, or another one for which `extra` holds both words and templates.
        extra : iterable of path
            Files, or folders of ``*.toml`` files. Files of another language are passed over.

        Raises
        ------
        TemplateError
            When a path is missing or a file is not a valid template file; the message names file, template
            and remedy.
        """
        files = list(package_files(language))
        for path in extra:
            files.extend(user_files(Path(path)))
        tables = [(source, table) for source, table in map(read, files) if table["language"] == language]
        wording = read_wording(language, [(source, table) for source, table in tables if "family" not in table])
        found: dict[str, Template] = {}
        for source, table in tables:
            if "family" in table:
                add_templates(found, source, table, wording)
        return cls(language, tuple(found.values()), wording)

    def remarks(self, known: Mapping[str, str], letters: int = 12) -> list[str]:
        """What the templates for tuning say beside their fields, in stretches of at least so many letters.

        What leads to a wish or an aversion is left out. They ask for nothing by themselves: put beside an instruction
        in tuning, they teach that wording is not what counts.

        Parameters
        ----------
        known
            Values of fields that count as text, such as the noun.
        """
        texts = [
            text
            for template in self.templates
            if not template.held_out
            for text in template.prompt.literals(known, ("wish", "avoid"))
        ]
        return [text for text in dict.fromkeys(texts) if sum(map(str.isalpha, text)) >= letters]

    def families(self) -> list[str]:
        """Return the families that have templates, in the order of `FAMILIES`."""
        have = {template.family for template in self.templates}
        return [family for family in FAMILIES if family in have]

    def of(self, family: str, held_out: bool | None = False) -> list[Template]:
        """Return a family's templates: those for tuning, with True the held-out ones, with None both.

        Raises
        ------
        NotFoundError
            When the family is unknown.
        """
        if family not in FAMILIES:
            raise NotFoundError(f"unknown task family '{family}'; known are {', '.join(FAMILIES)}")
        return [
            template
            for template in self.templates
            if template.family == family and (held_out is None or template.held_out == held_out)
        ]

    def get(self, template_id: str) -> Template:
        """Return a template by its id.

        Raises
        ------
        NotFoundError
            When no template has this id.
        """
        for template in self.templates:
            if template.id == template_id:
                return template
        raise NotFoundError(
            f"no template '{template_id}' in language '{self.language}'; 'flanrec instructions list' shows all ids"
        )

    def suitable(self, task: Task, held_out: bool = False) -> list[Template]:
        """Return the templates that can word a task and carry the most of what it says.

        Raises
        ------
        TemplateError
            When no template of the family can word the task.
        """
        present = task.present
        key = (task.family, held_out, present)
        if key not in self._choices:
            fitting = [template for template in self.of(task.family, held_out) if template.fits(task)]
            if not fitting:
                kind = "held-out template" if held_out else "template"
                raise TemplateError(
                    f"no {kind} of family {task.family} in language '{self.language}' can word a task with the "
                    f"fields {', '.join(sorted(present)) or '(none)'}; give more fields or add a template"
                )
            carried = [len(template.prompt.carried(present | SHARED_FIELDS) & _CARRIED) for template in fitting]
            best = max(carried)
            self._choices[key] = [t for t, count in zip(fitting, carried, strict=True) if count == best]
        return self._choices[key]

    def choose(
        self, family: str, rng: np.random.Generator, held_out: bool = False, task: Task | None = None
    ) -> Template:
        """Draw a template of a family.

        Parameters
        ----------
        family : str
            A task family.
        rng : numpy.random.Generator
            Source of the draw.
        held_out : bool
            Draw among the held-out templates.
        task : Task, optional
            Draw among those that can word this task and drop nothing it says.

        Raises
        ------
        NotFoundError
            When the family is unknown.
        TemplateError
            When there is none to draw from.
        """
        choices = self.of(family, held_out) if task is None else self.suitable(task, held_out)
        if not choices:
            raise TemplateError(
                f"family {family} has no {'held-out ' if held_out else ''}template in language "
                f"'{self.language}'; add one to a file given with --templates"
            )
        return choices[int(rng.integers(len(choices)))]
