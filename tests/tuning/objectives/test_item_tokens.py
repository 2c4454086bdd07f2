"""Windows of histories under instructions: what is asked, what is told, and what it costs."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from losses import loss_of

from flanrec.backbone import Backbone
from flanrec.backbone.prompts import PromptEncoder
from flanrec.catalogue import Catalogue
from flanrec.catalogue.facets import Facets
from flanrec.catalogue.factors import transition_factors
from flanrec.catalogue.item_tokens import ItemTokens, ItemTokenSettings
from flanrec.catalogue.people import Person, people
from flanrec.catalogue.prompter import Prompter
from flanrec.data.dataset import Dataset
from flanrec.instructions import Templates
from flanrec.tuning.objectives.item_tokens import ItemTokenObjective, Window

WIDTH = 5
seeds = st.integers(0, 2**32 - 1)
quick = settings(max_examples=60, deadline=None)

PROBE = """
family = "item_tokens"
language = "en"
[[templates]]
id = "probe"
prompt = "Next?[[ WISH<{wish}>]][[ AVOID<{avoid}>]][[ TOLD<{profile}>]]"
"""


@pytest.fixture(scope="module")
def tokens(backbone: Backbone, small_catalogue: Catalogue, small_dataset: Dataset) -> ItemTokens:
    torch.manual_seed(0)
    shape = ItemTokenSettings(layers=1, window=WIDTH, rank=16, damping=1.0)
    factors = transition_factors(small_dataset.sequences(), shape.rank)
    return ItemTokens.build(backbone, small_catalogue, factors, shape).eval()


@pytest.fixture(scope="module")
def probing(small_prompter: Prompter, tmp_path_factory: pytest.TempPathFactory) -> Prompter:
    """A prompter whose one template marks what it was told."""
    path: Path = tmp_path_factory.mktemp("templates") / "probe.toml"
    path.write_text(PROBE, encoding="utf-8")
    loaded = Templates.load("en", [path])
    only = Templates("en", tuple(one for one in loaded.templates if one.id == "probe"), loaded.wording)
    return replace(small_prompter, templates=(only,))


def make(
    tokens: ItemTokens, backbone: Backbone, prompter: Prompter, users: list[Person], **options: Any
) -> ItemTokenObjective:
    facets = options.pop("facets", None) or Facets.of(prompter.catalogue)
    return ItemTokenObjective(tokens, PromptEncoder(backbone), prompter, users, facets, **options)


def said(mark: str, window: Window) -> str:
    found = re.search(f"{mark}<(.*?)>", window.prompt)
    return found[1] if found else ""


def asked_for(words: str, facets: Facets) -> int | None:
    """The column that a wish or an aversion names."""
    if not words:
        return None
    (column,) = [at for at, name in enumerate(facets.names) if name.casefold() in words.casefold().split()]
    return column


@quick
@given(seed=seeds, user=st.integers(0, 39))
def test_a_window_asks_for_what_came_next_at_every_position(
    tokens: ItemTokens, backbone: Backbone, probing: Prompter, small_dataset: Dataset, seed: int, user: int
) -> None:
    person = people(small_dataset, [f"u{user}"])[0]
    (window,) = make(tokens, backbone, probing, [person], wishes=0).draw(np.random.default_rng(seed), 1)
    history = person.items.tolist()
    first = history.index(window.items[0])
    end = first + len(window.items)
    assert len(window.items) <= WIDTH
    assert window.items.tolist() == history[first:end]
    assert window.targets[1:].tolist() == history[first + 1 : end + 1]
    # What comes after nothing is asked only where nothing came before.
    assert window.targets[0] == (history[0] if first == 0 else -100)


@quick
@given(seed=seeds, user=st.integers(0, 39))
def test_the_profile_covers_only_events_before_the_window(
    tokens: ItemTokens, backbone: Backbone, probing: Prompter, small_dataset: Dataset, seed: int, user: int
) -> None:
    person = people(small_dataset, [f"u{user}"])[0]
    objective = make(tokens, backbone, probing, [person], told=1.0, wishes=0.0)
    (window,) = objective.draw(np.random.default_rng(seed), 1)
    first = person.items.tolist().index(window.items[0])
    assert said("TOLD", window) == probing.item_tokens(person.before(first), 0).fields["profile"]
    if first == 0:
        assert "like" not in said("TOLD", window)


@quick
@given(seed=seeds, user=st.integers(0, 39))
def test_a_wish_asks_exactly_the_positions_that_fit_it_and_are_not_to_be_avoided(
    tokens: ItemTokens, backbone: Backbone, probing: Prompter, small_dataset: Dataset, seed: int, user: int
) -> None:
    person = people(small_dataset, [f"u{user}"])[0]
    objective = make(tokens, backbone, probing, [person], wishes=1.0, aversions=1.0, told=0.0)
    members = objective.facets.members
    (window,) = objective.draw(np.random.default_rng(seed), 1)
    history = person.items.tolist()
    first = history.index(window.items[0])
    following = history[first : first + len(window.targets)]
    wish = asked_for(said("WISH", window), objective.facets)
    avoid = asked_for(said("AVOID", window), objective.facets)
    assert wish is not None
    assert wish != avoid
    for at, item in enumerate(following):
        fits = members[item, wish] and (avoid is None or not members[item, avoid]) and (at > 0 or first == 0)
        assert window.targets[at] == (item if fits else -100)
    assert (window.targets >= 0).any()
    if avoid is not None:  # an aversion against what nobody took would say nothing
        assert members[following[int(first > 0) :], avoid].any()


def test_shares_of_wishes_aversions_and_profiles_are_those_asked_for(
    tokens: ItemTokens, backbone: Backbone, probing: Prompter, small_dataset: Dataset
) -> None:
    objective = make(tokens, backbone, probing, people(small_dataset), wishes=0.4, aversions=0.5, told=0.25)
    windows = objective.draw(np.random.default_rng(0), 1500)
    wished = [window for window in windows if said("WISH", window)]
    assert len(wished) / 1500 == pytest.approx(0.4, abs=0.05)
    assert sum(bool(said("AVOID", window)) for window in wished) / len(wished) == pytest.approx(0.5, abs=0.07)
    assert sum(bool(said("TOLD", window)) for window in windows) / 1500 == pytest.approx(0.25, abs=0.05)
    assert not any(said("AVOID", window) for window in windows if not said("WISH", window))


def test_no_title_ever_stands_in_an_instruction(
    tokens: ItemTokens, backbone: Backbone, small_prompter: Prompter, small_dataset: Dataset
) -> None:
    both = replace(small_prompter, templates=(Templates.load("en"), Templates.load("zh")))
    windows = make(tokens, backbone, both, people(small_dataset), told=1.0).draw(np.random.default_rng(0), 400)
    assert not any(title in window.prompt for window in windows for title in small_prompter.catalogue.titles)
    assert len({window.prompt for window in windows}) > 200


def test_the_rng_alone_decides(
    tokens: ItemTokens, backbone: Backbone, small_prompter: Prompter, small_dataset: Dataset
) -> None:
    objective = make(tokens, backbone, small_prompter, people(small_dataset))
    first = objective.draw(np.random.default_rng(7), 30)
    objective.draw(np.random.default_rng(8), 30)
    again = objective.draw(np.random.default_rng(7), 30)
    for one, other in zip(first, again, strict=True):
        assert one.prompt == other.prompt
        assert one.items.tolist() == other.items.tolist()
        assert one.targets.tolist() == other.targets.tolist()


def test_users_come_once_a_batch_where_there_are_enough_and_short_ones_never(
    tokens: ItemTokens, backbone: Backbone, small_prompter: Prompter
) -> None:
    users = [Person.new([item, (item + 1) % 28]) for item in range(12)]
    objective = make(tokens, backbone, small_prompter, [*users, Person.new([28]), Person.new()])
    drawn = objective.draw(np.random.default_rng(0), 12)
    assert sorted(int(window.items[0]) for window in drawn) == list(range(12))
    assert len(objective.draw(np.random.default_rng(0), 50)) == 50
    assert make(tokens, backbone, small_prompter, [Person.new([28])]).draw(np.random.default_rng(0), 4) == []


def test_without_facets_nothing_is_wished_for(
    tokens: ItemTokens, backbone: Backbone, probing: Prompter, small_dataset: Dataset
) -> None:
    none = Facets.of(probing.catalogue, fewest=31)
    objective = make(tokens, backbone, probing, people(small_dataset), facets=none, wishes=1.0)
    assert not any(said("WISH", window) for window in objective.draw(np.random.default_rng(0), 40))


def cost_by_hand(objective: ItemTokenObjective, window: Window) -> float:
    """One window by itself, position by position."""
    prompt = PromptEncoder(objective.encoder.backbone).encode([window.prompt])
    with torch.no_grad():
        states = objective.tokens(torch.tensor(window.items)[None], *prompt)
        steps = objective.tokens.logits(states)[0].log_softmax(-1)
    return -sum(float(steps[at, item]) for at, item in enumerate(window.targets) if item >= 0)


def test_the_loss_is_the_sum_over_asked_positions_whatever_stands_beside(
    tokens: ItemTokens, backbone: Backbone, small_prompter: Prompter, small_dataset: Dataset
) -> None:
    short = [Person.new([4, 5]), Person.new([9, 10, 11])]
    objective = make(tokens, backbone, small_prompter, [*people(small_dataset)[:6], *short], wishes=0.5)
    windows = objective.draw(np.random.default_rng(3), 8)
    assert len({len(window.items) for window in windows}) > 1
    with torch.no_grad():
        loss = loss_of(objective, windows)
    assert loss.count == sum(int((window.targets >= 0).sum()) for window in windows)
    assert float(loss.total) == pytest.approx(sum(cost_by_hand(objective, one) for one in windows), rel=1e-3)


def test_what_is_not_asked_does_not_count(tokens: ItemTokens, backbone: Backbone, small_prompter: Prompter) -> None:
    objective = make(tokens, backbone, small_prompter, [Person.new([1, 2])])
    nothing = Window(np.array([1, 2]), np.array([-100, -100, -100]), "Next?")
    some = Window(np.array([1, 2]), np.array([-100, 2, -100]), "Next?")
    with torch.no_grad():
        assert float(loss_of(objective, [nothing]).total) == loss_of(objective, [nothing]).count == 0
        both = loss_of(objective, [nothing, some])
    assert both.count == 1
    assert float(both.total) == pytest.approx(cost_by_hand(objective, some), rel=1e-3)


def test_the_encoder_gets_no_gradient_and_the_attention_to_words_does(
    tokens: ItemTokens, backbone: Backbone, small_prompter: Prompter, small_dataset: Dataset
) -> None:
    learner = copy.deepcopy(tokens).train()
    objective = make(learner, backbone, small_prompter, people(small_dataset), wishes=1.0)
    loss_of(objective, objective.draw(np.random.default_rng(0), 8)).total.backward()  # type: ignore[no-untyped-call]
    for name in ("learned_input", "learned_output", "bias", "start", "mix.weight", "text_map.weight"):
        gradient = learner.get_parameter(name).grad
        assert gradient is not None
        assert float(gradient.abs().max()) > 0, name
    assert all(parameter.grad is None for parameter in backbone.model.parameters())


def test_a_few_steps_teach_what_a_wish_means(tokens: ItemTokens, backbone: Backbone, small_prompter: Prompter) -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    learner = copy.deepcopy(tokens)
    facets = Facets.of(small_prompter.catalogue)
    # Histories that tell nothing of what comes next: only the wish does.
    users = [Person.new(rng.integers(28, size=8)) for _ in range(64)]
    objective = make(learner, backbone, small_prompter, users, wishes=0.9, aversions=0.0, told=0.0)
    optimiser = torch.optim.AdamW(learner.parameters(), lr=2e-3)
    for _ in range(20):
        optimiser.zero_grad()
        loss = loss_of(objective, objective.draw(rng, 32))
        (loss.total / loss.count).backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimiser.step()
    history = torch.tensor([[3, 4, 5]])
    shares = []
    for wish in ("comedy", "drama"):
        prompt = small_prompter.word(small_prompter.item_tokens(Person.new(), WIDTH, wish=wish)).prompt
        with torch.no_grad():
            chances = learner.logits(learner(history, *objective.encoder.encode([prompt])))[0, -1].softmax(-1)
        shares.append([float(chances[torch.from_numpy(facets.members[:, column])].sum()) for column in (0, 1)])
    (comedy_asked, drama_unasked), (comedy_unasked, drama_asked) = shares
    assert comedy_asked > 1.5 * comedy_unasked
    assert drama_asked > 1.5 * drama_unasked


def leaning(n_items: int, towards: int) -> Any:
    """A teacher who expects one item, and the others alike."""
    likely = np.zeros(n_items, dtype=np.float32)
    likely[towards] = 3.0
    return lambda histories: np.tile(likely, (len(histories), 1))


@quick
@given(seed=seeds, user=st.integers(0, 39))
def test_a_teacher_is_heard_at_every_position_among_unseen_items_that_fit(
    tokens: ItemTokens, backbone: Backbone, probing: Prompter, small_dataset: Dataset, seed: int, user: int
) -> None:
    person = people(small_dataset, [f"u{user}"])[0]
    teacher = leaning(tokens.n_items, 4)
    objective = make(
        tokens, backbone, probing, [person], wishes=0.7, aversions=0.5, told=0.0, teacher=teacher, trust=0.75
    )
    members = objective.facets.members
    (window,) = objective.draw(np.random.default_rng(seed), 1)
    assert window.beliefs is not None
    history = person.items.tolist()
    first = history.index(window.items[0])
    wish = asked_for(said("WISH", window), objective.facets)
    avoid = asked_for(said("AVOID", window), objective.facets)
    for at, row in enumerate(window.beliefs):
        if at == 0 and first > 0:
            assert not row.any()
            continue
        target = history[first + at]
        seen = set(history[: first + at])
        fits = [
            item
            for item in range(tokens.n_items)
            if (wish is None or members[item, wish]) and (avoid is None or not members[item, avoid])
        ]
        open_ = [item for item in fits if item not in seen or item == target]
        assert set(np.flatnonzero(row)) <= set(open_)
        if not open_:
            assert not row.any()
            continue
        assert row.sum() == pytest.approx(1.0, abs=1e-5)
        expected = np.array([np.exp(3.0) if item == 4 else 1.0 for item in open_])
        expected /= expected.sum()
        if target in fits:
            expected = 0.75 * expected + 0.25 * (np.array(open_) == target)
            assert window.targets[at] == target
        np.testing.assert_allclose(row[open_], expected, atol=1e-5)


def test_the_loss_is_the_divergence_from_what_is_taught(
    tokens: ItemTokens, backbone: Backbone, small_prompter: Prompter, small_dataset: Dataset
) -> None:
    objective = make(
        tokens, backbone, small_prompter, people(small_dataset), teacher=leaning(tokens.n_items, 2), wishes=0.5
    )
    windows = objective.draw(np.random.default_rng(3), 4)
    with torch.no_grad():
        loss = loss_of(objective, windows)
    total, count = 0.0, 0
    for window in windows:
        assert window.beliefs is not None
        prompt = PromptEncoder(objective.encoder.backbone).encode([window.prompt])
        with torch.no_grad():
            chances = tokens.logits(tokens(torch.tensor(window.items)[None], *prompt))[0].log_softmax(-1).double()
        for row, own in zip(window.beliefs.astype(np.float64), chances.numpy(), strict=True):
            here = row > 0
            total += float((row[here] * (np.log(row[here]) - own[here])).sum())
            count += bool(here.any())
    assert loss.count == count
    assert float(loss.total) == pytest.approx(total, rel=1e-3)


def test_wording_that_asks_for_nothing_is_penalised_by_how_far_it_moves_the_items(
    tokens: ItemTokens, backbone: Backbone, small_prompter: Prompter
) -> None:
    users = [Person.new([1, 2, 3])]
    plain, quiet = (make(tokens, backbone, small_prompter, users, quiet=quiet) for quiet in (0.0, 2.0))
    window = Window(np.array([1, 2]), np.array([1, 2, -100]), "Next?")
    with torch.no_grad():
        states = tokens(torch.tensor([[1, 2]]), *plain.encoder.encode(["Next?"]))[0, :2]
        outputs = tokens.outputs()
        width = tokens.start.shape[0]
        moved = (states[:, width:] @ outputs[:, width:].t()).numpy()
        before, after = loss_of(plain, [window]), loss_of(quiet, [window])
        worded = loss_of(quiet, [replace(window, worded=True)])
    assert float(after.total - before.total) == pytest.approx(2 * float(moved.var(axis=1).sum()), rel=1e-3)
    assert float(worded.total) == pytest.approx(float(before.total), rel=1e-5)
    assert float(moved.var(axis=1).sum()) > 0


def test_windows_say_whether_something_is_asked_and_remarks_stand_beside(
    tokens: ItemTokens, backbone: Backbone, probing: Prompter, small_dataset: Dataset
) -> None:
    objective = make(tokens, backbone, probing, people(small_dataset), wishes=0.5, remarks=0.4, told=0.5)
    windows = objective.draw(np.random.default_rng(0), 800)
    assert all(window.worded == bool(said("WISH", window)) for window in windows)
    beside = [window for window in windows if not (window.prompt.startswith("Next?") and len(window.prompt) < 6)]
    assert beside


def test_attention_that_finds_nothing_says_nothing(
    tokens: ItemTokens, backbone: Backbone, small_prompter: Prompter
) -> None:
    deaf = copy.deepcopy(tokens)
    with torch.no_grad():
        deaf.nothing.fill_(50.0)
        prompt = PromptEncoder(backbone).encode(["The user wants comedy."])
        width = deaf.start.shape[0]
        assert float(deaf(torch.tensor([[1, 2]]), *prompt)[..., width:].abs().max()) < 1e-6
        assert float(tokens(torch.tensor([[1, 2]]), *prompt)[..., width:].abs().max()) > 1e-3
