"""What Prometheus is told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from flanrec.serving.lists import Listed
from flanrec.serving.live import Live

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """Counters and histograms of one service, in a registry of its own.

    Routes are named by their pattern, never by an address with an id in it, and no label says who asked.

    Parameters
    ----------
    waiting
        How many requests wait for the model.
    open_cases
        How many cases wait for a person; asked whenever the metrics are.
    """

    def __init__(
        self, waiting: Callable[[], float] = lambda: 0.0, open_cases: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("flanrec_requests", "Requests.", ("route", "method", "status"), registry=self.registry)
        self.seconds = Histogram(
            "flanrec_request_seconds", "From the first byte to the answer.", ("route",), buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.phases = Histogram(
            "flanrec_phase_seconds", "Waiting for the model, and being in it.", ("phase",), buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.batches = Histogram(
            "flanrec_batch_size", "Questions that went through the model together.", buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )  # fmt: skip
        self.lists = Counter("flanrec_lists", "Lists made.", ("model", "basis", "fallback"), registry=self.registry)
        self.items = Counter(
            "flanrec_items_shown", "Items in lists, of the head of the catalogue (80 % of the events) or outside.",
            ("model", "part"), registry=self.registry,
        )  # fmt: skip
        self.histories = Histogram(
            "flanrec_history_events", "Events that lists rest on.", ("model",), buckets=(0, 1, 5, 10, 20, 50, 100, 500),
            registry=self.registry,
        )  # fmt: skip
        self.invalid = Counter(
            "flanrec_items_invalid", "Items that were in a list and may not be: always 0.", registry=self.registry
        )
        self.short = Counter("flanrec_lists_short", "Lists shorter than was asked for.", registry=self.registry)
        self.events = Counter("flanrec_events", "Events reported.", ("new",), registry=self.registry)
        for new in ("yes", "no"):  # a rate of what never came is nothing, and no alarm; of 0 it is 0
            self.events.labels(new)
        queue = Gauge("flanrec_queue_waiting", "Requests that wait for the model.", registry=self.registry)
        queue.set_function(waiting)
        cases = Gauge("flanrec_cases_open", "Items that wait for a person to look at them.", registry=self.registry)
        cases.set_function(open_cases)

    def batch(self, size: int, waits: Sequence[float], seconds: float) -> None:
        """A batch went through the model."""
        self.batches.observe(size)
        for wait in waits:
            self.phases.labels("wait").observe(wait)
        self.phases.labels("model").observe(seconds)

    def listed(self, live: Live, listed: Listed, k: int, events: int) -> None:
        """A list of so many items was asked for, and made of a history of so many events."""
        self.histories.labels(live.name).observe(events)
        self.lists.labels(live.name, listed.basis, "yes" if listed.fallback else "no").inc()
        tail = int(live.tail[listed.items].sum())
        self.items.labels(live.name, "tail").inc(tail)
        self.items.labels(live.name, "head").inc(len(listed.items) - tail)
        self.invalid.inc(int((~live.open[listed.items]).sum()))
        if len(listed.items) < k:
            self.short.inc()

    def text(self) -> bytes:
        """As Prometheus reads it; it may ask the store."""
        return generate_latest(self.registry)
