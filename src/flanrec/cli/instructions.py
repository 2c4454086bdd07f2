"""``flanrec instructions``: list the templates, show one, and print exactly what the model will see."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flanrec.cli.common import print_json
from flanrec.cli.options import AvoidOption, JsonOption, ReviewsOption, Rows, Source, WishOption, grouped
from flanrec.data.dataset import Dataset
from flanrec.errors import NotFoundError
from flanrec.instructions import FAMILIES, Template, Templates, render
from flanrec.instructions.user_tasks import Asked, task_of_user

app = typer.Typer(no_args_is_help=True, help="The wordings of instructions: list, show, render.")

Language = Annotated[str, typer.Option("--language", "-l", help="Language of the templates: en or zh.")]
Extra = Annotated[
    list[Path] | None,
    typer.Option("--templates", help="A TOML file or a folder of them, added to the built-in ones. Repeatable."),
]


@app.command("list")
def list_templates(
    family: Annotated[str | None, typer.Option("--family", "-f", help="Only this task family.")] = None,
    language: Language = "en",
    templates: Extra = None,
    as_json: JsonOption = False,
) -> None:
    """List the templates: id, whether held out from tuning, and the prompt."""
    loaded = Templates.load(language, templates or ())
    rows = [template for name in ([family] if family else loaded.families()) for template in loaded.of(name, None)]
    if as_json:
        print_json([_record(template) for template in rows])
        return
    table = Table("id", "held out", "prompt", title=f"{len(rows)} templates ({language})")
    for template in rows:
        table.add_row(template.id, "yes" if template.held_out else "", escape(template.prompt.source))
    Console().print(table)


@app.command()
def show(
    template_id: Annotated[str, typer.Argument(metavar="ID", help="A template's id, as list prints it.")],
    language: Annotated[
        str | None, typer.Option("--language", "-l", help="Language to look in; both by default.")
    ] = None,
    templates: Extra = None,
    as_json: JsonOption = False,
) -> None:
    """Show one template whole: its texts, fields and file."""
    record = _record(_find(template_id, language, templates or []))
    if as_json:
        print_json(record)
        return
    for key, value in record.items():
        text = ", ".join(value) if isinstance(value, list) else value
        typer.echo(f"{key}: {json.dumps(text, ensure_ascii=False) if isinstance(text, bool) else text}")


@app.command("render")
@grouped
def render_example(
    user: Annotated[str, typer.Option("--user", help="The user whose last event is the answer.")],
    source: Source,
    family: Annotated[str, typer.Option("--family", "-f", help="Task family.")] = "sequential",
    reviews: ReviewsOption = None,
    template_id: Annotated[
        str | None, typer.Option("--template", help="This template only; all suitable ones by default.")
    ] = None,
    wish: WishOption = "",
    avoid: AvoidOption = "",
    profile: Annotated[str, typer.Option("--profile", help="Who the user is, in words.")] = "",
    with_profile: Annotated[
        bool, typer.Option("--with-profile", help="Word the profile from the user's attributes and earlier events.")
    ] = False,
    noun: Annotated[str, typer.Option("--noun", help="What one item is called, such as movie.")] = "",
    nouns: Annotated[str, typer.Option("--nouns", help="What several items are called.")] = "",
    held_out: Annotated[bool, typer.Option("--held-out", help="Use the held-out templates.")] = False,
    one: Annotated[bool, typer.Option("--one", help="Draw a single template with --seed.")] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of every draw.")] = 42,
    backbone: Annotated[
        str | None, typer.Option("--backbone", help="Checkpoint whose tokenizer counts for --max-tokens.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", min=1, help="Trim the prompt to so many tokens.")
    ] = None,
    language: Language = "en",
    templates: Extra = None,
    as_json: JsonOption = False,
) -> None:
    """Print a user's task exactly as the model will see it: prompt, forced start, target."""
    loaded = Templates.load(language, templates or ())
    dataset = source.load(Rows(), reviews)
    asked = Asked(wish=wish, avoid=avoid, profile=profile, noun=noun, nouns=nouns)
    wording = loaded.wording if with_profile or family == "profile" else None
    task = task_of_user(dataset, _typed_user(dataset, user), family, asked=asked, seed=seed, wording=wording)
    if template_id is not None:
        chosen = [loaded.get(template_id)]
    elif one:
        chosen = [loaded.choose(family, np.random.default_rng(seed), held_out, task)]
    else:
        chosen = loaded.suitable(task, held_out)
    count = _counter(backbone, max_tokens)
    examples = [render(template, task, count_tokens=count, max_tokens=max_tokens) for template in chosen]
    if as_json:
        print_json([asdict(example) for example in examples])
        return
    for number, example in enumerate(examples):
        typer.echo(("\n" if number else "") + f"template: {example.template}")
        typer.echo(f"prompt:   {example.prompt}")
        if example.prefix:
            typer.echo(f"prefix:   {example.prefix}")
        typer.echo(f"target:   {example.target}")
    if task.removed:
        typer.echo(f"{task.removed} facts were taken out because they contain the answer", err=True)


def _record(template: Template) -> dict[str, Any]:
    return {
        "id": template.id,
        "family": template.family,
        "asks": FAMILIES[template.family].asks,
        "language": template.language,
        "held_out": template.held_out,
        "prompt": template.prompt.source,
        "prefix": template.prefix.source,
        "target": template.target.source,
        "needs": sorted(template.prompt.required),
        "may": sorted(template.prompt.fields - template.prompt.required),
        "file": template.source,
    }


def _find(template_id: str, language: str | None, extra: list[Path]) -> Template:
    languages = [language] if language else ["en", "zh"]
    for name in languages:
        try:
            return Templates.load(name, extra).get(template_id)
        except NotFoundError:
            if name == languages[-1]:
                raise
    raise AssertionError("unreachable: the last language either returns or raises")


def _typed_user(dataset: Dataset, user: str) -> Any:
    """Return the id in the type the data set has; the command line only knows texts."""
    for user_id in dataset.interactions["user_id"].unique().to_list():
        if str(user_id) == user:
            return user_id
    raise NotFoundError(f"user '{user}' has no interactions in '{dataset.name}'; check the id given with --user")


def _counter(backbone: str | None, max_tokens: int | None) -> Callable[[str], int] | None:
    if max_tokens is None:
        return None
    from flanrec.backbone.checkpoint import load_backbone

    return load_backbone(backbone).token_count
