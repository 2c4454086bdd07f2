from __future__ import annotations

import io

from rich.console import Console

from flanrec.cli.clock import Clock


def test_stages_are_told_whole_and_timed_by_their_names() -> None:
    stream = io.StringIO()
    clock = Clock(Console(file=stream, width=20))
    clock.done("data: 100 ratings [of all] and a long line")
    clock.done("tuned")
    first, second = stream.getvalue().splitlines()
    assert "data: 100 ratings [of all] and a long line (0.0 s)" in first
    assert second.endswith("tuned (0.0 s)")
    assert clock.seconds == {"data": 0.0, "tuned": 0.0}
