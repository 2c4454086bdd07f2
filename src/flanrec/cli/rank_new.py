"""``flanrec rank-new``: items that training never saw, ranked from their text alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flanrec.cli.common import (
    AvoidOption,
    DeviceOption,
    KOption,
    ModelOption,
    OutOption,
    UserOption,
    UsersFileOption,
    WishOption,
    check_out,
    load_model,
    user_ids,
    waiting,
)
from flanrec.cli.config import ConfigOption
from flanrec.cli.data import BadRows, BadRowsOption, JsonOption, RejectsOption
from flanrec.cli.recommend import deliver
from flanrec.data.dataset import load_items
from flanrec.errors import SettingsError


def rank_new(
    model: ModelOption,
    new_items: Annotated[
        Path, typer.Option("--new-items", help="Table of items; those with interactions are left out.")
    ],
    users_file: UsersFileOption = None,
    user: UserOption = None,
    k: KOption = 10,
    out: OutOption = None,
    wish: WishOption = "",
    avoid: AvoidOption = "",
    on_bad_rows: BadRowsOption = BadRows.stop,
    rejects: RejectsOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank items that are new since training for users."""
    if users_file is None and not user:
        raise SettingsError("say for whom: --users-file FILE or --user ID")
    check_out(out)
    frame = load_items(new_items, on_bad_rows.value, rejects)
    recommender = load_model(model, device)
    from flanrec.recommender.tables import as_type_of

    frame = frame.with_columns(as_type_of(recommender.parts.dataset.items["item_id"], frame["item_id"]))
    users = user_ids(recommender, users_file, user or ())
    with waiting(f"ranking {frame.height} items for {len(users)} users"):
        table = recommender.rank_new(frame, users, k, wish=wish, avoid=avoid)
    titles = dict(zip(frame["item_id"].to_list(), frame["title"].to_list(), strict=True))
    deliver(table, titles, out, as_json)
