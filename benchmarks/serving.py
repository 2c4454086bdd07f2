"""The service under load: how many recommendations a second, how soon, and what becomes of too many.

    flanrec demo --out runs/demo
    python benchmarks/serving.py --model runs/demo/model --ask fused --json benchmarks/records/serving-balanced.json

``flanrec serve`` runs as a process of its own on the loopback interface, with its queue, its store and one list of 10
for a user of the log in every request; this process sends them over connections that stay open. Four parts:

capacity
    Connections that each ask again as soon as they are answered.
steady
    Requests at random moments (exponential gaps), at a share of the capacity: from when a request was due to its last
    byte, so that a service that falls behind cannot hide it.
overload
    The same at ten times the capacity, then at the steady rate again: what is refused, how soon the accepted are
    answered, and how soon all is as before.
soak
    At the steady rate for ten minutes, with the memory of the process at the beginning and at the end.

``--ask wish`` says a wish with each request, one of 1,950, for which the language model is asked; ``item_tokens`` asks
it alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

from quality import machine
from timing import write_record

HOST = "127.0.0.1"
HEAD = b"POST /v1/recommend HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
WISHES = (
    ["slow", "strange", "funny", "dark", "quiet", "loud", "clever", "silly", "sad", "warm", "violent", "old", "new"],
    ["comedy", "thriller", "western", "musical", "drama", "mystery", "cartoon", "romance", "documentary", "horror"],
    [
        *("for children", "with a twist", "about friends", "set in winter", "by the sea", "in a big city", "on a farm"),
        *(
            "at war",
            "with robots",
            "about a heist",
            "from a book",
            "about family",
            "with dogs",
            "about music",
            "in space",
        ),
    ],
)


@dataclass
class Seen:
    """What became of requests.

    Attributes
    ----------
    statuses
        How many answers of each status; 0 for none.
    seconds
        Of the answers with status 200.
    moments
        When these were there, in seconds since the part began.
    sent_in
        Seconds in which all were sent; 0 where each waits for the one before.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    sent_in: float = 0.0

    def note(self, status: int, due: float, begun: float) -> None:
        """An answer to a request that was due at a moment, in a part that began at another."""
        self.statuses[status] += 1
        if status == 200:
            now = time.perf_counter()
            self.seconds.append(now - due)
            self.moments.append(now - begun)

    def to_dict(self) -> dict[str, Any]:
        """Figures in milliseconds."""
        found: dict[str, Any] = {"statuses": {str(status): count for status, count in sorted(self.statuses.items())}}
        if self.sent_in:
            found["sent"] = round(sum(self.statuses.values()) / self.sent_in, 1)
        if self.seconds:
            p50, p95, p99 = (1000 * np.percentile(self.seconds, [50, 95, 99])).round(2).tolist()
            found |= {"p50_ms": p50, "p95_ms": p95, "p99_ms": p99, "slowest_ms": round(1000 * max(self.seconds), 2)}
        return found


class Connection(asyncio.Protocol):
    """A connection that stays open, one request at a time (HTTP/1.1).

    Parameters
    ----------
    answered
        Called with the connection and the status of each answer; 0 where it broke.
    """

    def __init__(self, answered: Callable[[Connection, int], None]) -> None:
        self.answered = answered
        self.transport: asyncio.Transport | None = None
        self.busy = False
        self.moment = 0.0
        self._read = bytearray()

    async def open(self, port: int) -> Connection:
        """Itself, open."""
        await asyncio.get_running_loop().create_connection(lambda: self, HOST, port)
        return self

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast(asyncio.Transport, transport)

    def ask(self, body: bytes, moment: float) -> None:
        """Send a request that was due at a moment."""
        self.moment, self.busy = moment, True
        if self.transport is None or self.transport.is_closing():
            self._give(0)
        else:
            self.transport.write(HEAD % len(body) + body)

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer; the last of them give its status."""
        self._read += data
        head = self._read.find(b"\r\n\r\n")
        if head < 0:
            return
        length = LENGTH.search(self._read, 0, head)
        if len(self._read) >= head + 4 + (int(length[1]) if length else 0):
            self._give(int(self._read[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """It broke, or was closed."""
        self.transport = None
        if self.busy:
            self._give(0)

    def close(self) -> None:
        """Close it."""
        if self.transport is not None:
            self.transport.close()

    def _give(self, status: int) -> None:
        self._read.clear()
        self.busy = False
        self.answered(self, status)


class Load:
    """Requests of many users."""

    def __init__(self, port: int, users: Sequence[str], ask: str, most: int, seed: int) -> None:
        self.port = port
        self.most = most
        self.users = users
        self.ask = ask
        self.draw = random.Random(seed)

    def body(self) -> bytes:
        """One request."""
        asked: dict[str, Any] = {"user_id": self.draw.choice(self.users), "k": 10}
        if self.ask == "wish":
            asked["wish"] = " ".join(map(self.draw.choice, WISHES))
        elif self.ask != "fused":
            asked["reading"] = self.ask
        return json.dumps(asked).encode()

    async def closed(self, connections: int, seconds: float) -> Seen:
        """Each connection asks again as soon as it is answered, or a moment after it was refused."""
        seen, begun, loop = Seen(), time.perf_counter(), asyncio.get_running_loop()

        def again(connection: Connection) -> None:
            now = time.perf_counter()
            if now - begun < seconds:
                connection.ask(self.body(), now)

        def answered(connection: Connection, status: int) -> None:
            seen.note(status, connection.moment, begun)
            loop.call_later(0 if status == 200 else 0.01, again, connection)

        opened = [await Connection(answered).open(self.port) for _ in range(connections)]
        for connection in opened:
            again(connection)
        await asyncio.sleep(seconds)
        await self._end(opened)
        return seen

    async def due(self, rate: float, seconds: float) -> Seen:
        """Requests at random moments, `rate` a second, over so many connections; one that finds none free waits.

        A connection that the service closed because nothing came over it for long is opened anew when it is needed.
        """
        seen, begun = Seen(), time.perf_counter()
        late: deque[float] = deque()
        opening: set[asyncio.Task[None]] = set()

        def ready(connection: Connection) -> None:
            if late and connection.transport is not None:
                connection.ask(self.body(), late.popleft())
            else:
                free.append(connection)

        def answered(connection: Connection, status: int) -> None:
            seen.note(status, connection.moment, begun)
            ready(connection)

        async def reopen(connection: Connection) -> None:
            ready(await connection.open(self.port))

        opened = [await Connection(answered).open(self.port) for _ in range(self.most)]
        free, begun = opened.copy(), time.perf_counter()
        moment = begun
        while moment - begun < seconds:
            moment += self.draw.expovariate(rate)
            if (early := moment - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            if free and free[-1].transport is not None:
                free.pop().ask(self.body(), moment)
                continue
            late.append(moment)
            if free:
                task = asyncio.ensure_future(reopen(free.pop()))
                opening.add(task)
                task.add_done_callback(opening.discard)
            await asyncio.sleep(0)
        seen.sent_in = time.perf_counter() - begun
        await asyncio.gather(*opening)
        await self._end(opened)
        return seen

    async def _end(self, opened: Sequence[Connection]) -> None:
        until = time.perf_counter() + 30
        while any(connection.busy for connection in opened) and time.perf_counter() < until:
            await asyncio.sleep(0.01)
        for connection in opened:
            connection.close()


def recovered(after: Seen, p95_ms: float) -> int:
    """Seconds until every later one has answers as soon as before: their p95 within twice the one given."""
    seconds, taken = np.floor(after.moments).astype(int), 1000 * np.array(after.seconds)
    late = [second for second in set(seconds.tolist()) if np.percentile(taken[seconds == second], 95) > 2 * p95_ms]
    return max(late, default=-1) + 1


def megabytes(process: int) -> float:
    """Memory of a process that is in use now."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1000


async def measured(load: Load, process: int, asked: argparse.Namespace) -> dict[str, Any]:
    """All parts."""
    await load.closed(4, asked.warm)
    found: dict[str, Any] = {}
    seen = await load.closed(asked.connections, asked.seconds)
    capacity = len(seen.seconds) / asked.seconds
    found["capacity"] = {"per_second": round(capacity, 1), "connections": asked.connections} | seen.to_dict()
    steady = asked.rate or asked.share * capacity
    seen = await load.due(steady, asked.seconds)
    found["steady"] = {
        "per_second": round(len(seen.seconds) / asked.seconds, 1),
        "asked": round(steady, 1),
    } | seen.to_dict()
    p95 = found["steady"]["p95_ms"]
    seen = await load.due(10 * capacity, asked.overload)
    found["overload"] = {"asked": round(10 * capacity, 1), "answered": round(len(seen.seconds) / asked.overload, 1)}
    found["overload"] |= seen.to_dict()
    after = await load.due(steady, 15)
    found["after"] = {"recovered_s": recovered(after, p95)} | after.to_dict()
    if asked.soak:
        before = megabytes(process)
        seen = await load.due(steady, asked.soak)
        found["soak"] = {"seconds": asked.soak, "mb_before": before, "mb_after": megabytes(process)} | seen.to_dict()
    return found


def run(parts: Coroutine[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """As `asyncio.run`, in uvloop where it is there: who sends ten times too much has much to do."""
    with suppress(ImportError):
        import uvloop

        return uvloop.run(parts)
    return asyncio.run(parts)


def serve(model: Path, store: Path, threads: int, log: Path, *more: str) -> tuple[subprocess.Popen[bytes], int]:
    """The service, with further options, and its port."""
    command = [sys.executable, "-m", "flanrec", "serve", "--model", str(model), "--store", str(store), "--port", "0"]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [*command, "--threads", str(threads), *more], stderr=stream, stdout=subprocess.DEVNULL
        )
    while process.poll() is None:
        found = re.search(r"serving on http://[^:]+:(\d+)", log.read_text(encoding="utf-8"))
        if found:
            return process, int(found[1])
        time.sleep(0.1)
    raise SystemExit("the service did not start:\n" + log.read_text(encoding="utf-8"))


def table(record: dict[str, Any]) -> Table:
    """A row a part."""
    view = Table(title="flanrec serve, {ask}, lists of 10, engine {engine}, {threads} threads".format(**record))
    for heading in ("part", "asked a second", "answered a second", "p50 ms", "p95 ms", "p99 ms", "answers by status"):
        view.add_column(heading, justify="left" if heading in ("part", "answers by status") else "right")
    for part in ("capacity", "steady", "overload", "after", "soak"):
        if part in record:
            row = record[part]
            view.add_row(
                part, str(row.get("asked", "")), str(row.get("per_second", row.get("answered", ""))),
                *(str(row.get(name, "")) for name in ("p50_ms", "p95_ms", "p99_ms")),
                ", ".join(f"{status}: {count}" for status, count in row["statuses"].items()),
            )  # fmt: skip
    return view


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, record."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--model", type=Path, required=True)
    options.add_argument("--ask", choices=("fused", "wish", "item_tokens", "generate"), default="fused")
    options.add_argument("--threads", type=int, default=1, help="of the model")
    options.add_argument("--engine", default="torch", help="torch or int8")
    options.add_argument("--connections", type=int, default=16)
    options.add_argument("--most", type=int, default=500, help="connections of requests at random moments")
    options.add_argument("--share", type=float, default=0.6, help="of the capacity, for the steady part")
    options.add_argument("--rate", type=float, default=None, help="requests a second of the steady part, instead")
    options.add_argument("--warm", type=float, default=5.0, help="seconds before anything is measured")
    options.add_argument("--seconds", type=float, default=20.0)
    options.add_argument("--overload", type=float, default=10.0, help="seconds")
    options.add_argument("--soak", type=float, default=0.0, help="seconds; 600 for the record")
    options.add_argument("--seed", type=int, default=42)
    options.add_argument("--json", type=Path, default=None)
    asked = options.parse_args(arguments)
    users = pl.read_parquet(asked.model / "interactions.parquet")["user_id"].unique().sort().cast(pl.String).to_list()
    with tempfile.TemporaryDirectory() as folder:
        process, port = serve(
            asked.model, Path(folder) / "store.db", asked.threads, Path(folder) / "log", "--engine", asked.engine
        )
        try:
            parts = run(measured(Load(port, users, asked.ask, asked.most, asked.seed), process.pid, asked))
        finally:
            process.kill()
            process.wait()
    record = {
        "machine": machine(),
        "ask": asked.ask,
        "engine": asked.engine,
        "threads": asked.threads,
        "seed": asked.seed,
    } | parts
    Console(width=140).print(table(record))
    write_record(asked.json, record)


if __name__ == "__main__":
    main()
