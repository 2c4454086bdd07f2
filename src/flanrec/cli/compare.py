"""``flanrec compare``: a recommender, its sources and other methods on the same splits, in one report."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from flanrec.cli.common import counting, json_text, print_json, progress_callbacks
from flanrec.cli.config import ConfigOption, build_settings
from flanrec.cli.options import DeviceOption, JsonOption, Preset, ReadingName, Rows, Source, grouped
from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from flanrec.evaluation.comparing import Plan
    from flanrec.evaluation.comparison import Comparison
    from flanrec.evaluation.fitted import Contender, Contenders
    from flanrec.evaluation.tasks import RankingTask
    from flanrec.evaluation.untuned import Untuned
    from flanrec.recommender import RecommenderSettings


class SplitRule(StrEnum):
    """On which split to compare."""

    leave_one_out = "leave-one-out"
    temporal = "temporal"
    cold_items = "cold-items"
    new_users = "new-users"
    few_users = "few-users"


@grouped
def compare(
    out: Annotated[Path, typer.Option("--out", help="Write the report to this .html file, and a .json beside it.")],
    source: Source,
    rows: Rows,
    preset: Annotated[
        Preset | None, typer.Option(help="Fit a recommender so on each split; without it none is fitted.")
    ] = None,
    split: Annotated[
        list[SplitRule] | None, typer.Option("--split", help="How to split; leave-one-out by default. Repeatable.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", help="For leave-one-out: a saved recommender of its training part.")
    ] = None,
    seed: Annotated[
        list[int] | None, typer.Option("--seed", min=0, help="Decides every draw; 42 by default. Repeatable.")
    ] = None,
    reading: Annotated[
        list[ReadingName] | None, typer.Option("--reading", help="A reading to compare; all by default. Repeatable.")
    ] = None,
    shots: Annotated[
        list[int] | None,
        typer.Option(
            "--shots",
            min=0,
            max=16,
            help="A row for the T5 before tuning, asked after so many solved examples; 0 is zero-shot. Repeatable.",
        ),
    ] = None,
    reference: Annotated[
        str | None, typer.Option(help="Row that differences are against; fused, or blend without a recommender.")
    ] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Ask so many users only, drawn by the seed.")] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder for finished rows and models; by default OUT with .run behind it.")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="T5 checkpoint: hub id, folder, or offline. By default Flan-T5 small.")
    ] = None,
    noun: Annotated[str | None, typer.Option(help="What one item is called, such as movie.")] = None,
    nouns: Annotated[str | None, typer.Option(help="What several items are called.")] = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare every reading and source, the fusion without each source, and other methods; write one report.

    A comparison that was interrupted goes on where it was when the same command runs again.
    """
    if out.suffix.lower() not in (".html", ".htm"):
        raise SettingsError(f"{out}: the report is a page; give a file that ends in .html")
    record = out.with_suffix(".json")
    folder = runs if runs is not None else out.with_suffix(".run")
    for path, wrong in ((out, out.is_dir()), (record, record.is_dir()), (folder, folder.is_file())):
        if wrong:
            raise SettingsError(f"{path} is in the way of what compare writes; give another --out or --runs")
    dataset = source.load(rows)
    from flanrec.artefact import write_text_atomically
    from flanrec.evaluation.comparing import Plan, compare
    from flanrec.evaluation.page import check_report_extra, write_page
    from flanrec.evaluation.row_store import RowStore

    check_report_extra()
    plan = Plan(
        rules=tuple(one.value for one in dict.fromkeys(split or [SplitRule.leave_one_out])),
        seeds=tuple(dict.fromkeys(seed or [42])),
        readings=tuple(one.value for one in dict.fromkeys(reading or list(ReadingName))),
        sample=sample,
        reference=reference,
    )
    contenders = _contenders(plan, model, preset, folder, backbone, device, config, noun, nouns)
    untuned = _untuned(tuple(shots or ()), preset, backbone, device, config, noun, nouns)
    found = compare(
        dataset, plan, contenders=contenders, untuned=untuned, store=RowStore(folder / "rows"), bar=counting
    )
    document = {"comparisons": [one.to_dict() for one in found]}
    write_page(found, f"flanrec on {dataset.name}", out)
    write_text_atomically(record, json_text(document) + "\n")
    if as_json:
        print_json({"report": str(out), **document})
        return
    _print(found)
    typer.echo(f"report in {out}, numbers in {record}")


def _contenders(
    plan: Plan, model: Path | None, preset: Preset | None, folder: Path, backbone: str | None, device: str,
    config: Path | None, noun: str | None, nouns: str | None,
) -> Contenders | None:  # fmt: skip
    """Who stands for each task: the saved recommender on leave-one-out, one of the preset elsewhere."""
    from flanrec.evaluation.fitted import fitted_contender, saved_contender

    if model is None and preset is None:
        return None
    settings: dict[int, RecommenderSettings] = {}
    if preset is not None:
        for one in plan.seeds:
            settings[one] = build_settings(preset, config, {"noun": noun, "nouns": nouns, "seed": one})

    def contender(task: RankingTask) -> Contender | None:
        if model is not None and task.rule == "leave-one-out":
            return saved_contender(model, task, device)
        if task.seed not in settings:
            return None
        return fitted_contender(
            task, settings[task.seed], folder, backbone=backbone, device=device, callbacks=progress_callbacks
        )

    return contender


def _untuned(
    shots: tuple[int, ...], preset: Preset | None, backbone: str | None, device: str, config: Path | None,
    noun: str | None, nouns: str | None,
) -> Untuned | None:  # fmt: skip
    """The checkpoint as it is, asked as the preset asks."""
    from functools import partial

    from flanrec.backbone import load_backbone
    from flanrec.evaluation.untuned import Untuned

    if not shots:
        return None
    settings = build_settings(preset or Preset.fast, config, {"noun": noun, "nouns": nouns})
    load = partial(load_backbone, backbone, device=device)
    return Untuned(backbone or "the default checkpoint", load, settings, shots)


def _print(found: list[Comparison]) -> None:
    from flanrec.evaluation.comparison_tables import accuracy_table, lists_table, seed_table, segment_table

    console = Console()
    for one in found:
        for table in (accuracy_table, segment_table, lists_table):
            console.print(table(one))
    for rule in dict.fromkeys(one.rule for one in found):
        same = [one for one in found if one.rule == rule]
        if len(same) > 1:
            console.print(seed_table(same))
