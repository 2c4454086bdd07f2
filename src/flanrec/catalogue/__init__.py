"""The items as the model sees them: their wording, their tokens and the trie that decoding walks."""

from flanrec.catalogue.items import Catalogue
from flanrec.catalogue.trie import TitleTrie

__all__ = ["Catalogue", "TitleTrie"]
