"""Template files: found, read and checked; each mistake is told with file, template and remedy."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from flanrec.errors import TemplateError
from flanrec.instructions.families import FAMILIES, SHARED_FIELDS, Family
from flanrec.instructions.markup import Markup, MarkupError
from flanrec.instructions.template import Template, Wording

LANGUAGES = ("en", "zh")
"""Languages with templates in the package."""

Source = tuple[str, dict[str, Any]]
"""A file's path and its TOML."""

_LANGUAGE_FILE = "language.toml"
_TEMPLATE_KEYS = {"id", "prompt", "target", "prefix", "held_out"}
_FAMILY_KEYS = {"family", "language", "replace", "templates"}
_LANGUAGE_KEYS = {"language", "words", "joins", "phrases"}
_NEEDED_WORDS = ("noun", "nouns", "yes", "no")


def package_files(language: str) -> Iterator[Traversable]:
    folder = resources.files("flanrec.instructions") / "templates" / language
    if folder.is_dir():
        yield from sorted((file for file in folder.iterdir() if file.name.endswith(".toml")), key=lambda f: f.name)


def user_files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(path.rglob("*.toml"))
        if not files:
            raise TemplateError(f"{path}: no *.toml file in this folder; put a template file there or drop --templates")
        return files
    if not path.is_file():
        raise TemplateError(f"{path}: no such file or folder; check the path given with --templates")
    return [path]


def read(file: Traversable | Path) -> tuple[str, dict[str, Any]]:
    source = str(file)
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise TemplateError(f"{source}: not UTF-8 (byte {error.start}); save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise TemplateError(f"{source}: not valid TOML: {error}; mend the line it names") from error
    except OSError as error:
        raise TemplateError(f"{source}: cannot be read: {error.strerror}; check the file's permissions") from error
    if not isinstance(table.get("language"), str):
        raise TemplateError(f'{source}: no language; begin the file with a line such as language = "en"')
    allowed = _FAMILY_KEYS if "family" in table else _LANGUAGE_KEYS
    unknown = sorted(set(table) - allowed)
    if unknown:
        raise TemplateError(
            f"{source}: unknown entry {', '.join(unknown)}; known are {', '.join(sorted(allowed))}"
            + ("" if "family" in table else ', and a template file begins with family = "..."')
        )
    return source, table


def read_wording(language: str, tables: list[tuple[str, dict[str, Any]]]) -> Wording:
    words: dict[str, str] = {}
    joins: dict[str, str] = {}
    phrases: dict[str, Markup] = {}
    for source, table in tables:
        for section in ("words", "joins", "phrases"):
            entries = table.get(section, {})
            if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
                raise TemplateError(f'{source}: [{section}] must hold texts only; write each as key = "text"')
        words |= table.get("words", {})
        joins |= table.get("joins", {})
        phrases |= {name: _parse(source, f"phrase '{name}'", text) for name, text in table.get("phrases", {}).items()}
    missing = [word for word in _NEEDED_WORDS if not words.get(word)]
    if missing:
        raise TemplateError(
            f"language '{language}' has no word for {', '.join(missing)}; the package has "
            f"{', '.join(LANGUAGES)}, another language needs a {_LANGUAGE_FILE} with [words] given by --templates"
        )
    return Wording(words, joins, phrases)


def _parse(source: str, what: str, text: str) -> Markup:
    try:
        return Markup.parse(text)
    except MarkupError as error:
        raise TemplateError(f"{source}: {what}: {error}") from error


def add_templates(found: dict[str, Template], source: str, table: dict[str, Any], wording: Wording) -> None:
    family = FAMILIES.get(table["family"]) if isinstance(table["family"], str) else None
    if family is None:
        raise TemplateError(f"{source}: unknown family {table['family']!r}; known are {', '.join(FAMILIES)}")
    if not isinstance(table.get("replace", False), bool):
        raise TemplateError(f"{source}: replace must be true or false, without quotes")
    entries = table.get("templates")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise TemplateError(f"{source}: no templates; add a [[templates]] section with id and prompt")
    if table.get("replace", False):
        for template_id in [template.id for template in found.values() if template.family == family.name]:
            del found[template_id]
    for number, entry in enumerate(entries, start=1):
        template = _template(source, number, entry, family, table["language"], wording)
        twin = found.get(template.id)
        if twin is not None and twin.source == source:
            raise TemplateError(f"{source}: template '{template.id}': the id occurs twice; rename one of the two")
        if twin is not None and twin.family != family.name:
            raise TemplateError(
                f"{source}: template '{template.id}': the id belongs to family {twin.family} in {twin.source}; "
                f"choose another id"
            )
        found[template.id] = template


def _template(
    source: str, number: int, entry: dict[str, Any], family: Family, language: str, wording: Wording
) -> Template:
    template_id = entry.get("id")
    if not isinstance(template_id, str) or not template_id.strip():
        raise TemplateError(f'{source}: template number {number}: no id; add id = "{family.name}.my_name"')

    def problem(what: str) -> TemplateError:
        return TemplateError(f"{source}: template '{template_id}': {what}")

    unknown = sorted(set(entry) - _TEMPLATE_KEYS)
    if unknown:
        raise problem(f"unknown entry {', '.join(unknown)}; known are {', '.join(sorted(_TEMPLATE_KEYS))}")
    for key in ("prompt", "target", "prefix"):
        if not isinstance(entry.get(key, ""), str):
            raise problem(f"{key} must be a text; put it in quotes")
    if not entry.get("prompt", "").strip():
        raise problem('no prompt; add prompt = "..."')
    if not isinstance(entry.get("held_out", False), bool):
        raise problem("held_out must be true or false, without quotes")
    target_text = entry.get("target", "" if family.target == "none" else "{target}")
    prompt, target, prefix = (
        _parse(source, f"template '{template_id}': {key}", text)
        for key, text in (("prompt", entry["prompt"]), ("target", target_text), ("prefix", entry.get("prefix", "")))
    )
    _check_fields(prompt, target_text, prefix, family, problem)
    return Template(
        template_id, family.name, language, prompt, target, prefix, entry.get("held_out", False), source, wording
    )


def _check_fields(
    prompt: Markup, target: str, prefix: Markup, family: Family, problem: Callable[[str], TemplateError]
) -> None:
    if "target" in prompt.fields | prefix.fields:
        raise problem("names {target} before the answer, which would give the answer away; remove it")
    unknown = sorted((prompt.fields | prefix.fields) - family.fields - SHARED_FIELDS)
    if unknown:
        raise problem(
            f"unknown field {', '.join(unknown)}; a {family.name} prompt may name "
            f"{', '.join(sorted(family.fields | SHARED_FIELDS))}"
        )
    missing = sorted(family.needs - prompt.fields)
    if missing:
        raise problem(f"does not name {', '.join('{' + name + '}' for name in missing)}; a {family.name} prompt must")
    optional = sorted(prefix.fields - prefix.required | prefix.required - SHARED_FIELDS)
    if optional:
        raise problem(f"the prefix may only name {{noun}} and {{nouns}}, not {', '.join(optional)}")
    expected = "" if family.target == "none" else "{target}"
    if target != expected:
        raise problem(
            f"target must be '{expected}' (other outputs would not be a catalogue title, an answer word or a "
            f"number); words that stand before the answer go to prefix"
        )
