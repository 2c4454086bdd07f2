"""Saying what is done while the next thing runs."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape


class Clock:
    """Prints each finished stage with the time since the start, and keeps how long each took.

    Attributes
    ----------
    seconds
        Stage to seconds; the stage is what stands before the colon.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = self.last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def done(self, what: str) -> None:
        """Say that a stage is finished, such as ``"data: 100 ratings"``."""
        now = time.monotonic()
        spent, self.last = now - self.last, now
        self.seconds[what.partition(":")[0]] = round(spent, 1)
        told = f"[dim]{now - self.began:6.0f} s[/]  {escape(what)} [dim]({spent:.1f} s)[/]"
        self.console.print(told, highlight=False, soft_wrap=True)
