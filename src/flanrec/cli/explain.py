"""``flanrec explain``: what speaks for an item."""

from __future__ import annotations

from typing import Annotated

import typer

from flanrec.cli.common import ids_like, print_json, waiting
from flanrec.cli.options import Saved, WishOption, grouped
from flanrec.errors import SettingsError


@grouped
def explain(
    saved: Saved,
    item: Annotated[str, typer.Option("--item", help="An item id or a title.")],
    user: Annotated[str | None, typer.Option("--user", help="A user id.")] = None,
    history: Annotated[
        list[str] | None, typer.Option("--history", help="Instead of a user: a title or item id. Repeatable.")
    ] = None,
    wish: WishOption = "",
) -> None:
    """Say which events and words speak for an item."""
    if (user is None) == (not history):
        raise SettingsError("give either --user ID or --history TITLE")
    recommender = saved.load()
    stored = None if user is None else ids_like(recommender.parts.dataset.interactions["user_id"].dtype, [user])[0]
    with waiting("explaining"):
        explanation = recommender.explain(user=stored, item=item, history=history or None, wish=wish)
    if saved.as_json:
        print_json(explanation.to_dict())
    else:
        typer.echo(explanation.to_text())
