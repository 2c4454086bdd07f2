"""``flanrec distill``: a smaller recommender that learns from a larger, tuned one."""

from __future__ import annotations

from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import polars as pl
import typer

from flanrec.cli.common import counting, load_model, print_frame, print_json
from flanrec.cli.config import ConfigOption, build_settings
from flanrec.cli.options import DeviceOption, JsonOption, ModelOption, ReviewsOption, Rows, Source, grouped
from flanrec.cli.run_folders import run_folder, run_in
from flanrec.errors import SettingsError

if TYPE_CHECKING:
    from flanrec.data import Dataset
    from flanrec.recommender import Distilled, Recommender
    from flanrec.recommender.distilling import Portrait


class Lesson(StrEnum):
    """What the student learns from the teacher."""

    logits = "logits"
    sequence = "sequence"
    both = "both"


@grouped
def distill(
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", help="Folder to save the student into.")],
    source: Source,
    rows: Rows,
    reviews: ReviewsOption = None,
    student: Annotated[
        str | None, typer.Option("--student", help="T5 that learns: hub id, folder, saved recommender, or offline.")
    ] = None,
    encoder_layers: Annotated[
        int | None, typer.Option("--encoder-layers", min=1, help="Instead: so many of the teacher's encoder blocks.")
    ] = None,
    decoder_layers: Annotated[
        int | None, typer.Option("--decoder-layers", min=1, help="Instead: so many of the teacher's decoder blocks.")
    ] = None,
    by: Annotated[
        Lesson | None, typer.Option("--by", help="Learn its probabilities (logits), its answers (sequence), or both.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", help="What the logits of both are divided by.")
    ] = None,
    share: Annotated[
        float | None, typer.Option("--share", help="Weight of the probabilities beside the answers, 0 to 1.")
    ] = None,
    sequences: Annotated[
        int | None, typer.Option("--sequences", min=1, help="Questions that the teacher answers first.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Updates of the student's T5.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Decides every draw.")] = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints and curves; by default OUT with .run behind it.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoints of an interrupted run.")] = False,
    keep_checkpoints: Annotated[
        bool, typer.Option("--keep-checkpoints", help="Keep the checkpoints after success.")
    ] = False,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tune a smaller T5 on what a saved recommender says, on its own log or another, and compare the two."""
    folder = run_folder(out, runs)
    with run_in(folder, out, resume=resume, keep_checkpoints=keep_checkpoints) as first:
        if (student is None) == (encoder_layers is None and decoder_layers is None):
            raise SettingsError(
                "name the student: --student CHECKPOINT, or --encoder-layers and --decoder-layers, not both of these"
            )
        teacher = load_model(model, device)
        from flanrec.distributed.watching import facts_of, watching
        from flanrec.recommender import distill as distilled
        from flanrec.recommender.distilling import student_settings
        from flanrec.tuning import Tracking, parted

        lesson = {"by": by and by.value, "temperature": temperature, "share": share, "sequences": sequences}
        settings = build_settings(
            "balanced", config, {"words": {"steps": steps}, "distillation": lesson, "seed": seed},
            base=student_settings(teacher),
        )  # fmt: skip
        dataset = _log(teacher, source, rows, reviews)
        asking = _Asking(settings.distillation.sequences)
        with watching(folder, Tracking(), lambda: facts_of(teacher, dataset), resume=resume) as told, asking:
            found = distilled(
                teacher, dataset, student=student, encoder_layers=encoder_layers, decoder_layers=decoder_layers,
                settings=settings, folder=folder, resume=resume, callbacks=told, progress=asking,
            )  # fmt: skip
            found.recommender.save_pretrained(out)
        parted()
    if first:
        _report(found, out, folder, as_json)


class _Asking:
    """A bar of the questions that the teacher answers, gone when all are; tuning draws its own."""

    def __init__(self, total: int) -> None:
        self.left = total
        self._bar = ExitStack()
        self._advance: Any = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, *problem: object) -> None:
        self._bar.close()

    def __call__(self, done: int) -> None:
        if self._advance is None:
            self._advance = self._bar.enter_context(counting("asking the teacher", self.left))
        self._advance(done)
        self.left -= done
        if self.left <= 0:
            self._bar.close()


def _log(teacher: Recommender, source: Source, rows: Rows, reviews: Any) -> Dataset:
    """The log that the options name, or the teacher's own."""
    if source.data is None and source.interactions is None and source.items is None:
        if source.users is not None or reviews is not None:
            raise SettingsError("--users and --reviews come with --interactions and --items")
        return teacher.parts.dataset
    return source.load(rows, reviews)


def _report(found: Distilled, out: Path, folder: Path, as_json: bool) -> None:
    if as_json:
        settings = found.recommender.settings.model_dump(mode="json")
        print_json({"model": str(out), "curves": str(folder), **found.to_dict(), "settings": settings})
        return
    print_frame(pl.DataFrame([_row("teacher", found.teacher), _row("student", found.student)]),
                f"on {found.student.users} validation users")  # fmt: skip
    typer.echo(f"saved in {out}")


def _row(name: str, one: Portrait) -> dict[str, Any]:
    return {
        "": name,
        "blocks": "+".join(map(str, one.blocks)),
        "parameters": f"{one.parameters:,}",
        "NDCG@10 of generation": one.ndcg,
        "AUC of match": one.match_auc,
        "ms a user": round(one.milliseconds, 1),
    }
