"""``flanrec export``: the tuned T5 in the formats of other runtimes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flanrec.cli.common import load_model, print_json, waiting
from flanrec.cli.options import JsonOption, ModelOption

if TYPE_CHECKING:
    from flanrec.generation.engines.parity import Gate
    from flanrec.recommender import Recommender

_PROMPTS = 8
_TITLES = 200


class FormatName(StrEnum):
    """What to write."""

    ctranslate2 = "ctranslate2"
    onnx = "onnx"
    safetensors = "safetensors"


class QuantisationName(StrEnum):
    """Number format of CTranslate2's weights."""

    int8 = "int8"
    float32 = "float32"


def export(
    form: Annotated[FormatName, typer.Argument(metavar="FORMAT", help="ctranslate2, onnx or safetensors.")],
    model: ModelOption,
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    quantisation: Annotated[
        QuantisationName, typer.Option("--quantisation", help="Weights of CTranslate2.")
    ] = QuantisationName.int8,
    as_json: JsonOption = False,
) -> None:
    """Write the tuned T5 for another runtime, after comparing it with the model on users' prompts and titles."""
    from flanrec.generation.engines.exporting import export_backbone

    # Weights are rounded and written on the CPU, whatever the model runs on.
    recommender = load_model(model, "cpu")
    with waiting(f"writing and comparing {out}"):
        parity = export_backbone(recommender.backbone, out, form.value, gate_of(recommender), quantisation.value)
    assert parity is not None
    if as_json:
        print_json({"out": str(out), "format": form.value} | parity.to_dict())
        return
    typer.echo(
        f"{form.value} in {out}: on {parity.prompts} prompts and {parity.titles} titles log-probabilities differ by "
        f"{parity.mean_difference:.3%} on average ({parity.largest_difference:.3%} at most), and {parity.overlap:.0%} "
        f"of the {parity.k} best titles are the same"
    )


def gate_of(recommender: Recommender) -> Gate:
    """What an export must pass: prompts of the first users, and titles from all over the catalogue."""
    from flanrec.generation.engines import TorchEngine
    from flanrec.generation.engines.parity import Gate

    people = recommender.people(list(recommender.parts.people.log.user_ids[:_PROMPTS]))
    rows = recommender.parts.catalogue.token_rows
    every = max(1, len(rows) // _TITLES)
    prompts = recommender.word_reading.prompts(people)
    return Gate(TorchEngine(recommender.backbone), prompts, [list(row) for row in rows[::every][:_TITLES]])
