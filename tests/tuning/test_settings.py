from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from flanrec.tuning import TrainerSettings
from flanrec.tuning.settings import has_fast_bf16, resolve_autocast


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"warmup": 1.0}, {"average": 1.0}, {"optimizer": "adam"}, {"lr": 1e-3}, {"clip_norm": 0.0},
     {"autocast": "fp16"}, {"keep_checkpoints": 0}],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused_by_name(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        TrainerSettings(**{"steps": 10, **wrong})  # type: ignore[arg-type]


def test_every_setting_says_what_it_means() -> None:
    assert all(field.description for field in TrainerSettings.model_fields.values())


def test_automatic_autocast_follows_the_processor() -> None:
    cpu = torch.device("cpu")
    assert resolve_autocast("auto", cpu) == ("bf16" if has_fast_bf16(cpu) else "off")
    assert resolve_autocast("off", cpu) == "off"
    assert resolve_autocast("bf16", cpu) == "bf16"


def test_a_torch_that_cannot_tell_means_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("get_capabilities", "_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.delattr(torch.cpu, name, raising=False)
    assert not has_fast_bf16(torch.device("cpu"))
    assert not has_fast_bf16(torch.device("meta"))
