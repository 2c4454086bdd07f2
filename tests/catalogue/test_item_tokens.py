"""The item-token reading on the real checkpoint: causal, free of padding, and a fair recommender from the start."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.backbone.adapters import AdapterMethod, AdapterSettings, add_adapter
from flanrec.backbone.attachments import attached
from flanrec.backbone.prompts import PromptEncoder, mean_embeddings
from flanrec.catalogue import Catalogue
from flanrec.catalogue.factors import TransitionFactors, transition_factors
from flanrec.catalogue.int8_tokens import int8_reader
from flanrec.catalogue.item_texts import item_texts
from flanrec.catalogue.item_tokens import ItemTokens, ItemTokenSettings, pad_histories
from flanrec.data.dataset import Dataset

SETTINGS = ItemTokenSettings(layers=2, window=8, rank=28, damping=1.0)
PROMPTS = ["The user wants comedy.", "Continue the list of movies that this person picked."]


@pytest.fixture(scope="module")
def factors(small_dataset: Dataset) -> TransitionFactors:
    return transition_factors(small_dataset.sequences(), SETTINGS.rank, damping=SETTINGS.damping)


@pytest.fixture(scope="module")
def tokens(backbone: Backbone, small_catalogue: Catalogue, factors: TransitionFactors) -> ItemTokens:
    torch.manual_seed(0)
    return ItemTokens.build(backbone, small_catalogue, factors, SETTINGS).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def listening(tokens: ItemTokens) -> ItemTokens:
    """The same with its attention to the instruction opened, as tuning opens it."""
    opened = copy.deepcopy(tokens)
    torch.manual_seed(1)
    torch.nn.init.normal_(opened.mix.weight, std=0.2)
    return opened


@pytest.fixture(scope="module")
def prompts(backbone: Backbone) -> tuple[Tensor, ...]:
    return PromptEncoder(backbone).encode(PROMPTS)


def states_of(tokens: ItemTokens, histories: list[list[int]], prompts: tuple[Tensor, ...]) -> Tensor:
    items, _ = pad_histories(histories, SETTINGS.window, torch.device("cpu"))
    with torch.no_grad():
        result: Tensor = tokens(items, *prompts)
    return result


def test_the_last_states_alone_are_those_of_all(listening: ItemTokens, prompts: tuple[Tensor, ...]) -> None:
    histories = [[3, 1, 4], [2]]
    items, lengths = pad_histories(histories, SETTINGS.window, torch.device("cpu"))
    with torch.no_grad():
        last = listening(items, *prompts, lengths)
    expected = states_of(listening, histories, prompts)[torch.arange(len(histories)), lengths]
    torch.testing.assert_close(last[:, 0], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("method", ["adapter", "prefix-tuning"])
def test_what_the_backbone_carries_stays_with_the_backbone(
    method: AdapterMethod, tokens: ItemTokens, factors: TransitionFactors, small_catalogue: Catalogue,
    fresh_backbone: Callable[[], Backbone],
) -> None:  # fmt: skip
    carrying = add_adapter(fresh_backbone(), AdapterSettings(method=method))
    built = ItemTokens.build(carrying, small_catalogue, factors, SETTINGS).decoder.state_dict()
    plain = tokens.decoder.state_dict()
    assert built.keys() == plain.keys()
    for name, value in built.items():
        assert torch.equal(value, plain[name]), name
    assert attached(carrying.model) is not None


def test_there_is_one_state_a_position_and_one_before_any_item(tokens: ItemTokens, prompts: tuple[Tensor, ...]) -> None:
    states = states_of(tokens, [[1, 2, 3], [4]], prompts)
    assert states.shape == (2, 4, 512 + 4 * 64)
    assert tokens.outputs().shape == (30, 512 + 4 * 64)
    assert tokens.logits(states).shape == (2, 4, 30)
    assert tokens.n_items == 30
    empty = states_of(tokens, [[], []], prompts)
    assert empty.shape == (2, 1, 512 + 4 * 64)
    torch.testing.assert_close(empty[:, 0], states[:, 0], atol=1e-3, rtol=1e-4)


@settings(max_examples=15, deadline=None)
@given(changed=st.integers(0, 5), item=st.integers(0, 29))
def test_a_later_item_changes_no_earlier_position(
    listening: ItemTokens, prompts: tuple[Tensor, ...], changed: int, item: int
) -> None:
    history = [3, 9, 14, 20, 26, 1]
    other = [*history]
    other[changed] = item
    before = states_of(listening, [history, history], prompts)
    after = states_of(listening, [other, other], prompts)
    # Position t has read the first t items.
    torch.testing.assert_close(after[:, : changed + 1], before[:, : changed + 1], atol=1e-3, rtol=1e-4)
    if item != history[changed]:
        assert float((after[:, changed + 1] - before[:, changed + 1]).abs().max()) > 0.1


def test_neither_padded_items_nor_padded_prompts_change_scores(listening: ItemTokens, backbone: Backbone) -> None:
    encoder = PromptEncoder(backbone)
    histories = [[5, 6], [1, 2, 3, 4, 5, 6, 7, 8]]
    together = listening.logits(states_of(listening, histories, encoder.encode(PROMPTS)))
    for row, (history, prompt) in enumerate(zip(histories, PROMPTS, strict=True)):
        alone = listening.logits(states_of(listening, [history], encoder.encode([prompt])))
        torch.testing.assert_close(together[row, : len(history) + 1], alone[0], atol=2e-3, rtol=1e-4)


def test_the_order_of_a_history_matters(tokens: ItemTokens, prompts: tuple[Tensor, ...]) -> None:
    there, back = (tokens.logits(states_of(tokens, [h, h], prompts))[0, -1] for h in ([4, 5, 6], [6, 5, 4]))
    assert float((there - back).abs().max()) > 0.5


def test_before_any_tuning_it_knows_what_follows_what(tokens: ItemTokens, prompts: tuple[Tensor, ...]) -> None:
    histories = [[item, (item + 1) % 28] for item in range(28)]
    one = tuple(part[1:].expand(28, *part.shape[1:]) for part in prompts)
    best = tokens.logits(states_of(tokens, histories, one))[:, -1].topk(4).indices
    hits = sum((item + 2) % 28 in best[item].tolist() for item in range(28))
    assert hits >= 14  # by chance 4 of 28


def test_scores_start_from_the_popularity(tokens: ItemTokens, factors: TransitionFactors) -> None:
    assert torch.equal(tokens.bias, factors.log_share)
    nothing = torch.zeros(1, 512 + 4 * 64)
    torch.testing.assert_close(tokens.logits(nothing)[0].exp(), factors.log_share.exp())


def test_before_any_tuning_a_word_of_the_wish_speaks_for_items_that_have_it(
    tokens: ItemTokens, small_catalogue: Catalogue, backbone: Backbone
) -> None:
    encoder = PromptEncoder(backbone)

    def scores(wish: str) -> Tensor:
        prompt = f"Recommend the next movie for this user. The user wants {wish}."
        return tokens.logits(states_of(tokens, [[3, 4]], encoder.encode([prompt])))[0, -1]

    comedies = torch.tensor(["Comedy" in names for names in small_catalogue.categories])
    gain = scores("comedy") - scores("nothing")
    assert float(gain[comedies].mean()) > float(gain[~comedies].mean()) + 0.1


def test_the_attention_to_the_instruction_tells_prompts_apart(listening: ItemTokens, backbone: Backbone) -> None:
    encoder = PromptEncoder(backbone)
    first, second = (states_of(listening, [[3, 4]], encoder.encode([prompt]))[..., 512:] for prompt in PROMPTS)
    assert float((first - second).abs().max()) > 0.05


def test_the_backbone_is_copied_and_not_changed(backbone: Backbone, tokens: ItemTokens) -> None:
    original = backbone.model.get_decoder()
    assert len(tokens.decoder.block) == 2
    assert len(original.block) == 8
    assert original.embed_tokens.weight.data_ptr() == backbone.model.shared.weight.data_ptr()
    own = {parameter.data_ptr() for parameter in tokens.parameters()}
    assert own.isdisjoint(parameter.data_ptr() for parameter in backbone.model.parameters())
    taken = tokens.decoder.block[1].layer[2].DenseReluDense
    given = original.block[1].layer[2].DenseReluDense
    torch.testing.assert_close(taken.wi_0.weight, given.wi_0.weight)
    torch.testing.assert_close(taken.wo.weight, given.wo.weight * SETTINGS.block_gain)
    # The two vocabulary tables stay out: they are most of the small model.
    assert all(32128 not in parameter.shape for parameter in tokens.parameters())


def test_the_same_seed_builds_the_same_module(
    backbone: Backbone, small_catalogue: Catalogue, factors: TransitionFactors, tokens: ItemTokens
) -> None:
    torch.manual_seed(0)
    again = ItemTokens.build(backbone, small_catalogue, factors, SETTINGS)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in tokens.state_dict().items())


def test_text_vectors_are_centred_and_as_long_as_the_width_asks(
    tokens: ItemTokens, backbone: Backbone, small_catalogue: Catalogue
) -> None:
    torch.testing.assert_close(tokens.text_input.norm(dim=1), torch.full((30,), 512**0.5), atol=1e-2, rtol=1e-4)
    torch.testing.assert_close(tokens.text_output.mean(dim=0), torch.zeros(512), atol=1e-5, rtol=0)
    plain = mean_embeddings(backbone, item_texts(small_catalogue))
    direction = torch.nn.functional.cosine_similarity(tokens.text_input, plain - plain.mean(dim=0))
    torch.testing.assert_close(direction, torch.ones(30), atol=1e-4, rtol=0)


def test_item_texts_join_title_categories_decade_and_text(small_catalogue: Catalogue, backbone: Backbone) -> None:
    assert item_texts(small_catalogue)[:1] == [
        "Amber Harbour (1980) comedy, adventure 1980s Someone finds a letter, number 0."
    ]
    bare = Catalogue.from_frame(pl.DataFrame({"item_id": [1], "title": ["Heat"]}), backbone.tokenizer)
    assert item_texts(bare) == ["Heat"]


def test_more_layers_or_columns_than_there_are_is_all_there_are(
    backbone: Backbone, small_catalogue: Catalogue, small_dataset: Dataset
) -> None:
    wide = transition_factors(small_dataset.sequences(), 900)
    tokens = ItemTokens.build(backbone, small_catalogue, wide, ItemTokenSettings(layers=99, rank=900))
    assert len(tokens.decoder.block) == 8


def test_dropout_acts_in_training_only(tokens: ItemTokens, prompts: tuple[Tensor, ...]) -> None:
    training = copy.deepcopy(tokens).train()
    first, second = (states_of(training, [[1, 2], [3]], prompts) for _ in range(2))
    assert not torch.equal(first, second)
    first, second = (states_of(tokens, [[1, 2], [3]], prompts) for _ in range(2))
    assert torch.equal(first, second)


class TestEstimateUntouched:
    """The learned part of an untouched item comes from its text."""

    @pytest.fixture
    def module(self, tokens: ItemTokens) -> ItemTokens:
        module = copy.deepcopy(tokens)
        # Item 29 reads word for word like item 4.
        module.text_output[29] = module.text_output[4]
        return module

    @pytest.fixture
    def touched(self) -> Tensor:
        return torch.arange(30) < 28

    def test_an_item_that_reads_like_another_gets_its_vectors(self, module: ItemTokens, touched: Tensor) -> None:
        module.settings = SETTINGS.model_copy(update={"ridge": 1e-7})
        before = {name: value.clone() for name, value in module.state_dict().items()}
        module.estimate_untouched(touched, torch.ones(30))
        for name in ("learned_input", "learned_output", "bias"):
            after = getattr(module, name).detach()
            assert torch.equal(after[:28], before[name][:28])
            torch.testing.assert_close(after[29], after[4], atol=0.02, rtol=0.02)
            assert not torch.equal(after[28], before[name][28])

    def test_a_heavy_ridge_leaves_the_weighted_mean(self, module: ItemTokens, touched: Tensor) -> None:
        module.settings = SETTINGS.model_copy(update={"ridge": 1e9})
        counts = torch.arange(30).float() + 1
        weight = counts[:28].sqrt()
        mean = (module.bias.detach()[:28] * weight).sum() / weight.sum()
        module.estimate_untouched(touched, counts)
        torch.testing.assert_close(module.bias.detach()[28:], mean.expand(2), atol=1e-3, rtol=0)

    @pytest.mark.parametrize("share", [0, 30])
    def test_where_all_or_none_are_touched_nothing_changes(self, module: ItemTokens, share: int) -> None:
        before = {name: value.clone() for name, value in module.state_dict().items()}
        module.estimate_untouched(torch.arange(30) < share, torch.ones(30))
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_histories_are_cut_to_the_newest_and_padded_behind() -> None:
    items, lengths = pad_histories([[1, 2, 3, 4], np.array([5]), []], 3, torch.device("cpu"))
    assert items.tolist() == [[2, 3, 4], [5, 0, 0], [0, 0, 0]]
    assert lengths.tolist() == [3, 1, 0]
    assert pad_histories([], 3, torch.device("cpu"))[0].shape == (0, 0)
    assert pad_histories([[], []], 3, torch.device("cpu"))[0].shape == (2, 0)


def test_settings_refuse_what_they_do_not_know_and_what_cannot_be() -> None:
    for wrong in ({"layer": 3}, {"layers": 0}, {"dropout": 1.0}, {"window": 0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            ItemTokenSettings(**wrong)  # type: ignore[arg-type]


def test_in_int8_histories_are_read_nearly_the_same_and_each_by_itself(
    listening: ItemTokens, prompts: tuple[Tensor, ...]
) -> None:
    reader = int8_reader(listening)
    assert not any(isinstance(module, torch.nn.Linear) for module in reader.decoder.modules())
    assert any(isinstance(module, torch.nn.Linear) for module in listening.decoder.modules())
    assert reader.learned_output is listening.learned_output
    histories = [[3, 1, 4, 1, 5], [2, 6, 5, 3, 5]]
    exact, rounded = states_of(listening, histories, prompts), states_of(reader, histories, prompts)
    assert not torch.equal(exact, rounded)
    assert np.corrcoef(exact.numpy().ravel(), rounded.numpy().ravel())[0, 1] > 0.99
    # Rounding hides what is beside: a state is the same alone, but for the order of sums in float32 between.
    for row in range(2):
        alone = states_of(reader, histories[row : row + 1], tuple(one[row : row + 1] for one in prompts))
        torch.testing.assert_close(alone[0], rounded[row], atol=0.05, rtol=0)
