"""What the T5 is asked in tuning: questions drawn from users' histories, family by family."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flanrec.catalogue.facets import Facets
from flanrec.catalogue.like_rates import LikeRates
from flanrec.catalogue.people import Person
from flanrec.catalogue.prompter import Prompter
from flanrec.errors import DataError
from flanrec.instructions import LeakError, Task, tasks
from flanrec.instructions.profiles import taste_summary
from flanrec.instructions.text import occurs
from flanrec.tuning.histories import HistoryChanges
from flanrec.tuning.objectives.answers import Question
from flanrec.tuning.objectives.match import Judgement
from flanrec.tuning.picking import CANDIDATES, offered_items, pick_task
from flanrec.tuning.teaching import Teacher, beliefs, blended

_TRIES = 20


class Questions:
    """Draws questions about the users of a log; each about what happened after the facts it tells.

    Parameters
    ----------
    users
        With their events; those with fewer than two are passed over.
    prompter
        Words them.
    facets
        What a wish may name.
    rates
        Like rates of the same log.
    answers
        Most answers of a question for the next item: the item that came next and those after it, each
        next one weighted by `decay`. The prompt is encoded once for all.
    teacher
        Whose beliefs a question for the next item carries beside what came next, in the share `trust`; its
        answers are then draws from both. Without one they are what came next.
    places
        Of each user, the places of the events that questions may be about: int64, rising. By default all but the
        first, about which nobody can be asked.
    histories
        Varies the history that a prompt tells. Questions for a summary of it tell it as it was.
    """

    def __init__(
        self,
        users: Sequence[Person],
        prompter: Prompter,
        facets: Facets,
        rates: LikeRates,
        *,
        answers: int = 4,
        decay: float = 0.8,
        teacher: Teacher | None = None,
        trust: float = 0.8,
        places: Sequence[NDArray[np.int64]] | None = None,
        histories: HistoryChanges | None = None,
    ) -> None:
        asked = [np.arange(1, len(user.items)) for user in users] if places is None else [at[at > 0] for at in places]
        self._moments = [(user, at) for user, at in zip(users, asked, strict=True) if len(at)]
        self._rated = [(user, at) for user, at in self._moments if not np.isnan(user.ratings[at]).all()]
        self.users = [user for user, _ in self._moments]
        self.rated = [user for user, _ in self._rated]
        self.prompter = prompter
        self.facets = facets
        self.rates = rates
        self.answers = answers
        self.decay = decay
        self.teacher = teacher
        self.trust = trust
        self.histories = histories
        self._shares = rates.counts / max(rates.counts.sum(), 1.0)

    def next_item(self, rng: np.random.Generator) -> Question:
        """Which item comes next after a history."""
        return self._asked(rng, wished=False)

    def wish(self, rng: np.random.Generator) -> Question:
        """Which item comes next, of those that fit a wish; where items have nothing to wish for, any."""
        return self._asked(rng, wished=len(self.facets.names) > 0)

    def _asked(self, rng: np.random.Generator, *, wished: bool) -> Question:
        for _ in range(_TRIES):
            user, end = self.moment(rng)
            person, following = user.before(end), user.items[end:]
            language = int(rng.integers(len(self.prompter.templates)))
            told = bool(rng.random() < 0.5)
            words, fitting = "", None
            if wished:
                facets = np.flatnonzero(self.facets.members[following[0]])
                if not len(facets):
                    continue
                facet = int(rng.choice(facets))
                fitting = self.facets.members[:, facet]
                following = following[fitting[following]]
                words = self.prompter.wish_words(self.facets.names[facet], rng, language=language)
            shown = self.shown(person, rng)
            task = self.prompter.sequential(shown, int(following[0]), wish=words, told=told, language=language)
            try:
                prompt = self.prompter.word(task, rng, language=language).prompt
            except LeakError:
                continue
            came = following[: self.answers]
            if self.teacher is None:
                return self._told(prompt, person, came)
            believed = self._beliefs(self.teacher([person.items]), person, came, fitting)
            question = self._taught(prompt, _seen_but(person, came), believed, rng)
            if question.answers:
                return question
        if wished:
            return self._asked(rng, wished=False)
        raise LeakError(
            f"{_TRIES} questions in a row had their answer among their facts; look for titles that contain each other"
        )

    def _told(self, prompt: str, person: Person, came: NDArray[np.int64]) -> Question:
        """What came next as the answers; those after the first only where the prompt does not tell them."""
        titles = [self.prompter.catalogue.titles[item] for item in came]
        kept = [at for at, title in enumerate(titles) if at == 0 or not occurs(title, prompt)]
        return Question(
            prompt,
            tuple(titles[at] for at in kept),
            tuple(self.decay**at for at in kept),
            tuple(int(came[at]) for at in kept),
            excluded=_seen_but(person, came),
        )

    def _taught(
        self, prompt: str, excluded: tuple[int, ...], believed: NDArray[np.float64], rng: np.random.Generator
    ) -> Question:
        """Draws from the beliefs as the answers, those left out that the prompt tells."""
        drawn, counts = np.unique(rng.choice(len(believed), size=self.answers, p=believed), return_counts=True)
        answers = [
            (self.prompter.catalogue.titles[item], int(item), int(count))
            for item, count in zip(drawn, counts, strict=True)
        ]
        answers = [answer for answer in answers if not occurs(answer[0], prompt)]
        total = sum(count for _, _, count in answers)
        return Question(
            prompt,
            tuple(title for title, _, _ in answers),
            tuple(count / total for _, _, count in answers),
            tuple(item for _, item, _ in answers),
            excluded,
            believed,
        )

    def believed(self, person: Person, came: NDArray[np.int64]) -> NDArray[np.float64]:
        """What the teacher expects after a history, in its share beside what came: float64 [n_items], adding up to one.

        There must be a teacher.
        """
        assert self.teacher is not None
        return self._beliefs(self.teacher([person.items]), person, came, None)

    def _beliefs(
        self, likely: NDArray[np.float32], person: Person, came: NDArray[np.int64], fitting: NDArray[np.bool_] | None
    ) -> NDArray[np.float64]:
        """What the teacher expects and what came, as one distribution over the items that can come."""
        possible = np.ones(likely.shape, dtype=bool) if fitting is None else fitting[None, :].copy()
        possible[0, list(_seen_but(person, came))] = False
        weights = self.decay ** np.arange(len(came))
        actual = np.zeros(likely.shape)
        np.add.at(actual[0], came, weights / weights.sum())
        return np.asarray(blended(beliefs(likely, possible), actual, self.trust)[0])

    def pick(self, rng: np.random.Generator, candidates: int = CANDIDATES) -> Question:
        """Which of some candidates comes next; the others are drawn by popularity."""
        user, end = self.moment(rng)
        target = int(user.items[end])
        titles = self.prompter.catalogue.titles
        offered = offered_items(titles, self._shares, target, set(user.items.tolist()), rng, candidates)
        task = pick_task(self.prompter, self.shown(user.before(end), rng), offered, target)
        return Question(self.prompter.word(task, rng).prompt, (titles[target],), (1.0,))

    def rating(self, rng: np.random.Generator) -> Question:
        """Which rating a user gave the next item."""
        user, end = self.moment(rng, rated=True)
        item = int(user.items[end])
        asked = self.prompter.match(self.shown(user.before(end), rng), item)
        known = np.concatenate([one.ratings for one in self.rated[:1000]])
        fields = {name: value for name, value in asked.fields.items() if name != "wish"}
        fields |= {"low": f"{np.nanmin(known):g}", "high": f"{np.nanmax(known):g}"}
        task = Task("rating", fields, f"{user.ratings[end]:g}")
        example = self.prompter.word(task, rng)
        return Question(example.prompt, (example.target,), (1.0,))

    def profile(self, rng: np.random.Generator) -> Question:
        """How a user's taste can be summed up."""
        for _ in range(_TRIES):
            user, end = self.moment(rng)
            person = user.before(end)
            wording = self.prompter.templates[0].wording
            summary = taste_summary(wording, self.prompter.profile(person))
            if summary:
                titles = [self.prompter.catalogue.titles[item] for item in person.items[-self.prompter.titles :]]
                task = tasks.profile(titles, summary, noun=self.prompter.noun, nouns=self.prompter.nouns)
                return Question(self.prompter.word(task, rng).prompt, (summary,), (0.3,))
        return self.next_item(rng)

    def judgement(self, rng: np.random.Generator) -> Judgement:
        """Whether a user liked the next item; without ratings, whether it was chosen or drawn at random."""
        user, end = self.moment(rng, rated=self.rates.rated)
        item, liked = int(user.items[end]), True
        if self.rates.rated:
            liked = bool(user.ratings[end] >= self.prompter.liked_rating)
        elif rng.random() < 0.5:
            liked = False
            seen = set(user.items.tolist())
            for _ in range(_TRIES):
                item = int(rng.integers(len(self._shares)))
                if item not in seen:
                    break
            else:  # a user who has seen nearly everything
                item, liked = int(user.items[end]), True
        likes, counts = user_likes(user, self.prompter.liked_rating)
        odds = self.rates.log_odds(
            np.array([item]),
            np.array([likes]),
            np.array([counts]),
            without=np.array([liked]) if self.rates.rated or liked else None,
        )
        task = self.prompter.match(self.shown(user.before(end), rng), item, liked)
        return Judgement(self.prompter.word(task, rng).prompt, liked, float(odds[0]))

    def shown(self, person: Person, rng: np.random.Generator) -> Person:
        """The person as a prompt tells of them: as they are, or with a varied history."""
        return person if self.histories is None else self.histories(person, rng)

    def sizes(self) -> dict[str, int]:
        """How many events each family's questions may be about."""
        events = sum(len(places) for _, places in self._moments)
        rated = sum(int((~np.isnan(user.ratings[places])).sum()) for user, places in self._rated)
        described = sum(int(self.facets.members[user.items[at]].any(axis=1).sum()) for user, at in self._moments)
        return {
            "sequential": events,
            "wish": described,
            "pick": events,
            "rating": rated,
            "profile": described,
            "match": rated if self.rates.rated else events,
        }

    def moment(self, rng: np.random.Generator, *, rated: bool = False) -> tuple[Person, int]:
        """A user, and the place of an event, rated if asked for, that has others before it."""
        moments = self._rated if rated else self._moments
        if not moments:
            what = "rated an item after another one" if rated else "two events"
            raise DataError(f"none of the users has {what}, so there is nothing to ask; give a longer log")
        user, places = moments[int(rng.integers(len(moments)))]
        for _ in range(_TRIES):
            end = int(places[rng.integers(len(places))])
            if not rated or not np.isnan(user.ratings[end]):
                return user, end
        return user, int(places[~np.isnan(user.ratings[places])][-1])


def _seen_but(person: Person, came: NDArray[np.int64]) -> tuple[int, ...]:
    """The items of a history that did not come again."""
    return tuple(np.setdiff1d(person.items, came).tolist())


def user_likes(user: Person, liked_rating: float) -> tuple[float, float]:
    """Likes and rated events of a user."""
    rated = user.ratings[~np.isnan(user.ratings)]
    return float((rated >= liked_rating).sum()), float(len(rated))
