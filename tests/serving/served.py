"""``flanrec serve`` as a process of its own, for tests."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

START_SECONDS = 90


class Served:
    """A running service.

    Attributes
    ----------
    process, address
    lines
        What it logged so far.
    """

    def __init__(self, model: Path, store: Path | str, *options: str) -> None:
        served = ["--model", str(model), "--store", str(store), "--port", "0", "--threads", "1"]
        command = [sys.executable, "-m", "flanrec", "serve", *served, *options]
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.address = self._wait()
        self.client = httpx.Client(base_url=self.address, timeout=30)

    def logged(self) -> list[dict[str, Any]]:
        """The log as objects."""
        return [json.loads(line) for line in self.lines]

    def end(self, seconds: float = 30) -> int:
        """Wait until it has ended."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))

    def _wait(self) -> str:
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            for line in list(self.lines):
                found = re.search(r"serving on (http://[^\s\"]+)", line)
                if found:
                    return found[1]
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.process.kill()
        raise AssertionError("the service did not start:\n" + "\n".join(self.lines))


@contextlib.contextmanager
def serving(model: Path, store: Path | str, *options: str) -> Iterator[Served]:
    """A service that is gone afterwards."""
    served = Served(model, store, *options)
    try:
        yield served
    finally:
        served.client.close()
        served.process.kill()
        served.process.wait()
