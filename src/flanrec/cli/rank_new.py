"""``flanrec rank-new``: items that training never saw, ranked from their text alone."""

from __future__ import annotations

from typing import Annotated

from flanrec.cli.common import check_out, user_ids, waiting
from flanrec.cli.options import Lists, Rows, Saved, grouped, table_option
from flanrec.cli.recommend import deliver
from flanrec.data.addresses import TableAddress
from flanrec.data.dataset import load_items
from flanrec.errors import SettingsError


@grouped
def rank_new(
    saved: Saved,
    new_items: Annotated[
        TableAddress, table_option("--new-items", "Table of items; those with interactions are left out.")
    ],
    lists: Lists,
    rows: Rows,
) -> None:
    """Rank items that are new since training for users."""
    if lists.users_file is None and not lists.user:
        raise SettingsError("say for whom: --users-file FILE or --user ID")
    check_out(lists.out)
    frame = load_items(new_items, rows.policy, rows.rejects)
    recommender = saved.load()
    from flanrec.recommender.tables import as_type_of

    frame = frame.with_columns(as_type_of(recommender.parts.dataset.items["item_id"], frame["item_id"]))
    users = user_ids(recommender, lists.users_file, lists.user or ())
    with waiting(f"ranking {frame.height} items for {len(users)} users"):
        table = recommender.rank_new(frame, users, lists.k, wish=lists.wish, avoid=lists.avoid)
    titles = dict(zip(frame["item_id"].to_list(), frame["title"].to_list(), strict=True))
    deliver(table, titles, lists.out, saved.as_json)
