"""What every engine must answer: the log-probabilities of a plain forward pass, as near as its numbers allow."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from flanrec.artefact import verify_manifest
from flanrec.backbone import Backbone
from flanrec.catalogue import Catalogue
from flanrec.catalogue.trie import TitleTrie
from flanrec.errors import CheckpointError, SettingsError
from flanrec.generation import first_token_ids
from flanrec.generation.engines import Engine, TorchEngine, make_engine
from flanrec.generation.engines.exporting import export_backbone
from flanrec.generation.engines.parity import TOLERANCES, Gate, Parity, Tolerance, compare_engines

PROMPTS = [
    "Seen so far: Amber Harbour (1980), Basalt Quarry (1988). Which movie comes next?",
    "Is Heat (1995) a crime movie? Answer yes or no.",
    "A movie lover asks for comedies. Which movie comes next?",
]
needs_ctranslate2 = pytest.mark.skipif(
    importlib.util.find_spec("ctranslate2") is None, reason="the extra 'fast' is not installed"
)


@dataclass(frozen=True)
class Case:
    """An engine, and how near it comes: relative for log-probabilities, absolute for yes and no."""

    engine: Engine
    difference: float
    odds: float
    searches: bool = True


@pytest.fixture(scope="module")
def exported(backbone: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folders: dict[str, Path] = {}

    def folder(quantisation: str) -> Path:
        if quantisation not in folders:
            folders[quantisation] = tmp_path_factory.mktemp("engines") / quantisation
            before = backbone.weights_digest()
            export_backbone(backbone, folders[quantisation], "ctranslate2", None, quantisation)  # type: ignore[arg-type]
            assert backbone.weights_digest() == before
        return folders[quantisation]

    return folder


@pytest.fixture(
    scope="module",
    params=[
        "torch",
        "int8",
        pytest.param("ctranslate2 float32", marks=needs_ctranslate2),
        pytest.param("ctranslate2 int8", marks=needs_ctranslate2),
    ],
)
def case(request: pytest.FixtureRequest, backbone: Backbone) -> Case:
    if request.param == "torch":
        return Case(make_engine("torch", backbone), 1e-5, 1e-4)
    if request.param == "int8":
        return Case(make_engine("int8", backbone), 0.03, 0.3)
    coarse = request.param.endswith("int8")
    folder = request.getfixturevalue("exported")("int8" if coarse else "float32")
    return Case(make_engine(folder, backbone), *((0.03, 0.3) if coarse else (1e-4, 1e-3)), searches=False)


def plain_scores(backbone: Backbone, prompt: str, row: list[int], prefix: list[int]) -> float:
    ids, mask = backbone.encode_texts([prompt])
    read = torch.tensor([[0, *prefix, *row[:-1]]])
    with torch.inference_mode():
        logs = backbone.model(input_ids=ids, attention_mask=mask, decoder_input_ids=read).logits[0].log_softmax(-1)
    return float(logs[len(prefix) + torch.arange(len(row)), torch.tensor(row)].sum())


@pytest.mark.parametrize("prefix", ["", "It is"])
def test_titles_score_as_in_a_plain_forward_pass(
    case: Case, backbone: Backbone, small_catalogue: Catalogue, prefix: str
) -> None:
    rows = [list(row) for row in small_catalogue.token_rows[:12]]
    begun = backbone.tokenizer(prefix, add_special_tokens=False)["input_ids"]
    found = case.engine.title_log_probabilities(PROMPTS, rows, prefixes=[prefix] * 3)
    expected = np.array([[plain_scores(backbone, prompt, row, begun) for row in rows] for prompt in PROMPTS])
    np.testing.assert_allclose(found, expected, rtol=3 * case.difference)
    assert np.abs(found / expected - 1).mean() < case.difference


def test_candidates_and_exclusions(case: Case, small_catalogue: Catalogue) -> None:
    rows = small_catalogue.token_rows
    asked = [[3, -1, 0], [2], [1, 4]]
    every = case.engine.title_log_probabilities(PROMPTS, rows)
    some = case.engine.title_log_probabilities(PROMPTS, rows, candidates=asked, excluded=[{0}, set(), {9}])
    expected = np.array(
        [[every[0, 3], -np.inf, -np.inf], [every[1, 2], -np.inf, -np.inf], [every[2, 1], every[2, 4], -np.inf]]
    )
    np.testing.assert_array_equal(np.isneginf(some), np.isneginf(expected))
    # int8 rounds a pass by what else is in it on some engines, so scores agree within the tolerance only.
    np.testing.assert_allclose(some, expected, rtol=3 * case.difference)


def test_yes_and_no(case: Case, backbone: Backbone) -> None:
    yes, no = first_token_ids(backbone.tokenizer, ["yes", "Yes"]), first_token_ids(backbone.tokenizer, ["no"])
    expected = TorchEngine(backbone).yes_no_logits(PROMPTS, ["", "It is", ""], yes, no)
    found = case.engine.yes_no_logits(PROMPTS, ["", "It is", ""], yes, no)
    np.testing.assert_allclose(found, expected, atol=case.odds)
    assert case.engine.yes_no_logits([], None, yes, no).shape == (0,)


def test_the_best_titles_are_open_distinct_and_the_best(case: Case, small_catalogue: Catalogue) -> None:
    trie = TitleTrie.build(small_catalogue.token_rows)
    closed = [{0, 1, 2}, set(), set(range(25))]
    items, scores = case.engine.top_titles(PROMPTS, trie, k=8, num_beams=30, excluded=closed)
    exact = case.engine.title_log_probabilities(PROMPTS, small_catalogue.token_rows, excluded=closed)
    for user, found in enumerate(items.tolist()):
        kept = [item for item in found if item >= 0]
        assert len(set(kept)) == len(kept) == min(8, len(small_catalogue) - len(closed[user]))
        assert not set(kept) & closed[user]
        best = np.sort(exact[user])[::-1][: len(kept)]
        np.testing.assert_allclose(scores[user, : len(kept)], best, rtol=3 * case.difference)
    assert np.isneginf(scores[2, 5:]).all()


@pytest.mark.parametrize("normalisation", ["catalogue", "trie"])
def test_other_normalisations_are_answered_or_refused(
    case: Case, backbone: Backbone, small_catalogue: Catalogue, normalisation: str
) -> None:
    rows = small_catalogue.token_rows
    if case.searches:
        expected = TorchEngine(backbone).title_log_probabilities(PROMPTS, rows, normalisation=normalisation)  # type: ignore[arg-type]
        found = case.engine.title_log_probabilities(PROMPTS, rows, normalisation=normalisation)  # type: ignore[arg-type]
        np.testing.assert_allclose(found, expected, rtol=0.15 if case.odds > 0.1 else 1e-4)
    else:
        with pytest.raises(SettingsError, match="whole vocabulary"):
            case.engine.title_log_probabilities(PROMPTS, rows, normalisation=normalisation)  # type: ignore[arg-type]


def test_parity_with_the_model(case: Case, backbone: Backbone, small_catalogue: Catalogue) -> None:
    parity = compare_engines(TorchEngine(backbone), case.engine, PROMPTS, small_catalogue.token_rows)
    parity.require(TOLERANCES["int8" if case.odds > 0.1 else "float32"], case.engine.name)


def test_too_much_difference_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"differ by 5\.00%.*60% of the 10 best"):
        Parity(3, 20, 10, 0.05, 0.1, 0.6).require(Tolerance(0.03, 0.7), "ctranslate2 int8")


@needs_ctranslate2
def test_a_converter_that_scales_the_logits_would_be_caught(
    backbone: Backbone, small_catalogue: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flanrec.generation.engines.ctranslate2 import write

    monkeypatch.setattr(backbone.model.config, "scale_decoder_outputs", True)
    (tmp_path / "wrong").mkdir()
    wrong = write(backbone, tmp_path / "wrong", "float32")
    monkeypatch.setattr(backbone.model.config, "scale_decoder_outputs", False)
    parity = compare_engines(TorchEngine(backbone), wrong, PROMPTS, small_catalogue.token_rows)
    with pytest.raises(CheckpointError, match="does not say what the model says"):
        parity.require(TOLERANCES["int8"], wrong.name)


@pytest.mark.parametrize("form", ["safetensors", pytest.param("ctranslate2", marks=needs_ctranslate2)])
def test_an_export_that_differs_leaves_the_earlier_one(
    backbone: Backbone, fresh_backbone: Callable[[], Backbone], small_catalogue: Catalogue, tmp_path: Path, form: str
) -> None:
    gate = Gate(TorchEngine(backbone), PROMPTS, small_catalogue.token_rows)
    good = export_backbone(backbone, tmp_path / "out", form, gate)  # type: ignore[arg-type]
    assert good is not None
    about = verify_manifest(tmp_path / "out")
    assert about["parity"] == good.to_dict()
    other = fresh_backbone()
    with torch.no_grad():
        other.model.lm_head.weight.mul_(0.5)
    with pytest.raises(CheckpointError, match="Nothing was written"):
        export_backbone(other, tmp_path / "out", form, gate)  # type: ignore[arg-type]
    assert verify_manifest(tmp_path / "out") == about


@needs_ctranslate2
def test_folders_of_other_weights_and_others_things_are_refused(
    exported: Callable[[str], Path], fresh_backbone: Callable[[], Backbone], tmp_path: Path
) -> None:
    other = fresh_backbone()
    with torch.no_grad():
        other.model.encoder.block[3].layer[1].DenseReluDense.wo.weight.add_(0.01)
    with pytest.raises(CheckpointError, match="other weights"):
        make_engine(exported("int8"), other)
    other.save(tmp_path / "backbone")
    with pytest.raises(CheckpointError, match="not a CTranslate2 model"):
        make_engine(tmp_path / "backbone", other)
    with pytest.raises(SettingsError, match="neither torch nor int8 nor a folder"):
        make_engine("nowhere", other)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("onnxscript") is None, reason="the extra 'export' is not installed")
def test_onnx_graphs_say_what_the_model_says_at_every_length(
    backbone: Backbone, small_catalogue: Catalogue, tmp_path: Path
) -> None:
    from flanrec.generation.engines.onnx import OnnxScorer

    gate = Gate(TorchEngine(backbone), [*PROMPTS, "Yes?", "A movie. " * 40], small_catalogue.token_rows)
    parity = export_backbone(backbone, tmp_path / "graphs", "onnx", gate)
    assert parity is not None
    assert parity.largest_difference < 1e-4
    found = OnnxScorer(tmp_path / "graphs").title_log_probabilities(["Next?"], [[71, 1]])
    assert found[0, 0] == pytest.approx(plain_scores(backbone, "Next?", [71, 1], []), abs=1e-3)
