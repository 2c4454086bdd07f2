"""Plots of a search whose trials are made up."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from flanrec.evaluation.search_results import SettingsFound
from flanrec.recommender import RecommenderSettings
from flanrec.tuning.pruning import Point
from flanrec.tuning.space import Range
from flanrec.tuning.study import Trial

pytest.importorskip("matplotlib", reason="needs the extra: pip install 'flanrec[report]'")
SPACE = {"tokens.trust": Range(0.0, 1.0), "item_tokens.dropout": Range(0.0, 0.5)}


@pytest.fixture(scope="module")
def found() -> SettingsFound:
    rng, trials = np.random.default_rng(0), []
    for number in range(14):
        trust, dropout = float(rng.random()), float(rng.random() / 2)
        curve = (Point("item tokens", 0.5, trust / 2), Point("item tokens", 1.0, trust))
        trials.append(
            Trial(number, {"tokens.trust": trust, "item_tokens.dropout": dropout}, (trust,), 1.0, curve=curve)
        )
    half = (Point("words", 1.0, 0.2), Point("item tokens", 0.5, 0.01))
    trials.append(Trial(14, {"tokens.trust": 0.01, "item_tokens.dropout": 0.1}, (), 1.0, pruned="too low", curve=half))
    return SettingsFound(
        tuple(trials), "trials", start=RecommenderSettings(), user_ids=["u"], space=SPACE, reading="item_tokens"
    )


def test_importances_have_a_bar_a_setting(found: SettingsFound) -> None:
    from flanrec.evaluation.search_plots import importance_plot

    picture = importance_plot(found)
    ElementTree.fromstring(picture)
    assert next(iter(found.importances)) == "tokens.trust"
    assert picture.index("tokens.trust") < picture.index("item_tokens.dropout")


def test_every_trial_has_a_line_in_the_panel_of_its_stage(found: SettingsFound) -> None:
    from flanrec.evaluation.search_plots import curve_plot

    picture = curve_plot(found)
    texts = [element.text for element in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert {"item tokens, % of the steps", "words, % of the steps"} <= {*texts}
    assert {str(number) for number in range(15)} <= {*texts}
    assert picture == curve_plot(found)


def test_a_trial_that_was_given_up_says_so_in_the_table(found: SettingsFound) -> None:
    last = found.table().row(-1, named=True)
    assert (last["ndcg@10"], last["problem"]) == (None, "given up: too low")
    assert "trial_14" not in found.per_user().columns
    assert found.curves().filter(trial=14).rows() == [(14, "words", 1.0, 0.2), (14, "item tokens", 0.5, 0.01)]
