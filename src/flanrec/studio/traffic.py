"""What the store and the counters say of the lists that people were shown, and what models say of themselves."""

from __future__ import annotations

import time
from collections.abc import Sequence

from markupsafe import Markup

from flanrec.serving.live import Live
from flanrec.serving.online import ModelRow, by_model
from flanrec.serving.service import Service
from flanrec.serving.store.shown import Hour
from flanrec.studio.charts import columns_by_hour, interval_bar, share_bar
from flanrec.studio.markup import empty, facts, joined, table

_DAY = 24 * 3_600.0


def lists_markup(service: Service, days: float) -> Markup:
    """Lists shown by hour and model, hit rates by model, and the share of fallbacks; from the store."""
    until = time.time()
    since = until - days * _DAY
    hours = service.store.shown.hours(since)
    names: dict[str, str] = {}
    for live in service.models.all():
        names[live.version] = f"{names[live.version]}, {live.name}" if live.version in names else live.name
    counts: dict[str, dict[float, int]] = {}
    for hour in hours:
        counts.setdefault(_named(hour.model, names), {})[hour.moment] = hour.lists
    lists, fallbacks = sum(hour.lists for hour in hours), sum(hour.fallbacks for hour in hours)
    told = [("lists", f"{lists:,}"), ("only what is popular", f"{fallbacks / lists:.1%}" if lists else "none")]
    return joined(
        [
            Markup('<h2 class="fs-h">Lists shown</h2>{}').format(facts(told)),
            columns_by_hour(counts, since, until, "Lists shown by hour and model"),
            Markup('<h2 class="fs-h">What came of them</h2>'),
            _rates(
                by_model(service.store.shown.answers(since, but=service.settings.learning.not_behaviour)), hours, names
            ),
        ]
    )


def head_markup(service: Service) -> Markup:
    """Which share of what was shown is of the head of the catalogue; counted by this process since its start."""
    shown = {
        (sample.labels["model"], sample.labels["part"]): sample.value
        for metric in service.metrics.items.collect()
        for sample in metric.samples
        if sample.name.endswith("_total")
    }
    rows = []
    for live in service.models.all():
        head, tail = shown.get((live.name, "head"), 0.0), shown.get((live.name, "tail"), 0.0)
        if head + tail:
            share = head / (head + tail)
            of_catalogue = 1 - float(live.tail.mean())
            rows.append(
                [live.name, Markup("{} {}").format(share_bar(share, f"{share:.0%}"), f"{share:.0%}"),
                 f"{of_catalogue:.0%}", f"{int(head + tail):,}"]
            )  # fmt: skip
    title = Markup('<h2 class="fs-h">Share of the head, since this process started</h2>')
    note = Markup('<p class="fs-meta">The head are the items that have 80 % of the events.</p>')
    if not rows:
        return title + empty("This process has shown no list yet.")
    return title + table(["model", "of the items shown", "of the catalogue", "items shown"], rows) + note


def models_markup(service: Service) -> Markup:
    """What the folders of the served models record of their fit."""
    return joined([Markup('<h2 class="fs-h">The models</h2>'), *(_model(live) for live in service.models.all())])


def _rates(rows: Sequence[ModelRow], hours: Sequence[Hour], names: dict[str, str]) -> Markup:
    if not rows:
        return empty("Nothing was shown, so nothing came of it.")
    highest = max([0.05, *(row.hit_rate.high for row in rows)])
    fallen = {row.model: sum(hour.fallbacks for hour in hours if hour.model == row.model) for row in rows}
    cells = [
        [
            _named(row.model, names), f"{row.lists:,}", f"{row.hit_rate.count:,}",
            Markup('{} <span class="fs-number">{}</span>').format(
                interval_bar(row.hit_rate, highest),
                f"{row.hit_rate.value:.3f} ({row.hit_rate.low:.3f} to {row.hit_rate.high:.3f})",
            ),
            f"{row.reciprocal_rank.value:.3f}", f"{fallen[row.model] / row.lists:.1%}",
        ]
        for row in rows
    ]  # fmt: skip
    note = Markup(
        '<p class="fs-meta">A list is met where an event names its request. Means over people, each of whom counts '
        "once, with 95 % intervals.</p>"
    )
    return table(["model", "lists", "people", "hit rate", "reciprocal rank", "fallback"], cells) + note


def _model(live: Live) -> Markup:
    parts = live.recommender.parts
    weights = sorted(zip(parts.fusion.base.names, parts.fusion.base.weights, strict=True), key=lambda one: -abs(one[1]))
    told = facts(
        [
            ("version", live.version),
            ("backbone", str(live.recommender.backbone.source.name)),
            ("items", f"{len(parts.catalogue):,}"),
            ("events", f"{parts.dataset.interactions.height:,}"),
            ("weights", ", ".join(f"{name.removesuffix('.score')} {weight:.2f}" for name, weight in weights if weight)),
        ]
    )
    curve = parts.fusion.trees.curve
    records = [[verdict.to_text()] for verdict in parts.fusion.verdicts]
    if curve:
        best = max(curve, key=lambda length: (curve[length], -length))
        trees = f"{best} trees bring it from {curve[min(curve)]:.4f}" if best else "trees add nothing to it"
        records.append([f"NDCG@10 on held-out events: {curve[best]:.4f}; {trees}"])
    kept = table(["recorded by the fit"], records) if records else empty("Its folder records no quality figures.")
    return Markup('<section class="fs-model"><h3 class="fs-title">{}</h3>{}{}</section>').format(live.name, told, kept)


def _named(version: str, names: dict[str, str]) -> str:
    return f"{names[version]} · {version}" if version in names else version
