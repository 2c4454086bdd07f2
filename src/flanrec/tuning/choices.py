"""Choices among items that the T5 is to make in tuning: what users took beside what they did not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np

from flanrec.catalogue.people import Person
from flanrec.errors import DataError
from flanrec.instructions import LeakError
from flanrec.instructions.text import comparable, occurs
from flanrec.tuning.alternatives import Alternatives
from flanrec.tuning.objectives.candidates import Choice
from flanrec.tuning.objectives.contrastive import Meeting
from flanrec.tuning.questions import Questions

_TRIES = 20
_WORST, _BEST = 1.0, 4.0
"""Grades of what was taken, by its rating, beside 0 for what was not taken."""


class ChoiceQuestions:
    """Draws choices about the users of a log; each about what happened after the facts it tells.

    No candidate stands in the prompt, and none has the title of what was taken.

    Parameters
    ----------
    questions
        Whose users, moments, wording and teacher are used.
    log
        Everybody whose events say what was popular when; by default the users of the questions.
    candidates
        Most candidates of a choice.
    hard
        Most hard negatives of a meeting.
    """

    def __init__(
        self, questions: Questions, *, log: Sequence[Person] | None = None, candidates: int = 8, hard: int = 2
    ) -> None:
        self.questions = questions
        self.log = questions.users if log is None else log
        self.candidates = candidates
        self.hard = hard
        self.alternatives = Alternatives(self.log, questions.prompter.catalogue, questions.facets)

    def pair(self, rng: np.random.Generator) -> Choice:
        """What came next, grade 1, beside items drawn evenly among those that the user never took, grade 0."""
        return self._several(self._pair, rng)

    def ranking(self, rng: np.random.Generator) -> Choice:
        """Items graded by the log of what the teacher, in its share beside what came, believes of them.

        Without a teacher what came is graded from 1 to 4 by its rating, 4 where it has none, and what the user never
        took 0.
        """
        return self._several(self._ranking if self.questions.teacher is None else self._taught_ranking, rng)

    def sample(self, rng: np.random.Generator) -> Choice:
        """What came next, grade 1, beside items drawn by their events, grade 0, corrected by how they are drawn."""
        return self._several(self._sample, rng)

    def preference(self, rng: np.random.Generator) -> Choice:
        """What was chosen, grade 1, beside what was rejected, grade 0.

        With ratings, chosen is an item that the user liked, and rejected what the same user rated below a like. Where
        that is too little, and without ratings, rejected is what was popular at the time and the user never took.
        """
        return self._several(self._preference, rng)

    def meeting(self, rng: np.random.Generator) -> Meeting:
        """A user's instruction and the item that came next, with hard negatives that the user never took."""
        user, end, prompt = self._asked(rng)
        item = int(user.items[end])
        near = self.alternatives.near(rng, item, _time(user, end), 4 * self.hard)
        hard = self._suiting(near, prompt, [item], user.items, self.hard)
        return Meeting(prompt, item, tuple(hard), tuple(np.unique(user.items).tolist()))

    def _several(self, draw: Callable[[np.random.Generator], Choice], rng: np.random.Generator) -> Choice:
        for _ in range(_TRIES):
            choice = draw(rng)
            if len(choice.items) > 1:
                return choice
        raise DataError(
            f"{_TRIES} choices in a row had nothing to choose from: users took nearly every item; set the weights of "
            "pairwise, listwise, sampled and preference among words.weights to 0"
        )

    def _pair(self, rng: np.random.Generator) -> Choice:
        user, end, prompt = self._asked(rng)
        taken, most = int(user.items[end]), self.candidates - 1
        others = self._suiting(self.alternatives.evenly(rng, 4 * most), prompt, [taken], user.items, most)
        return _choice(user.before(end), prompt, [taken, *others], [1.0] + [0.0] * len(others))

    def _ranking(self, rng: np.random.Generator) -> Choice:
        user, end, prompt = self._asked(rng)
        came, half = user.items[end:], max(1, self.candidates // 2)
        taken = self._suiting(came, prompt, [], (), half)
        grades = [self._grade(float(user.ratings[end + np.flatnonzero(came == item)[0]])) for item in taken]
        most = self.candidates - len(taken)
        others = self._suiting(self.alternatives.evenly(rng, 4 * most), prompt, taken, user.items, most)
        return _choice(user.before(end), prompt, [*taken, *others], grades + [0.0] * len(others))

    def _taught_ranking(self, rng: np.random.Generator) -> Choice:
        user, end, prompt = self._asked(rng)
        person, half = user.before(end), max(1, self.candidates // 2)
        believed = self.questions.believed(person, user.items[end:])
        impossible = np.flatnonzero(believed == 0).tolist()
        likely = rng.choice(len(believed), size=4 * half, p=believed)
        items = self._suiting(likely, prompt, [], impossible, half)
        # Beside the likely ones some that are not, so that both ends of the order are taught.
        drawn, most = self.alternatives.by_events(rng, 4 * self.candidates), self.candidates - len(items)
        items += self._suiting(drawn, prompt, items, impossible, most)
        return _choice(person, prompt, items, np.log(believed[items]).tolist())

    def _sample(self, rng: np.random.Generator) -> Choice:
        user, end, prompt = self._asked(rng)
        person, taken, most = user.before(end), int(user.items[end]), self.candidates - 1
        drawn = self.alternatives.by_events(rng, 4 * most)
        kept = self._suiting(drawn, prompt, [taken], person.items, most, again=True)
        others, counts = np.unique(np.array(kept, dtype=np.int64), return_counts=True)
        items = [taken, *others.tolist()]
        # What was drawn twice stands there once, and counts twice.
        expected = self.alternatives.log_shares[items] - np.log([1, *counts])
        return _choice(person, prompt, items, [1.0] + [0.0] * len(others), expected.tolist())

    def _preference(self, rng: np.random.Generator) -> Choice:
        rated, liked = bool(self.questions.rated), self.questions.prompter.liked_rating
        user, end, prompt = self._asked(rng, liked=rated)
        chosen, most = int(user.items[end]), max(1, self.candidates // 2)
        disliked = user.items[user.ratings < min(liked, float(user.ratings[end]))]
        rejected = self._suiting(rng.permutation(disliked), prompt, [chosen], (), most)
        popular = self.alternatives.popular(rng, _time(user, end), 4 * most)
        rejected += self._suiting(popular, prompt, [chosen, *rejected], user.items, most - len(rejected))
        return _choice(user.before(end), prompt, [chosen, *rejected], [1.0] + [0.0] * len(rejected))

    def _asked(self, rng: np.random.Generator, *, liked: bool = False) -> tuple[Person, int, str]:
        """A user, the place of an event, one that was liked if asked for, and the question for it in words."""
        prompter = self.questions.prompter
        for _ in range(_TRIES):
            user, end = self.questions.moment(rng, rated=liked)
            if liked and user.ratings[end] < prompter.liked_rating:
                continue
            language = int(rng.integers(len(prompter.templates)))
            told = bool(rng.random() < 0.5)
            shown = self.questions.shown(user.before(end), rng)
            task = prompter.sequential(shown, int(user.items[end]), told=told, language=language)
            try:
                return user, end, prompter.word(task, rng, language=language).prompt
            except LeakError:
                continue
        if liked:
            return self._asked(rng)
        raise LeakError(
            f"{_TRIES} questions in a row had their answer among their facts; look for titles that contain each other"
        )

    def _suiting(
        self,
        drawn: Iterable[int],
        prompt: str,
        beside: list[int],
        closed: Iterable[int],
        most: int,
        *,
        again: bool = False,
    ) -> list[int]:
        """The first of some drawn items that may stand beside others and that the prompt does not tell.

        Parameters
        ----------
        beside
            Items whose titles are taken.
        closed
            Items that do not suit.
        again
            Whether an item, and a title that is not beside, may come several times.
        """
        titles = self.questions.prompter.catalogue.titles
        said, barred = {comparable(titles[item]) for item in beside}, {int(item) for item in closed}
        found: list[int] = []
        for item in map(int, drawn):
            if len(found) >= most:
                break
            title = comparable(titles[item])
            if item in barred or title in said or occurs(titles[item], prompt):
                continue
            found.append(item)
            if not again:
                said.add(title)
        return found

    def _grade(self, rating: float) -> float:
        if np.isnan(rating):
            return _BEST
        low, high = self._scale
        return _BEST if low == high else _WORST + (_BEST - _WORST) * (rating - low) / (high - low)

    @cached_property
    def _scale(self) -> tuple[float, float]:
        """The lowest and the highest rating of a log that has some."""
        known = np.concatenate([user.ratings for user in self.log])
        return float(np.nanmin(known)), float(np.nanmax(known))


def _choice(
    person: Person, prompt: str, items: list[int], grades: list[float], corrections: list[float] | None = None
) -> Choice:
    excluded = tuple(np.setdiff1d(person.items, items).tolist())
    return Choice(prompt, tuple(items), tuple(grades), excluded, tuple(corrections or ()))


def _time(user: Person, at: int) -> float:
    """When an event happened in seconds, nan if that is not known."""
    return float("nan") if user.times is None else float(user.times[at])
