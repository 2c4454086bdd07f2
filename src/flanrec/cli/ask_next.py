"""``flanrec ask-next``: which users, items or pairs to ask about, so that the answers tell most."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flanrec.cli.common import check_out, counting, print_frame, print_json, user_ids, write_out
from flanrec.cli.options import OutOption, Saved, grouped
from flanrec.errors import SettingsError


class What(StrEnum):
    """What a question is about."""

    users = "users"
    items = "items"
    pairs = "pairs"


@grouped
def ask_next(
    saved: Saved,
    k: Annotated[int, typer.Option("--k", min=1, help="Most questions.")] = 10,
    by: Annotated[What, typer.Option("--by", help="Whom to ask, which items to ask new users, or which pairs.")] = (
        What.pairs
    ),
    users_file: Annotated[
        Path | None, typer.Option("--users-file", help="File with one user_id a line who can be asked; all by default.")
    ] = None,
    balance: Annotated[
        float, typer.Option(help="From 0, where questions may be alike, to 1, where they only differ.")
    ] = 0.3,
    pool: Annotated[int, typer.Option(min=1, help="Pairs that the match probability is asked about.")] = 2000,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the draws; the model's own by default.")] = None,
    out: OutOption = None,
) -> None:
    """Choose what to ask about next: what the model is least sure of, and not all alike."""
    if not 0 <= balance <= 1:
        raise SettingsError(f"--balance is {balance}; it must be from 0, where questions may be alike, to 1")
    check_out(out)
    recommender = saved.load()
    from flanrec.recommender.acquisition import ask_next as chosen

    users = None if users_file is None else user_ids(recommender, users_file, ())
    with counting("asking", pool) as advance:
        found = chosen(
            recommender, k, by.value, users=users, balance=balance, pool=pool, seed=seed, progress=advance
        )  # fmt: skip
    if out is not None:
        write_out(found, out)
        if saved.as_json:
            print_json({"out": str(out), "by": by.value, "rows": found.height})
    elif saved.as_json:
        print_json({by.value: found.to_dicts()})
    else:
        print_frame(found)
