from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import pytest
from tiny_run import Run

from flanrec.errors import SettingsError
from flanrec.tuning import Sample, TensorBoard


def test_tensorboard_gets_losses_rates_metrics_samples_and_facts(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run(steps=8)
    sample = Sample("What comes next?", ("Alien (1979)",), "Fargo (1996)")
    run.arguments |= {"callbacks": [TensorBoard(tmp_path, {"data": "small"})], "samples": lambda: [sample]}
    report = run.trainer().fit()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = {"loss/regression", "gradient_norm", "learning_rate/table", "learning_rate/layers", "evaluation/fit"}
    assert tags | {"examples_per_second"} <= set(events.Tags()["scalars"])
    drawn = [event.value for event in events.Scalars("evaluation/fit")]
    assert drawn == pytest.approx([evaluation.metrics["fit"] for evaluation in report.evaluations])
    samples = events.Tensors("samples/text_summary")
    assert [event.step for event in samples] == [4, 8]
    assert "Fargo (1996)" in samples[0].tensor_proto.string_val[0].decode()
    assert '"data": "small"' in events.Tensors("facts/text_summary")[0].tensor_proto.string_val[0].decode()


def test_without_tensorboard_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    usual = builtins.__import__

    def absent(name: str, *rest: Any, **named: Any) -> Any:
        if name.split(".")[0] == "tensorboard":
            raise ImportError(name)
        return usual(name, *rest, **named)

    for name in [name for name in sys.modules if name.startswith(("tensorboard", "torch.utils.tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(SettingsError, match=r"flanrec\[tune\]"):
        TensorBoard(tmp_path)
