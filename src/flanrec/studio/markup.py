"""Markup whose values are escaped, always: what items, people and models say is text, whatever is in it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from markupsafe import Markup

NOTHING = Markup("")


def joined(parts: Iterable[Markup], between: str = "") -> Markup:
    """Several pieces as one."""
    return Markup(between).join(parts)


def button(words: str, act: str, *, kind: str = "", title: str = "", **data: str) -> Markup:
    """A button that tells its click, with what it stands for.

    >>> str(button("Like", "like", item='"><b>'))
    '<button type="button" class="fs-button " title="" data-act="like" data-item="&#34;&gt;&lt;b&gt;">Like</button>'
    """
    told = joined(Markup(' data-{}="{}"').format(name, value) for name, value in data.items())
    return Markup('<button type="button" class="fs-button {}" title="{}" data-act="{}"{}>{}</button>').format(
        kind, title, act, told, words
    )


def folded(summary: str | Markup, body: Markup, *, kind: str = "") -> Markup:
    """Something that opens when it is asked for."""
    return Markup('<details class="fs-details {}"><summary>{}</summary>{}</details>').format(kind, summary, body)


def empty(words: str) -> Markup:
    """What stands where nothing is yet."""
    return Markup('<p class="fs-empty">{}</p>').format(words)


def facts(pairs: Iterable[tuple[str, str]]) -> Markup:
    """Names and values in a row."""
    told = joined(Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(name, value) for name, value in pairs)
    return Markup('<dl class="fs-facts">{}</dl>').format(told)


def table(head: Sequence[str], rows: Iterable[Sequence[str | Markup]]) -> Markup:
    """A table; on a phone each row is a block, so each cell says what it is."""
    top = joined(Markup("<th>{}</th>").format(name) for name in head)
    body = joined(
        Markup("<tr>{}</tr>").format(
            joined(
                Markup('<td data-name="{}"><span>{}</span></td>').format(name, cell)
                for name, cell in zip(head, row, strict=True)
            )
        )
        for row in rows
    )
    return Markup('<table class="fs-table"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>').format(top, body)
