"""Reading the tuned model: titles decoded under the trie, exact scores of given titles, and P(yes)."""

from flanrec.generation.beam import constrained_beam_search
from flanrec.generation.generate import generate_items
from flanrec.generation.head import Normalisation
from flanrec.generation.postprocess import postprocess
from flanrec.generation.scoring import first_token_ids, title_log_probabilities, yes_no_logits

__all__ = [
    "Normalisation",
    "constrained_beam_search",
    "first_token_ids",
    "generate_items",
    "postprocess",
    "title_log_probabilities",
    "yes_no_logits",
]
