"""The plot of a range test whose course is made up."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from flanrec.tuning.rate_finder import RateCurve

pytest.importorskip("matplotlib", reason="needs the extra: pip install 'flanrec[report]'")


def texts_of(smoothed: list[float]) -> list[str | None]:
    from flanrec.evaluation.rate_plot import rate_plot

    rates = tuple(np.geomspace(1e-5, 0.1, len(smoothed)).tolist())
    names = ("sequential",) * len(smoothed)
    curve = RateCurve(rates, names, tuple(smoothed), tuple(smoothed), 2.0, "steps", {"words": 1.0}, len(smoothed))
    picture = ElementTree.fromstring(rate_plot(curve, "words.learning_rate"))
    return [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]


def test_the_suggested_rates_are_marked_on_the_curve() -> None:
    texts = texts_of([2.0, 2.0, 1.9, 1.5, 1.4, 6.0])
    assert {"words.learning_rate", "loss, smoothed", "0.0001"} <= {*texts}
    assert any(text and text.startswith("steepest fall: ") for text in texts)
    assert "a tenth of the lowest: 0.0016" in texts  # the fifth of six rates over four decades


@pytest.mark.parametrize("smoothed", [[2.0, 2.1, 5.0], [2.0], []])
def test_a_loss_that_did_not_fall_has_no_marks(smoothed: list[float]) -> None:
    texts = texts_of(smoothed)
    assert "words.learning_rate" in texts
    assert not any(text and text.startswith("steepest") for text in texts)
