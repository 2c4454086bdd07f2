"""Put an untrained adapter into a backbone."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from peft import AdaLoraConfig, IA3Config, LoraConfig, PeftConfig, TaskType, get_peft_model

from flanrec.backbone.adapters.settings import AdapterSettings
from flanrec.backbone.attachments import attach, attached
from flanrec.backbone.checkpoint import Backbone
from flanrec.errors import SettingsError

_WARM, _FINAL, _MOMENTS = 0.1, 0.4, 50
"""AdaLoRA: shares of the steps before ranks fall and after they stand, and how often at most they are allotted anew."""


def add_adapter(backbone: Backbone, settings: AdapterSettings, *, steps: int = 1) -> Backbone:
    """Put an untrained adapter into a backbone and freeze everything else.

    Low-rank adapters, IA3 and bottlenecks start as no change at all; what is drawn follows torch's generator. The
    modules go into the given backbone's own: use the returned one from here on.

    Parameters
    ----------
    settings
        Method and size.
    steps
        Of the tuning to come, which AdaLoRA's schedule needs.

    Raises
    ------
    SettingsError
        A target does not exist, or there is an adapter already.

    References
    ----------
    LoRA: Hu et al., 2021. DoRA: Liu et al., 2024, the direction of a map is changed low-rank and its length apart.
    rsLoRA: Kalajdzievski, 2023, scaled by the root of the rank. AdaLoRA: Zhang et al., 2023, ranks go where they
    matter. IA3: Liu et al., "Few-shot parameter-efficient fine-tuning is better and cheaper than in-context
    learning", 2022.
    """
    if hasattr(backbone.model, "peft_config") or attached(backbone.model) is not None:
        raise SettingsError("The backbone carries an adapter already. Merge it, or load the backbone anew.")
    attachment = settings.attachment
    if attachment is not None:
        attach(backbone.model, attachment)
        return backbone
    adapted: Any = get_peft_model(backbone.model, _peft_config(backbone, settings, steps))
    adapted.peft_config["default"].base_model_name_or_path = backbone.source.name
    adapted.eval()
    return dataclasses.replace(backbone, model=adapted)


def _peft_config(backbone: Backbone, settings: AdapterSettings, steps: int) -> PeftConfig:
    common: dict[str, Any] = {"task_type": TaskType.SEQ_2_SEQ_LM}
    if settings.method == "ia3":
        # Keys, values and what goes into the last dense map are scaled by unit.
        return IA3Config(target_modules=["k", "v", "wo"], feedforward_modules=["wo"], **common)
    alpha = 2.0 * settings.rank if settings.alpha is None else settings.alpha
    common |= {
        "lora_alpha": alpha,
        "lora_dropout": settings.dropout,
        "target_modules": _targets(backbone, settings.targets),
        "bias": "none",
    }
    if settings.method == "adalora":
        first, last = int(_WARM * steps), int(_FINAL * steps)
        begin = max(2, settings.rank)
        return AdaLoraConfig(
            target_r=2 * begin // 3, init_r=begin, tinit=first, tfinal=last,
            deltaT=max(1, steps // _MOMENTS), total_step=steps, **common,
        )  # fmt: skip
    return LoraConfig(
        r=settings.rank, use_dora=settings.method == "dora", use_rslora=settings.method == "rslora", **common
    )


def _targets(backbone: Backbone, named: tuple[str, ...]) -> list[str]:
    """The names of the maps that low-rank adapters change."""
    maps = [
        name
        for name, module in backbone.model.named_modules()
        if isinstance(module, torch.nn.Linear) and ".block." in name
    ]
    known = {name.rsplit(".", 1)[-1] for name in maps}
    unknown = sorted(set(named) - known)
    if unknown:
        raise SettingsError(f"targets {unknown} are not linear maps of this model; choose from {sorted(known)}.")
    return list(named) or sorted({name.rsplit(".", 1)[-1] for name in maps if ".DenseReluDense." in name})
