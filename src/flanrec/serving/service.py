"""The service without HTTP: a store, models, one queue before them, and what is told of it all."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from flanrec.errors import CheckpointError, SettingsError, StoreError
from flanrec.serving.batching import Batcher
from flanrec.serving.golden import Golden, GoldenRequest
from flanrec.serving.keys import Recogniser
from flanrec.serving.live import Live
from flanrec.serving.models import Models
from flanrec.serving.questions import (
    Answer,
    Answerer,
    ExplainQuestion,
    ListQuestion,
    MatchQuestion,
    PersonQuestion,
    Question,
    SimilarQuestion,
    Who,
)
from flanrec.serving.recorder import Recorder
from flanrec.serving.settings import ServeSettings
from flanrec.serving.shelf import Shelf
from flanrec.serving.store import Store
from flanrec.serving.store.records import Shown
from flanrec.serving.store.trail import Trace
from flanrec.serving.watching import Metrics

_PROMPT_TOKENS, _TITLE_TOKENS, _SPELLED_TOKENS, _RULED_TOKENS = 64, 8, 64, 16
_TITLES = 40
"""Most events of a history that an instruction names, or that are left out for an explanation."""
_MATCHED = 10
"""So many items are matched at once, before others have their turn."""


class Service:
    """Answers questions, many at once, as `flanrec serve` does over HTTP.

    Parameters
    ----------
    store
        What it keeps.
    folders
        Saved recommenders by the name that they are served under; the first is the default.
    settings
        See `ServeSettings`.
    golden
        What every model must answer well before it is served.
    device
        Where models are loaded.
    shelf
        Folder of models that may be loaded while the service runs; None for none.
    engine
        Of all models, as `Recommender.use_engine` takes it.

    Attributes
    ----------
    ready
        Whether it answers and is not ending.
    settled
        Called when the models have come to stay: at the start, and after another one was loaded. For the process that
        serves, which may have something to do then.

    Raises
    ------
    CheckpointError
        A folder is not a whole model.
    StoreError
        The store cannot be used.
    SettingsError
        An experiment names a model that is not served.
    """

    def __init__(
        self,
        store: Store,
        folders: Mapping[str, Path],
        settings: ServeSettings | None = None,
        golden: tuple[GoldenRequest, ...] = (),
        device: str = "auto",
        shelf: Path | None = None,
        engine: str = "torch",
    ) -> None:
        self.store = store
        self.settings = settings or ServeSettings()
        self.models = Models(store, device, engine)
        self.answerer = Answerer(self.models, store, self.settings)
        self.batcher: Batcher[Question, Answer] = Batcher(self.answerer.answer, self.settings.queue, self._told)
        self.metrics = Metrics(lambda: self.batcher.waiting, self._open_cases)
        self.recorder = Recorder(store, self.settings)
        self.recogniser = Recogniser(store)
        self.golden = Golden(golden)
        self.shelf = Shelf(shelf)
        self.ready = False
        self._refreshing = asyncio.Lock()
        self._asked = self._refreshed = 0
        self.settled: Callable[[], None] = _nothing
        for name, folder in folders.items():
            self.models.load(name, folder, self.golden.failures)
        missing = [name for name in self.settings.experiment.models if name not in self.models.names]
        if missing:
            raise SettingsError(
                f"the experiment compares {', '.join(missing)}, which is not served; name models by --model NAME=FOLDER"
            )

    async def start(self) -> None:
        """Begin to answer."""
        self.settled()
        self.batcher.start()
        self.recorder.start()
        self.ready = True

    async def stop(self) -> None:
        """Say that it is not ready any more, answer what was taken, and keep what was shown."""
        self.ready = False
        await self.batcher.close(self.settings.drain_seconds)
        await self.recorder.close()
        self.models.close()

    async def ask(self, question: Question, seconds: float | None = None, *, counted: bool = True) -> Answer:
        """The answer to a question.

        Parameters
        ----------
        seconds, counted
            See `ask_many`.

        Raises
        ------
        Busy, Late, Closed
            See `Batcher.ask`.
        FlanrecError
            The question names what is not there.
        """
        answer = (await self.ask_many([question], seconds, counted=counted))[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ask_many(
        self, questions: Sequence[Question], seconds: float | None = None, *, counted: bool = True
    ) -> list[Answer | Exception]:
        """The answers to several questions, which go through the model together where they fit; an exception for one
        that fails.

        Parameters
        ----------
        seconds
            Until when they are wanted.
        counted
            Whether the lists are for those whom they are made for; one that somebody only looks at is not counted.

        Raises
        ------
        Busy, Late, Closed
            See `Batcher.ask`.
        """
        most = self.settings.queue.deadline_ms / 1000
        tokens = list(map(tokens_of, questions))
        answers = await self.batcher.ask(questions, tokens, most if seconds is None else min(seconds, most))
        for question, answer in zip(questions, answers, strict=True) if counted else ():
            if isinstance(question, ListQuestion) and isinstance(answer, Answer) and answer.listed is not None:
                self.metrics.listed(answer.live, answer.listed, question.k, answer.events)
        return answers

    async def match(self, question: MatchQuestion, seconds: float | None = None) -> Answer:
        """The probabilities of a match question, asked for in parts: the T5 reads an instruction for each item.

        Parameters
        ----------
        seconds
            See `ask_many`.

        Raises
        ------
        Busy, Late, Closed, FlanrecError
            See `ask`.
        """
        items = question.items
        parts = [replace(question, items=items[at : at + _MATCHED]) for at in range(0, len(items), _MATCHED)]
        answers = []
        for answer in await self.ask_many(parts, seconds):
            if isinstance(answer, Exception):
                raise answer
            answers.append(answer)
        if len({answer.live.version for answer in answers}) > 1:  # another one was loaded meanwhile
            return await self.ask(question, seconds)
        return replace(answers[0], probabilities=tuple(itertools.chain(*(one.probabilities for one in answers))))

    def remember(self, shown: Shown) -> None:
        """Keep a list as one that was shown, of the moment in which it was asked for."""
        self.recorder.add(shown)

    def load(self, name: str, folder: Path, by: Trace) -> Live:
        """Serve a saved recommender under a name, if it answers its golden requests.

        Raises
        ------
        CheckpointError
            It does not, or the folder is not a whole model; what was served before goes on.
        """
        try:
            live = self.models.load(name, folder, self.golden.failures)
        except CheckpointError as problem:
            # Who loads a model over HTTP need not learn where it is on this machine.
            raise CheckpointError(str(problem).replace(f"{folder.parent}/", "")) from problem
        self.store.trail.add(by, "load model", f"{name} {live.version}")
        self.settled()
        return live

    def roll_back(self, name: str, by: Trace) -> Live:
        """Serve again what was served under a name before.

        Raises
        ------
        NotFoundError
            There was nothing before.
        """
        live = self.models.roll_back(name)
        self.store.trail.add(by, "roll back model", f"{name} {live.version}")
        return live

    async def refresh(self) -> None:
        """Have all models read what is new in the store's items, now.

        Those who ask while the models read wait without a thread, and what they brought is read at once for all.
        """
        self._asked += 1
        mine = self._asked
        async with self._refreshing:
            if self._refreshed < mine:
                asked = self._asked  # all who came by now have their items in the store
                await asyncio.gather(*(asyncio.to_thread(self.models.follow, name) for name in self.models.names))
                self._refreshed = asked

    def _open_cases(self) -> float:
        try:
            return self.store.cases.counts()["open"]
        except StoreError:
            return math.nan  # the other figures are still told

    def _told(self, size: int, waits: Sequence[float], seconds: float) -> None:
        self.metrics.batch(size, waits, seconds)


def _nothing() -> None:
    pass


def tokens_of(question: Question) -> int:
    """About how many tokens the model reads for a question, or what takes as long on a CPU."""
    if isinstance(question, SimilarQuestion | PersonQuestion):
        return 1
    history = _length(question.who)
    if isinstance(question, MatchQuestion):
        return len(question.items) * (_PROMPT_TOKENS + _TITLE_TOKENS * (1 + min(history, _TITLES)))
    if isinstance(question, ExplainQuestion):
        return _explained(history, question.wish)
    asking = question.asking
    reasons = _explained(history, asking.wish) if question.reasons else 0
    spelled = _SPELLED_TOKENS * _PROMPT_TOKENS if question.reading == "generate" else 0
    ruled = _RULED_TOKENS * question.k if question.policy is not None else 0
    worded = 2 * (_PROMPT_TOKENS + history + _tokens_in(asking.wish + asking.avoid)) if asking.worded else history
    return worded + reasons + spelled + ruled


def _explained(history: int, wish: str) -> int:
    """Of leaving out one event after the other, once for all items; a wish is read anew with each."""
    read = history + (_PROMPT_TOKENS + _tokens_in(wish) if wish else _PROMPT_TOKENS // 2)
    return min(history, _TITLES) * read


def _tokens_in(words: str) -> int:
    return len(words) // 3


def _length(who: Who) -> int:
    return max(len(who.history), 1) if who.user_id is None else 40
