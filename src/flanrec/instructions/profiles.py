"""A user profile in words, for the ``{profile}`` field and for the answer of the profile family."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flanrec.errors import TemplateError
from flanrec.instructions.markup import Markup
from flanrec.instructions.template import Wording
from flanrec.instructions.text import clip_words, occurs, sanitise

if TYPE_CHECKING:
    from flanrec.data.profiles import Profile


_QUOTED = 80
IDENTIFYING = frozenset({"name", "email", "phone", "address", "zip", "zip_code", "zipcode", "postcode", "postal_code"})
"""Attributes that name a person or a place rather than say anything of taste; never put into words."""


def profile_text(wording: Wording, profile: Profile, *, categories: int = 3) -> str:
    """Word a profile in a few phrases.

    Parameters
    ----------
    wording : Wording
        Words of the language, from ``Templates.wording``.
    profile : Profile
        What is known about a user from events before the split point.
    categories : int
        How many favourite and disliked categories to name at most; 0 words the attributes alone.

    Returns
    -------
    str
        Such as ``"age 24, occupation writer; likes comedy, drama; wrote of Heat (1995): cold and exact"``, the newest
        review alone, and only where the language has the phrase ``profile_review``; empty when nothing is known.

    Raises
    ------
    TemplateError
        When the language has no phrase for a part.
    """
    joins = wording.joins
    attributes = joins.get("attributes", ", ").join(
        sanitise(f"{name} {value}")
        for name, value in profile.attributes.items()
        if value.strip() and name.casefold() not in IDENTIFYING
    )
    values = _taste(wording, profile, categories) | {"attributes": attributes}
    parts = [
        _phrase(wording, f"profile_{name}").fill({name: values[name]})
        for name in ("attributes", "favourites", "dislikes")
        if values[name]
    ]
    reviews = [(title, text) for name, review in profile.reviews
               if (title := sanitise(name)) and (text := quoted(review))]  # fmt: skip
    if categories and reviews and "profile_review" in wording.phrases:
        parts.append(wording.phrases["profile_review"].fill(dict(zip(("title", "review"), reviews[-1], strict=True))))
    return joins.get("profile", "; ").join(parts)


def quoted(review: str) -> str:
    """The beginning of a review, safe to show and to put into a prompt; "" where nothing readable is left."""
    return clip_words(sanitise(review), _QUOTED)


def without_answer(profile: Profile, answer: str) -> Profile:
    """The profile without reviews that name an answer, or that are of an item whose title does."""
    kept = tuple(review for review in profile.reviews if not any(occurs(answer, text) for text in review))
    return replace(profile, reviews=kept)


def taste_summary(wording: Wording, profile: Profile, *, categories: int = 3) -> str:
    """Word a user's taste as one sentence, the answer that the profile family trains.

    Returns
    -------
    str
        Empty when no favourite category is known.
    """
    values = _taste(wording, profile, categories)
    return _phrase(wording, "summary").fill(values) if values["favourites"] else ""


def _taste(wording: Wording, profile: Profile, categories: int) -> dict[str, str]:
    def joined(names: tuple[str, ...]) -> str:
        cleaned = [sanitise(name) for name in names[:categories]]
        return wording.joins.get("category", ", ").join(name for name in cleaned if name)

    return {
        "favourites": joined(profile.favourite_categories),
        "dislikes": joined(profile.disliked_categories),
    }


def _phrase(wording: Wording, name: str) -> Markup:
    if name not in wording.phrases:
        raise TemplateError(f"the language has no phrase '{name}'; add it under [phrases] in language.toml")
    return wording.phrases[name]
