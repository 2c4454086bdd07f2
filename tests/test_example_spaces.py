"""The sample spaces: every one is read, measures what it says, and proposes settings that can be fitted."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flanrec.evaluation.search_space import read_space, refuse_unread
from flanrec.recommender import READINGS, Reading, RecommenderSettings
from flanrec.recommender.named import changed
from flanrec.tuning.space import fits, ordered

FILES = sorted((Path(__file__).parents[1] / "examples" / "spaces").glob("*.toml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_sample_proposes_settings_that_work_together(path: Path) -> None:
    optuna = pytest.importorskip("optuna", reason="needs the extra: pip install 'flanrec[search]'")
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {path.stem.capitalize()}: ")
    reading: Reading = next(name for name in READINGS if f"--reading {name} " in text)
    assert re.search(rf"--space {path.name} ", text)
    settings = RecommenderSettings()
    space = read_space(path, settings)
    refuse_unread(space, reading)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    for _ in range(30):
        trial = study.ask()
        for name, choice in ordered(space).items():
            if fits(choice, trial.params):
                choice.draw(trial, name)
        changed(settings, trial.params)
    assert {name for trial in study.trials for name in trial.params} == set(space)
