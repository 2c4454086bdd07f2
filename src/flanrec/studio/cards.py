"""Lists, histories and what a model read, as markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from flanrec.explanation import Explanation
from flanrec.serving.live import Live
from flanrec.studio.looking import Look, rates_of
from flanrec.studio.markup import NOTHING, button, empty, facts, folded, joined
from flanrec.studio.somebody import Somebody

_BASIS = {
    "history": "the history", "words": "the wish", "attributes": "the attributes", "popularity": "what is popular",
    "content": "what items say",
}  # fmt: skip
_NEWEST = 12
_LEAST = 0.005
"""What is less reads as nothing."""


def list_markup(look: Look) -> Markup:
    """The recommendations, with reasons, sources and buttons."""
    listed, live = look.listed, look.live
    if not len(listed.items):
        return empty("Nothing may be recommended here. Fewer conditions, or another model, may help.")
    widest = max((abs(float(gave)) for values in listed.sources.values() for gave in values), default=1.0) or 1.0
    rates = rates_of(live)
    cards = []
    for row, item in enumerate(listed.items.tolist()):
        gave = {name: float(values[row]) for name, values in listed.sources.items()}
        why = listed.reasons[row] if row < len(listed.reasons) else None
        cards.append(_card(live, item, row + 1, why, gave, widest, rates))
    return Markup('<ol class="fs-list">{}</ol>').format(joined(cards))


def about_markup(look: Look, somebody: Somebody) -> Markup:
    """For whom, which model answered, and what the list rests on."""
    listed, live = look.listed, look.live
    pairs = [
        ("for", "somebody described" if somebody.user_id is None else f"user {somebody.user_id}"),
        ("model", f"{live.name} · {live.version}"),
        ("rests on", _BASIS.get(listed.basis, listed.basis)),
        ("heard", ", ".join(listed.used) or "nothing"),
    ]
    told = facts(pairs)
    if listed.fallback:
        words = f"This is only what is popular: {listed.fallback}."
        told += Markup('<div class="fs-notice" role="alert">{}</div>').format(words)
    return told


def history_markup(look: Look, *, leaving: bool) -> Markup:
    """What the model knows of the person, newest first.

    Parameters
    ----------
    leaving
        Whether an entry may be taken out.
    """
    met, live = look.person.met, look.live
    assert met is not None
    titles = live.recommender.parts.catalogue.titles
    pairs = list(zip(met.person.items.tolist(), met.person.ratings.tolist(), strict=True))[::-1]
    rows = [
        Markup('<li><span class="fs-title">{}</span>{}{}</li>').format(
            titles[item],
            NOTHING if rating != rating else Markup('<span class="fs-rating">{}</span>').format(f"{rating:g}"),
            button("×", "leave", kind="fs-quiet", title="Take out", item=live.ids[item]) if leaving else NOTHING,
        )
        for item, rating in pairs
    ]
    told = Markup('<h2 class="fs-h">History</h2>')
    if met.person.attributes:
        told += facts(met.person.attributes.items())
    if not rows:
        return told + empty("Nothing yet.")
    shown = Markup('<ul class="fs-history">{}</ul>').format(joined(rows[:_NEWEST]))
    if len(rows) > _NEWEST:
        older = Markup('<ul class="fs-history">{}</ul>').format(joined(rows[_NEWEST:]))
        shown += folded(f"{len(rows) - _NEWEST} older", older)
    refused = [Markup("<li>{}</li>").format(titles[item]) for item in met.unwanted.tolist()]
    if refused:
        shown += folded(f"{len(refused)} turned down", Markup('<ul class="fs-history">{}</ul>').format(joined(refused)))
    return told + shown


def instruction_markup(instructions: Mapping[str, str]) -> Markup:
    """What the model read, word for word."""
    names = {"item_tokens": "To rank, beside the items of the history", "generate": "To spell a title"}
    told = joined(
        Markup('<figure class="fs-prompt"><figcaption>{}</figcaption><pre>{}</pre></figure>').format(
            names.get(reading, reading), words
        )
        for reading, words in instructions.items()
    )
    return folded("The instruction as the model reads it", told)


def item_line(live: Live, item: int) -> str:
    """Year and categories of an item."""
    catalogue = live.recommender.parts.catalogue
    year, names = catalogue.years[item], ", ".join(catalogue.categories[item])
    return " · ".join(filter(None, ["" if year is None else str(year), names]))


def _card(
    live: Live, item: int, rank: int, why: Explanation | None, gave: Mapping[str, float], widest: float,
    rates: Sequence[float],
) -> Markup:  # fmt: skip
    title = live.recommender.parts.catalogue.titles[item]
    return Markup(
        '<li class="fs-card" data-item="{}"><div class="fs-head"><span class="fs-rank">{}</span><div>'
        '<span class="fs-title">{}</span><span class="fs-meta">{}</span></div></div>{}{}{}</li>'
    ).format(
        live.ids[item], rank, title, item_line(live, item),
        NOTHING if why is None else Markup('<p class="fs-why">{}</p>').format(reason_text(why)),
        sources_markup(gave, widest) if gave else NOTHING, _buttons(live.ids[item], rates),
    )  # fmt: skip


def reason_text(why: Explanation) -> str:
    """What speaks for an item, without what its card says anyway."""
    first, _, rest = why.to_text().partition(" of what you do not have yet. ")
    return rest or first


def sources_markup(gave: Mapping[str, float], widest: float) -> Markup:
    """What each source gave, the most first, as bars to both sides of nothing."""
    rows = joined(
        Markup(
            '<tr><th scope="row">{}</th><td class="fs-bar"><i class="{}" style="--w:{}%"></i></td><td>{}</td></tr>'
        ).format(name, "fs-for" if value >= 0 else "fs-against", f"{50 * abs(value) / widest:.1f}", f"{value:+.2f}")
        for name, value in sorted(gave.items(), key=lambda one: -abs(one[1]))
        if abs(value) >= _LEAST
    )
    return folded("What each source gave", Markup('<table class="fs-sources">{}</table>').format(rows))


def _buttons(item: str, rates: Sequence[float]) -> Markup:
    first = button("Like", "like", item=item) + button("Dislike", "dislike", item=item)
    if not rates:
        return Markup('<div class="fs-acts">{}</div>').format(first)
    stars = joined(
        button(f"{rate:g}", "rate", kind="fs-rate", title=f"Rate {rate:g}", item=item, value=f"{rate:g}")
        for rate in rates
    )
    group = Markup('<span class="fs-rates" role="group" aria-label="Rate">{}</span>').format(stars)
    return Markup('<div class="fs-acts">{}{}</div>').format(first, group)
