"""Instructions and item texts, against the paper's formula on transformers' own encoder."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from learning import learn
from losses import loss_of
from torch.nn import functional

from flanrec.backbone import Backbone
from flanrec.errors import SettingsError
from flanrec.tuning import Processes, Weighted
from flanrec.tuning.batches import BatchPlan
from flanrec.tuning.objective import Predicting
from flanrec.tuning.objectives.contrastive import ContrastiveObjective, Meeting

TEXTS = [
    "Alien (1979) horror",
    "Heat (1995) crime",
    "Ed Wood (1994) comedy",
    "Toy Story (1995) animation",
    "Fargo (1996)",
]
SHARES = np.log([0.4, 0.3, 0.15, 0.1, 0.05])
FIRST = (
    Meeting("Someone watched Aliens and wants more of it.", 0, (4,), (0, 2)),
    Meeting("History: Jaws. What comes next?", 2, (), (2,)),
    Meeting("History: Casino; GoodFellas. What comes next?", 1, (3,), (1, 4)),
)
SECOND = (Meeting("A family wants to laugh.", 3, (2,), (3,)), Meeting("Which movie is next?", 0, (), (0, 1)))


def unasked(_: np.random.Generator) -> Meeting:
    raise AssertionError("the loss draws nothing")


def objective(backbone: Backbone, **options: float) -> ContrastiveObjective:
    return ContrastiveObjective(backbone, unasked, TEXTS, SHARES, **options)  # type: ignore[arg-type]


def direction(backbone: Backbone, text: str) -> torch.Tensor:
    ids = torch.tensor([backbone.tokenizer(text)["input_ids"]])
    with torch.no_grad():
        mean = backbone.model.get_encoder()(input_ids=ids).last_hidden_state[0].double().mean(dim=0)
    return mean / mean.norm()


def by_hand(backbone: Backbone, group: tuple[Meeting, ...], temperature: float) -> float:
    """Each own item among those of the group, hard negatives included, that the user does not have."""
    offered = [one.item for one in group] + [item for one in group for item in one.hard]
    total = 0.0
    for meeting in group:
        user = direction(backbone, meeting.prompt)
        others = [item for item in offered if item not in meeting.known]
        logits = torch.stack([
            user @ direction(backbone, TEXTS[item]) / temperature - SHARES[item] for item in [meeting.item, *others]
        ])  # fmt: skip
        total -= float(logits.log_softmax(dim=0)[0])
    return total


@pytest.mark.parametrize("temperature", [0.05, 1.0])
def test_the_loss_is_that_of_cosines_corrected_by_popularity(backbone: Backbone, temperature: float) -> None:
    contrastive = objective(backbone, temperature=temperature)
    assert isinstance(contrastive, Predicting)
    with torch.no_grad():
        alone, both = loss_of(contrastive, [FIRST]), loss_of(contrastive, [FIRST, SECOND])
    expected = [by_hand(backbone, group, temperature) for group in (FIRST, SECOND)]
    assert float(alone.total) == pytest.approx(expected[0], rel=1e-3)
    # Meetings of different groups are not compared, however they are sliced.
    assert float(both.total) == pytest.approx(sum(expected), rel=1e-3)
    assert (alone.count, both.count) == (3.0, 5.0)


def test_under_autocast_cosines_stay_float32(backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    directions = functional.normalize(torch.randn(9, 64, generator=torch.Generator().manual_seed(3)), dim=1)
    place = f"{ContrastiveObjective.__module__}._directions"
    monkeypatch.setattr(place, lambda backbone, ids, mask: directions[: len(ids)])
    with torch.no_grad():
        plain = loss_of(objective(backbone), [FIRST, SECOND])
        with torch.autocast("cpu", torch.bfloat16):
            cast = loss_of(objective(backbone), [FIRST, SECOND])
    assert float(cast.total) == float(plain.total)


def test_items_that_the_user_has_and_the_same_item_of_others_are_no_negatives(backbone: Backbone) -> None:
    twice = (FIRST[0], Meeting("Another one.", 0, (1,), (0,)), Meeting("And one more.", 2, (), (2,)))
    prepared = objective(backbone).prepare([twice])
    # Candidates: the items 0, 0 and 2 that were met, then the hard negatives 4 and 1.
    assert prepared.compared.tolist() == [
        [True, False, False, True, True],
        [False, True, True, True, True],
        [True, True, True, True, True],
    ]
    assert len(prepared.text_ids) == 4


def test_each_text_is_read_once(backbone: Backbone) -> None:
    read: list[int] = []
    hook = backbone.model.get_encoder().final_layer_norm.register_forward_pre_hook(
        lambda _, given: read.append(len(given[0]))
    )
    try:
        with torch.no_grad():
            loss_of(objective(backbone), [FIRST, SECOND])
    finally:
        hook.remove()
    prompts = sum(backbone.token_count(one.prompt) for one in (*FIRST, *SECOND))
    assert read == [prompts, sum(map(backbone.token_count, TEXTS))]


def test_what_is_prepared_is_the_same_whatever_the_weights(
    backbone: Backbone, fresh_backbone: Callable[[], Backbone]
) -> None:
    other = fresh_backbone()
    with torch.no_grad():
        other.model.get_input_embeddings().weight.zero_()
    one, two = (objective(each).prepare([FIRST, SECOND]) for each in (backbone, other))
    assert all(torch.equal(first, second) for first, second in zip(one, two, strict=True))


def test_a_few_steps_bring_instructions_nearer_to_what_was_met(fresh_backbone: Callable[[], Backbone]) -> None:
    learner = fresh_backbone()
    contrastive = objective(learner)
    with torch.no_grad():
        before = float(loss_of(contrastive, [FIRST, SECOND]).total)
    learn(contrastive, learner, [FIRST, SECOND])
    with torch.no_grad():
        assert float(loss_of(contrastive, [FIRST, SECOND]).total) < 0.7 * before


@pytest.mark.parametrize(("size", "lengths"), [(8, [4, 4]), (10, [3, 4, 3]), (3, [3]), (0, [])])
def test_a_batch_is_drawn_in_groups_that_follow_from_the_rng(backbone: Backbone, size: int, lengths: list[int]) -> None:
    every = [*FIRST, *SECOND]
    contrastive = ContrastiveObjective(backbone, lambda rng: every[int(rng.integers(5))], TEXTS, SHARES, group=4)
    groups = contrastive.draw(np.random.default_rng(1), size)
    assert [len(group) for group in groups] == lengths
    assert contrastive.draw(np.random.default_rng(1), size) == groups
    whole = ContrastiveObjective(backbone, lambda rng: every[int(rng.integers(5))], TEXTS, SHARES)
    assert [one for group in whole.draw(np.random.default_rng(1), size) for one in group] == [
        one for group in groups for one in group
    ]
    assert len(whole.draw(np.random.default_rng(1), size)) == min(size, 1)


def test_a_group_of_one_and_a_temperature_of_nothing_are_refused(backbone: Backbone) -> None:
    with pytest.raises(SettingsError, match="at least 2"):
        objective(backbone, group=1)
    with pytest.raises(SettingsError, match="above 0"):
        objective(backbone, temperature=0)


def test_slices_of_a_batch_hold_whole_groups(backbone: Backbone) -> None:
    every = [*FIRST, *SECOND]
    contrastive = ContrastiveObjective(backbone, lambda rng: every[int(rng.integers(5))], TEXTS, SHARES, group=4)
    one, two = (
        BatchPlan([Weighted(contrastive)], 7, batch_size, accumulation, Processes())[3]
        for batch_size, accumulation in ((8, 1), (4, 2))
    )
    assert [len(piece.prepared.ids) for piece in one.slices] == [8]
    assert [len(piece.prepared.ids) for piece in two.slices] == [4, 4]
    with torch.no_grad():
        whole = float(contrastive.loss(one.slices[0].prepared).total)
        parts = sum(float(contrastive.loss(piece.prepared).total) for piece in two.slices)
    assert parts == pytest.approx(whole, rel=1e-4)
