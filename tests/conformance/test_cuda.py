"""What a GPU computes is what the CPU computes; skipped where there is none."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from flanrec.backbone import Backbone, load_backbone
from flanrec.catalogue import Catalogue
from flanrec.catalogue.trie import TitleTrie
from flanrec.data import Dataset
from flanrec.generation import generate_items, title_log_probabilities
from flanrec.recommender import Recommender, RecommenderSettings
from flanrec.tuning import ParameterGroup, Trainer, TrainerSettings, Weighted
from flanrec.tuning.adversarial import AdversarialObjective
from flanrec.tuning.objectives.answers import AnswerObjective, Question

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

PROMPTS = [
    "Seen so far: Amber Harbour (1980), Basalt Quarry (1988). Which movie comes next?",
    "Which movie comes next?",
    "A movie lover asks for comedies. Which movie comes next?",
]


@pytest.fixture(scope="module")
def on_gpu(backbone: Backbone) -> Backbone:
    return dataclasses.replace(backbone, model=copy.deepcopy(backbone.model).to("cuda"), device=torch.device("cuda"))


@pytest.fixture
def trie(small_catalogue: Catalogue) -> TitleTrie:
    return TitleTrie.build(small_catalogue.token_rows)


@pytest.mark.parametrize("normalisation", ["vocabulary", "catalogue", "trie"])
def test_beams_are_those_of_the_cpu(backbone: Backbone, on_gpu: Backbone, trie: TitleTrie, normalisation: str) -> None:
    expected, scores = generate_items(backbone, PROMPTS, trie, k=5, normalisation=normalisation)
    found, near = generate_items(on_gpu, PROMPTS, trie, k=5, normalisation=normalisation)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(near, scores, rtol=1e-3)


def test_exact_scores_are_those_of_the_cpu(backbone: Backbone, on_gpu: Backbone, small_catalogue: Catalogue) -> None:
    expected, found = (title_log_probabilities(one, PROMPTS, small_catalogue.token_rows) for one in (backbone, on_gpu))
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_bf16_scores_are_near(backbone: Backbone, small_catalogue: Catalogue) -> None:
    coarse = load_backbone("offline", device="cuda", precision="bf16")
    expected, found = (title_log_probabilities(one, PROMPTS, small_catalogue.token_rows) for one in (backbone, coarse))
    np.testing.assert_allclose(found, expected, rtol=0.05)
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize(("autocast", "tolerance"), [("off", 1e-3), ("bf16", 0.05)])
def test_a_step_of_tuning_has_the_loss_of_the_cpu(
    fresh_backbone: Callable[[], Backbone], autocast: str, tolerance: float
) -> None:
    losses = []
    for device in ("cpu", "cuda"):
        tuned = fresh_backbone()
        model = tuned.model.to(device).requires_grad_(True)
        tuned = dataclasses.replace(tuned, device=torch.device(device))
        for module in model.modules():
            if hasattr(module, "dropout") and isinstance(module.dropout, float):
                module.dropout = 0.0
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        questions = [Question(prompt, ("Amber Lantern (1981)",), (1.0,)) for prompt in PROMPTS]
        objective = AnswerObjective("titles", tuned, lambda rng, these=questions: these[int(rng.integers(3))])
        trainer = Trainer(
            {"model": model},
            [ParameterGroup("model", dict(model.named_parameters()), 3e-4)],
            [Weighted(objective)],
            TrainerSettings(steps=3, batch_size=3, schedule="constant", warmup=0.0, autocast=autocast),
        )
        losses.append(trainer.fit().losses)
    np.testing.assert_allclose(losses[1], losses[0], rtol=tolerance)
    assert losses[1][-1] < losses[1][0]


def test_a_fit_on_the_gpu_answers_on_both(
    small_dataset: Dataset, short_settings: RecommenderSettings, tmp_path: Path
) -> None:
    fitted = Recommender(load_backbone("offline", device="cuda"), short_settings).fit(small_dataset)
    fitted.save_pretrained(tmp_path / "model")
    users = ["u1", "u2", "u3"]
    here = fitted.recommend(users=users, k=5)
    there = Recommender.load(tmp_path / "model", device="cpu").recommend(users=users, k=5)
    assert here["user_id"].to_list() == there["user_id"].to_list()
    np.testing.assert_allclose(here["score"].to_numpy(), there["score"].to_numpy(), rtol=0.02)


@pytest.mark.parametrize("autocast", [False, True])
def test_adversarial_gradients_are_those_of_the_cpu(backbone: Backbone, on_gpu: Backbone, autocast: bool) -> None:
    question = Question(PROMPTS[0], ("Dune Lantern (1996)",), (1.0,))

    def gradient(tuned: Backbone) -> tuple[float, torch.Tensor]:
        objective = AnswerObjective("answers", tuned, lambda rng: question)
        tuned.model.zero_grad()
        with torch.autocast(tuned.device.type, torch.bfloat16, enabled=autocast):
            loss = AdversarialObjective(objective, tuned, size=0.02).loss(objective.prepare([question]))
        loss.total.backward()  # type: ignore[no-untyped-call]
        found = tuned.model.get_encoder().block[0].layer[0].SelfAttention.q.weight.grad
        assert found is not None
        kept = found.detach().cpu().clone()
        tuned.model.zero_grad()
        return float(loss.total.detach()), kept

    (expected, slope), (found, near) = gradient(backbone), gradient(on_gpu)
    assert found == pytest.approx(expected, rel=0.05 if autocast else 1e-3)
    assert float((near - slope).norm() / slope.norm()) < (0.3 if autocast else 0.01)
