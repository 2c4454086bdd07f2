"""The generating reading: titles spelled under the catalogue's trie."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.demonstrations import Demonstrations
from flanrec.catalogue.people import Person
from flanrec.catalogue.prompter import Prompter
from flanrec.errors import SettingsError
from flanrec.generation import Normalisation
from flanrec.generation.engines import Engine
from flanrec.recommender.asking import NOTHING, Asking, each_asking
from flanrec.recommender.lists import Floats, Ints


class WordReading:
    """Spells titles under the catalogue's trie.

    Parameters
    ----------
    demonstrations, shots
        What gives solved examples, and how many stand before each question unless it says so itself.
    """

    def __init__(
        self,
        engine: Engine,
        prompter: Prompter,
        num_beams: int,
        max_nodes: int = 0,
        demonstrations: Demonstrations | None = None,
        shots: int = 0,
    ) -> None:
        self.engine = engine
        self.prompter = prompter
        self.num_beams = num_beams
        self.max_nodes = max_nodes
        self.demonstrations = demonstrations
        self.shots = shots

    def prompts(self, users: Sequence[Person], asking: Asking | Sequence[Asking] = NOTHING) -> list[str]:
        """The instruction of each user, its history in words, after solved examples where some are asked for.

        Raises
        ------
        SettingsError
            Examples are asked for, and there is nobody to take them from, or no room.
        """
        words = []
        for at, (user, said) in enumerate(zip(users, each_asking(asking, len(users)), strict=True)):
            task = self.prompter.sequential(user, wish=said.wish, avoid=said.avoid)
            question = said.worded_by(self.prompter, task, at)
            shots = self.shots if said.shots is None else said.shots
            if not shots:
                words.append(question)
            elif self.demonstrations is None:
                raise SettingsError(f"{shots} solved examples are asked for, but nobody is there to take them of")
            else:
                words.append(self.demonstrations.before(question, task, user, shots))
        return words

    def top(
        self,
        users: Sequence[Person],
        k: int,
        asking: Asking | Sequence[Asking] = NOTHING,
        *,
        excluded: Sequence[Ints] | None = None,
        allowed: NDArray[np.bool_] | None = None,
        normalisation: Normalisation = "trie",
        progress: Callable[[int], None] | None = None,
    ) -> tuple[Ints, Floats]:
        """Find the `k` most probable titles; every one is an item, no one twice, no excluded one.

        Under the trie's normalisation the search is exact up to `max_nodes` nodes a user.
        """
        trie = self.prompter.catalogue.trie
        return self.engine.top_titles(
            self.prompts(users, asking),
            trie if allowed is None else trie.only(np.flatnonzero(allowed).tolist()),
            k=k,
            num_beams=max(self.num_beams, k),
            excluded=None if excluded is None else [set(closed.tolist()) for closed in excluded],
            normalisation=normalisation,
            max_nodes=self.max_nodes if normalisation == "trie" else 0,
            progress=progress,
        )

    def scores(
        self,
        users: Sequence[Person],
        asking: Asking | Sequence[Asking] = NOTHING,
        *,
        candidates: Sequence[Sequence[int]] | None = None,
        excluded: Sequence[Ints] | None = None,
        normalisation: Normalisation = "trie",
    ) -> Floats:
        """The exact log-probability of titles, of all or of each user's candidates: float32 [n_users, n]."""
        catalogue = self.prompter.catalogue
        return self.engine.title_log_probabilities(
            self.prompts(users, asking),
            catalogue.token_rows,
            candidates=candidates,
            excluded=None if excluded is None else [closed.tolist() for closed in excluded],
            normalisation=normalisation,
            weights=catalogue.weights,
        )
