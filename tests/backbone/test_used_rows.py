"""Rows of the vocabulary as parameters of their own: the same gradients, and tables that are whole again afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from flanrec.backbone import Backbone
from flanrec.backbone.adapters import AdapterSettings, add_adapter, merge
from flanrec.backbone.used_rows import head_rows, trained_rows
from flanrec.backbone.vocabulary import used_rows
from flanrec.catalogue import Catalogue
from flanrec.errors import SettingsError
from flanrec.generation.engines import TorchEngine

PROMPTS = ["A user liked Alien (1979) and Heat (1995). Which movie comes next?", "Which genre is Fargo (1996)?"]
ANSWERS = ["Blade Runner (1982)", "crime"]


def loss(backbone: Backbone) -> Tensor:
    """Transformers' own, over the whole vocabulary."""
    ids, mask = backbone.encode_texts(PROMPTS)
    labels, said = backbone.encode_texts(ANSWERS)
    found: Tensor = backbone.model(
        input_ids=ids, attention_mask=mask, labels=labels.masked_fill(said == 0, -100)
    ).loss  # fmt: skip
    return found


def rows_of(backbone: Backbone) -> NDArray[np.int64]:
    return used_rows(backbone.tokenizer, [*PROMPTS, *ANSWERS, "The Godfather (1972)"])


@torch.no_grad()
def logits(backbone: Backbone) -> Tensor:
    ids, mask = backbone.encode_texts(PROMPTS)
    start = torch.zeros((len(PROMPTS), 1), dtype=torch.long)
    found: Tensor = backbone.model(input_ids=ids, attention_mask=mask, decoder_input_ids=start).logits
    return found


@pytest.fixture(params=["own head", "tied"])
def tuned(request: pytest.FixtureRequest, fresh_backbone: Callable[[], Backbone]) -> Backbone:
    """The real checkpoint with its own head, and the same with its embeddings as the head."""
    backbone = fresh_backbone()
    if request.param == "tied":
        backbone.model.lm_head.weight = backbone.model.shared.weight
        with torch.no_grad():
            backbone.model.shared.weight.mul_(0.05)
    return backbone


def tables(backbone: Backbone) -> list[torch.nn.Parameter]:
    model = backbone.model
    return [model.shared.weight, *([model.lm_head.weight] if backbone.head_is_separate else [])]


def test_gradients_are_those_of_the_whole_tables_at_these_rows(tuned: Backbone) -> None:
    expected_loss = loss(tuned)
    expected = [gradient[rows_of(tuned)] for gradient in torch.autograd.grad(expected_loss, tables(tuned))]
    with trained_rows(tuned, rows_of(tuned)) as parameters:
        assert list(parameters) == (["input", "output"] if tuned.head_is_separate else ["shared"])
        found_loss = loss(tuned)
        found = torch.autograd.grad(found_loss, list(parameters.values()))
    assert found_loss.item() == pytest.approx(expected_loss.item(), rel=1e-6)
    for one, two in zip(found, expected, strict=True):
        assert float(two.abs().amax()) > 0
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-6 * float(two.abs().amax()))


def test_after_steps_the_model_is_whole_again_and_says_the_same(tuned: Backbone) -> None:
    model, rows = tuned.model, rows_of(tuned)
    before = [table.detach().clone() for table in tables(tuned)]
    modules, required = dict(model.named_modules()), [table.requires_grad for table in tables(tuned)]
    separate = tuned.head_is_separate
    with trained_rows(tuned, rows) as parameters:
        assert not any(table.requires_grad for name, table in model.named_parameters() if name.endswith("whole"))
        optimiser = torch.optim.AdamW(parameters.values(), lr=0.1)
        for _ in range(2):
            optimiser.zero_grad()
            loss(tuned).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        state = sum(value.numel() for kept in optimiser.state.values() for value in kept.values())
        assert state <= 2 * len(rows) * model.config.d_model * len(before) + len(before)
        inside, lost = logits(tuned), loss(tuned).item()
    assert {name: id(module) for name, module in model.named_modules()} == {n: id(m) for n, m in modules.items()}
    assert [table.requires_grad for table in tables(tuned)] == required
    assert tuned.head_is_separate == separate
    assert torch.equal(logits(tuned), inside)
    assert loss(tuned).item() == pytest.approx(lost, rel=1e-5)
    others = np.setdiff1d(np.arange(len(before[0])), rows)
    for old, new in zip(before, tables(tuned), strict=True):
        assert torch.equal(old[others], new.detach()[others])
        assert (old[rows_of(tuned)] != new.detach()[rows]).any(dim=1).float().mean() > 0.9


@pytest.mark.parametrize("error", [KeyboardInterrupt, SettingsError])
def test_an_interrupted_block_leaves_the_model_whole(
    fresh_backbone: Callable[[], Backbone], error: type[BaseException]
) -> None:
    backbone = fresh_backbone()
    shared, head = backbone.model.shared, backbone.model.lm_head
    kept: list[Tensor] = []

    def stopped() -> None:
        with trained_rows(backbone, np.array([1, 5, 9])) as parameters, torch.no_grad():
            kept.append(parameters["input"].add_(1.0))
            raise error

    with pytest.raises(error):
        stopped()
    assert backbone.model.shared is shared
    assert backbone.model.lm_head is head
    assert isinstance(backbone.model.encoder.embed_tokens, torch.nn.Embedding)
    assert torch.equal(shared.weight[[1, 5, 9]], kept[0])
    assert shared.weight.requires_grad
    assert head.weight.requires_grad


def test_a_token_that_no_text_announced_is_read_and_said_by_its_frozen_row(
    backbone: Backbone, fresh_backbone: Callable[[], Backbone]
) -> None:
    changed = fresh_backbone()
    rows = np.array([0, 1, 2, 7])
    tokens = torch.tensor([[7, 300], [400, 1]])
    states = torch.randn(3, 512, generator=torch.Generator().manual_seed(0))
    with trained_rows(changed, rows) as parameters:
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.add_(1.0)
        read = changed.model.get_input_embeddings()(tokens)
        said = changed.model.get_output_embeddings()(states)
        some = head_rows(changed.model, torch.tensor([300, 7]))
        gradient = torch.autograd.grad(read.sum() + said.sum() + some.sum(), list(parameters.values()))
    with torch.no_grad():
        were = backbone.model.shared(tokens)
        assert torch.equal(read[[0, 1], [1, 0]], were[[0, 1], [1, 0]])
        torch.testing.assert_close(read[[0, 1], [0, 1]], were[[0, 1], [0, 1]] + 1.0)
        were = backbone.model.lm_head(states)
        moved = (said - were).abs().amax(dim=0) > 1e-3
        assert moved.nonzero()[:, 0].tolist() == rows.tolist()
        assert torch.equal(some[0], backbone.model.lm_head.weight[300])
        torch.testing.assert_close(some[1], backbone.model.lm_head.weight[7] + 1.0)
    assert gradient[0].sum(dim=1).tolist() == [0.0, 512.0, 0.0, 512.0]
    torch.testing.assert_close(gradient[1][3], states.sum(dim=0) + 1.0)


def test_searching_and_judging_see_the_rows_of_the_moment(
    fresh_backbone: Callable[[], Backbone], small_catalogue: Catalogue
) -> None:
    backbone = fresh_backbone()
    engine = TorchEngine(backbone)

    def asked() -> list[NDArray[np.float64]]:
        yes, no = ([int(backbone.tokenizer(word)["input_ids"][0])] for word in ("yes", "no"))
        _, scores = engine.top_titles(PROMPTS, small_catalogue.trie, k=3)
        exact = engine.title_log_probabilities(PROMPTS, small_catalogue.token_rows[:4])
        return [scores, exact, engine.yes_no_logits(PROMPTS, None, yes, no)]

    before = asked()
    with trained_rows(backbone, used_rows(backbone.tokenizer, [*small_catalogue.titles, "yes no"])) as parameters:
        for one, two in zip(asked(), before, strict=True):
            np.testing.assert_array_equal(one, two)
        with torch.no_grad():
            for parameter in parameters.values():
                parameter.mul_(1.3)
        inside = asked()
    for one, two, old in zip(inside, asked(), before, strict=True):
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, old)


def test_under_bf16_autocast_the_loss_is_near_and_gradients_are_float32(tuned: Backbone) -> None:
    with trained_rows(tuned, rows_of(tuned)) as parameters:
        plain = loss(tuned).item()
        with torch.autocast("cpu", torch.bfloat16):
            rounded = loss(tuned)
        gradients = torch.autograd.grad(rounded, list(parameters.values()))
    assert rounded.item() == pytest.approx(plain, rel=0.05)
    assert all(one.dtype == torch.float32 and bool(torch.isfinite(one).all()) for one in gradients)


def test_an_adapter_may_be_trained_beside_the_rows_and_merged(fresh_backbone: Callable[[], Backbone]) -> None:
    adapted = add_adapter(fresh_backbone(), AdapterSettings(rank=2))
    rows = rows_of(adapted)
    with trained_rows(adapted, rows) as parameters:
        names = {name for name, value in adapted.model.named_parameters() if value.requires_grad}
        assert {name.rsplit(".", 1)[-1] for name in names if "lora_" not in name} == {"trained"}
        values = [value for value in adapted.model.parameters() if value.requires_grad]
        optimiser = torch.optim.AdamW(values, lr=0.01)
        for _ in range(2):
            optimiser.zero_grad()
            loss(adapted).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        inside = logits(adapted)
    merged = merge(adapted)
    assert merged.head_is_separate
    assert torch.equal(merged.model.shared.weight[rows], parameters["input"])
    torch.testing.assert_close(logits(merged), inside, atol=1e-3, rtol=1e-4)


def test_every_family_of_models_is_taken(small_t5: Any, backbone: Backbone) -> None:
    small = replace(backbone, model=small_t5)
    ids = torch.arange(2, 20)[None]
    rows = np.arange(0, 60, 2)

    def found(leaves: list[Tensor]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(small_t5(input_ids=ids, labels=ids).loss, leaves)

    expected = found(tables(small))
    with trained_rows(small, rows) as parameters:
        for one, two in zip(found(list(parameters.values())), expected, strict=True):
            torch.testing.assert_close(one, two[rows])


@pytest.mark.parametrize("rows", [[], [3, 2], [4, 4], [-1, 3], [5, 32128]])
def test_rows_that_are_none_or_out_of_order_are_refused(backbone: Backbone, rows: list[int]) -> None:
    with (
        pytest.raises(SettingsError, match="some of 0 to 32127, ascending"),
        trained_rows(backbone, np.array(rows, dtype=np.int64)),
    ):
        pass


def test_a_block_inside_another_is_refused(fresh_backbone: Callable[[], Backbone]) -> None:
    backbone = fresh_backbone()
    with (
        trained_rows(backbone, np.array([1, 2])),
        pytest.raises(SettingsError, match="leave that block first"),
        trained_rows(backbone, np.array([3])),
    ):
        pass
    assert isinstance(backbone.model.shared, torch.nn.Embedding)
