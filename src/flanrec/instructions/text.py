"""Text as the model may see it: free of control tokens, on one line, and no longer than asked.

Item titles, reviews and wishes come from outside. A literal ``</s>`` in one of them would be read by
a T5 tokenizer as the end of the text, so every such text passes `sanitise` before it meets a template.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

ELLIPSIS = "..."
"""What marks a cut. T5's vocabulary has no single-character ellipsis."""

_MARK = "\ue000"  # stands where a control token was, so that wrapping one token in another is seen through
_CONTROL_TOKENS = ("<s>", "</s>", "<pad>", "<unk>", "<mask>")
_SENTINEL = "<extra_id_"


def _with_marks(characters: str) -> str:
    return f"{_MARK}*".join(re.escape(character) for character in characters)


_CONTROL = re.compile(
    "|".join(
        [*(_with_marks(token) for token in _CONTROL_TOKENS), f"{_with_marks(_SENTINEL)}(?:{_MARK}*[0-9])+{_MARK}*>"]
    )
)
_SPACES = re.compile(r"\s+")


def _printable(character: str) -> str:
    if character == _MARK or character.isspace():
        return " "
    # Cc and Cf are control and format characters, Cs lone surrogates, Co and Cn private or unassigned.
    return "" if unicodedata.category(character).startswith("C") else character


@lru_cache(maxsize=65_536)
def sanitise(text: str) -> str:
    """Make a text from outside safe and plain.

    Compatibility characters are normalised (NFKC), control and invisible characters go, control tokens
    of the T5 family (``</s>``, ``<pad>``, ``<unk>``, ``<extra_id_0>`` ...) go however they are nested,
    and whitespace is collapsed. The result is the same when sanitised again.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        One line without leading or trailing space; empty when nothing readable is left.

    Examples
    --------
    >>> sanitise("Heat</s>  (1995)")
    'Heat (1995)'
    >>> sanitise("<<pad>/s>")
    ''
    """
    previous = None
    while text != previous:
        previous = text
        if not (text.isascii() and text.isprintable()):
            text = unicodedata.normalize("NFKC", "".join(map(_printable, text)))
            text = unicodedata.normalize("NFKC", "".join(map(_printable, text)))
        if "<" in text:
            marked = None
            while marked != text:
                marked = text
                text = _CONTROL.sub(_MARK, text)
            text = text.replace(_MARK, " ")
        text = _SPACES.sub(" ", text).strip()
    return text


def control_tokens(text: str) -> bool:
    """Tell whether a text has control tokens that `sanitise` takes out.

    Examples
    --------
    >>> control_tokens("Heat</s>"), control_tokens("</\u200bs>"), control_tokens("a < b > c")
    (True, True, False)
    """
    if "<" not in text and text.isascii():
        return False
    plain = unicodedata.normalize("NFKC", "".join(map(_printable, text)))
    return _CONTROL.search(unicodedata.normalize("NFKC", "".join(map(_printable, plain)))) is not None


def clip_words(text: str, characters: int, ellipsis: str = ELLIPSIS) -> str:
    """Cut a text to at most so many characters, at a word boundary where there is one.

    Parameters
    ----------
    text : str
        The text to cut.
    characters : int
        Greatest length of the result, at least one more than the ellipsis.
    ellipsis : str
        Put at the end when something was cut off.

    Returns
    -------
    str
        The text itself when it is short enough. A first word that alone is too long is cut inside.

    Raises
    ------
    ValueError
        When `characters` leaves no room for text.

    Examples
    --------
    >>> clip_words("A long way down the river", 14)
    'A long way...'
    """
    room = characters - len(ellipsis)
    if room < 1:
        raise ValueError(f"characters must be at least {len(ellipsis) + 1}, not {characters}")
    if len(text) <= characters:
        return text
    head = text[:room]
    if not text[room].isspace() and " " in head.strip():
        head = head[: head.rindex(" ")]
    return head.rstrip(" ,;:.-") + ellipsis if head.rstrip(" ,;:.-") else text[:room] + ellipsis


@lru_cache(maxsize=65_536)
def comparable(text: str) -> str:
    """Bring a text to the form in which two wordings of the same title are equal.

    Examples
    --------
    >>> comparable("  The  BIRDCAGE ") == comparable("the birdcage")
    True
    """
    return unicodedata.normalize("NFKC", sanitise(text).casefold())


def unspaced(character: str) -> bool:
    """Tell whether the script of a character is written without spaces between words."""
    return (
        "\u0e00" <= character <= "\u0eff"
        or "\u1780" <= character <= "\u17ff"
        or "\u3040" <= character <= "\u30ff"
        or "\u3400" <= character <= "\u9fff"
        or "\uac00" <= character <= "\ud7af"
        or "\uf900" <= character <= "\ufaff"
        or character >= "\U00020000"
    )


def _one_word(left: str, right: str) -> bool:
    return left.isalnum() and right.isalnum() and not unspaced(left) and not unspaced(right)


def occurs(phrase: str, text: str) -> bool:
    """Tell whether a phrase stands in a text as whole words, whatever the case, width and spacing.

    An empty phrase occurs nowhere. In scripts without spaces any occurrence counts.

    Examples
    --------
    >>> occurs("heat", "Heat (1995)"), occurs("Heat", "In the heath")
    (True, False)
    """
    needle, hay = comparable(phrase), comparable(text)
    if not needle:
        return False
    start = hay.find(needle)
    while start >= 0:
        end = start + len(needle)
        inside_left = start > 0 and _one_word(hay[start - 1], needle[0])
        inside_right = end < len(hay) and _one_word(needle[-1], hay[end])
        if not inside_left and not inside_right:
            return True
        start = hay.find(needle, start + 1)
    return False
