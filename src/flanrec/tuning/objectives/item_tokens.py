"""Next-item cross-entropy at every position of a history, under an instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue.facets import Facets
from flanrec.catalogue.item_tokens import ItemTokens, pad_histories
from flanrec.catalogue.people import Person
from flanrec.catalogue.prompter import Prompter
from flanrec.tuning.objective import LossSum
from flanrec.tuning.teaching import Teacher, beliefs, blended

_NOT_ASKED = -100


@dataclass(frozen=True)
class Window:
    """A stretch of one user's history with an instruction.

    Attributes
    ----------
    items
        What the decoder reads, oldest first.
    targets
        One longer: the next item at each position, -100 where none is asked for.
    prompt
        The instruction as the encoder reads it.
    worded
        Whether it has a wish or an aversion.
    beliefs
        float32 [len(targets), n_items], what is taught at each position where there is a teacher: a distribution, or
        zeros where nothing is asked.
    """

    items: NDArray[np.int64]
    targets: NDArray[np.int64]
    prompt: str
    worded: bool = False
    beliefs: NDArray[np.float32] | None = None


class PreparedWindows(NamedTuple):
    """Windows for the model, padded to the longest.

    Attributes
    ----------
    items : int64 [n, longest]
    targets : int64 [n, longest + 1]
        -100 where nothing is asked.
    taught : float32 [n, longest + 1, n_items] or None
        Where there is a teacher.
    worded : bool [n]
    prompts : list of str
    """

    items: Tensor
    targets: Tensor
    taught: Tensor | None
    worded: Tensor
    prompts: list[str]


class ItemTokenObjective:
    """Cross-entropy over the whole catalogue at all positions at once.

    With a wish in the instruction only the positions whose next item fits it are answers, so the model
    learns what a user with this history takes *when* this is asked for. Aversions work likewise, and
    since templates name them before or after the wish, the order of the words matters.

    Inputs
    ------
    ========== ================================================================
    users      histories of at least two events, as `Person`
    prompter   words the wish, the aversion, and the profile before the window
    encoder    the frozen encoder that reads the instructions
    ========== ================================================================

    Parameters
    ----------
    wishes, aversions
        Share of the windows with a wish, and of those with a wish that also have an aversion.
    told
        Share of the windows whose instruction tells the profile.
    remarks
        Share of the windows whose instruction has words of another one beside it.
    quiet
        Weight of the variance, over the items, of what the attention to the instruction adds where nothing is wished
        for or unwanted: wording alone shall not move a list.
    smoothing
        Label smoothing; without a teacher only.
    teacher
        Whose expectation is taught at every position, beside what came, in the share `trust`: under a wish among the
        items that fit it, so that every position is an answer. The loss is then the divergence from it.
    places
        Of each user, the places of the events that are asked about: int64, rising. Each window then has one of them,
        and asks about no other events. By default all are.

    References
    ----------
    All positions at once: Kang and McAuley, "Self-attentive sequential recommendation", 2018; the full
    softmax: Klenitskiy and Vasilev, "Turning dross into gold loss", 2023.
    """

    name = "item_tokens"
    apart = False

    def __init__(
        self,
        tokens: ItemTokens,
        encoder: PromptEncoder,
        prompter: Prompter,
        users: Sequence[Person],
        facets: Facets,
        *,
        wishes: float = 0.35,
        aversions: float = 0.35,
        told: float = 0.5,
        remarks: float = 0.0,
        quiet: float = 0.0,
        smoothing: float = 0.0,
        teacher: Teacher | None = None,
        trust: float = 0.8,
        places: Sequence[NDArray[np.int64]] | None = None,
    ) -> None:
        self.tokens = tokens
        self.encoder = encoder
        self.prompter = prompter
        usable = [at for at, user in enumerate(users) if len(user.items) >= 2 and (places is None or len(places[at]))]
        self.users = [users[at] for at in usable]
        self.places = None if places is None else [places[at] for at in usable]
        self.facets = facets
        self.wishes = wishes if len(facets.names) else 0.0
        self.aversions = aversions
        self.told = told
        self.remarks = remarks
        self.quiet = quiet
        self.smoothing = smoothing
        self.teacher = teacher
        self.trust = trust

    def draw(self, rng: np.random.Generator, size: int) -> list[Window]:
        """Draw windows of users drawn without repetition where there are enough; none where there are no users."""
        if not self.users:
            return []
        if size <= len(self.users):
            chosen = rng.choice(len(self.users), size=size, replace=False)
        else:
            chosen = rng.integers(len(self.users), size=size)
        return [
            self._window(self.users[int(user)], None if self.places is None else self.places[int(user)], rng)
            for user in chosen
        ]

    def _window(self, user: Person, places: NDArray[np.int64] | None, rng: np.random.Generator) -> Window:
        width = self.tokens.settings.window
        count = len(user.items)
        if places is None:
            end = count if count <= width + 1 or rng.random() < 0.3 else int(rng.integers(width + 1, count + 1))
        else:
            place = int(rng.choice(places))
            end = int(rng.integers(place + 1, min(count, place + width) + 1))
        first = max(0, end - width - 1)
        items = user.items[first : end - 1]
        targets = user.items[first:end].copy()
        if first > 0:  # what comes after nothing is asked only where nothing came before
            targets[0] = _NOT_ASKED
        if places is not None:
            targets[~np.isin(np.arange(first, end), places)] = _NOT_ASKED
        language = int(rng.integers(len(self.prompter.templates)))
        wish, avoid, fitting = "", "", np.ones(self.tokens.n_items, dtype=bool)
        if rng.random() < self.wishes:
            wish, avoid, fitting = self._ask(targets, rng, language)
        asked = targets >= 0
        targets = np.where(asked & fitting[user.items[first:end]], targets, _NOT_ASKED)
        told = bool(rng.random() < self.told)
        known = user.before(first)
        task = self.prompter.item_tokens(known, 0, wish=wish, avoid=avoid, told=told, language=language)
        prompt = self.prompter.word(task, rng, language=language).prompt
        if rng.random() < self.remarks:
            beside = [prompt, self.prompter.remark(rng, language=language)]
            prompt = " ".join(beside if rng.random() < 0.5 else beside[::-1]).strip()
        if self.teacher is None:
            return Window(items, targets, prompt, wish != "")
        return Window(items, targets, prompt, wish != "", self._taught(user.items[:end], asked, targets, fitting))

    def _taught(
        self, history: NDArray[np.int64], asked: NDArray[np.bool_], targets: NDArray[np.int64],
        fitting: NDArray[np.bool_],
    ) -> NDArray[np.float32]:  # fmt: skip
        """What is taught at each position: zeros where nothing is asked."""
        assert self.teacher is not None
        n_items = self.tokens.n_items
        places = np.flatnonzero(asked)
        ends = len(history) - len(targets) + places
        known = [history[:end] for end in ends]
        possible = np.tile(fitting, (len(places), 1))
        came = np.zeros(possible.shape)
        for row, (seen, target) in enumerate(zip(known, targets[places], strict=True)):
            possible[row, seen] = False
            if target != _NOT_ASKED:
                possible[row, target] = True
                came[row, target] = 1.0
        taught = np.zeros((len(targets), n_items), dtype=np.float32)
        taught[places] = blended(beliefs(self.teacher(known), possible), came, self.trust)
        return taught

    def _ask(
        self, targets: NDArray[np.int64], rng: np.random.Generator, language: int
    ) -> tuple[str, str, NDArray[np.bool_]]:
        """Draw a wish from one of the answers: its words, those of an aversion, and which items fit both."""
        members = self.facets.members
        everything = np.ones(self.tokens.n_items, dtype=bool)
        open_ = targets[targets >= 0]
        wanted = np.flatnonzero(members[rng.choice(open_)])
        if not len(wanted):
            return "", "", everything
        facet = int(rng.choice(wanted))
        fitting = members[:, facet].copy()
        wish = self.prompter.wish_words(self.facets.names[facet], rng, language=language)
        avoid = ""
        if rng.random() < self.aversions:
            # Something that some answers have and others lack: else the aversion would say nothing.
            has = members[open_]
            unwanted = np.flatnonzero(has.any(axis=0) & ~has[has[:, facet]].all(axis=0))
            unwanted = unwanted[unwanted != facet]
            if len(unwanted):
                other = int(rng.choice(unwanted))
                fitting &= ~members[:, other]
                avoid = self.prompter.wish_words(self.facets.names[other], language=language)
        return wish, avoid, fitting

    def prepare(self, examples: list[Window]) -> PreparedWindows:
        """Lay the windows side by side."""
        cpu = torch.device("cpu")
        items, _ = pad_histories([example.items for example in examples], self.tokens.settings.window, cpu)
        shape = len(items), items.shape[1] + 1
        targets = torch.full(shape, _NOT_ASKED, dtype=torch.long)
        taught = None if self.teacher is None else torch.zeros(*shape, self.tokens.n_items)
        for row, example in enumerate(examples):
            targets[row, : len(example.targets)] = torch.from_numpy(example.targets)
            if taught is not None and example.beliefs is not None:
                taught[row, : len(example.beliefs)] = torch.from_numpy(example.beliefs)
        worded = torch.tensor([example.worded for example in examples])
        return PreparedWindows(items, targets, taught, worded, [example.prompt for example in examples])

    def loss(self, prepared: PreparedWindows) -> LossSum:
        """Sum the cross-entropy, or the divergence from what is taught, over the asked positions."""
        tokens = self.tokens
        device = tokens.bias.device
        states = tokens(prepared.items.to(device), *self.encoder.encode(prepared.prompts))
        outputs = tokens.outputs()
        if prepared.taught is None:
            targets = prepared.targets.to(device)
            asked = targets != _NOT_ASKED
            total = functional.cross_entropy(
                tokens.logits(states[asked], outputs).float(), targets[asked], reduction="sum",
                label_smoothing=self.smoothing,
            )  # fmt: skip
        else:
            taught = prepared.taught.to(device)
            asked = taught.sum(dim=2) > 0
            logits = tokens.logits(states[asked], outputs).float().log_softmax(dim=1)
            total = functional.kl_div(logits, taught[asked], reduction="sum")
        if self.quiet:
            plain = ~prepared.worded.to(device)
            total = total + self.quiet * tokens.swayed(states[asked & plain[:, None]], outputs).sum()
        return LossSum(total, float(asked.sum()))
